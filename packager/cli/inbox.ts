import { resolve } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { ModelStore } from '../../src/models.ts'
import { type Input, one } from './command.ts'
import type { Reporter } from './reporter.ts'

/** `--inbox DIR --outbox DIR` of serve. Closing waits for the checkpoint of what is in work. */
export async function openInbox(
  input: Input,
  models: ModelStore,
  io: Reporter,
): Promise<{ close(): Promise<void> } | undefined> {
  const inbox = one(input, 'inbox')
  const outbox = one(input, 'outbox')
  if (inbox === undefined && outbox === undefined) return undefined
  if (inbox === undefined || outbox === undefined)
    throw new AppError('USAGE', { expected: '--inbox and --outbox', got: 'one of them' })
  const { createFolderStore } = await import('../../src/batch/foldstore.ts')
  const { refuseOverlap } = await import('../../src/batch/names.ts')
  const { makeFolder, slashed } = await import('../batch/places.ts')
  const { reliable } = await import('../../src/batch/reliable.ts')
  const { jobOf } = await import('../../src/batch/setup.ts')
  const { watchInbox } = await import('../batch/inbox.ts')
  const { version } = await import('../version.ts')
  const [from, to] = [resolve(inbox), resolve(outbox)]
  const places = { input: { bucket: from, prefix: '' }, output: { bucket: to, prefix: '' } }
  refuseOverlap(slashed(places.input), slashed(places.output))
  for (const dir of [from, to]) makeFolder(dir)
  const job = { ...jobOf(models, reliable(createFolderStore()), {}, version()), ...places }
  const stop = new AbortController()
  const watching = watchInbox(job, {
    signal: stop.signal,
    told(key, o) {
      if (o.status === 'DONE' || o.status === 'FAILED')
        io.note(`${key}: ${o.done.counts.records} records, ${o.done.counts.failed} failed${o.fresh ? '' : ', earlier'}`)
      else io.note(`${key}: ${o.status}${'reason' in o ? `, ${o.reason}` : ''}`)
    },
  })
  io.note(`Watching ${from}; results go to ${to}`)
  return {
    async close() {
      stop.abort()
      await watching
    },
  }
}

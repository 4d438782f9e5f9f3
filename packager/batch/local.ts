import { takeLot } from '../../src/batch/lot.ts'
import { eachOf } from '../../src/batch/pool.ts'
import { donesOf, retryOf } from '../../src/batch/replay.ts'
import { RESULT_FORMATS } from '../../src/batch/results/index.ts'
import { type Item, type Job, runObject } from '../../src/batch/run.ts'
import { openSink, publish } from '../../src/batch/sink.ts'
import { createTurns, singlesFirst } from '../../src/batch/turns.ts'
import type { Counts, JobManifest, ResultFormat } from '../../src/batch/types.ts'
import { isAppError } from '../../src/errors.ts'

export interface LocalOptions {
  readonly items: readonly Item[]
  readonly onlyFailed?: boolean
  readonly signal?: AbortSignal
  progress?(p: Progress): void
}

export interface Progress {
  readonly objects: number
  readonly of: number
  readonly bytes: number
  readonly ofBytes: number
  readonly counts: Counts
  /** of these, what earlier commands did */
  readonly before: { readonly records: number; readonly bytes: number }
}

export interface Summary {
  readonly counts: Counts
  readonly objects: Readonly<Record<'done' | 'failed' | 'earlier' | 'skipped' | 'open', number>>
  readonly skipped: readonly { readonly key: string; readonly reason: string }[]
  readonly errors: readonly { readonly key: string; readonly code: string; readonly reason: string }[]
  /** an object with records that failed, and the object that names them */
  readonly failure?: { readonly key: string; readonly errors: string }
}

/** Small objects do not fill a processor: their reading is overlapped. */
const WIDTH = 8

/** All objects of a job in this process: large ones one after the other, small ones several at a time. */
export async function runLocal(job: Job, { items, onlyFailed, signal, progress }: LocalOptions): Promise<Summary> {
  const objects = { done: 0, failed: 0, earlier: 0, skipped: 0, open: 0 }
  const skipped: { key: string; reason: string }[] = []
  const errors: { key: string; code: string; reason: string }[] = []
  const turns = createTurns(WIDTH)
  const ofBytes = items.reduce((n, i) => n + (i.size ?? 0), 0)
  let failure: Summary['failure']
  let finished = ZERO
  const before = { records: 0, bytes: 0 }
  let bytes = 0
  const running = new Map<Item, { counts: Counts; offset: number }>()
  const tell = () => {
    const now = [...running.values()]
    const counts = now.map((r) => r.counts).reduce(add, finished)
    const behind = now.reduce((n, r) => n + r.offset, bytes)
    const { done, failed, earlier } = objects
    const over = done + failed + earlier + skipped.length
    progress?.({ objects: over, of: items.length, bytes: behind, ofBytes, counts, before })
  }

  const one = async (listed: Item, first: boolean) => {
    if (signal?.aborted) {
      objects.open++
      return
    }
    const item = onlyFailed ? await retryOf(job, listed) : listed
    if (!item) return skip(listed, 'nothing of it failed')
    try {
      const o = await runObject(job, item, {
        signal,
        turns,
        first,
        // whoever runs the command knows that no other does
        takeOver: true,
        progress(counts, offset = 0) {
          // told first: where the run goes on
          if (!running.has(listed)) note(counts.records, offset)
          running.set(listed, { counts, offset })
          tell()
        },
      })
      if (o.status === 'SKIPPED') skip(listed, o.reason)
      else if (o.status === 'DONE' || o.status === 'FAILED') {
        objects[o.fresh ? (o.status === 'DONE' ? 'done' : 'failed') : 'earlier']++
        finished = add(finished, o.done.counts)
        if (!o.fresh) note(o.done.counts.records, listed.size)
        const { errors: named } = o.done.output
        if (named !== undefined) failure ??= { key: listed.key, errors: named }
        if (o.done.error) errors.push({ key: listed.key, ...o.done.error })
      } else {
        objects.open++
        if (o.status === 'PAUSED') finished = add(finished, o.counts)
      }
    } catch (e) {
      if (!isAppError(e) || e.code === 'BATCH_OVERLAP' || e.code === 'LOAD_FAILED') throw e
      objects.open++
      errors.push({ key: listed.key, code: e.code, reason: e.message })
    } finally {
      bytes += signal?.aborted ? (running.get(listed)?.offset ?? 0) : (listed.size ?? 0)
      running.delete(listed)
      tell()
    }
  }
  const note = (records: number, size = 0) => {
    before.records += records
    before.bytes += size
  }
  const skip = ({ key }: Item, reason: string) => {
    objects.skipped++
    skipped.push({ key, reason })
  }

  const lot = await takeLot(job.store, job.output, job.input)
  await eachOf(
    singlesFirst(items, ({ key }) => key, job.format),
    WIDTH,
    (item) => one(item, lot.first),
  ).finally(() => lot.end(objects.open > 0))
  return { counts: finished, objects, skipped, errors, ...(failure && { failure }) }
}

const ZERO: Counts = { records: 0, answered: 0, failed: 0 }

function add(a: Counts, b: Counts): Counts {
  return { records: a.records + b.records, answered: a.answered + b.answered, failed: a.failed + b.failed }
}

/** The list of a whole job, where the way of writing results has one. Returns its key. */
export async function writeManifest(job: Job, name: string): Promise<string | undefined> {
  const format: ResultFormat = RESULT_FORMATS[job.result]
  const manifest: JobManifest | undefined = format.manifest
  if (!manifest) return undefined
  const { bucket, prefix } = job.output
  const ref = { bucket, key: manifest.key(prefix, name) }
  const sink = openSink(job.store, ref)
  for await (const done of donesOf(job)) await sink.write(manifest.line(done))
  await publish(job.store, ref, await sink.seal())
  return ref.key
}

import { AppError, isAppError } from '../errors.ts'
import { type Checkpoint, fresh } from './ledger.ts'
import { readWhole } from './reliable.ts'
import type { Run } from './run.ts'
import { isEmpty, publish } from './sink.ts'
import type { Done, ObjectRef, ObjectStore, WriteOptions } from './types.ts'

/** Makes everything visible, `.done.json` last. May be done again from any point. undefined: a newer input owns the result's name. */
export async function publishRun(run: Run, state: Checkpoint): Promise<Done | undefined> {
  const { outputs, named } = run
  if (!named) {
    if (!(await newest(run, state))) return undefined
  } else if (!(await once(run, outputs.result, state.result)) && !(await isOwn(run, state)))
    return writeDone(run, ANSWERED(run))
  if (!isEmpty(state.errors)) await once(run, outputs.errors, state.errors)
  return writeDone(run, state)
}

/** The answer of a run without a claim: see unclaimed.ts. undefined: another attempt has placed one. */
export async function publishAnswered(run: Run, state: Checkpoint): Promise<Done | undefined> {
  const options: WriteOptions = { only: 'absent', contentType: run.resultFormat.contentType }
  const { written } = await publish(run.job.store, run.outputs.result, state.result, options)
  return written ? writeDone(run, state) : undefined
}

const ANSWERED = ({ names }: Run): Checkpoint => ({
  ...fresh(names.run),
  counts: { records: 1, answered: 1, failed: 0 },
})

/** A record that failed here may have been answered without a claim meanwhile; that result differs, and counts. */
async function isOwn(run: Run, { result, errors }: Checkpoint): Promise<boolean> {
  if (!run.unclaimed || isEmpty(errors) || result.parts.length > 0) return true
  return (await readWhole(run.job.store, run.outputs.result)).equals(Buffer.from(result.tail, 'base64'))
}

async function writeDone(run: Run, state: Checkpoint): Promise<Done> {
  const done = doneOf(run, state)
  const bytes = Buffer.from(`${JSON.stringify(done, null, 2)}\n`)
  await run.job.store.put(run.outputs.done, bytes, { only: 'absent', contentType: 'application/json' })
  return done
}

/** A name that only this run writes: what is there is what an earlier attempt of this very publishing left. Says whether it was placed now. */
async function once({ job, resultFormat }: Run, ref: ObjectRef, state: Checkpoint['result']): Promise<boolean> {
  if (await job.store.stat(ref)) return false
  const { contentType } = resultFormat
  const options: WriteOptions = { only: 'absent', contentType }
  return (await publish(job.store, ref, state, options).catch((e: unknown) => gone(e, ref))).written
}

/** Parts that vanished with the store's housekeeping; the run begins again. */
function gone(e: unknown, ref: ObjectRef): never {
  if (!isAppError(e) || e.code !== 'NO_OBJECT') throw e
  throw new AppError('UPLOAD_GONE', {
    where: ref.key,
    expected: 'the parts that were uploaded',
    got: 'none',
    cause: e,
  })
}

/** What a name without a digest holds at the moment. */
interface Current {
  readonly run: string
  readonly sequencer?: string
  readonly modified: number
}

/** Says whose the result is, where its name does not. */
export function currentOf(bucket: string, prefix: string, key: string): ObjectRef {
  return { bucket, key: `${prefix}${key}.current.json` }
}

/** The run that a result is of. */
export async function ownerOf(store: ObjectStore, ref: ObjectRef): Promise<string | undefined> {
  if (!(await store.stat(ref))) return undefined
  return (JSON.parse((await readWhole(store, ref)).toString()) as Current).run
}

/**
 * Names that other tools prescribe are shared by all versions of an input, so an object beside the result says whose it is.
 * The result is replaced only as it was seen before that was read: whoever is late is refused, and looks again.
 */
async function newest(run: Run, state: Checkpoint): Promise<boolean> {
  const { job, outputs, names, item, info, resultFormat } = run
  const { store } = job
  const ref = currentOf(outputs.result.bucket, names.prefix, names.key)
  const mine: Current = { run: names.run, sequencer: item.sequencer, modified: info.modified }
  for (;;) {
    const before = await store.stat(outputs.result)
    const owner = await store.stat(ref)
    const current = owner && (JSON.parse((await readWhole(store, ref)).toString()) as Current)
    if (current && current.run !== mine.run && isNewer(current, mine)) return false
    if (current?.run !== mine.run) {
      const only = owner ? { etag: owner.etag } : 'absent'
      const bytes = Buffer.from(JSON.stringify(mine))
      if (!(await store.put(ref, bytes, { only, contentType: 'application/json' })).written) continue
    }
    const only = before ? { etag: before.etag } : 'absent'
    try {
      const { contentType } = resultFormat
      if ((await publish(store, outputs.result, state.result, { only, contentType })).written) return true
    } catch (e) {
      // an earlier attempt got as far as this
      if (isAppError(e) && e.code === 'NO_OBJECT' && before && current?.run === mine.run) return true
      return gone(e, outputs.result)
    }
  }
}

function isNewer(a: Current, b: Current): boolean {
  if (a.sequencer !== undefined && b.sequencer !== undefined) return compareSequencers(a.sequencer, b.sequencer) > 0
  return a.modified > b.modified
}

/** S3's sequencers are hexadecimal of differing length, to be compared as if the shorter had zeros on its right. */
export function compareSequencers(a: string, b: string): number {
  const width = Math.max(a.length, b.length)
  const [x, y] = [a, b].map((s) => s.toUpperCase().padEnd(width, '0')) as [string, string]
  return x < y ? -1 : x > y ? 1 : 0
}

function doneOf({ job, item, info, format, names, outputs, modelDigest }: Run, state: Checkpoint): Done {
  const { manifest } = job.model
  return {
    status: state.error ? 'FAILED' : 'DONE',
    input: { bucket: item.bucket, key: item.key, version: item.versionId ?? info.etag, size: info.size },
    output: { ...outputs.result, ...(!isEmpty(state.errors) && { errors: outputs.errors.key }) },
    run: names.run,
    model: { name: manifest.model, version: manifest.version, digest: modelDigest },
    code: job.code,
    format: format.name,
    counts: state.counts,
    ms: state.ms,
    ...(item.sequencer !== undefined && { sequencer: item.sequencer }),
    ...(state.error && { error: state.error }),
  }
}

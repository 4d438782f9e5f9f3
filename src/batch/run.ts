import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isAppError } from '../errors.ts'
import type { Model } from '../models.ts'
import { compute } from './compute.ts'
import { formatOf } from './formats/index.ts'
import { afterTrouble, type Checkpoint, type Claim, claim, fresh, isLost } from './ledger.ts'
import { keyBelow, outputsOf, type Place, refuseOverlap, runDigest, whyNot } from './names.ts'
import { publishRun } from './publish.ts'
import { readWhole } from './reliable.ts'
import { RESULT_FORMATS, type ResultName } from './results/index.ts'
import { discard } from './sink.ts'
import type { Threads } from './threads.ts'
import { placesFor, type Turn, type Turns } from './turns.ts'
import type {
  Counts,
  Done,
  InputOptions,
  Names,
  ObjectInfo,
  ObjectRef,
  ObjectStore,
  OutputOptions,
  RecordFormat,
  ResultFormat,
} from './types.ts'
import { answerUnclaimed, toldBy } from './unclaimed.ts'

/** What all objects of a job have in common. */
export interface Job {
  /** one that repeats what fails in passing: see reliable.ts */
  readonly store: ObjectStore
  readonly model: Model
  /** digest of the running code */
  readonly code: string
  /** where inputs lie; keys of results are those of inputs below it */
  readonly input?: Place
  readonly output: Place
  readonly result: ResultName
  readonly inputOptions: InputOptions
  readonly outputOptions: OutputOptions
  /** name of the record format, where suffixes do not tell */
  readonly format?: string
  /** most rows of one run of the graph; 1 switches stacking off */
  readonly maxRows: number
  /** that answer records of large objects beside this one */
  readonly threads?: Threads
}

/** An object to answer. */
export interface Item extends ObjectRef {
  readonly size?: number
  /** of the content that the event speaks of */
  readonly etag?: string
  readonly sequencer?: string
  /** answer again only what an earlier run of the same input named: the key of its `.err.jsonl` */
  readonly onlyErrors?: string
  /** with `onlyErrors`: answer all of it again */
  readonly whole?: boolean
}

export interface Control {
  /** milliseconds since the epoch by which the run must have left a checkpoint */
  readonly deadline?: number
  readonly signal?: AbortSignal
  /** whoever worked on it before is known to be gone */
  readonly takeOver?: boolean
  readonly leaseMs?: number
  /** no process has ended over the object, as far as can be: see unclaimed.ts */
  readonly first?: boolean
  /** where several objects are worked on at a time */
  readonly turns?: Turns
  /** Called first with where the run goes on. `offset`: bytes of the object that are behind, where its format can tell */
  progress?(counts: Counts, offset: number | undefined): void
}

export type Outcome =
  | { readonly status: 'DONE' | 'FAILED'; readonly done: Done; readonly fresh: boolean }
  | { readonly status: 'SKIPPED'; readonly reason: string }
  /** Call again. `moved`: further than before. `tried`: there is no checkpoint that says that the time ended over it; do not say `first` */
  | { readonly status: 'PAUSED'; readonly counts: Counts; readonly moved: boolean; readonly tried?: true }
  /** another process works on it */
  | { readonly status: 'BUSY' }

/** All that a step of a run needs to know. */
export interface Run {
  readonly job: Job
  readonly item: Item
  readonly info: ObjectInfo
  readonly format: RecordFormat
  readonly resultFormat: ResultFormat
  readonly names: Names
  /** its result has a name that no other run writes */
  readonly named: boolean
  /** it may be answered without a claim: one record, and such a name */
  readonly unclaimed: boolean
  readonly outputs: ReturnType<typeof outputsOf>
  readonly modelDigest: string
}

/** Less time than this is left for whoever comes next. */
const MIN_MS = 5_000

/**
 * Answers the records of one object. Whatever happens (doubles, a crash at any point, another process at the same object), after
 * the call that returns DONE each record is in the result or in the errors, once; called again it changes nothing.
 */
export async function runObject(job: Job, item: Item, control: Control = {}): Promise<Outcome> {
  const never = whyNot(item.key, item.size)
  if (never !== undefined) return { status: 'SKIPPED', reason: never }
  refuseOverlap(job.input ?? { bucket: item.bucket, prefix: item.key }, job.output)
  if (isLate(control)) return NO_TURN
  const told = control.first ? toldBy(item) : undefined
  const quick = told && planRun(job, item, told)
  if (typeof quick === 'object' && quick.unclaimed) {
    const outcome = await inTurn(quick, control, () => answerUnclaimed(quick, control)).catch(overtaken)
    if (outcome) return outcome
  }
  const found = await inputOf(job, item)
  if (typeof found === 'string') return { status: 'SKIPPED', reason: found }
  const run = planRun(job, item, found)
  if (typeof run === 'string') return { status: 'SKIPPED', reason: run }
  return inTurn(run, control, (turn) => answerClaimed(run, control, turn))
}

async function inTurn<T>(
  run: Run,
  control: Control,
  work: (turn: Turn | undefined) => Promise<T>,
): Promise<T | Outcome> {
  const before = await doneBefore(run)
  if (before) return before
  const turn = await control.turns?.take(placesFor(run.info, run.format))
  try {
    return isLate(control) ? NO_TURN : await work(turn)
  } finally {
    turn?.end()
  }
}

async function answerClaimed(run: Run, control: Control, turn: Turn | undefined): Promise<Outcome> {
  const held = await claim(run.job.store, run.outputs.state, run.names.run, {
    ...control,
    ...(turn && { alone: () => turn.alone().then(() => !isLate(control)) }),
  })
  if (!held) return isLate(control) ? NO_TURN : { status: 'BUSY' }
  // whoever held it until now may have finished since the first look
  return (await doneBefore(run)) ?? work(run, held, control)
}

const NO_TURN: Outcome = { status: 'PAUSED', counts: { records: 0, answered: 0, failed: 0 }, moved: false }

function isLate({ deadline }: Control): boolean {
  return deadline !== undefined && deadline - Date.now() < MIN_MS
}

/** A process may end after its last write and before it takes the checkpoint away, so whoever finds a run done does that. */
async function doneBefore({ job, outputs }: Run): Promise<Outcome | undefined> {
  const done = await readDone(job.store, outputs.done)
  if (!done) return undefined
  await job.store.remove(outputs.state)
  return { status: done.status, done, fresh: false }
}

/** @throws {AppError} what another attempt may mend; its checkpoint is left */
async function work(run: Run, held: Claim, control: Control): Promise<Outcome> {
  let state = held.state
  const note = (next: Checkpoint) => {
    state = next
  }
  try {
    if (state.phase === 'run') {
      const ended = await compute(run, held, control, note)
      if (ended === 'paused') {
        const moved = state.at.record > held.state.at.record
        await held.leave(moved || control.signal?.aborted ? state : afterTrouble(state))
        return { status: 'PAUSED', counts: state.counts, moved }
      }
    }
    const done = await publishRun(run, state)
    await held.close()
    if (!done) return { status: 'SKIPPED', reason: 'a newer version of the object has been answered' }
    return { status: done.status, done, fresh: true }
  } catch (e) {
    if (isLost(e)) return { status: 'BUSY' }
    if (isAppError(e) && e.code === 'INPUT_CHANGED') {
      await discardAll(run, state)
      await held.close()
      return { status: 'SKIPPED', reason: CHANGED }
    }
    const vanished = isAppError(e) && e.code === 'UPLOAD_GONE'
    if (vanished) await discardAll(run, state)
    // A failed attempt is no crash, unless it was one of a thread, so the lease goes and the checkpoint stays. Where even that fails,
    // the first error tells more.
    const ended = isAppError(e) && e.code === 'THREAD_ENDED'
    const left = vanished ? fresh(run.names.run) : ended ? afterTrouble(state) : state
    await held.leave(left).catch(() => undefined)
    throw e
  }
}

async function discardAll({ job, outputs }: Run, state: Checkpoint): Promise<void> {
  await discard(job.store, outputs.result, state.result)
  await discard(job.store, outputs.errors, state.errors)
}

/** What the event spoke of is not there any more. */
function overtaken(e: unknown): Outcome {
  const reason = isAppError(e) && { INPUT_CHANGED: CHANGED, NO_OBJECT: GONE }[e.code as string]
  if (!reason) throw e
  return { status: 'SKIPPED', reason }
}

const CHANGED = 'the object has changed since; its own event answers it'
const GONE = 'the object is gone'

async function inputOf(job: Job, item: Item): Promise<ObjectInfo | string> {
  const info = await job.store.stat(item)
  if (!info) return GONE
  const changed = item.versionId === undefined && item.etag !== undefined && item.etag !== info.etag
  if (changed) return CHANGED
  return whyNot(info.key, info.size) ?? info
}

/** A text says why there is nothing to run. */
function planRun(job: Job, item: Item, info: ObjectInfo): Run | string {
  const row = formatOf(item.key, job.format)
  if (!row) return 'no file type has this suffix'
  const { input, output } = job
  const key = keyBelow(input, item)
  const version = item.versionId ?? info.etag
  const modelDigest = digestOf(job.model)
  const { result, inputOptions, outputOptions, format } = job
  const { onlyErrors } = item
  const run = runDigest({ key, version, modelDigest, result, inputOptions, outputOptions, format, onlyErrors })
  const names = { prefix: output.prefix, key, run }
  const resultFormat: ResultFormat = RESULT_FORMATS[result]
  const outputs = outputsOf(output.bucket, names, resultFormat)
  const named = outputs.result.key.includes(names.run)
  return {
    job,
    item,
    info,
    format: row,
    resultFormat,
    names,
    named,
    unclaimed: named && row.single === true && onlyErrors === undefined,
    outputs,
    modelDigest,
  }
}

export async function readDone(store: ObjectStore, ref: ObjectRef): Promise<Done | undefined> {
  if (!(await store.stat(ref))) return undefined
  return JSON.parse((await readWhole(store, ref)).toString()) as Done
}

const digests = new WeakMap<Model, string>()

/** Of the manifest, which has the digests of all files of the model, and of its hooks. */
export function digestOf(model: Model): string {
  const known = digests.get(model)
  if (known !== undefined) return known
  const hash = createHash('sha256').update(JSON.stringify(model.manifest))
  if (model.hooks !== undefined) hash.update(readFileSync(model.hooks))
  const digest = hash.digest('hex').slice(0, 16)
  digests.set(model, digest)
  return digest
}

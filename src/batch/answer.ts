import { now } from '../clock.ts'
import { AppError } from '../errors.ts'
import { overrides } from '../hooks.ts'
import { toAppError } from '../log.ts'
import type { Model } from '../models.ts'
import { toNested } from '../nested.ts'
import { tensorsOf, toOutputs } from '../outputs.ts'
import { finish, infer, type Limits } from '../predict.ts'
import type { Feeds, Outputs, Tensors } from '../types.ts'
import { makeReady } from './ready.ts'
import { loadListed } from './records.ts'
import { bytesIn, isStackable, rowsOf, stack, stackKey, unstack } from './stack.ts'
import { createTuner } from './tuner.ts'
import type { BatchRecord, ReadContext, RecordInput, Result } from './types.ts'

/** What a record is named with. */
interface Failure {
  readonly code: string
  readonly reason: string
}

/** A record that is prepared: it has either of `ready` and `failure`. Its input is let go of. */
export interface Entry {
  readonly about: Pick<BatchRecord, 'record' | 'source'> & { readonly id: string }
  readonly kind: RecordInput['kind']
  readonly ready?: Feeds
  readonly failure?: Failure
}

export interface Answerer {
  /** Decodes and preprocesses; may run while others are in `answer`. Never rejects for what the record is to blame for. */
  prepare(record: BatchRecord, context: ReadContext, limits: Limits): Promise<Entry>
  /** One result each, in order. */
  answer(entries: readonly Entry[], limits: Limits): Promise<Result[]>
  readonly ms: { prepare: number; infer: number; finish: number }
}

/** Not of the record: whatever comes next would fail in the same way. */
const FATAL: ReadonlySet<string> = new Set(['LOAD_FAILED', 'DEADLINE'])
const STACK_BYTES = 32 * 2 ** 20

/** Records through a model: each prepared and finished by itself, stacked in between. */
export async function createAnswerer(model: Model, maxRows: number): Promise<Answerer> {
  const service = await model.service()
  const own = overrides(service, '_inference')
  const bare = !overrides(service, '_postprocess')
  let stackable = !own && maxRows > 1 && isStackable(model.signature)
  const tuner = createTuner(maxRows)
  const ms = { prepare: 0, infer: 0, finish: 0 }

  async function prepare(record: BatchRecord, context: ReadContext, limits: Limits): Promise<Entry> {
    const begin = now()
    const about = { record: record.record, id: record.id ?? String(record.record), source: record.source }
    let { kind } = record.input
    try {
      const input = record.input.kind === 'object' ? await loadListed(record.input.ref, context) : record.input
      kind = input.kind
      if (input.kind === 'object') throw new AppError('BAD_INPUT', { expected: 'a file', got: 'a list' })
      if (input.kind === 'bad') return { about, kind, failure: input }
      return { about, kind, ready: await makeReady(model, input, limits) }
    } catch (e) {
      return { about, kind, failure: ofRecord(e) }
    } finally {
      ms.prepare += now() - begin
    }
  }

  async function run(entries: readonly Entry[], limits: Limits): Promise<Done[]> {
    const feeds = entries.map((e) => e.ready as Tensors)
    const begin = now()
    try {
      const outputs = await infer(model, stack(feeds), limits)
      ms.infer += now() - begin
      if (entries.length === 1) return [{ entry: entries[0]!, outputs }]
      const rows = feeds.map(rowsOf)
      const split = unstack(tensorsOf(outputs), rows)
      if (split) {
        const total = rows.reduce((a, b) => a + b, 0)
        tuner.note(total, now() - begin)
        return split.map((t, i) => ({ entry: entries[i]!, tensors: t }))
      }
      // an output that has not one row for each row of input: this model takes one record at a time
      stackable = false
    } catch (e) {
      ms.infer += now() - begin
      const failure = ofRecord(e)
      if (entries.length === 1) return [{ entry: entries[0]!, failure }]
    }
    // whoever is to blame is found by halving
    const half = entries.length >> 1
    return [...(await run(entries.slice(0, half), limits)), ...(await run(entries.slice(half), limits))]
  }

  function finished(d: Done, limits: Limits): Result | Promise<Result> {
    const { about, kind } = d.entry
    if (d.failure) return { ok: false, ...about, code: d.failure.code, reason: d.failure.reason }
    const tensors = d.tensors ?? tensorsOf(d.outputs)
    const request = kind === 'data' || kind === 'file'
    if (bare && !request && !own) return { ok: true, ...about, body: withoutBatch(tensors), tensors }
    return finishedByHook(about, d.outputs ?? toOutputs(tensors), tensors, limits)
  }

  async function finishedByHook(about: Entry['about'], outputs: Outputs, tensors: Tensors, limits: Limits) {
    try {
      return { ok: true, ...about, body: await finish(model, outputs, limits), tensors } as const
    } catch (e) {
      return { ok: false, ...about, ...ofRecord(e) } as const
    }
  }

  return {
    ms,
    prepare,
    async answer(entries, limits) {
      const done = new Map<Entry, Done>()
      let group: Entry[] = []
      let key: string | undefined
      let bytes = 0
      const flush = async () => {
        if (group.length > 0) for (const d of await run(group, limits)) done.set(d.entry, d)
        group = []
        bytes = 0
      }
      for (const entry of entries) {
        if (entry.failure) {
          done.set(entry, { entry, failure: entry.failure })
          continue
        }
        const next = stackable ? stackKey(entry.ready as Tensors) : undefined
        if (next === undefined || next !== key) await flush()
        group.push(entry)
        key = next
        if (next !== undefined) bytes += bytesIn(entry.ready as Tensors)
        if (next === undefined || group.length >= tuner.rows || bytes >= STACK_BYTES) await flush()
      }
      await flush()
      const begin = now()
      const results = await Promise.all(entries.map((e) => finished(done.get(e)!, limits)))
      ms.finish += now() - begin
      return results
    },
  }
}

type Done = { readonly entry: Entry } & (
  | { readonly outputs: Outputs; readonly tensors?: undefined; readonly failure?: undefined }
  | { readonly tensors: Tensors; readonly outputs?: undefined; readonly failure?: undefined }
  | { readonly failure: Failure }
)

/** What a record is named with; what is not its fault is thrown on. */
function ofRecord(e: unknown): Failure {
  const error = toAppError(e)
  if (FATAL.has(error.code)) throw error
  return { code: error.code, reason: error.message }
}

/** A record that was given without the batch dimension is answered without it. */
function withoutBatch(tensors: Tensors): Outputs {
  return Object.fromEntries(
    Object.entries(tensors).map(([alias, t]) => {
      const nested = toNested(t)
      return [alias, Array.isArray(nested) && nested.length === 1 ? nested[0] : nested]
    }),
  )
}

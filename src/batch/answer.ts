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
import { bytesIn, isStackable, rowsOf, slice, stack, stackKey, unstack } from './stack.ts'
import { createTuner } from './tuner.ts'
import type { BatchRecord, Decoded, RecordInput, Result } from './types.ts'

/** What a record is named with. */
interface Failure {
  readonly code: string
  readonly reason: string
}

/** A record that is prepared, or several in one: it has either of `ready` and `failure`. Its input is let go of. */
export interface Entry {
  readonly about: Pick<BatchRecord, 'record' | 'source'> & { readonly id: string }
  readonly count: number
  readonly kind: RecordInput['kind']
  readonly ready?: Feeds
  readonly failure?: Failure
}

export interface Answerer {
  /** May run while others are in `answer`. Never fails for what the record is to blame for. */
  prepare(record: Decoded, limits: Limits): Entry | Promise<Entry>
  /** One result for each record, in order, and milliseconds of the graph and behind it. One call after the other. */
  answer(
    entries: readonly Entry[],
    limits: Limits,
  ): Promise<{ results: Result[]; ms: { infer: number; finish: number } }>
}

/** Not of the record: whatever comes next would fail in the same way. */
const FATAL: ReadonlySet<string> = new Set(['LOAD_FAILED', 'DEADLINE'])
const STACK_BYTES = 32 * 2 ** 20
/** rows that lie together and are as large as that gain less by other neighbours than copying costs */
const LARGE_BYTES = 2 ** 18

/** Rows of a run by their shape, as measured in this thread: measuring takes some thousand rows, at a rate that is a tenth lower. */
const FOUND = new WeakMap<Model, Map<string, number>>()

function foundFor(model: Model): Map<string, number> {
  const found = FOUND.get(model) ?? new Map<string, number>()
  FOUND.set(model, found)
  return found
}

/** Whether rows of several records go through the graph together. */
export async function stacks(model: Model, maxRows: number): Promise<boolean> {
  return maxRows > 1 && isStackable(model.signature) && !overrides(await model.service(), '_inference')
}

/** Records through a model: each prepared and finished by itself, stacked in between. */
export async function createAnswerer(model: Model, maxRows: number): Promise<Answerer> {
  const service = await model.service()
  const own = overrides(service, '_inference')
  const bare = !overrides(service, '_postprocess')
  let stackable = await stacks(model, maxRows)
  let tuner = createTuner(1)
  let tuned = false
  let inferred = 0

  /** What objects before have found holds for rows of the same shape. */
  function tune(entries: readonly Entry[]): void {
    const ready = entries.find((e) => e.ready)?.ready as Tensors | undefined
    if (!ready) return
    const key = `${maxRows} ${own ? '' : stackKey(ready)}`
    tuner = createTuner(maxRows, { known: foundFor(model).get(key), found: (rows) => foundFor(model).set(key, rows) })
    tuned = true
  }

  function prepare(r: Decoded, limits: Limits): Entry | Promise<Entry> {
    const { record, source, count = 1, id = String(record), input } = r
    const entry = { about: { record, id, source }, count, kind: input.kind }
    const failed = (e: unknown): Entry => ({ ...entry, failure: ofRecord(e) })
    try {
      if (input.kind === 'object') throw new AppError('BAD_INPUT', { expected: 'a file', got: 'a list' })
      if (input.kind === 'bad') return { ...entry, failure: input }
      const ready = makeReady(model, input, limits, count)
      return ready instanceof Promise
        ? ready.then((feeds) => ({ ...entry, ready: feeds }), failed)
        : { ...entry, ready }
    } catch (e) {
      return failed(e)
    }
  }

  /**
   * The graph without what stands around it in a request: between two runs, which leave nothing of ours in the CPU's caches, a layer costs
   * ten times what it does elsewhere. The deadline is looked at before, since nothing else goes on during a run.
   */
  async function graph(feeds: Tensors, { deadline }: Limits): Promise<Tensors> {
    if (deadline !== undefined && Date.now() >= deadline) throw new AppError('DEADLINE', { where: '_inference' })
    const session = await model.session()
    return session.run(feeds)
  }

  async function run(entries: readonly Entry[], limits: Limits): Promise<Done[]> {
    const begin = now()
    const [first] = entries as readonly [Entry]
    const alone = entries.length === 1 && first.count === 1
    try {
      if (own) return [{ entry: first, outputs: await infer(model, first.ready!, limits) }]
      const tensors = await graph(stack(entries.map((e) => e.ready as Tensors)), limits)
      if (alone) {
        tuner.note(rowsOf(first.ready as Tensors), now() - begin)
        return [{ entry: first, tensors }]
      }
      const rows = entries.flatMap((e) => (e.count > 1 ? Array<number>(e.count).fill(1) : [rowsOf(e.ready as Tensors)]))
      const split = unstack(tensors, rows)
      if (split) {
        const total = rows.reduce((a, b) => a + b, 0)
        tuner.note(total, now() - begin)
        return entries.flatMap(singles).map((entry, i) => ({ entry, tensors: split[i]! }))
      }
      // an output that has not one row for each row of input: this model takes one record at a time
      stackable = false
    } catch (e) {
      const failure = ofRecord(e)
      if (alone) return [{ entry: first, failure }]
    } finally {
      inferred += now() - begin
    }
    // whoever is to blame is found by halving
    const done: Done[] = []
    for (const half of halves(entries)) done.push(...(await run(half, limits)))
    return done
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
    prepare,
    async answer(entries, limits) {
      inferred = 0
      if (!tuned) tune(entries)
      const done = new Map<number, Done>()
      const keep = (d: Done) => done.set(d.entry.about.record, d)
      let group: Entry[] = []
      let key: string | undefined
      let rows = 0
      let bytes = 0
      const flush = async () => {
        if (group.length > 0) for (const d of await run(group, limits)) keep(d)
        group = []
        rows = 0
        bytes = 0
      }
      const add = async (entry: Entry) => {
        const next = stackable ? stackKey(entry.ready as Tensors) : undefined
        if (next === undefined || next !== key) await flush()
        group.push(entry)
        key = next
        rows += entry.count
        bytes += next === undefined ? 0 : bytesIn(entry.ready as Tensors)
        if (next === undefined || rows >= tuner.rows || bytes >= STACK_BYTES) await flush()
      }
      for (const entry of entries) {
        if (entry.failure) {
          for (const e of singles(entry)) keep({ entry: e, failure: entry.failure })
          continue
        }
        const large = entry.count > 1 && bytesIn(entry.ready as Tensors) >= LARGE_BYTES
        if (large) await flush()
        // how many rows suit the graph may be known better after each run
        for (let at = 0; at < entry.count; ) {
          const to = Math.min(entry.count, at + Math.max(1, stackable ? tuner.rows - rows : 1))
          const some = cut(entry, at, to)
          if (large) for (const d of await run([some], limits)) keep(d)
          else await add(some)
          at = to
        }
      }
      await flush()
      const begin = now()
      const all = entries.flatMap((e) => Array.from({ length: e.count }, (_, i) => done.get(e.about.record + i)!))
      const results = await Promise.all(all.map((d) => finished(d, limits)))
      return { results, ms: { infer: inferred, finish: now() - begin } }
    },
  }
}

/** `outputs` without tensors are of an `_inference` of the package. */
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

/** The records of an entry, each as one. */
function singles(entry: Entry): Entry[] {
  const { about, count, kind } = entry
  if (count === 1) return [entry]
  return Array.from({ length: count }, (_, i) => {
    const record = about.record + i
    return { about: { record, id: String(record) }, count: 1, kind }
  })
}

/** Some of the records of an entry. */
function cut(entry: Entry, from: number, to: number): Entry {
  const { about, count, kind, ready } = entry
  if (to - from === count) return entry
  const record = about.record + from
  return { about: { record, id: String(record) }, count: to - from, kind, ready: slice(ready as Tensors, from, to) }
}

function halves(entries: readonly Entry[]): readonly Entry[][] {
  const [first] = entries as readonly [Entry]
  const half = (entries.length === 1 ? first.count : entries.length) >> 1
  if (entries.length === 1) return [[cut(first, 0, half)], [cut(first, half, first.count)]]
  return [entries.slice(0, half), entries.slice(half)]
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

import { now } from '../clock.ts'
import { AppError, type ErrorCode, isAppError } from '../errors.ts'
import { overrides } from '../hooks.ts'
import { stacks } from './answer.ts'
import { ALONE, type Checkpoint, type Claim, type Hand, LEASE_MS } from './ledger.ts'
import { linesOf } from './lines.ts'
import {
  type Answered,
  createPart,
  type Part,
  type PartSpec,
  type Pending,
  type Written,
  writeResults,
  writing,
} from './part.ts'
import { type Chunk, chunksOf, loaded, recordsOf } from './records.ts'
import type { Control, Run } from './run.ts'
import { openSink } from './sink.ts'
import type { Threads } from './threads.ts'
import { isLarge } from './turns.ts'
import type { BatchRecord, Position, ReadContext, Result } from './types.ts'

/**
 * `ms`: a chunk should not take longer, so that time is looked at and the lease renewed often enough. What lists name is loaded whole, so
 * they get fewer, and fewer still where several chunks are on their way.
 */
const CHUNK = { first: 32, records: 256, lists: 32, threadedLists: 8, bytes: 4 * 2 ** 20, ms: 4_000 }
/** of records that are tiny there may be more: what is done once for a chunk costs more than they do */
const TINY = { records: 8_192, bytes: 2 ** 19, ms: 20 }
/** for the checkpoint itself, and for the function to answer */
const MARGIN_MS = 3_000
/** a file that ends the process this often before anything of it is in hand is given up */
const MAX_TRIES = 8

/** A file that is not what its name says, or damaged: as a whole or from some record on. */
const UNREADABLE: ReadonlySet<ErrorCode> = new Set([
  'BAD_INPUT',
  'BAD_RECORD',
  'BAD_JSON',
  'BAD_REQUEST',
  'BODY_TOO_LARGE',
])

/**
 * From the checkpoint to the end of the input, or as far as time goes. While one chunk is in the graph the next is decoded and the
 * results before it are on their way; nothing else is held.
 */
export async function compute(
  run: Run,
  held: Claim,
  control: Control,
  note: (state: Checkpoint) => void,
): Promise<'end' | 'paused'> {
  const { job, outputs, resultFormat, format } = run
  const { store, model } = job
  let state = held.state
  const set = (next: Checkpoint) => {
    state = next
    note(next)
  }
  const begin = now()
  const laps: Record<string, number> = { ...state.ms }
  const spent = state.ms.total ?? 0
  const context = await contextOf(run, state)
  const spec: PartSpec = {
    key: run.item.key,
    format: format.name,
    maxRows: job.maxRows,
    result: job.result,
    preprocess: context.preprocess,
    options: job.inputOptions,
    output: job.outputOptions,
    file: context.file,
  }
  const here = await createPart(model, spec)
  const threads = await threadsFor(run)?.open(spec)
  const writer = await resultFormat.open({
    ...writing(spec, model),
    ...(state.at.record > 0 && { state: state.writer }),
  })
  const { contentType, reserve } = resultFormat
  const fresh = state.at.record === 0
  const result = openSink(store, outputs.result, { contentType, reserve, ...(!fresh && { state: state.result }) })
  const errors = openSink(store, outputs.errors, {
    contentType: 'application/x-ndjson',
    ...(!fresh && { state: state.errors }),
  })
  let at = state.at
  let counts = state.counts
  control.progress?.(counts, at.offset)

  const emit = async ({ lines, errors: named, counts: more }: Written, next: Position) => {
    for (const bytes of Array.isArray(lines) ? lines : [lines]) await result.write(bytes)
    if (named !== '') await errors.write(named)
    counts = {
      records: counts.records + more.records,
      answered: counts.answered + more.answered,
      failed: counts.failed + more.failed,
    }
    at = next
    control.progress?.(counts, at.offset)
  }

  let hand: Hand | undefined
  let saved = now()
  const snapshot = async (more: Partial<Checkpoint> = {}): Promise<Checkpoint> => ({
    ...state,
    at,
    counts,
    ms: { ...rounded(laps), total: Math.round(spent + now() - begin) },
    result: await result.save(),
    errors: await errors.save(),
    writer: writer.state(),
    tries: at.record > state.at.record ? 0 : state.tries,
    ...more,
  })
  const checkpoint = async (more?: Partial<Checkpoint>) => {
    const next = await snapshot(more)
    await held.save(next)
    set(next)
    saved = now()
  }

  const limits = control.deadline === undefined ? {} : { deadline: control.deadline - MARGIN_MS / 2 }
  let slowest = 0
  let perRecord = 0
  let bytesPerRecord = CHUNK.bytes
  const timeLeft = () => {
    if (control.signal?.aborted) return false
    return control.deadline === undefined || Date.now() + 1.5 * slowest + MARGIN_MS < control.deadline
  }

  const load = async (part: Part, { items }: Chunk) => {
    const records = await Promise.all(items.map((r) => loaded(r, context)))
    return (await part.load?.(records)) ?? records
  }
  const submit = async (part: Part, records: ReturnType<typeof load>): Promise<Pending> =>
    part.submit(await records, limits)

  const land = async ({ written, results = [], ms }: Answered, next: Position) => {
    const before = counts.records
    for (const lap of ['prepare', 'infer', 'finish'] as const) laps[lap] = (laps[lap] ?? 0) + ms[lap]
    await emit(written ?? writeResults(writer, results), next)
    slowest = Math.max(slowest, ms.total)
    perRecord = ms.total / Math.max(1, counts.records - before)
  }

  // decoded, and where there are threads answered, while those before are; they land in their order
  const flights: { readonly pending: Promise<Pending>; readonly next: Position }[] = []
  const drain = async (left: number) => {
    while (flights.length > left) {
      const { pending, next } = flights.shift()!
      const answered = await pending
      await land(await answered(), next)
    }
  }
  const start = async (chunk: Chunk) => {
    const part = threads ?? here
    // what the disk has to find comes while those before are in the graph; objects that are loaded whole wait until those are out
    const early = format.lists ? undefined : load(part, chunk)
    early?.catch(() => undefined)
    await drain(threads ? threads.depth - 1 : 0)
    bytesPerRecord = Math.max(1, chunk.items.reduce((n, r) => n + r.bytes, 0) / (chunk.to - chunk.from))
    const pending = submit(part, early ?? load(part, chunk))
    // awaited, and told, when its turn comes
    pending.catch(() => undefined)
    flights.push({ pending, next: chunk.next })
  }

  const { onlyErrors, whole } = run.item
  const only = onlyErrors === undefined || whole ? undefined : await numbersIn(run, onlyErrors)
  const most = (record: number) => {
    if (record < state.suspectUntil || only) return 1
    const listed = threads ? CHUNK.threadedLists : CHUNK.lists
    if (perRecord === 0) return format.lists ? listed : CHUNK.first
    const most = Math.min(format.lists ? listed : CHUNK.records, CHUNK.ms / perRecord)
    // they go one by one where they are in hand at the end
    if (format.lists || record < state.watchUntil) return Math.max(1, Math.floor(most))
    const tiny = Math.min(TINY.records, TINY.ms / perRecord, TINY.bytes / bytesPerRecord)
    return Math.max(1, Math.floor(Math.max(most, tiny)))
  }
  const stacked = await stacks(model, job.maxRows)
  const chunks = chunksOf(
    recordsOf(format, { ...context, ...(stacked && { block: most }), buffers: threads?.buffers }),
    {
      count: most,
      bytes: CHUNK.bytes,
      ...(only && { wanted: (record: number) => only.has(record) }),
    },
  )
  try {
    // its head is read as well
    if (state.tries >= MAX_TRIES && !state.ended) throw unreadable(at)
    await checkHead(run, context)
    if (state.ended?.to === at.record) await reading(at)
    for await (const chunk of chunks) {
      if (!timeLeft()) return await paused()
      if (chunk.from < state.watchUntil) {
        await drain(0)
        await watched(chunk)
      } else await start(chunk)
      if (now() - saved > (control.leaseMs ?? LEASE_MS) / 4) await checkpoint()
    }
    if (flights.length > 0 && !timeLeft()) return await paused()
    await drain(0)
  } catch (e) {
    if (isAppError(e) && e.code === 'DEADLINE') return await paused()
    if (!isAppError(e) || !UNREADABLE.has(e.code)) throw e
    await drain(0)
    const bad = { ok: false, record: at.record, id: String(at.record), code: e.code, reason: e.message } as const
    await emit(writeResults(writer, [bad]), at)
    set({ ...state, error: { code: e.code, reason: e.message } })
  } finally {
    await Promise.all([here.close(), threads?.close()])
  }
  await result.write(writer.end())
  const sealed = { result: await result.seal(writer.head?.()), errors: await errors.save() }
  await checkpoint({ phase: 'publish', ...sealed })
  return 'end'

  async function paused(): Promise<'paused'> {
    set(await snapshot({ hand }))
    return 'paused'
  }

  /** What is in hand is written down first, so that the next attempt knows what ended this one. */
  async function watched(chunk: Chunk): Promise<void> {
    const { from, to, next } = chunk
    const { ended } = state
    const before = ended?.to === to && to - from === 1 ? ended : undefined
    if (before?.from === from && before.times >= ALONE) {
      await emit(writeResults(writer, [crashed(chunk.items[0]!)]), next)
      // so that nobody has to find it again
      return checkpoint()
    }
    hand = { from, to }
    await held.hold(hand)
    const answered = await submit(here, load(here, chunk))
    await land(await answered(), next)
    hand = undefined
    // it may have been this one, or the reading of the next
    if (before) await reading(next)
  }

  async function reading({ record }: Position): Promise<void> {
    // nothing comes after it
    if (format.single && record > 0) return
    const { ended } = state
    if (ended?.from === record && ended.to === record && ended.times >= ALONE) throw unreadable(at)
    await held.hold({ from: record, to: record })
  }
}

function unreadable({ record }: Position): AppError {
  return new AppError('BAD_INPUT', { where: `record ${record}`, got: 'what ends the process while it is read' })
}

function crashed({ record, id, source }: BatchRecord): Result {
  const reason = new AppError('CRASHED', { where: `record ${record}` }).message
  return { ok: false, record, id: id ?? String(record), source, code: 'CRASHED', reason }
}

async function contextOf(run: Run, { at }: Checkpoint): Promise<ReadContext> {
  const { job, info, item } = run
  const { store, model } = job
  const service = await model.service()
  const check = item.versionId === undefined ? { ifMatch: info.etag } : {}
  const bytes: ReadContext['bytes'] = (start, end, reuse) => store.read(item, { start, end, reuse, ...check })
  return {
    store,
    info,
    bytes,
    file: store.file?.(info),
    ...(at.record > 0 && { from: at }),
    signature: model.signature,
    fields: model.manifest.fields,
    preprocess: overrides(service, '_preprocess'),
    source: job.outputOptions.joinSource === 'Input',
    options: job.inputOptions,
  }
}

async function checkHead({ info, format }: Run, context: ReadContext): Promise<void> {
  if (format.single || context.from) return
  const head: Uint8Array[] = []
  for await (const chunk of context.bytes(0, Math.min(512, info.size))) head.push(chunk)
  if (format.match(Buffer.concat(head))) return
  throw new AppError('BAD_INPUT', { where: info.key, expected: `a file of type ${format.name}`, got: 'another' })
}

/** The records that an earlier run named. */
async function numbersIn({ job, outputs }: Run, key: string): Promise<Set<number>> {
  const numbers = new Set<number>()
  const { bucket } = outputs.errors
  for await (const { bytes } of linesOf(job.store.read({ bucket, key })))
    numbers.add((JSON.parse(bytes.toString()) as { record: number }).record)
  return numbers
}

function rounded(laps: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(laps).map(([lap, ms]) => [lap, Math.round(ms)]))
}

/** Smaller objects are done before another thread has heard of them. */
function threadsFor({ job, info, format }: Run): Threads | undefined {
  return isLarge(info, format) ? job.threads : undefined
}

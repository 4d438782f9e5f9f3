import { now } from '../clock.ts'
import { AppError, type ErrorCode, isAppError } from '../errors.ts'
import { overrides } from '../hooks.ts'
import { type Answerer, createAnswerer, type Entry } from './answer.ts'
import { ALONE, type Checkpoint, type Claim, LEASE_MS } from './ledger.ts'
import { linesOf } from './lines.ts'
import { type Chunk, chunksOf, recordsOf } from './records.ts'
import type { Control, Run } from './run.ts'
import { openSink } from './sink.ts'
import type { BatchRecord, Position, ReadContext, Result, ResultWriter } from './types.ts'

/** `ms`: a chunk should not take longer, so that time is looked at and the lease renewed often enough */
const CHUNK = { first: 32, records: 256, lists: 32, bytes: 8 * 2 ** 20, ms: 4_000 }
/** for the checkpoint itself, and for the function to answer */
const MARGIN_MS = 3_000
/** a file whose very reading ends the process this often is given up */
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
  const spent = state.ms
  const answerer = await createAnswerer(model, job.maxRows)
  const context = await contextOf(run, state.at)
  const writer = await resultFormat.open({
    key: run.item.key,
    format: format.name,
    signature: model.signature,
    options: job.outputOptions,
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

  const emit = async (answers: readonly Result[], next: Position) => {
    const results: Result[] = []
    const lines = answers.map((r) => {
      const { line, written } = lineOf(writer, r)
      results.push(written)
      return line
    })
    if (lines.every((l) => typeof l === 'string')) await result.write(lines.join(''))
    else for (const l of lines) await result.write(l)
    const failed = results.filter((r) => !r.ok)
    if (failed.length > 0) await errors.write(failed.map(errorLine).join(''))
    counts = {
      records: counts.records + results.length,
      answered: counts.answered + results.length - failed.length,
      failed: counts.failed + failed.length,
    }
    at = next
    control.progress?.(counts, at.offset)
  }

  let saved = now()
  const snapshot = async (more: Partial<Checkpoint> = {}): Promise<Checkpoint> => ({
    ...state,
    at,
    counts,
    ms: total(spent, answerer, now() - begin),
    result: await result.save(),
    errors: await errors.save(),
    writer: writer.state(),
    tries: at.record > state.at.record ? 0 : state.tries,
    hand: undefined,
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
  const timeLeft = () => {
    if (control.signal?.aborted) return false
    return control.deadline === undefined || Date.now() + 1.5 * slowest + MARGIN_MS < control.deadline
  }
  const answer = async (entries: readonly Promise<Entry>[], next: Position) => {
    const start = now()
    const before = counts.records
    await emit(await answerer.answer(await Promise.all(entries), limits), next)
    const took = now() - start
    slowest = Math.max(slowest, took)
    perRecord = took / Math.max(1, counts.records - before)
  }

  // decoded while the chunk before it is in the graph
  let ahead: Chunk<Taken> | undefined
  const drain = async () => {
    const chunk = ahead
    ahead = undefined
    if (chunk) await answer(chunk.items.map(prepared), chunk.next)
  }
  const prepared = (t: Taken) => t.entry ?? answerer.prepare(t.record!, context, limits)
  const take = (record: BatchRecord): Taken => {
    // what is watched waits until it is written down
    if (record.record < state.watchUntil) return { record }
    const entry = answerer.prepare(record, context, limits)
    // awaited, and told, when its turn comes
    entry.catch(() => undefined)
    return { entry }
  }

  const { onlyErrors, whole } = run.item
  const only = onlyErrors === undefined || whole ? undefined : await numbersIn(run, onlyErrors)
  const chunks = chunksOf(recordsOf(format, context), {
    count: (record) => {
      if (record < state.suspectUntil) return 1
      const most = perRecord === 0 ? CHUNK.first : format.lists ? CHUNK.lists : CHUNK.records
      return Math.max(1, Math.min(most, Math.floor(CHUNK.ms / perRecord)))
    },
    bytes: CHUNK.bytes,
    take,
    ...(only && { wanted: (record: number) => only.has(record) }),
  })
  try {
    await checkHead(run, context)
    if (state.tries >= MAX_TRIES && !state.hand)
      throw new AppError('BAD_INPUT', { where: `record ${at.record}`, got: 'what ends the process while it is read' })
    for await (const chunk of chunks) {
      if (!timeLeft()) return await paused()
      await drain()
      if (chunk.from < state.watchUntil) await watched(chunk)
      else ahead = chunk
      if (now() - saved > (control.leaseMs ?? LEASE_MS) / 4) await checkpoint()
    }
    if (ahead && !timeLeft()) return await paused()
    await drain()
  } catch (e) {
    if (isAppError(e) && e.code === 'DEADLINE') return await paused()
    if (!isAppError(e) || !UNREADABLE.has(e.code)) throw e
    await drain()
    const bad = { ok: false, record: at.record, id: String(at.record), code: e.code, reason: e.message } as const
    await emit([bad], at)
    set({ ...state, error: { code: e.code, reason: e.message } })
  }
  await result.write(writer.end())
  const sealed = { result: await result.seal(writer.head?.()), errors: await errors.save() }
  await checkpoint({ phase: 'publish', ...sealed })
  return 'end'

  async function paused(): Promise<'paused'> {
    set(await snapshot({ hand: state.hand }))
    return 'paused'
  }

  /** What is in hand is written down first, so that the next attempt knows what ended this one. */
  async function watched({ items, from, to, next }: Chunk<Taken>): Promise<void> {
    const same = items.length === 1 && state.hand?.from === from && state.hand.to === to
    const alone = same ? state.hand!.alone : 0
    if (alone >= ALONE) return emit([crashed(items[0]!.record!)], next)
    await checkpoint({ hand: { from, to, alone } })
    await answer(items.map(prepared), next)
  }
}

/** A record that is being prepared, or one that is to wait. */
interface Taken {
  readonly record?: BatchRecord
  readonly entry?: Promise<Entry>
}

function crashed({ record, id, source }: BatchRecord): Result {
  const reason = new AppError('CRASHED', { where: `record ${record}` }).message
  return { ok: false, record, id: id ?? String(record), source, code: 'CRASHED', reason }
}

function errorLine(r: Result): string {
  if (r.ok) return ''
  const { record, id, code, reason } = r
  return `${JSON.stringify({ record, id, code, reason })}\n`
}

async function contextOf(run: Run, at: Position): Promise<ReadContext> {
  const { job, info, item } = run
  const { store, model } = job
  const service = await model.service()
  const check = item.versionId === undefined ? { ifMatch: info.etag } : {}
  const bytes = (start?: number, end?: number) => store.read(item, { start, end, ...check })
  return {
    store,
    info,
    bytes,
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

/** A body that cannot be written names its record. */
function lineOf(writer: ResultWriter, r: Result): { line: string | Uint8Array; written: Result } {
  try {
    return { line: writer.write(r), written: r }
  } catch (e) {
    if (!isAppError(e) || !r.ok) throw e
    const { record, id, source } = r
    const written = { ok: false, record, id, source, code: e.code, reason: e.message } as const
    return { line: writer.write(written), written }
  }
}

/** The records that an earlier run named. */
async function numbersIn({ job, outputs }: Run, key: string): Promise<Set<number>> {
  const numbers = new Set<number>()
  const { bucket } = outputs.errors
  for await (const { bytes } of linesOf(job.store.read({ bucket, key })))
    numbers.add((JSON.parse(bytes.toString()) as { record: number }).record)
  return numbers
}

function total(before: Readonly<Record<string, number>>, { ms }: Answerer, wall: number) {
  const laps: Record<string, number> = { ...ms, total: wall }
  return Object.fromEntries(Object.entries(laps).map(([k, v]) => [k, Math.round((before[k] ?? 0) + v)]))
}

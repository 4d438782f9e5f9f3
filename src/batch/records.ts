import { AppError, isAppError } from '../errors.ts'
import { toAppError } from '../log.ts'
import { formatOf } from './formats/index.ts'
import type { BatchRecord, ObjectRef, Position, ReadContext, RecordFormat, RecordInput } from './types.ts'

/** The records of an object, those of the objects it lists included, numbered through. */
export function recordsOf(format: RecordFormat, context: ReadContext): AsyncIterable<BatchRecord> {
  if (format.single && context.from) return behindIt()
  return format.lists ? followed(format, context) : format.read(context)
}

/** An object of one record has no places inside. */
async function* behindIt(): AsyncGenerator<BatchRecord> {}

/** Where one is in a list: the place that yields the current object again, and the place inside of that. */
interface Inside {
  readonly outer?: Position
  readonly inner?: Position
}

async function* followed(format: RecordFormat, context: ReadContext): AsyncGenerator<BatchRecord> {
  const saved = context.from?.extra as Inside | undefined
  let record = context.from?.record ?? 0
  let inner = saved?.inner
  let outer = saved?.outer
  for await (const item of format.read({ ...context, from: outer })) {
    const { input } = item
    if (input.kind === 'object' && !isSingle(input.ref))
      for await (const r of recordsInside(input.ref, { ...context, from: inner, block: undefined })) {
        const extra: Inside = { outer, inner: r.next }
        const id = `${item.id ?? input.ref.key}#${r.id ?? r.record}`
        yield { ...r, record, id, next: { record: record + 1, extra } }
        record++
      }
    else {
      const extra: Inside = { outer: item.next }
      yield { ...item, record, next: { record: record + 1, extra } }
      record++
    }
    inner = undefined
    outer = item.next
  }
}

/** A file that cannot be read, or not to its end, is one bad record of the list. */
async function* recordsInside(ref: ObjectRef, context: ReadContext): AsyncGenerator<BatchRecord> {
  let next = context.from ?? { record: 0 }
  try {
    const { row, inside } = await openListed(ref, context)
    const decode = await row.decode?.(inside)
    for await (const r of row.read(inside)) {
      next = r.next
      // what comes after may be of another format
      yield r.input.kind === 'raw' ? { ...r, ...decode!(r.input) } : r
    }
  } catch (e) {
    if (!isAppError(e)) throw e
    const input: RecordInput = { kind: 'bad', code: e.code, reason: e.message }
    const end = Number.MAX_SAFE_INTEGER
    yield { record: next.record, input, bytes: 0, next: { record: next.record + 1, offset: end } }
  }
}

/** A key whose type nobody knows is a single file too: it is refused when its turn comes. */
function isSingle(ref: ObjectRef): boolean {
  const row = formatOf(ref.key)
  return row === undefined || row.single === true
}

async function openListed(ref: ObjectRef, context: ReadContext) {
  const row = formatOf(ref.key)
  if (!row || row.lists)
    throw new AppError('BAD_INPUT', {
      where: ref.key,
      expected: 'a file of a known type',
      got: row ? 'a list' : 'another',
    })
  const info = await context.store.stat(ref)
  if (!info) throw new AppError('NO_OBJECT', { where: ref.key, expected: 'an object', got: 'none' })
  const bytes = (start?: number, end?: number) => context.store.read(ref, { start, end, ifMatch: info.etag })
  return { row, inside: { ...context, info, bytes, file: undefined } satisfies ReadContext }
}

/** What a list names is read when its turn comes. What is wrong with it is its own. */
export async function loaded(record: BatchRecord, context: ReadContext): Promise<BatchRecord> {
  if (record.input.kind !== 'object') return record
  try {
    return { ...record, input: await loadListed(record.input.ref, context) }
  } catch (e) {
    const { code, message } = toAppError(e)
    return { ...record, input: { kind: 'bad', code, reason: message } }
  }
}

/** What an object of a list holds, where that is one record. */
async function loadListed(ref: ObjectRef, context: ReadContext): Promise<RecordInput> {
  const { row, inside } = await openListed(ref, { ...context, from: undefined })
  for await (const r of row.read(inside)) {
    if (r.input.kind !== 'object' && r.input.kind !== 'raw') return r.input
    throw new AppError('BAD_INPUT', { where: ref.key, expected: 'a file', got: 'a list' })
  }
  throw new AppError('BAD_INPUT', { where: ref.key, expected: 'a record', got: 'none' })
}

export interface ChunkLimits {
  /** how many records a chunk that begins with this one may have */
  count(record: number): number
  readonly bytes: number
  /** records that are passed over, because they were answered before */
  wanted?(record: number): boolean
}

export interface Chunk {
  readonly items: readonly BatchRecord[]
  /** number of the first record, and of the one after the last */
  readonly from: number
  readonly to: number
  readonly next: Position
}

/** Consecutive records, few enough to be held. A source that fails does so after the records before are out. */
export async function* chunksOf(
  records: AsyncIterable<BatchRecord>,
  { count, bytes, wanted }: ChunkLimits,
): AsyncGenerator<Chunk> {
  let items: BatchRecord[] = []
  let held = 0
  let from = 0
  let size = 0
  let room = 0
  let last: BatchRecord | undefined
  let failed: { readonly error: unknown } | undefined
  const cut = (): Chunk => {
    const chunk = { items, from, to: last!.record + (last!.count ?? 1), next: last!.next }
    items = []
    held = 0
    return chunk
  }
  const source = records[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await source.next().catch((error: unknown) => {
        failed = { error }
        return undefined
      })
      if (!next || next.done) break
      const r = next.value
      if (wanted && !wanted(r.record)) continue
      if (items.length > 0 && (size + r.bytes > bytes || held + (r.count ?? 1) > room)) yield cut()
      if (items.length === 0) {
        from = r.record
        size = 0
        room = count(r.record)
      }
      items.push(r)
      held += r.count ?? 1
      size += r.bytes
      last = r
      if (held >= room) yield cut()
    }
    if (items.length > 0) yield cut()
  } finally {
    await source.return?.()
  }
  if (failed) throw failed.error
}

import { Gatherer } from '../../gather.ts'
import { isNpy, type NpyHeader } from '../../npy.ts'
import { type DType, fromBytes, type Tensor } from '../../tensor.ts'
import { isShared } from '../buffers.ts'
import type { Memory } from '../numeric.ts'
import type {
  BatchRecord,
  Decode,
  DecodeContext,
  Named,
  Raw,
  ReadContext,
  RecordFormat,
  Reuse,
  Span,
} from '../types.ts'
import { broken, maxOf } from './limits.ts'
import { type NpyRows, openRows, rowsOf } from './rows.ts'
import { attempt } from './value.ts'

/** Rows along the first axis of an array, for a model with one input. */
export const npy = {
  name: 'npy',
  suffixes: ['.npy'],
  match: isNpy,
  read: readArray,
  decode: rowDecoder,
} as const satisfies RecordFormat

/** What decoding rows needs to know. */
interface About {
  readonly header: NpyHeader
  readonly where: string
}

async function* readArray(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { info, signature, from, file } = context
  const head = gather(context, 0)
  let rows: NpyRows
  try {
    rows = await openRows(head, signature.inputs[aliasOf(context, info.key)]!, info.key, maxOf(context))
  } finally {
    await head.close()
  }
  const about: About = { header: rows.header, where: info.key }
  let record = from?.record ?? 0
  const blocks = file ? spansOf(context, rows, record) : blocksOf(context, rows, record)
  for await (const { count, input } of blocks) {
    const first = record
    record += count
    yield {
      record: first,
      ...(count > 1 && { count }),
      input: { ...input, about },
      bytes: count * rows.width,
      next: { record, offset: rows.offset(record) },
    }
  }
}

function aliasOf({ signature: { inputs } }: DecodeContext, where: string): string {
  const [alias, ...more] = Object.keys(inputs).filter((a) => !inputs[a]!.optional)
  if (alias !== undefined && more.length === 0) return alias
  throw broken(where, `a .npz with ${[alias, ...more].filter((a) => a !== undefined).join(', ')}`, 'a single array')
}

interface Block {
  readonly count: number
  readonly input: Raw | Span
}

/** how many bytes of rows are one; those of spans are nowhere but where they are answered */
const BLOCK_BYTES = { read: 4 * 2 ** 20, span: 8 * 2 ** 20 }

function sizeOfBlock({ block, file }: ReadContext, { width, count }: NpyRows, record: number): number {
  const bytes = file ? BLOCK_BYTES.span : BLOCK_BYTES.read
  return Math.max(1, Math.min(block?.(record) ?? 1, Math.floor(bytes / width), count - record))
}

/** Where rows lie, for whoever reads them. */
function* spansOf(context: ReadContext, rows: NpyRows, record: number): Generator<Block> {
  const { size, key } = context.info
  const whole = Math.min(rows.count, Math.floor((size - rows.offset(0)) / rows.width))
  while (record < whole) {
    const count = Math.min(whole - record, sizeOfBlock(context, rows, record))
    yield { count, input: { kind: 'span', start: rows.offset(record), size: count * rows.width } }
    record += count
  }
  if (record < rows.count) throw ended(rows, `${key}, row ${record}`, size - rows.offset(record))
}

async function* blocksOf(context: ReadContext, rows: NpyRows, record: number): AsyncGenerator<Block> {
  const rooms = roomsFor(context, rows, record)
  const bytes = gather(context, rows.offset(record), rooms.ahead)
  try {
    while (record < rows.count) {
      // the store asks for its memory first
      await bytes.ready()
      const room = rooms.next()
      const filled = await bytes.fill(room)
      const count = Math.floor(filled / rows.width)
      if (count > 0) yield { count, input: { kind: 'raw', bytes: room.subarray(0, count * rows.width) } }
      record += count
      if (filled < room.length && record < rows.count)
        throw ended(rows, `${context.info.key}, row ${record}`, filled % rows.width)
    }
  } finally {
    await bytes.close()
  }
}

function gather(context: ReadContext, start: number, reuse?: Reuse): Gatherer {
  return new Gatherer(context.bytes(start, undefined, reuse)[Symbol.asyncIterator](), start)
}

/** Memory for the next rows; for several, that which threads see too. A store that reads ahead is given it ahead. */
function roomsFor(context: ReadContext, rows: NpyRows, first: number) {
  const { buffers } = context
  const given: Buffer[] = []
  let record = first
  const make = (): Buffer => {
    const most = sizeOfBlock(context, rows, record)
    const size = most * rows.width
    record += most
    return most > 1 && buffers ? Buffer.from(buffers.take(size), 0, size) : Buffer.allocUnsafeSlow(size)
  }
  return {
    ahead: () => given[given.push(make()) - 1]!,
    next: () => given.shift() ?? make(),
  }
}

/** One row. @throws {AppError} BAD_INPUT where the file ends before */
export async function takeRow(bytes: Gatherer, rows: NpyRows, where: string): Promise<Buffer> {
  const row = await bytes.take(rows.width)
  if (row.length < rows.width) throw ended(rows, where, row.length)
  return row
}

const ended = ({ width }: NpyRows, where: string, left: number) =>
  broken(where, `${width} bytes`, `${Math.max(0, left)}, and the end of the file`)

async function rowDecoder(context: DecodeContext, memory?: Memory): Promise<Decode> {
  const { signature } = context
  return ({ bytes, about }, count) =>
    attempt<Named>(
      () => {
        const { header, where } = about as About
        const alias = aliasOf(context, where)
        const tensor = rowsOf(header, signature.inputs[alias]!, where, maxOf(context)).tensor(bytes, count)
        return { input: { kind: 'tensors', tensors: { [alias]: own(tensor, memory) } } }
      },
      (input) => ({ input }),
    )
}

/** In memory of this thread: onnxruntime's binding takes no other. */
function own(t: Tensor, memory: Memory | undefined): Tensor {
  const { data } = t
  if (Array.isArray(data) || !isShared(data.buffer)) return t
  const place = memory?.take(data.byteLength) ?? new ArrayBuffer(data.byteLength)
  const bytes = new Uint8Array(place, 0, data.byteLength)
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  return fromBytes(t.dtype as Exclude<DType, 'string'>, t.shape, bytes)
}

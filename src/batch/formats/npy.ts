import { Gatherer } from '../../gather.ts'
import { isNpy } from '../../npy.ts'
import type { Tensor } from '../../tensor.ts'
import type { BatchRecord, ReadContext, RecordFormat, RecordInput, Reuse } from '../types.ts'
import { broken, maxOf } from './limits.ts'
import { type NpyRows, openRows } from './rows.ts'
import { attempt } from './value.ts'

/** Rows along the first axis of an array, for a model with one input. */
export const npy = {
  name: 'npy',
  suffixes: ['.npy'],
  match: isNpy,
  read: readArray,
} as const satisfies RecordFormat

async function* readArray(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { info, signature, from } = context
  const aliases = Object.keys(signature.inputs).filter((a) => !signature.inputs[a]!.optional)
  const alias = aliases[0]
  if (alias === undefined || aliases.length > 1)
    throw broken(info.key, `a .npz with ${aliases.join(', ')}`, 'a single array')
  const head = gather(context, 0)
  let rows: NpyRows
  try {
    rows = await openRows(head, signature.inputs[alias]!, info.key, maxOf(context))
  } finally {
    await head.close()
  }
  let record = from?.record ?? 0
  const rooms = roomsFor(context, rows, record)
  const bytes = gather(context, rows.offset(record), rooms.ahead)
  try {
    while (record < rows.count) {
      const start = bytes.at
      // the store asks for its memory first
      await bytes.ready()
      const room = rooms.next()
      const block = wholeRows(room.subarray(0, await bytes.fill(room)), rows, `${info.key}, row ${record}`)
      for (const { tensor, first, count } of rowTensors(rows, block)) {
        record += count
        yield {
          record: record - count,
          ...(count > 1 && { count }),
          input: tensor.kind === 'bad' ? tensor : { kind: 'tensors', tensors: { [alias]: tensor.tensor } },
          bytes: count * rows.width,
          next: { record, offset: start + (first + count) * rows.width },
        }
      }
    }
  } finally {
    await bytes.close()
  }
}

function gather(context: ReadContext, start: number, reuse?: Reuse): Gatherer {
  return new Gatherer(context.bytes(start, undefined, reuse)[Symbol.asyncIterator](), start)
}

/** how many bytes of rows are read as one */
const BLOCK_BYTES = 2 * 2 ** 20

/** Memory for the next rows; for several, that which threads see too. A store that reads ahead is given it ahead. */
function roomsFor({ block, buffers }: ReadContext, { width, count }: NpyRows, first: number) {
  const given: Buffer[] = []
  let record = first
  const make = (): Buffer => {
    const most = Math.max(1, Math.min(block?.(record) ?? 1, Math.floor(BLOCK_BYTES / width), count - record))
    const size = most * width
    record += most
    return most > 1 && buffers ? Buffer.from(buffers.take(size), 0, size) : Buffer.allocUnsafeSlow(size)
  }
  return {
    ahead: () => given[given.push(make()) - 1]!,
    next: () => given.shift() ?? make(),
  }
}

/** Whole rows, fewer than wanted where the file ends before; at least one. */
export async function takeRows(bytes: Gatherer, rows: NpyRows, count: number, where: string): Promise<Buffer> {
  return wholeRows(await bytes.take(count * rows.width), rows, where)
}

function wholeRows(bytes: Buffer, { width }: NpyRows, where: string): Buffer {
  if (bytes.length >= width) return bytes.subarray(0, bytes.length - (bytes.length % width))
  throw broken(where, `${width} bytes`, `${bytes.length}, and the end of the file`)
}

/** All rows as one tensor; where one of them holds what the input cannot, each by itself. */
function* rowTensors(rows: NpyRows, block: Buffer): Generator<{ tensor: Rows | Bad; first: number; count: number }> {
  const count = block.length / rows.width
  const read = (first: number, n: number) =>
    attempt<Rows | Bad>(
      () => ({ kind: 'rows', tensor: rows.tensor(block.subarray(first * rows.width, (first + n) * rows.width), n) }),
      (bad) => bad as Bad,
    )
  const all = read(0, count)
  if (count === 1 || all.kind === 'rows') return yield { tensor: all, first: 0, count }
  // each by itself may go to another thread, and their memory with it
  block = Buffer.from(block)
  for (let first = 0; first < count; first++) yield { tensor: read(first, 1), first, count: 1 }
}

type Rows = { readonly kind: 'rows'; readonly tensor: Tensor }
type Bad = Extract<RecordInput, { kind: 'bad' }>

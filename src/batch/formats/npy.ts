import { Gatherer } from '../../gather.ts'
import { isNpy } from '../../npy.ts'
import type { BatchRecord, ReadContext, RecordFormat, RecordInput } from '../types.ts'
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
  const bytes = gather(context, rows.offset(record))
  try {
    for (; record < rows.count; ) {
      const row = await takeRow(bytes, rows, `${info.key}, row ${record}`)
      yield {
        record,
        input: attempt<RecordInput>(
          () => ({ kind: 'tensors', tensors: { [alias]: rows.tensor(row) } }),
          (input) => input,
        ),
        bytes: row.length,
        next: { record: ++record, offset: bytes.at },
      }
    }
  } finally {
    await bytes.close()
  }
}

function gather(context: ReadContext, start: number): Gatherer {
  return new Gatherer(context.bytes(start)[Symbol.asyncIterator](), start)
}

export async function takeRow(bytes: Gatherer, { width }: NpyRows, where: string): Promise<Buffer> {
  const row = await bytes.take(width)
  if (row.length === width) return row
  throw broken(where, `${width} bytes`, `${row.length}, and the end of the file`)
}

import { Gatherer } from '../../gather.ts'
import type { TensorSpec } from '../../manifest.ts'
import type { Tensor } from '../../tensor.ts'
import type { BatchRecord, ReadContext, RecordFormat, RecordInput } from '../types.ts'
import { entriesOf, isZip, openEntry, type ZipEntry } from './central.ts'
import { broken, maxOf } from './limits.ts'
import { takeRow } from './npy.ts'
import { type NpyRows, openRows } from './rows.ts'
import { attempt } from './value.ts'

/** An array for each input, by its name, all with the same number of rows; with one array and one input any name will do. */
export const npz = {
  name: 'npz',
  suffixes: ['.npz'],
  match: isZip,
  read: readArrays,
} as const satisfies RecordFormat

interface Column {
  readonly alias: string
  readonly rows: NpyRows
  readonly bytes: Gatherer
}

async function* readArrays(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { info, from } = context
  let record = from?.record ?? 0
  const columns: Column[] = []
  try {
    for (const [alias, spec, entry] of await columnsOf(context)) {
      const column = await openColumn(context, alias, spec, entry, record)
      columns.push(column)
    }
    const count = columns[0]!.rows.count
    const other = columns.find((c) => c.rows.count !== count)
    if (other) throw broken(`${info.key}, ${other.alias}`, `${count} rows`, `${other.rows.count}`)
    while (record < count) {
      const where = `${info.key}, row ${record}`
      const rows: Buffer[] = []
      for (const c of columns) rows.push(await takeRow(c.bytes, c.rows, `${where} of ${c.alias}`))
      yield {
        record,
        input: attempt<RecordInput>(
          () => ({ kind: 'tensors', tensors: tensorsOf(columns, rows) }),
          (input) => input,
        ),
        bytes: rows.reduce((n, r) => n + r.length, 0),
        next: { record: ++record },
      }
    }
  } finally {
    for (const c of columns) await c.bytes.close()
  }
}

const tensorsOf = (columns: readonly Column[], rows: readonly Buffer[]): Record<string, Tensor> =>
  Object.fromEntries(columns.map((c, i) => [c.alias, c.rows.tensor(rows[i]!)]))

async function columnsOf(context: ReadContext): Promise<[string, TensorSpec, ZipEntry][]> {
  const { info, signature } = context
  const arrays = new Map<string, ZipEntry>()
  for await (const entry of entriesOf(context)) {
    if (arrays.size >= MAX_ARRAYS) throw broken(info.key, `at most ${MAX_ARRAYS} arrays`, 'more')
    if (entry.name.endsWith('.npy')) arrays.set(entry.name.slice(0, -4), entry)
  }
  const inputs = Object.entries(signature.inputs)
  const [only] = arrays.values()
  const needed = inputs.filter(([, i]) => !i.optional)
  if (only && arrays.size === 1 && needed.length === 1) return [[...needed[0]!, only]]
  const found = inputs.flatMap(([alias, spec]): [string, TensorSpec, ZipEntry][] => {
    const entry = arrays.get(alias)
    return entry ? [[alias, spec, entry]] : []
  })
  const missing = needed.find(([alias]) => !arrays.has(alias))
  if (missing || found.length === 0)
    throw broken(
      info.key,
      `arrays ${needed.map(([alias]) => alias).join(', ')}`,
      [...arrays.keys()].join(', ') || 'none',
    )
  return found
}

const MAX_ARRAYS = 64

async function openColumn(
  context: ReadContext,
  alias: string,
  spec: TensorSpec,
  entry: ZipEntry,
  record: number,
): Promise<Column> {
  const head = new Gatherer(openEntry(context, entry))
  let rows: NpyRows
  try {
    rows = await openRows(head, spec, `${context.info.key}, ${entry.name}`, maxOf(context))
  } finally {
    await head.close()
  }
  const start = rows.offset(record)
  return { alias, rows, bytes: new Gatherer(openEntry(context, entry, start), start) }
}

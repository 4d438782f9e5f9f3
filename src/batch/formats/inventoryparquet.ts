import type { FileMetaData } from 'hyparquet'
import type { ReadContext } from '../types.ts'
import type { Entry, InventoryRow } from './inventory.ts'
import { broken } from './limits.ts'
import { codecs, guarded, openFile } from './parquet.ts'

const COLUMNS = ['bucket', 'key', 'is_latest', 'is_delete_marker', 'size'] as const

/** rows that are held at a time: inventories have row groups of millions */
const ROWS = 2 ** 16
/** bytes that these columns of a row group may have, unpacked */
const MAX_GROUP = 2 ** 28

/** The rows of a Parquet file of an S3 Inventory, from a row on. Its keys are not encoded. */
export async function* rowsOfParquet(context: ReadContext, start: number): AsyncGenerator<Entry> {
  const { info } = context
  const { parquetMetadataAsync, parquetReadObjects, parquetSchema } = await import('hyparquet')
  const file = await openFile(context)
  const metadata = await guarded(`${info.key}, its footer`, () => parquetMetadataAsync(file))
  const names = await guarded(info.key, async () => parquetSchema(metadata).children.map((c) => c.element.name))
  const columns = COLUMNS.filter((c) => names.includes(c))
  if (!columns.includes('bucket') || !columns.includes('key'))
    throw broken(info.key, 'columns bucket and key', names.slice(0, 8).join(', '))
  const compressors = await codecs()
  let end = 0
  for (const [i, group] of metadata.row_groups.entries()) {
    const first = end
    end += rowsIn(group, `${info.key}, row group ${i}`, columns)
    for (let at = Math.max(first, start); at < end; at += ROWS) {
      const rowEnd = Math.min(at + ROWS, end)
      const options = { file, metadata, compressors, columns, rowStart: at, rowEnd }
      const rows = await guarded(`${info.key}, row ${at}`, () => parquetReadObjects(options))
      if (rows.length !== rowEnd - at) throw broken(`${info.key}, row ${at}`, `${rowEnd - at} rows`, `${rows.length}`)
      for (const [k, row] of rows.entries()) yield { row: rowOf(row), next: at + k + 1 }
    }
  }
}

function rowsIn(group: FileMetaData['row_groups'][number], where: string, columns: readonly string[]): number {
  const count = Number(group.num_rows)
  let size = 0
  for (const { meta_data: column } of group.columns)
    if (columns.includes(column?.path_in_schema[0] ?? '')) size += Number(column?.total_uncompressed_size)
  if (Number.isSafeInteger(count) && count >= 0 && size <= MAX_GROUP) return count
  throw broken(where, `a number of rows and at most ${MAX_GROUP} unpacked bytes`, `${count} rows, ${size} bytes`)
}

function rowOf({ bucket, key, is_latest, is_delete_marker, size }: Readonly<Record<string, unknown>>): InventoryRow {
  return {
    ...(typeof bucket === 'string' && { bucket }),
    ...(typeof key === 'string' && { key }),
    ...(typeof is_latest === 'boolean' && { latest: is_latest }),
    ...(typeof is_delete_marker === 'boolean' && { deleted: is_delete_marker }),
    // an int64 column
    ...((typeof size === 'bigint' || typeof size === 'number') && { size: Number(size) }),
  }
}

import type { RowGroup, SchemaElement } from 'hyparquet'
import type { ByteWriter, ParquetWriter } from 'hyparquet-writer'
import { stringify } from '../../json.ts'
import { selector } from '../jsonpath.ts'
import type { ResultFormat } from '../types.ts'

/** Rows that wait for their group stand in each checkpoint. */
const GROUP = { rows: 8192, bytes: 2 ** 20 }

const SCHEMA: SchemaElement[] = [
  { name: 'root', num_children: 3 },
  { name: 'record', type: 'INT64', repetition_type: 'REQUIRED' },
  { name: 'id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'result', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
]

type Row = readonly [record: number, id: string, result: string]

interface State {
  readonly rows: readonly Row[]
  readonly offset: number
  /** JSON of row groups, whose sizes are 64 bits wide */
  readonly groups: string
}

/** A row for each answered record: its number, its id, and the body as the text that JSON Lines would have. */
export const parquetResult = {
  name: 'parquet',
  contentType: 'application/vnd.apache.parquet',
  key: ({ prefix, key, run }) => `${prefix}${key}.${run}.parquet`,
  async open({ options, state }) {
    // loaded by those who write such files
    const { ByteWriter, ParquetWriter } = await import('hyparquet-writer')
    const filter = await selector(options.outputFilter, 'outputFilter')
    const bytes = new ByteWriter()
    const file = new ParquetWriter({ writer: bytes, schema: SCHEMA, statistics: false })
    const saved = state as State | undefined
    if (saved) resume(file, bytes, saved)
    let rows: Row[] = [...(saved?.rows ?? [])]
    let waiting = rows.reduce((n, r) => n + sizeOf(r), 0)

    function group(): Uint8Array {
      file.write({
        columnData: [
          { name: 'record', data: rows.map((r) => BigInt(r[0])), offsetIndex: false },
          { name: 'id', data: rows.map((r) => r[1]), offsetIndex: false },
          { name: 'result', data: rows.map((r) => r[2]), offsetIndex: false },
        ],
        rowGroupSize: rows.length,
      })
      // they are of pages, and none was asked for
      file.pendingIndexes = []
      rows = []
      waiting = 0
      return taken(bytes)
    }

    return {
      write(r) {
        if (!r.ok) return ''
        const row: Row = [r.record, r.id, stringify(filter ? (filter(r.body) ?? null) : r.body)]
        rows.push(row)
        waiting += sizeOf(row)
        return rows.length >= GROUP.rows || waiting >= GROUP.bytes ? group() : ''
      },
      end() {
        const last = rows.length > 0 ? group() : new Uint8Array(0)
        file.finish()
        return Buffer.concat([last, taken(bytes)])
      },
      state: () =>
        ({
          rows: [...rows],
          offset: bytes.offset - bytes.index,
          groups: JSON.stringify(file.row_groups, (_, v: unknown) => (typeof v === 'bigint' ? { n: String(v) } : v)),
        }) satisfies State,
    }
  },
} as const satisfies ResultFormat

const sizeOf = ([, id, result]: Row) => 16 + id.length + result.length

/** What has been written since the last time. */
function taken(bytes: ByteWriter): Uint8Array {
  const out = Uint8Array.from(bytes.getBytes())
  bytes.index = 0
  return out
}

function resume(file: ParquetWriter, bytes: ByteWriter, { offset, groups }: State): void {
  // nothing is out yet, not even the magic bytes that stand in the writer
  if (offset === 0) return
  bytes.index = 0
  bytes.offset = offset
  file.row_groups = JSON.parse(groups, (_, v: unknown) => (isWide(v) ? BigInt(v.n) : v)) as RowGroup[]
  file.num_rows = file.row_groups.reduce((n, g) => n + g.num_rows, 0n)
}

function isWide(v: unknown): v is { readonly n: string } {
  return typeof v === 'object' && v !== null && 'n' in v && typeof v.n === 'string'
}

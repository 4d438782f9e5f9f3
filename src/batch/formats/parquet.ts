import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { AsyncBuffer, Compressors } from 'hyparquet'
import { isAppError } from '../../errors.ts'
import { stringify } from '../../json.ts'
import type { BatchRecord, Named, ReadContext, RecordFormat } from '../types.ts'
import { readRange } from './central.ts'
import { broken } from './limits.ts'
import { attempt, isObject, rowValue, takesRequests, valueReader } from './value.ts'

/** Rows with the names of columns; row groups are read one after the other, of their columns those that are needed. */
export const parquet = {
  name: 'parquet',
  suffixes: ['.parquet', '.pq'],
  match: isParquet,
  read: readRows,
} as const satisfies RecordFormat

function isParquet(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(0, 4)).toString('latin1') === 'PAR1'
}

/** What a row group may take when it is unpacked: it is held as a whole. */
const MAX_GROUP = 2 ** 28
const MAX_ROWS = 2 ** 22
const MAX_FOOTER = 2 ** 26

async function* readRows(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { info, from } = context
  // loaded by those who have such files
  const { parquetMetadataAsync, parquetReadObjects, parquetSchema } = await import('hyparquet')
  const file = await openFile(context)
  const metadata = await guarded(`${info.key}, its footer`, () => parquetMetadataAsync(file))
  const names = await guarded(info.key, async () => parquetSchema(metadata).children.map((c) => c.element.name))
  const columns = neededOf(names, context)
  const compressors = await codecs()
  const read = await valueReader(context, (row) => (isObject(row) ? rowValue(row, context) : row))
  let record = from?.record ?? 0
  let end = 0
  for (const [i, group] of metadata.row_groups.entries()) {
    const start = end
    const where = `${info.key}, row group ${i}`
    const [count, size] = [Number(group.num_rows), Number(group.total_byte_size)]
    if (!(count >= 0 && count <= MAX_ROWS && size <= MAX_GROUP))
      throw broken(where, `at most ${MAX_ROWS} rows and ${MAX_GROUP} unpacked bytes`, `${count} rows, ${size} bytes`)
    end += count
    if (record >= end) continue
    const options = { file, metadata, compressors, rowStart: record, rowEnd: end, ...(columns && { columns }) }
    const rows = await guarded(where, () => parquetReadObjects(options))
    if (rows.length !== end - record) throw broken(where, `${end - start} rows`, `${rows.length}`)
    for (const cells of rows) {
      const row = plain(cells) as Record<string, unknown>
      const named = attempt<Named>(
        () => read(row),
        (input) => ({ input }),
      )
      const bytes = Math.ceil(size / Math.max(1, count))
      yield { record, ...named, bytes, next: { record: ++record }, ...(context.source && { source: stringify(row) }) }
    }
  }
}

/** The columns that are inputs or the id, where nobody asked for more. */
function neededOf(names: readonly string[], context: ReadContext): string[] | undefined {
  const { signature, options, source } = context
  if (source || takesRequests(context) || options.inputFilter !== undefined) return undefined
  const wanted = new Set([...Object.keys(signature.inputs), options.idField])
  const needed = Object.entries(signature.inputs).filter(([, i]) => !i.optional)
  return needed.every(([alias]) => names.includes(alias)) ? names.filter((n) => wanted.has(n)) : undefined
}

export async function openFile(context: ReadContext): Promise<AsyncBuffer> {
  const { size, key } = context.info
  const tail = await readRange(context, Math.max(0, size - 8), size)
  if (size < 12 || tail.toString('latin1', 4) !== 'PAR1') throw broken(key, 'a footer', 'none, so the file is cut')
  const footer = tail.readUInt32LE()
  if (footer > Math.min(MAX_FOOTER, size)) throw broken(key, `a footer of ${MAX_FOOTER} bytes`, `${footer}`)
  return {
    byteLength: size,
    slice: async (start, end) => {
      const bytes = await readRange(context, start, Math.min(end ?? size, size))
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer
    },
  }
}

/** Snappy is in the reader; the others are what Node has, never unpacking more than the page says. */
export async function codecs(): Promise<Compressors> {
  const { decompress } = await import('fzstd')
  const limited = (size: number) => {
    if (size > MAX_GROUP) throw new RangeError('page too large')
    return { maxOutputLength: Math.max(1, size) }
  }
  return {
    GZIP: (bytes, size) => Uint8Array.from(gunzipSync(bytes, limited(size))),
    BROTLI: (bytes, size) => Uint8Array.from(brotliDecompressSync(bytes, limited(size))),
    ZSTD: (bytes, size) => {
      limited(size)
      return decompress(bytes, new Uint8Array(size))
    },
  }
}

/** The reader says that a file is damaged in many ways; what the store says passes. */
export async function guarded<T>(where: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (e) {
    if (isAppError(e)) throw e
    throw broken(where, 'whole Parquet data', 'damaged data, or an encoding that is not known', e)
  }
}

/** Lists for typed arrays, text for dates: what JSON would say. */
function plain(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1')
  if (ArrayBuffer.isView(value)) return Array.from(value as Float32Array)
  if (Array.isArray(value)) return value.map(plain)
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
}

import { parseCsv } from '../../csv.ts'
import { AppError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { linesOf } from '../lines.ts'
import type { BatchRecord, ObjectRef, ReadContext, RecordInput } from '../types.ts'
import { rowsOfParquet } from './inventoryparquet.ts'
import { badRecord, broken, maxOf, tooLarge } from './limits.ts'
import { unpack } from './packed.ts'
import { attempt, isObject } from './value.ts'

/** Which file of the inventory one is in, and how much of it is behind, in what its format counts: unpacked bytes, or rows. */
interface Place {
  readonly file: number
  readonly offset: number
}

/** What a row says of an object, with the key as it is. */
export interface InventoryRow {
  readonly bucket?: string
  readonly key?: string
  readonly latest?: boolean
  readonly deleted?: boolean
  readonly size?: number
}

/** A row, or why it cannot be read. */
export interface Entry {
  readonly row: InventoryRow | RecordInput
  readonly next: number
}

type Read = (file: ReadContext, schema: readonly string[], start: number) => AsyncIterable<Entry>

/** What S3 writes inventories in, by the name that it gives in manifest.json. There is no reader of ORC that is looked after. */
const FORMATS: Readonly<Record<string, Read>> = {
  CSV: rowsOfCsv,
  Parquet: (file, _, start) => rowsOfParquet(file, start),
}

/**
 * The objects of an S3 Inventory: its manifest.json names files that have a row for each object. Deleted and older versions,
 * folders and empty objects are no input.
 */
export async function* inventoryOf(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, info, store } = context
  const { bucket, files, schema, read } = await readIndex(context)
  const place = (from?.extra ?? { file: 0, offset: 0 }) as Place
  let record = from?.record ?? 0
  for (const [file, key] of files.entries()) {
    if (file < place.file) continue
    const stat = await store.stat({ bucket, key })
    if (!stat) throw broken(info.key, `the file ${key}`, 'none')
    const bytes = (a?: number, b?: number) => store.read({ bucket, key }, { start: a, end: b, ifMatch: stat.etag })
    const start = file === place.file ? place.offset : 0
    for await (const { row, next } of read({ ...context, info: stat, bytes, from: undefined }, schema, start)) {
      const input = 'kind' in row ? row : objectOf(row)
      if (input) yield listed(record, input, { record: ++record, extra: { file, offset: next } satisfies Place })
    }
  }
}

interface Index {
  readonly bucket: string
  readonly files: readonly string[]
  readonly schema: readonly string[]
  readonly read: Read
}

async function readIndex({ info, bytes }: ReadContext): Promise<Index> {
  const all: Uint8Array[] = []
  for await (const chunk of bytes()) all.push(chunk)
  const index = parseJson(Buffer.concat(all), info.key)
  if (!isObject(index)) throw broken(info.key, 'an inventory', 'another value')
  const { fileFormat, fileSchema, files, destinationBucket } = index
  const read = typeof fileFormat === 'string' && Object.hasOwn(FORMATS, fileFormat) ? FORMATS[fileFormat] : undefined
  if (!read) {
    const [expected, fix] = [
      'an inventory in CSV or Parquet',
      'Choose CSV or Parquet in the configuration of the inventory.',
    ]
    const got = typeof fileFormat === 'string' ? fileFormat.slice(0, 20) : 'none'
    throw new AppError('BAD_INPUT', { where: info.key, expected, got, fix })
  }
  const keys = Array.isArray(files) ? files.map((f: unknown) => (isObject(f) ? f.key : undefined)) : undefined
  if (typeof fileSchema !== 'string' || !keys?.every((k) => typeof k === 'string'))
    throw broken(info.key, 'fileSchema and files with a key', 'others')
  const schema = fileSchema.split(',').map((s) => s.trim())
  if (fileFormat === 'CSV' && !(schema.includes('Bucket') && schema.includes('Key')))
    throw broken(info.key, 'columns Bucket and Key', 'others')
  const arn = typeof destinationBucket === 'string' ? /^arn:[^:]*:s3:::(.+)$/.exec(destinationBucket)?.[1] : undefined
  return { bucket: arn ?? info.bucket, files: keys, schema, read }
}

async function* rowsOfCsv(file: ReadContext, schema: readonly string[], start: number): AsyncGenerator<Entry> {
  const bytes = unpack(file, 'gzip')
  for await (const line of linesOf(bytes(start), { offset: start, max: maxOf(file) })) {
    if (line.tooLong) yield { row: tooLarge('the row'), next: line.next }
    else if (line.bytes.length > 0) yield { row: rowOf(line.bytes, schema), next: line.next }
  }
}

function rowOf(line: Buffer, schema: readonly string[]): Entry['row'] {
  return attempt<Entry['row']>(
    () => {
      const cells = parseCsv(line.toString('utf8'))[0] ?? []
      const cell = (name: string) => cells[schema.indexOf(name)]
      const key = decoded(cell('Key') ?? '')
      if (key === undefined) return badRecord('the row', 'a key encoded as in URLs', 'another')
      const size = cell('Size')
      return {
        bucket: cell('Bucket'),
        key,
        deleted: cell('IsDeleteMarker') === 'true',
        latest: cell('IsLatest') !== 'false',
        ...(size !== undefined && size !== '' && { size: Number(size) }),
      }
    },
    (input) => input,
  )
}

/** undefined for what is no input. */
function objectOf({ bucket, key, latest, deleted, size }: InventoryRow): RecordInput | undefined {
  if (!bucket || !key) return badRecord('the row', 'a bucket and a key', 'none')
  if (deleted === true || latest === false || key.endsWith('/') || size === 0) return undefined
  return { kind: 'object', ref: { bucket, key } }
}

/** In CSV keys are encoded as in URLs. */
function decoded(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '))
  } catch (e) {
    if (e instanceof URIError) return undefined
    throw e
  }
}

export function listed(record: number, input: RecordInput, next: BatchRecord['next']): BatchRecord {
  return { record, ...(input.kind === 'object' && { id: nameOf(input.ref) }), input, bytes: 256, next }
}

const nameOf = ({ bucket, key, query }: ObjectRef) => (query === undefined ? key : `${bucket}/${key}`)

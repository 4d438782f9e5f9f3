import { parseCsv } from '../../csv.ts'
import { parseJson } from '../../json.ts'
import { linesOf } from '../lines.ts'
import type { BatchRecord, ReadContext, RecordInput } from '../types.ts'
import { badRecord, broken, maxOf, tooLarge } from './limits.ts'
import { unpack } from './packed.ts'
import { attempt, isObject } from './value.ts'

/** Which file of the inventory one is in, and how many of its unpacked bytes are behind. */
interface Place {
  readonly file: number
  readonly offset: number
}

/**
 * The objects of an S3 Inventory: its manifest.json names CSV files, which are gzipped and have a row for each object. Deleted and
 * older versions, folders and empty objects are no input.
 */
export async function* inventoryOf(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, info, store } = context
  const { bucket, files, schema } = await readIndex(context)
  const place = (from?.extra ?? { file: 0, offset: 0 }) as Place
  let record = from?.record ?? 0
  for (const [file, key] of files.entries()) {
    if (file < place.file) continue
    const start = file === place.file ? place.offset : 0
    const stat = await store.stat({ bucket, key })
    if (!stat) throw broken(info.key, `the file ${key}`, 'none')
    const raw = (a?: number, b?: number) => store.read({ bucket, key }, { start: a, end: b, ifMatch: stat.etag })
    const bytes = unpack({ ...context, info: stat, bytes: raw }, 'gzip')
    for await (const line of linesOf(bytes(start), { offset: start, max: maxOf(context) })) {
      if (!line.tooLong && line.bytes.length === 0) continue
      const input = line.tooLong ? tooLarge('the row') : objectOf(line.bytes, schema)
      if (input) yield listed(record, input, { record: ++record, extra: { file, offset: line.next } satisfies Place })
    }
  }
}

interface Index {
  readonly bucket: string
  readonly files: readonly string[]
  readonly schema: readonly string[]
}

async function readIndex({ info, bytes }: ReadContext): Promise<Index> {
  const all: Uint8Array[] = []
  for await (const chunk of bytes()) all.push(chunk)
  const index = parseJson(Buffer.concat(all), info.key)
  if (!isObject(index)) throw broken(info.key, 'an inventory', 'another value')
  const { fileFormat, fileSchema, files, destinationBucket } = index
  if (fileFormat !== 'CSV') throw broken(info.key, 'an inventory in CSV', 'one in another format')
  const keys = Array.isArray(files) ? files.map((f: unknown) => (isObject(f) ? f.key : undefined)) : undefined
  if (typeof fileSchema !== 'string' || !keys?.every((k) => typeof k === 'string'))
    throw broken(info.key, 'fileSchema and files with a key', 'others')
  const schema = fileSchema.split(',').map((s) => s.trim())
  if (!schema.includes('Bucket') || !schema.includes('Key')) throw broken(info.key, 'columns Bucket and Key', 'others')
  const arn = typeof destinationBucket === 'string' ? /^arn:[^:]*:s3:::(.+)$/.exec(destinationBucket)?.[1] : undefined
  return { bucket: arn ?? info.bucket, files: keys, schema }
}

/** undefined for what is no input. Keys are encoded as in URLs. */
function objectOf(line: Buffer, schema: readonly string[]): RecordInput | undefined {
  return attempt<RecordInput | undefined>(
    () => {
      const cells = parseCsv(line.toString('utf8'))[0] ?? []
      const cell = (name: string) => cells[schema.indexOf(name)]
      const [bucket, encoded] = [cell('Bucket'), cell('Key')]
      if (!bucket || !encoded) return badRecord('the row', 'a bucket and a key', 'none')
      const key = decoded(encoded)
      if (key === undefined) return badRecord('the row', 'a key encoded as in URLs', 'another')
      if (cell('IsDeleteMarker') === 'true' || cell('IsLatest') === 'false') return undefined
      if (key.endsWith('/') || cell('Size') === '0') return undefined
      return { kind: 'object', ref: { bucket, key } }
    },
    (input) => input,
  )
}

function decoded(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '))
  } catch (e) {
    if (e instanceof URIError) return undefined
    throw e
  }
}

export function listed(record: number, input: RecordInput, next: BatchRecord['next']): BatchRecord {
  return { record, ...(input.kind === 'object' && { id: input.ref.key }), input, bytes: 256, next }
}

import { formatOf } from '../../src/batch/formats/index.ts'
import { whyNot } from '../../src/batch/names.ts'
import type { Item } from '../../src/batch/run.ts'
import type { ObjectInfo } from '../../src/batch/types.ts'

/** What lies below a prefix, by type; some of it at random, to be measured. */
export interface Survey {
  readonly formats: Readonly<Record<string, Found>>
  /** reason → how many */
  readonly skipped: Readonly<Record<string, number>>
  readonly keyBytes: number
}

export interface Found {
  readonly objects: number
  readonly bytes: number
  readonly largest: number
  readonly single: boolean
  readonly sample: readonly Item[]
}

/** so many of each type are kept, each object with the same chance */
const SAMPLE = 1000
const TELL = 1000

/** Reads a listing once and holds no more of it than the sample, however long it is. */
export async function survey(
  listing: AsyncIterable<ObjectInfo>,
  {
    format,
    told,
    random = Math.random,
  }: { format?: string; told?(objects: number, bytes: number): void; random?(): number },
): Promise<Survey> {
  const formats: Record<string, { -readonly [K in keyof Found]: Found[K] } & { sample: Item[] }> = {}
  const skipped: Record<string, number> = {}
  let keyBytes = 0
  let seen = 0
  let bytes = 0
  for await (const { bucket, key, size, etag } of listing) {
    seen++
    if (seen % TELL === 0) told?.(seen, bytes)
    const row = formatOf(key, format)
    const reason = whyNot(key, size) ?? (row ? undefined : 'no file type has this suffix')
    if (reason !== undefined || !row) {
      skipped[reason!] = (skipped[reason!] ?? 0) + 1
      continue
    }
    bytes += size
    keyBytes = Math.max(keyBytes, Buffer.byteLength(JSON.stringify(key)))
    formats[row.name] ??= { objects: 0, bytes: 0, largest: 0, single: row.single === true, sample: [] }
    const found = formats[row.name]!
    found.objects++
    found.bytes += size
    found.largest = Math.max(found.largest, size)
    // the n-th object takes a place with the chance SAMPLE / n
    const at = found.sample.length < SAMPLE ? found.sample.length : Math.floor(random() * found.objects)
    if (at < SAMPLE) found.sample[at] = { bucket, key, size, etag }
  }
  told?.(seen, bytes)
  return { formats, skipped, keyBytes }
}

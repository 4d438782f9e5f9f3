import { AppError } from '../../errors.ts'
import type { RecordFormat } from '../types.ts'
import { csv } from './csv.ts'
import { image } from './image.ts'
import { json } from './json.ts'
import { jsonl } from './jsonl.ts'
import { manifest } from './manifest.ts'
import { npy } from './npy.ts'
import { npz } from './npz.ts'
import { packed } from './packed.ts'
import { parquet } from './parquet.ts'
import { tar } from './tar.ts'
import { tfrecord } from './tfrecord.ts'
import { zip } from './zip.ts'

/** What is often compressed as a whole. */
const STREAMS: readonly RecordFormat[] = [jsonl, json, csv, tfrecord, npy, tar]

/** Every file type that yields records. */
export const RECORD_FORMATS: readonly RecordFormat[] = [
  image,
  zip,
  tar,
  jsonl,
  json,
  csv,
  tfrecord,
  npy,
  npz,
  parquet,
  manifest,
  ...STREAMS.flatMap(packed),
]

/** The row of a key by its suffix, of several that fit the longest; undefined where none fits. */
export function formatOf(key: string, named?: string): RecordFormat | undefined {
  if (named !== undefined) {
    const row = RECORD_FORMATS.find((f) => f.name === named)
    if (row) return row
    throw new AppError('BAD_INPUT', { where: key, expected: RECORD_FORMATS.map((f) => f.name).join(', '), got: named })
  }
  const name = key.toLowerCase()
  let best: { row: RecordFormat; length: number } | undefined
  for (const row of RECORD_FORMATS)
    for (const suffix of row.suffixes)
      if (name.endsWith(suffix) && suffix.length > (best?.length ?? 0)) best = { row, length: suffix.length }
  return best?.row
}

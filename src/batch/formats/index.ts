import { AppError } from '../../errors.ts'
import type { RecordFormat } from '../types.ts'
import { jsonl } from './jsonl.ts'

/** Every file type that yields records. */
export const RECORD_FORMATS: readonly RecordFormat[] = [jsonl]

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

import type { ResultFormat } from '../types.ts'
import { jsonlResult } from './jsonl.ts'

/** Every way to write results. */
export const RESULT_FORMATS = { jsonl: jsonlResult } as const satisfies Record<string, ResultFormat>

export type ResultName = keyof typeof RESULT_FORMATS

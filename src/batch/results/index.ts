import type { ResultFormat } from '../types.ts'
import { csvResult } from './csv.ts'
import { jsonlResult } from './jsonl.ts'
import { modelartsResult } from './modelarts.ts'
import { npyResult } from './npy.ts'
import { parquetResult } from './parquet.ts'
import { sagemakerResult } from './sagemaker.ts'

/** Every way to write results. */
export const RESULT_FORMATS = {
  jsonl: jsonlResult,
  csv: csvResult,
  modelarts: modelartsResult,
  sagemaker: sagemakerResult,
  npy: npyResult,
  parquet: parquetResult,
} as const satisfies Record<string, ResultFormat>

export type ResultName = keyof typeof RESULT_FORMATS

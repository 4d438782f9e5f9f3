import type { ResultFormat } from '../types.ts'
import { joiner } from './join.ts'

/** As Batch Transform leaves it: `<name>.out`, a line for each record (AssembleWith: Line), CSV for CSV and JSON for the rest. */
export const sagemakerResult = {
  name: 'sagemaker',
  contentType: 'text/plain; charset=utf-8',
  separate: true,
  key: ({ prefix, key }) => `${prefix}${key}.out`,
  open: async (context) => ({ write: await joiner(context, 'source'), end: () => '', state: () => null }),
} as const satisfies ResultFormat

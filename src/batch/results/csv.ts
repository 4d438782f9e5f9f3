import type { ResultFormat } from '../types.ts'
import { joiner } from './join.ts'

/** Rows without a header: the prediction, behind the row it was made from where a join is asked for. */
export const csvResult = {
  name: 'csv',
  contentType: 'text/csv',
  separate: true,
  key: ({ prefix, key, run }) => `${prefix}${key}.${run}.csv`,
  open: async (context) => ({ write: await joiner(context, 'csv'), end: () => '', state: () => null }),
} as const satisfies ResultFormat

import { stringify } from '../../json.ts'
import type { Result, ResultFormat } from '../types.ts'

/** One line per answered record, in input order. */
export const jsonlResult = {
  name: 'jsonl',
  contentType: 'application/x-ndjson',
  separate: true,
  key: ({ prefix, key, run }) => `${prefix}${key}.${run}.jsonl`,
  open: () => ({
    write: (r: Result) =>
      r.ok ? `{"record":${r.record},"id":${JSON.stringify(r.id)},"result":${stringify(r.body)}}\n` : '',
    end: () => '',
    state: () => null,
  }),
} as const satisfies ResultFormat

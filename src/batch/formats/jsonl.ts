import { parseJson } from '../../json.ts'
import { linesOf } from '../lines.ts'
import { tensorsOfText } from '../numeric.ts'
import type { BatchRecord, ReadContext, RecordFormat } from '../types.ts'
import { maxOf, tooLarge } from './limits.ts'
import { attempt, type Named, valueReader } from './value.ts'

/** JSON Lines: a record a line, empty lines are none. */
export const jsonl = {
  name: 'jsonl',
  suffixes: ['.jsonl', '.ndjson', '.jsonlines'],
  match: (head) => !head.includes(0),
  read: readJsonLines,
} as const satisfies RecordFormat

async function* readJsonLines(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, options } = context
  const direct = !context.preprocess && options.inputFilter === undefined && options.idField === undefined
  const read = await valueReader(context)
  let record = from?.record ?? 0
  const offset = from?.offset ?? 0
  const max = maxOf(context)
  for await (const line of linesOf(context.bytes(offset), { offset, max })) {
    const { bytes, tooLong, next } = line
    if (!tooLong && isBlank(bytes)) continue
    const tensors = direct && !tooLong ? tensorsOfText(bytes, context.signature) : undefined
    const named: Named = tooLong
      ? { input: tooLarge('the line') }
      : tensors
        ? { input: { kind: 'tensors', tensors } }
        : attempt<Named>(
            () => read(parseJson(bytes, 'the line')),
            (input) => ({ input }),
          )
    yield {
      record,
      ...named,
      bytes: bytes.length,
      next: { record: ++record, offset: next },
      ...(context.source && { source: bytes.toString() }),
    }
  }
}

const isBlank = (bytes: Buffer) => bytes.every((b) => b === 32 || b === 9 || b === 13)

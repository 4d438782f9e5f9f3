import { kept, lineBlocksOf, pagesOf } from '../lines.ts'
import type { BatchRecord, ReadContext, RecordFormat } from '../types.ts'
import { maxOf, tooLarge } from './limits.ts'
import { valueDecoder } from './value.ts'

/** JSON Lines: a record a line, empty lines are none. */
export const jsonl = {
  name: 'jsonl',
  suffixes: ['.jsonl', '.ndjson', '.jsonlines'],
  match: (head) => !head.includes(0),
  read: readJsonLines,
  decode: valueDecoder('the line'),
} as const satisfies RecordFormat

async function* readJsonLines(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, source, buffers } = context
  let record = from?.record ?? 0
  const offset = from?.offset ?? 0
  const most = () => (source ? 1 : (context.block?.(record) ?? 1))
  const chunks = context.bytes(offset, undefined, pagesOf(buffers))
  const options = { offset, max: maxOf(context), most, dense: true, buffers }
  for await (const block of lineBlocksOf(chunks, options)) {
    const { spans, tooLong, next } = block
    const count = spans.length / 2
    const bytes = kept(block.bytes, count, buffers)
    const line = bytes.subarray(spans[0], spans[1])
    yield {
      record,
      ...(count > 1 && { count }),
      input: tooLong ? tooLarge('the line') : count > 1 ? { kind: 'raw', bytes, spans } : { kind: 'raw', bytes: line },
      bytes: count > 1 ? bytes.length : line.length,
      next: { record: record + count, offset: next },
      ...(source && { source: line.toString() }),
    }
    record += count
  }
}

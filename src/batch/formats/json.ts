import type { BatchRecord, ReadContext, RecordFormat } from '../types.ts'
import { elementsOf } from './elements.ts'
import { maxOf, tooLarge } from './limits.ts'
import { valueDecoder } from './value.ts'

/** A record for each element of an array; any other value is one record. */
export const json = {
  name: 'json',
  suffixes: ['.json'],
  match: (head) => !head.includes(0),
  read: readElements,
  decode: valueDecoder('the element'),
} as const satisfies RecordFormat

/** behind the last element there is nothing to go on with */
const END = 'end'

async function* readElements(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, info } = context
  if (from?.extra === END) return
  const offset = from?.offset ?? 0
  let record = from?.record ?? 0
  for await (const element of elementsOf(context.bytes(offset), { where: info.key, max: maxOf(context), offset })) {
    const { bytes, tooLong, next, last } = element
    yield {
      record,
      input: tooLong ? tooLarge('the element') : { kind: 'raw', bytes },
      bytes: bytes.length,
      next: { record: ++record, offset: next, ...(last && { extra: END }) },
      // lines are joined with lines
      ...(context.source && {
        source: bytes
          .toString()
          .replace(/\s*\n\s*/g, ' ')
          .trim(),
      }),
    }
  }
}

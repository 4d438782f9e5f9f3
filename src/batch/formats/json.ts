import { parseJson } from '../../json.ts'
import type { BatchRecord, ReadContext, RecordFormat } from '../types.ts'
import { elementsOf } from './elements.ts'
import { maxOf, tooLarge } from './limits.ts'
import { attempt, type Named, valueReader } from './value.ts'

/** A record for each element of an array; any other value is one record. */
export const json = {
  name: 'json',
  suffixes: ['.json'],
  match: (head) => !head.includes(0),
  read: readElements,
} as const satisfies RecordFormat

/** behind the last element there is nothing to go on with */
const END = 'end'

async function* readElements(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, info } = context
  if (from?.extra === END) return
  const read = await valueReader(context)
  const offset = from?.offset ?? 0
  let record = from?.record ?? 0
  for await (const element of elementsOf(context.bytes(offset), { where: info.key, max: maxOf(context), offset })) {
    const { bytes, tooLong, next, last } = element
    const named = tooLong
      ? { input: tooLarge('the element') }
      : attempt<Named>(
          () => read(parseJson(bytes, 'the element')),
          (input) => ({ input }),
        )
    yield {
      record,
      ...named,
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

import { Gatherer } from '../../gather.ts'
import { isTfRecord, readFrames } from '../../tfexample/tfrecord.ts'
import type { BatchRecord, ReadContext, RecordFormat } from '../types.ts'
import { maxOf } from './limits.ts'

/** TFRecord files of tf.Examples. */
export const tfrecord = {
  name: 'tfrecord',
  suffixes: ['.tfrecord', '.tfrecords', '.tfrec'],
  match: isTfRecord,
  read: readExamples,
} as const satisfies RecordFormat

async function* readExamples(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, info } = context
  const offset = from?.offset ?? 0
  let record = from?.record ?? 0
  const bytes = new Gatherer(context.bytes(offset)[Symbol.asyncIterator](), offset)
  try {
    for await (const { data, fault, next } of readFrames(bytes, { where: info.key, maxBytes: maxOf(context), record }))
      yield {
        record,
        input: fault ? { kind: 'bad', code: fault.code, reason: fault.message } : { kind: 'example', bytes: data },
        bytes: data.length,
        next: { record: ++record, offset: next },
      }
  } finally {
    await bytes.close()
  }
}

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { maskedCrc32c } from '../../src/crc32c.ts'
import { parseExamples } from '../../src/tfexample/parse.ts'
import { parseSequences } from '../../src/tfexample/sequence.ts'
import type { ExampleSpec } from '../../src/tfexample/spec.ts'
import { readTfRecords } from '../../src/tfexample/tfrecord.ts'
import { onlyOurErrors } from './support.ts'

interface Recorded extends ExampleSpec {
  serialized: string[]
}
const file = join(import.meta.dirname, '../fixtures/tfexample/cases.json')
const whole = (JSON.parse(readFileSync(file, 'utf8')).cases as Recorded[])[0]!
const serialized = whole.serialized.map((s) => Buffer.from(s, 'base64'))

function record(data: Uint8Array): Buffer {
  const out = Buffer.alloc(16 + data.length)
  out.writeBigUInt64LE(BigInt(data.length), 0)
  out.writeUInt32LE(maskedCrc32c(out.subarray(0, 8)), 8)
  out.set(data, 12)
  out.writeUInt32LE(maskedCrc32c(data), 12 + data.length)
  return out
}

async function readAll(bytes: Uint8Array): Promise<number> {
  let count = 0
  for await (const data of readTfRecords([bytes])) count += data.length
  return count
}

describe('damaged tf.Examples', () => {
  const features: ExampleSpec['features'] = [
    { kind: 'dense', name: 'f', dtype: 'float32', shape: [null], default: [0] },
    { kind: 'sparse', name: 'i', dtype: 'int64' },
    { kind: 'ragged', name: 'b', dtype: 'string', splits: 'int32' },
  ]
  for (const single of [false, true])
    test(single ? 'one by one' : 'in a batch', () =>
      onlyOurErrors(1, 5000, serialized[0]!, (damaged) => {
        const outputs = parseExamples({ single, features }, single ? [damaged] : [damaged, serialized[1]!])
        for (const t of outputs)
          assert.equal(
            t.data.length,
            t.shape.reduce((n, d) => n * d, 1),
          )
      }),
    )
  // the context of a SequenceExample is read as an Example is; its lists lie behind
  const message = (tag: number, body: Uint8Array) => Buffer.concat([Buffer.from([tag, body.length]), body])
  const step = message(10, message(18, message(10, Buffer.alloc(8))))
  const entry = Buffer.concat([message(10, Buffer.from('d')), message(18, Buffer.concat([step, step]))])
  const sequence = Buffer.concat([serialized[1]!, message(18, message(10, entry))])
  const lists = [{ kind: 'dense', name: 'd', dtype: 'float32', shape: [2], mayMiss: true }] as const
  test('with lists', () => {
    assert.deepEqual(parseSequences({ single: false, context: [], lists }, [sequence])[0]!.shape, [1, 2, 2])
    return onlyOurErrors(4, 3000, sequence, (damaged) => {
      const outputs = parseSequences({ single: false, context: features, lists }, [damaged, sequence])
      for (const t of outputs)
        assert.equal(
          t.data.length,
          t.shape.reduce((n, d) => n * d, 1),
        )
    })
  })
  const records = Buffer.concat([...serialized, Buffer.alloc(300, 7)].map(record))
  test('in TFRecord files', () => onlyOurErrors(2, 1500, records, readAll))
  test('in gzipped TFRecord files', () => onlyOurErrors(3, 150, gzipSync(records), readAll))
})

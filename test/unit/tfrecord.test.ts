import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { deflateSync, gzipSync } from 'node:zlib'
import { maskedCrc32c } from '../../src/crc32c.ts'
import { isAppError } from '../../src/errors.ts'
import { readTfRecords } from '../../src/tfexample/tfrecord.ts'

function record(data: Uint8Array): Buffer {
  const out = Buffer.alloc(16 + data.length)
  out.writeBigUInt64LE(BigInt(data.length), 0)
  out.writeUInt32LE(maskedCrc32c(out.subarray(0, 8)), 8)
  out.set(data, 12)
  out.writeUInt32LE(maskedCrc32c(data), 12 + data.length)
  return out
}

const texts = ['', 'one', 'two two', 'x'.repeat(70_000)]
const file = Buffer.concat(texts.map((t) => record(Buffer.from(t))))

function* chunked(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function collect(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, maxBytes?: number): Promise<string[]> {
  const out: string[] = []
  for await (const r of readTfRecords(chunks, { where: 'a.tfrecord', ...(maxBytes && { maxBytes }) }))
    out.push(r.toString())
  return out
}

const refused = (text: RegExp) => (e: unknown) => isAppError(e) && e.code === 'BAD_RECORD' && text.test(e.message)

describe('TFRecord', () => {
  // The first record of tf.io.TFRecordWriter().write(b'hello'), as TensorFlow 2.21 writes it.
  test('reads what TensorFlow wrote', async () => {
    const hello = Buffer.from('0500000000000000eab2043e68656c6c6fbb1f1c19', 'hex')
    assert.deepEqual(await collect([hello]), ['hello'])
  })
  for (const size of [1, 7, 13, 4096, 1 << 20])
    test(`in chunks of ${size}`, async () => {
      const small = size < 100 ? Buffer.concat(texts.slice(0, 3).map((t) => record(Buffer.from(t)))) : file
      assert.deepEqual(await collect(chunked(small, size)), size < 100 ? texts.slice(0, 3) : texts)
    })
  test('gzip and zlib', async () => {
    assert.deepEqual(await collect(chunked(gzipSync(file), 1000)), texts)
    assert.deepEqual(await collect(chunked(deflateSync(file), 1000)), texts)
  })
  test('a record whose length looks like gzip is a record', async () => {
    const data = Buffer.alloc(0x8b1f, 1)
    assert.equal((await collect([record(data)]))[0]!.length, 0x8b1f)
  })
  test('nothing is no record', async () => assert.deepEqual(await collect([]), []))

  const flipped = (at: number) => file.map((b, i) => (i === at ? b ^ 1 : b))
  const damaged: [string, Uint8Array, RegExp][] = [
    ['the length is damaged', flipped(16), /record 1 of a\.tfrecord/],
    ['the data is damaged', flipped(28), /data with the right checksum for record 1/],
    ['it is cut in a header', file.subarray(0, 20), /header for record 1/],
    ['it is cut in a record', file.subarray(0, 30), /3 bytes and a checksum for record 1/],
    ['it is text', Buffer.from('a,b\n1,2\n3,4\n5,6\n'), /record 0/],
    ['the gzip data is cut', gzipSync(file).subarray(0, 60), /gzip/],
    ['the gzip data is damaged', gzipSync(file).map((b, i) => (i === 30 ? b ^ 255 : b)), /a\.tfrecord/],
  ]
  for (const [what, bytes, text] of damaged)
    test(`refused: ${what}`, () => assert.rejects(collect([bytes]), refused(text)))
  test('refused before it is gathered: a record that is too large', () =>
    assert.rejects(collect([file], 100), refused(/at most 100 bytes for record 3/)))
})

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { RECORD_FORMATS } from '../../src/batch/formats/index.ts'
import { isAppError } from '../../src/errors.ts'
import { writeNpy } from '../../src/npy.ts'
import { tensor } from '../../src/tensor.ts'
import { encodeExample } from '../../src/tfexample/encode.ts'
import { PNG, TAR_END, tarEntry, tfRecord, zipOf } from '../fixtures/batch/archives.ts'
import { type Reading, reader } from '../fixtures/batch/reading.ts'
import { spoil } from './mutate.ts'

const array = writeNpy(
  tensor(
    'float64',
    [3, 4],
    Float64Array.from({ length: 12 }, (_, i) => i),
  ),
)
const example = encodeExample([['x', { kind: 'float', values: [1, 2, 3, 4] }]])
const rows = 'a,b,c,d\n1,2,3,4\n5,"6\n",7,8\n'
const json = ' [[1,2,3,4], {"x": [1,2,3,4]}, "a\\"]", null]'
const tar = Buffer.concat([tarEntry('l', Buffer.from('n/1.png\0'), { type: 'L' }), tarEntry('1', PNG), TAR_END])
const inventory = {
  destinationBucket: 'arn:aws:s3:::inv',
  fileFormat: 'CSV',
  fileSchema: 'Bucket, Key, Size',
  files: [{ key: '1' }],
}

/** A good file of each type that no wrapper makes. */
const SEEDS: Readonly<Record<string, readonly Uint8Array[]>> = {
  image: [PNG],
  zip: [
    zipOf([
      { name: '1.png', data: PNG },
      { name: '2.bin', data: PNG, stored: true },
    ]),
  ],
  tar: [tar],
  jsonl: [Buffer.from('[1,2,3,4]\n{"x":[1,2,3,4]}\n')],
  json: [Buffer.from(json)],
  csv: [Buffer.from(rows)],
  tfrecord: [Buffer.concat([tfRecord(example), tfRecord(example)])],
  npy: [array],
  npz: [zipOf([{ name: 'x.npy', data: array }])],
  parquet: [
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          {
            name: 'x',
            data: [
              [1, 2],
              [3, 4],
            ],
            type: 'JSON',
          },
        ],
        rowGroupSize: 1,
      }),
    ),
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: 'x', data: [1, 2, 3], type: 'FLOAT' },
          { name: 's', data: ['a', 'a', 'b'] },
        ],
      }),
    ),
  ],
  manifest: [
    Buffer.from('{"source":"s3://b/k"}\n{"source":"k"}\n'),
    Buffer.from('[{"prefix":"s3://b/p/"},"a","b"]'),
    Buffer.from(JSON.stringify(inventory)),
  ],
}

const READING: Reading = {
  options: { maxRecordBytes: 2 ** 20 },
  others: { 'inv/1': gzipSync('"b","k%20","1"\n"b","l"\n') },
}

/** xorshift, so that a failure comes back */
function randoms(seed: number): (n: number) => number {
  let s = seed
  return (n) => {
    s ^= s << 13
    s ^= s >>> 17
    s ^= s << 5
    return (s >>> 0) % n
  }
}

const TELLING = [0, 1, 10, 34, 44, 91, 93, 123, 127, 128, 255]

function mutated(seed: Uint8Array, random: (n: number) => number): Buffer {
  let bytes = Buffer.from(seed)
  for (let k = 1 + random(4); k > 0 && bytes.length > 0; k--) {
    const at = random(bytes.length)
    const kind = random(5)
    if (kind === 0) bytes[at] = TELLING[random(TELLING.length)]!
    else if (kind === 1) bytes[at]! ^= 1 << random(8)
    else if (kind === 2) bytes = bytes.subarray(0, at)
    else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(bytes.length))])
    else bytes.fill(255, at, Math.min(bytes.length, at + 1 + random(8)))
  }
  return Buffer.from(bytes)
}

/** How many records came out; only errors of ours may, and none without end. */
async function survive(format: string, bytes: Uint8Array, reading = READING): Promise<number> {
  let records = 0
  try {
    for await (const r of reader(format, bytes, reading)) {
      assert.equal(r.record, records++)
      assert.ok(records < 10_000, 'more records than bytes')
      if (r.input.kind === 'bad') assert.ok(r.input.reason.length < 2000)
    }
  } catch (e) {
    if (!isAppError(e)) throw e
  }
  return records
}

const TIMES = 300

for (const [format, seeds] of Object.entries(SEEDS))
  test(`${format}: damaged files end in records or in errors of ours`, async () => {
    const random = randoms(20_26)
    for (const seed of seeds) {
      assert.ok((await survive(format, seed)) > 0, 'the seed is read')
      for (let i = 0; i < TIMES; i++) {
        const bytes = mutated(seed, random)
        await survive(format, bytes).catch((cause: unknown) => {
          throw new Error(`${format}, case ${i}: ${bytes.toString('base64')}`, { cause })
        })
      }
    }
  })

test('lists that are JSON and say something else', async () => {
  const random = randoms(5)
  const others: readonly unknown[] = [
    null,
    -1,
    1e99,
    '',
    's3://',
    '%',
    [],
    {},
    [[]],
    { toString: 1 },
    { prefix: 'a' },
    { source: {} },
  ]
  const lists = [{ source: 's3://b/k' }, [{ prefix: 's3://b/p/' }, 'a', 'b'], inventory]
  for (let i = 0; i < TIMES * 3; i++) {
    const list = spoil(structuredClone(lists[i % 3]), random(2 ** 20), structuredClone(others[random(others.length)]))
    await survive('manifest', Buffer.from(`${JSON.stringify(list)}\n`)).catch((cause: unknown) => {
      throw new Error(`case ${i}: ${JSON.stringify(list)}`, { cause })
    })
  }
})

test('compressed files, damaged', async () => {
  const random = randoms(7)
  const seeds = {
    'csv.gz': gzipSync(rows),
    'tar.gz': gzipSync(tar),
    'jsonl.zst': readFileSync(new URL('../fixtures/batch/lines.jsonl.zst', import.meta.url)),
  }
  for (const [format, seed] of Object.entries(seeds)) {
    assert.ok((await survive(format, seed)) > 0)
    for (let i = 0; i < TIMES / 3; i++) await survive(format, mutated(seed, random))
  }
})

test('an inventory in Parquet, damaged', async () => {
  const random = randoms(11)
  const columnData: Parameters<typeof parquetWriteBuffer>[0]['columnData'] = [
    { name: 'bucket', data: ['b', 'b', 'b'], type: 'STRING' },
    { name: 'key', data: ['k', 'l', 'm'], type: 'STRING' },
    { name: 'is_latest', data: [true, false, true], type: 'BOOLEAN' },
    { name: 'size', data: [1n, 2n, 3n], type: 'INT64' },
  ]
  const seed = new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 2 }))
  const list = Buffer.from(JSON.stringify({ ...inventory, fileFormat: 'Parquet' }))
  const read = (bytes: Uint8Array) => survive('manifest', list, { ...READING, others: { 'inv/1': bytes } })
  assert.equal(await read(seed), 2)
  // Of the footer: a run length that is damaged inside of a page keeps hyparquet 1.31 busy for minutes, here as for any Parquet file.
  const pages = seed.length - 8 - Buffer.from(seed).readUInt32LE(seed.length - 8)
  for (let i = 0; i < TIMES; i++) {
    const bytes = Buffer.concat([seed.subarray(0, pages), mutated(seed.subarray(pages), random)])
    await read(bytes).catch((cause: unknown) => {
      throw new Error(`case ${i}: ${bytes.toString('base64')}`, { cause })
    })
  }
})

test('every row is fuzzed', () => {
  const plain = RECORD_FORMATS.map((f) => f.name).filter((n) => !/\.(gz|zst)$/.test(n))
  assert.deepEqual(Object.keys(SEEDS).sort(), plain.sort())
})

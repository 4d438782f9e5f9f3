import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parquetReadObjects } from 'hyparquet'
import { RESULT_FORMATS, type ResultName } from '../../../src/batch/results/index.ts'
import type { Done, Result, ResultFormat, WriteContext } from '../../../src/batch/types.ts'
import { readNpy } from '../../../src/npy.ts'
import { SIGNATURE } from '../../fixtures/batch/reading.ts'

type Options = Partial<WriteContext>

async function open(name: ResultName, options: Options = {}) {
  const format: ResultFormat = RESULT_FORMATS[name]
  const context = { key: 'a.csv', format: 'jsonl', signature: SIGNATURE, options: {}, ...options }
  return { format, writer: await format.open(context) }
}

/** The whole object; with `stop` a checkpoint is taken before that record, and another writer goes on. */
async function written(
  name: ResultName,
  results: readonly Result[],
  options?: Options,
  stop?: number,
): Promise<Buffer> {
  let { format, writer } = await open(name, options)
  const parts = [Buffer.alloc(format.reserve ?? 0)]
  for (const [i, r] of results.entries()) {
    if (i === stop) {
      const state = JSON.parse(JSON.stringify(writer.state())) as unknown
      writer = (await open(name, { ...options, state })).writer
    }
    parts.push(Buffer.from(writer.write(r) as Uint8Array))
  }
  parts.push(Buffer.from(writer.end() as Uint8Array))
  const head = writer.head?.()
  if (head) parts[0] = Buffer.from(head)
  return Buffer.concat(parts)
}

/** Wherever a run is continued, the object is the same. */
async function whole(name: ResultName, results: readonly Result[], options?: Options): Promise<Buffer> {
  const bytes = await written(name, results, options)
  for (const stop of results.keys()) assert.deepEqual(await written(name, results, options, stop), bytes)
  return bytes
}

function answered(record: number, y: number[], source?: string): Result {
  const tensors = { y: { dtype: 'float32', shape: [1, y.length], data: Float32Array.from(y) } } as const
  return { ok: true, record, id: `r${record}`, body: { y }, tensors, ...(source !== undefined && { source }) }
}

const failed = (record: number): Result => ({ ok: false, record, id: `r${record}`, code: 'BAD_INPUT', reason: 'odd' })
const join = { joinSource: 'Input' } as const

test('CSV: cells of the prediction, behind the row where a join is asked for', async () => {
  const results = [answered(0, [1, 2.5], '5,"a,b"'), failed(1), answered(2, [3, Number.NaN], '6,c')]
  assert.equal(String(await whole('csv', results)), '1,2.5\n3,NaN\n')
  const joined = { format: 'csv.gz', options: join }
  assert.equal(String(await whole('csv', results, joined)), '5,"a,b",1,2.5\n6,c,3,NaN\n')
  const some = { format: 'csv', options: { ...join, outputFilter: '$[1,-1]' } }
  assert.equal(String(await whole('csv', results, some)), '"a,b",2.5\nc,NaN\n')
  assert.equal(String(await whole('csv', results, { format: 'image', options: join })), 'r0,1,2.5\nr2,3,NaN\n')
})

test('SageMaker: .out beside the name, JSON joined under SageMakerOutput', async () => {
  const results = [answered(0, [1], '{"a":1}'), answered(1, [2], '[7]')]
  const lines = String(await whole('sagemaker', results, { options: join })).split('\n')
  assert.deepEqual(
    lines.slice(0, 2).map((l) => JSON.parse(l) as unknown),
    [
      { a: 1, SageMakerOutput: { y: [1] } },
      { SageMakerInput: [7], SageMakerOutput: { y: [2] } },
    ],
  )
  const filtered = { options: { ...join, outputFilter: '$.SageMakerOutput.y[0]' } }
  assert.equal(String(await whole('sagemaker', results, filtered)), '1\n2\n')
  assert.equal(RESULT_FORMATS.sagemaker.key({ prefix: 'o/', key: 'd/a.csv', run: 'x' }), 'o/d/a.csv.out')
  const { writer } = await open('sagemaker', { options: { outputFilter: '$.z' } })
  assert.throws(() => writer.write(answered(0, [1])), { code: 'HOOK_RESULT' })
  await assert.rejects(open('csv', { options: { outputFilter: '$..[' } }), { code: 'USAGE' })
})

test('ModelArts: a text for each file and a manifest of the job', async () => {
  assert.equal(String(await whole('modelarts', [answered(0, [1]), failed(1)])), '{"y":[1]}\n')
  const { key, manifest } = RESULT_FORMATS.modelarts
  assert.equal(key({ prefix: 'o/', key: 'd/1.jpg', run: 'x' }), 'o/infer-result/d/1.jpg_result.txt')
  assert.equal(manifest.key('o/', 'job'), 'o/infer-result-job.manifest')
  const done = {
    status: 'DONE',
    input: { bucket: 'in', key: 'd/1.jpg', version: 'v', size: 1 },
    output: { bucket: 'out', key: 'k', errors: 'e' },
    counts: { records: 2, answered: 1, failed: 1 },
  } as Done
  const line = (d: Done) => JSON.parse(manifest.line(d)) as unknown
  const source = 's3://in/d/1.jpg'
  assert.deepEqual(line(done), { source, result: 'SUCCESSFUL', 'inference-loc': 's3://out/k' })
  assert.deepEqual(line({ ...done, counts: { records: 1, answered: 0, failed: 1 } }), {
    source,
    result: 'FAILED',
    error_message: '1 of 1 records failed, see s3://out/e',
  })
  const broken = { ...done, status: 'FAILED', error: { code: 'BAD_INPUT', reason: 'cut' } } as const
  assert.deepEqual(line(broken), { source, result: 'FAILED', error_message: 'cut' })
})

test('.npy: a row for each record, NaN for those that failed', async () => {
  const bytes = await whole('npy', [failed(0), answered(1, [1, 2, 3]), failed(2), answered(3, [4, 5, 6])])
  const { dtype, shape, data } = readNpy(bytes)
  assert.deepEqual([dtype, shape], ['float32', [4, 3]])
  const nan = Number.NaN
  assert.deepEqual(Array.from(data as Float32Array), [nan, nan, nan, 1, 2, 3, nan, nan, nan, 4, 5, 6])
  const none = readNpy(await whole('npy', [failed(0), failed(1)]))
  assert.deepEqual(none.shape, [2, 3])
  assert.deepEqual(readNpy(await whole('npy', [])).shape, [0, 3])
  const { writer } = await open('npy')
  writer.write(answered(0, [1, 2, 3]))
  assert.throws(() => writer.write(answered(1, [1, 2])), { code: 'HOOK_RESULT' })
})

test('.npy is of one output, which a filter names', async () => {
  const y = SIGNATURE.outputs.y!
  const signature = { ...SIGNATURE, outputs: { y, z: y, s: { ...y, dtype: 'string' } } } as const
  await assert.rejects(open('npy', { signature }), { code: 'USAGE', message: /\$\.y or \$\.z/ })
  await assert.rejects(open('npy', { signature, options: { outputFilter: '$.s' } }), { code: 'WRONG_DTYPE' })
  const bytes = await whole('npy', [answered(0, [1, 2, 3])], { signature, options: { outputFilter: '$.y' } })
  assert.deepEqual(readNpy(bytes).shape, [1, 3])
})

test('Parquet: rows in groups, with the text that JSON Lines would have', async () => {
  const long = Array.from({ length: 40_000 }, (_, i) => i)
  const results = [
    answered(0, [1]),
    failed(1),
    ...[2, 3, 4, 5, 6, 7].map((n) => answered(n, long)),
    answered(8, [Number.NaN]),
  ]
  const bytes = await whole('parquet', results)
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer
  const rows = await parquetReadObjects({ file })
  assert.deepEqual(
    rows.map((r) => Number(r.record)),
    [0, 2, 3, 4, 5, 6, 7, 8],
  )
  assert.equal(rows[3]!.id, 'r4')
  assert.deepEqual(JSON.parse(rows[3]!.result as string), { y: long })
  assert.equal(rows[7]!.result, '{"y":[NaN]}')
  const empty = await whole('parquet', [])
  assert.deepEqual(
    await parquetReadObjects({
      file: empty.buffer.slice(empty.byteOffset, empty.byteOffset + empty.length) as ArrayBuffer,
    }),
    [],
  )
})

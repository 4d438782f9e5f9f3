import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import { type Job, runObject } from '../../../src/batch/run.ts'
import type { Done } from '../../../src/batch/types.ts'
import { readNpy, writeNpy } from '../../../src/npy.ts'
import { tensor } from '../../../src/tensor.ts'
import { encodeExample } from '../../../src/tfexample/encode.ts'
import { tfRecord, zipOf } from '../../fixtures/batch/archives.ts'
import { jobAt, stage } from '../../fixtures/batch/job.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-kinds-'))
after(() => rmSync(work, { recursive: true, force: true }))
const [input, output] = [join(work, 'in'), join(work, 'out')]
mkdirSync(input)
mkdirSync(output)
stage(join(work, 'model'))
const job = jobAt(join(work, 'model'), reliable(createFolderStore(), { pause: 1 }), input, output)

const N = 20
const rows = Array.from({ length: N }, (_, i) => [i % 3, 0.5, -1, i / 4])
const csv = rows.map((r) => `${r.join(',')}\n`).join('')
const flat = writeNpy(tensor('float64', [N, 4], Float64Array.from(rows.flat())))

async function run(key: string, bytes: Uint8Array | string, more: Partial<Job> = {}): Promise<[Done, Buffer]> {
  writeFileSync(join(input, key), bytes)
  const o = await runObject({ ...job, ...more }, { bucket: input, key })
  assert.ok(o.status === 'DONE' || o.status === 'FAILED', o.status)
  return [o.done, readFileSync(join(output, o.done.output.key))]
}

const answers = (text: Buffer): number[][] =>
  text
    .toString()
    .trim()
    .split('\n')
    .map((l) => (JSON.parse(l) as { result: { y: number[] } }).result.y)

test('whatever the rows come in, the answers are the same', async () => {
  const features = (x: number[]) => tfRecord(encodeExample([['x', { kind: 'float', values: x }]]))
  const [, expected] = await run('a.csv', csv)
  assert.equal(answers(expected).length, N)
  const files = {
    'a.csv.gz': gzipSync(`a,b,c,d\n${csv}`),
    'a.json': JSON.stringify(rows),
    'a.jsonl': rows.map((x) => JSON.stringify({ x })).join('\n'),
    'a.npy': flat,
    'a.npz': zipOf([{ name: 'x.npy', data: flat }]),
    'a.tfrecord': Buffer.concat(rows.map(features)),
  }
  for (const [key, bytes] of Object.entries(files)) {
    const [done, text] = await run(key, bytes)
    assert.deepEqual(done.counts, { records: N, answered: N, failed: 0 }, key)
    assert.deepEqual(answers(text), answers(expected), key)
  }
  const list = `${Object.keys(files)
    .map((source) => JSON.stringify({ source }))
    .join('\n')}\n{"source":"none.csv"}\n`
  const [done, text] = await run('all.manifest', list)
  assert.deepEqual(done.counts, { records: 6 * N + 1, answered: 6 * N, failed: 1 })
  assert.deepEqual(answers(text), Array.from({ length: 6 }, () => answers(expected)).flat())
})

test('results as an array, and beside the rows', async () => {
  const [, expected] = await run('b.csv', csv)
  const [done, bytes] = await run('b.csv', `${csv}1,2\n`, { result: 'npy' })
  assert.deepEqual(done.counts, { records: N + 1, answered: N, failed: 1 })
  const { shape, data } = readNpy(bytes)
  assert.deepEqual(shape, [N + 1, 3])
  const single = answers(expected).flat().map(Math.fround)
  assert.deepEqual(Array.from(data as Float32Array).slice(0, -3), single)
  const [, joined] = await run('b.csv', csv, { result: 'csv', outputOptions: { joinSource: 'Input' } })
  const lines = joined.toString().trim().split('\n')
  assert.deepEqual(
    lines.map((l) => l.split(',').slice(0, 4).map(Number)),
    rows,
  )
  assert.deepEqual(
    lines.map((l) => l.split(',').slice(4).map(Number)),
    answers(expected),
  )
})

test('a file that breaks off is FAILED, with the records before it', async () => {
  const [done, text] = await run('c.npy', flat.subarray(0, -5))
  assert.equal(done.status, 'FAILED')
  assert.equal(answers(text).length, N - 1)
  assert.match(done.error!.reason, /row 19/)
  const [other] = await run('d.tfrecord', csv)
  assert.deepEqual([other.status, other.error?.code], ['FAILED', 'BAD_INPUT'])
})

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { projectRoot } from '../../../packager/root.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import { type Job, runObject } from '../../../src/batch/run.ts'
import { threadsOf } from '../../../src/batch/setup.ts'
import { writeNpy } from '../../../src/npy.ts'
import { isBad, jobAt, lineOf, stage } from '../../fixtures/batch/job.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-threads-'))
const opened: Job[] = []
after(async () => {
  for (const job of opened) await job.threads!.close()
  rmSync(work, { recursive: true, force: true })
})

let places = 0

/** Jobs over the same input: in this thread, and in two more. */
function place(hooks?: string): { readonly input: string; alone: Job; threaded: Job } {
  const dir = join(work, String(places++))
  const roots = [join(dir, 'model')]
  const [input, here, there] = ['in', 'here', 'there'].map((name) => join(dir, name)) as [string, string, string]
  for (const folder of [input, here, there]) mkdirSync(folder, { recursive: true })
  stage(roots[0]!, 'softmax', hooks)
  const store = reliable(createFolderStore(), { pause: 1 })
  const job = jobAt(roots[0]!, store, input, there)
  const threads = threadsOf(job.model, { file: join(projectRoot(), 'build', 'thread.mjs'), roots, cpus: 2 })
  assert.ok(threads.threads, 'build/thread.mjs is there: npm run build')
  const threaded = { ...job, ...threads }
  opened.push(threaded)
  return { input, alone: jobAt(roots[0]!, store, input, here), threaded }
}

/** Enough for threads to be worth it. */
const N = 45_000
const rows = Array.from({ length: N }, (_, i) => [i % 7, (i % 13) / 2, -(i % 5), 0.25])
const files: Record<string, () => Uint8Array> = {
  'a.jsonl': () => Buffer.from(rows.map((_, i) => `${lineOf(i)}${i % 5 === 0 ? '  \r' : ''}\n`).join('')),
  'a.jsonl.gz': () => gzipSync(rows.map((_, i) => `${lineOf(i)}${' '.repeat(i % 61)}\n`).join(''), { level: 0 }),
  // pages of text are used again
  'long.jsonl': () => Buffer.from(rows.map((_, i) => `${lineOf(i)}${' '.repeat(200 + (i % 61))}\n`).join('')),
  'long.csv': () => Buffer.from(rows.map((r, i) => `${r.map((v) => `${v}${'0'.repeat(30 + (i % 50))}`)}\n`).join('')),
  'a.csv': () => Buffer.from(rows.map((r, i) => `${isBad(i) ? 'x,' : ''}${r.map((v) => `${v}0000`)}\n`).join('')),
  'quoted.csv': () => Buffer.from(rows.map((r) => `${r.slice(1).map((v) => `${v}00000`)},"${r[0]}\n"\n`).join('')),
  'a.json': () => Buffer.from(`[${rows.map((_, i) => (isBad(i) ? '[1]' : lineOf(i))).join(',\n')}]`),
  'a.npy': () => {
    const data = Float32Array.from({ length: 100_000 * 4 }, (_, i) => (i % 17) / 4)
    return writeNpy({ dtype: 'float32', shape: [data.length / 4, 4], data })
  },
  'big.npy': () => {
    const data = Float64Array.from({ length: 100_000 * 4 }, (_, i) => (i % 17) / 4)
    return writeNpy({ dtype: 'float64', shape: [data.length / 4, 4], data })
  },
}

test('threads answer as one does, byte for byte', async () => {
  const { input, alone, threaded } = place()
  for (const [name, make] of Object.entries(files)) {
    writeFileSync(join(input, name), make())
    const here = await run(alone, name)
    const there = await run(threaded, name)
    assert.deepEqual(there.counts, here.counts)
    assert.ok(here.counts.records >= N && here.counts.answered > 0, name)
    if (name === 'a.jsonl') assert.equal(here.counts.failed, rows.filter((_, i) => isBad(i)).length)
    for (const file of [here.output.key, here.output.errors].filter((f) => f !== undefined))
      assert.ok(
        readFileSync(join(threaded.output.bucket, file)).equals(readFileSync(join(alone.output.bucket, file))),
        file,
      )
  }
})

test('arrays that come as a stream, as from S3, reach threads in shared memory', async () => {
  const { input, alone, threaded } = place()
  const { file: _, ...streaming } = threaded.store
  writeFileSync(join(input, 'a.npy'), files['a.npy']!())
  const here = await run(alone, 'a.npy')
  await run({ ...threaded, store: streaming }, 'a.npy')
  const read = (job: Job) => readFileSync(join(job.output.bucket, here.output.key))
  assert.ok(read(threaded).equals(read(alone)))
})

test('the same with results that need to know all before, and with joins', async () => {
  const { input, alone, threaded } = place()
  writeFileSync(join(input, 'a.jsonl'), files['a.jsonl']!())
  for (const more of [
    { result: 'npy' },
    { result: 'parquet' },
    { result: 'sagemaker', outputOptions: { joinSource: 'Input' } },
  ] as const) {
    const here = await run({ ...alone, ...more }, 'a.jsonl')
    const there = await run({ ...threaded, ...more }, 'a.jsonl')
    assert.deepEqual(there.counts, here.counts)
    const read = (job: Job) => readFileSync(join(job.output.bucket, here.output.key))
    assert.ok(read(threaded).equals(read(alone)), more.result)
  }
})

const hook = (body: string) => `const { TfServingBaseService } = require('modelayer')
exports.default = class extends TfServingBaseService {
  async _preprocess(data) { ${body} return { x: [data.x] } }
}`
const request = (i: number) => `${JSON.stringify({ x: [i, 1, 2, 3], pad: 'x'.repeat(40) })}\n`

test('after a record that ended its thread the records are watched', async () => {
  const { input, threaded } = place(hook('if (data.x[0] === 12345) process.exit(3);'))
  writeFileSync(join(input, 'a.jsonl'), Array.from({ length: 20_000 }, (_, i) => request(i)).join(''))
  await assert.rejects(runObject(threaded, { bucket: input, key: 'a.jsonl' }), { code: 'THREAD_ENDED' })
  const state = JSON.parse(readFileSync(join(threaded.output.bucket, stateOf(threaded)), 'utf8'))
  assert.equal(state.tries, 1)
  assert.equal(state.lease, undefined)
  assert.ok(state.watchUntil > 12345)
})

test('rows of an array that are watched are answered in this thread', async () => {
  const marker = join(work, 'ended')
  const { input, alone, threaded } = place(`const { TfServingBaseService } = require('modelayer')
const { existsSync, writeFileSync } = require('node:fs')
exports.default = class extends TfServingBaseService {
  _postprocess(outputs) {
    if (!require('node:worker_threads').isMainThread && !existsSync(${JSON.stringify(marker)})) {
      writeFileSync(${JSON.stringify(marker)}, '')
      process.exit(3)
    }
    return outputs
  }
}`)
  writeFileSync(join(input, 'a.npy'), files['a.npy']!())
  await assert.rejects(runObject(threaded, { bucket: input, key: 'a.npy' }), { code: 'THREAD_ENDED' })
  const [there, here] = [await run(threaded, 'a.npy'), await run(alone, 'a.npy')]
  assert.equal(there.counts.failed, 0)
  const read = (job: Job) => readFileSync(join(job.output.bucket, here.output.key))
  assert.ok(read(threaded).equals(read(alone)))
})

test('a hook that never returns is stopped at the deadline', async () => {
  const { input, threaded } = place(hook('if (data.x[0] === 777) for (;;);'))
  writeFileSync(join(input, 'a.jsonl'), Array.from({ length: 20_000 }, (_, i) => request(i)).join(''))
  const begin = Date.now()
  const o = await runObject(threaded, { bucket: input, key: 'a.jsonl' }, { deadline: begin + 9_000 })
  assert.equal(o.status, 'PAUSED')
  assert.ok(o.status === 'PAUSED' && o.counts.records <= 777)
})

async function run(job: Job, key: string) {
  const o = await runObject(job, { bucket: job.input!.bucket, key })
  assert.ok(o.status === 'DONE', o.status)
  return o.done
}

const stateOf = (job: Job) => readdirSync(job.output.bucket).find((f) => f.endsWith('.state.json'))!

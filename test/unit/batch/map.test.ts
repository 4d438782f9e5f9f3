import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import validate from 'asl-validator'
import { mapDefinition } from '../../../packager/deploy/map.ts'
import { readOptions } from '../../../packager/deploy/options.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import type { ObjectStore } from '../../../src/batch/types.ts'
import { createWorker } from '../../../src/batch/worker.ts'
import { AppError } from '../../../src/errors.ts'
import { jobAt, lineOf, stage } from '../../fixtures/batch/job.ts'
import { execute, type World } from '../../fixtures/batch/statesmachine.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-map-'))
after(() => rmSync(work, { recursive: true, force: true }))

const definitionOf = (map: unknown = true) => {
  const batch = { input: 's3://digits-in/incoming/', output: 's3://digits-out/results/', map }
  const { batch: read } = readOptions({ models: { m: './m' }, batch })
  return JSON.parse(JSON.stringify(mapDefinition({ ...read!, map: read!.map! })))
}

test('the definition is States Language, and names what is deployed', () => {
  const definition = definitionOf({ items: 7, concurrency: 30, tolerated: 2 })
  // as CloudFormation fills it in
  const filled = JSON.parse(
    JSON.stringify(definition)
      .replaceAll(/\$\{AWS::Partition}/g, 'aws')
      .replaceAll(/\$\{function}/g, 'arn:aws:lambda:eu-central-1:123456789012:function:digits-dev-batch:3'),
  )
  const { isValid, errorsText } = validate(filled)
  assert.ok(isValid, errorsText())
  const { Settings, Objects } = definition.States
  assert.match(Settings.Output, /\{"prefix":"incoming\/","concurrency":30,"tolerated":2,"items":7\}/)
  assert.equal(Objects.ItemReader.Parameters.Bucket, 'digits-in')
  assert.deepEqual(Objects.ResultWriter.Parameters, { Bucket: 'digits-out', Prefix: 'results/map-runs' })
  const { Answer, Wait } = Objects.ItemProcessor.States
  assert.equal(Answer.TimeoutSeconds, 960)
  // a crash leaves a lease of a minute behind: asking more often would only cost
  assert.ok(Wait.Seconds >= 10 && Wait.Seconds <= 60)
  for (const rule of Answer.Retry) assert.equal(rule.JitterStrategy, 'FULL')
})

test('wrong options are named', () => {
  const refused = (map: unknown) => assert.throws(() => definitionOf(map), { code: 'USAGE' })
  refused({ concurrency: 10_001 })
  refused({ tolerated: 101 })
  refused({ batch: 10 })
  refused('yes')
})

let places = 0
interface Setup {
  readonly store?: ObjectStore
  /** milliseconds that an invocation has */
  readonly time?: (invocation: number) => number
  readonly before?: (invocation: number) => void
}

/** The function behind the map, on folders; S3 lists as S3 does. */
function setup({ store = createFolderStore(), time = () => 60_000, before }: Setup = {}) {
  const dir = join(work, String(places++))
  const [input, output, model] = [join(dir, 'in'), join(dir, 'out'), join(dir, 'model')]
  for (const d of [input, output]) mkdirSync(d, { recursive: true })
  stage(model)
  const job = jobAt(model, reliable(store, { pause: 1, tries: 2 }), input, output)
  const worker = createWorker(job, { log: () => undefined })
  const events: { Items: { Key: string }[]; error?: object }[] = []
  const world: World = {
    async list(_, prefix) {
      const found: object[] = []
      for await (const { key, size, etag } of createFolderStore().list(input, prefix))
        found.push({ Key: key, Size: size, Etag: `"${etag}"`, LastModified: 1, StorageClass: 'STANDARD' })
      return found
    },
    async invoke(_, payload) {
      events.push(payload as (typeof events)[number])
      before?.(events.length)
      return worker(payload, { deadline: Date.now() + time(events.length) })
    },
  }
  const put = (key: string, n: number) =>
    writeFileSync(join(input, key), Array.from({ length: n }, (_, i) => `${lineOf(i)}\n`).join(''))
  // the bucket is a folder here
  const definition = JSON.parse(JSON.stringify(definitionOf()).replaceAll('"digits-in"', JSON.stringify(input)))
  const run = (settings: object) => execute(definition, { prefix: '', ...settings }, world)
  const dones = () => readdirSync(output).filter((f) => f.endsWith('.done.json'))
  return { run, put, events, input, output, dones }
}

test('every object in batches, once; what is there already is seen and left', async () => {
  const { run, put, events, dones } = setup()
  for (let i = 0; i < 10; i++) put(`a${i}.jsonl`, 40)
  const first = await run({ items: 4 })
  assert.equal(first.status, 'SUCCEEDED')
  assert.deepEqual(
    first.batches.map((b) => b.output.objects.done),
    [4, 4, 2],
  )
  assert.equal(events.length, 3)
  assert.deepEqual(first.batches[0]!.output.records, { records: 160, answered: 156, failed: 4 })
  assert.equal(dones().length, 10)
  const again = await run({ items: 100 })
  assert.deepEqual(again.batches[0]!.output.objects, { done: 10, failed: 0, skipped: 0, open: 0 })
  assert.equal(dones().length, 10)
})

test('what an invocation has no time for is open, and asked for again until it is done', async () => {
  const { run, put, events, dones } = setup({ time: (n) => (n < 3 ? 1000 : 60_000) })
  put('a.jsonl', 100)
  put('b.jsonl', 100)
  const { status, batches, waits } = await run({ items: 10 })
  assert.equal(status, 'SUCCEEDED')
  assert.equal(events.length, 3)
  assert.deepEqual(waits, [15, 15])
  assert.deepEqual(batches[0]!.output.objects, { done: 2, failed: 0, skipped: 0, open: 0 })
  assert.equal(dones().length, 2)
})

test('bad records fail nothing; objects that cannot be read fail their batch where they are more than tolerated', async () => {
  const { run, put, input } = setup()
  for (let i = 0; i < 8; i++) put(`a${i}.jsonl`, 100)
  for (const i of [1, 5]) writeFileSync(join(input, `a${i}.npy`), 'no npy')
  // a0 a1 a1.npy a2 a3 | a4 a5 a5.npy a6 a7: one of five fails in each
  const tolerant = await run({ items: 5, tolerated: 20 })
  assert.equal(tolerant.status, 'SUCCEEDED')
  assert.deepEqual(tolerant.items, { total: 10, failed: 0 })
  const { objects, records, results } = tolerant.batches[0]!.output
  assert.deepEqual(objects, { done: 4, failed: 1, skipped: 0, open: 0 })
  assert.equal(records.failed, 4 * 2 + 1)
  // what somebody has to look at comes first
  assert.deepEqual([results[0].key, results[0].status], ['a1.npy', 'FAILED'])
  const strict = await run({ items: 5, tolerated: 10 })
  assert.equal(strict.status, 'FAILED')
  assert.deepEqual(
    strict.batches.map((b) => b.error),
    ['TooManyFailed', 'TooManyFailed'],
  )
  // alone, only they count
  const alone = await run({ items: 1, tolerated: 20 })
  assert.deepEqual([alone.status, alone.items.failed], ['SUCCEEDED', 0 + 2])
})

/** Fails on some keys, for so many reads. */
function brokenOn(pattern: RegExp, times = Number.POSITIVE_INFINITY): ObjectStore {
  const store = createFolderStore()
  let left = times
  return {
    ...store,
    async *read(ref, o) {
      if (pattern.test(ref.key) && left-- > 0)
        throw new AppError('STORE_FAILED', { where: ref.key, got: '503 SlowDown' })
      yield* store.read(ref, o)
    },
  }
}

test('what fails in passing is repeated, later each time', async () => {
  const { run, put, events, dones } = setup({ store: brokenOn(/bad/, 5) })
  put('a.jsonl', 10)
  put('bad.jsonl', 10)
  const { status, waits } = await run({ items: 10 })
  assert.equal(status, 'SUCCEEDED')
  assert.deepEqual(waits, [2, 4])
  assert.equal(events.length, 3)
  assert.equal(dones().length, 2)
})

test('what fails always is named, and fails alone', async () => {
  const { run, put, events, output, dones } = setup({ store: brokenOn(/bad/) })
  for (let i = 0; i < 9; i++) put(`a${i}.jsonl`, 10)
  put('bad.jsonl', 10)
  const { status, items, waits, batches } = await run({ items: 10, tolerated: 10 })
  assert.equal(status, 'SUCCEEDED')
  assert.equal(items.failed, 0)
  assert.deepEqual(batches[0]!.output.objects, { done: 9, failed: 1, skipped: 0, open: 0 })
  assert.deepEqual(waits, [2, 4, 8, 16, 32, 64])
  assert.match(JSON.stringify(events.at(-1)!.error), /SlowDown/)
  assert.equal(dones().length, 9)
  assert.equal(JSON.parse(readFileSync(join(output, 'bad.jsonl.failed.json'), 'utf8')).code, 'STORE_FAILED')
})

test('throttled, it waits for room; without any the batch fails as a whole', async () => {
  const full = (n: number) => {
    const e = new Error('Rate exceeded')
    e.name = 'Lambda.TooManyRequestsException'
    if (n < 9) throw e
  }
  const some = setup({ before: full })
  some.put('a.jsonl', 10)
  const { status, waits } = await some.run({ items: 10 })
  assert.equal(status, 'SUCCEEDED')
  assert.deepEqual(waits, [2, 4, 8, 16, 32, 64, 120, 120])
  const none = setup({ before: () => full(0) })
  for (const key of ['a', 'b', 'c']) none.put(`${key}.jsonl`, 1)
  const lost = await none.run({ items: 2, tolerated: 5 })
  assert.deepEqual([lost.status, lost.items], ['FAILED', { total: 3, failed: 3 }])
})

test('a batch as large as a state may be is answered within it', async () => {
  const { run, put, events } = setup()
  const name = (i: number) => `${String(i).padStart(4, '0')}-${'long'.repeat(30)}.jsonl`
  for (let i = 0; i < 1100; i++) put(name(i), 0)
  const { status, batches } = await run({ items: 10_000 })
  assert.equal(status, 'SUCCEEDED')
  assert.ok(batches.length > 1, 'bytes cut the batches')
  assert.equal(
    batches.reduce((n, b) => n + b.output.objects.skipped, 0),
    1100,
  )
  assert.ok(Math.max(...events.map((e) => Buffer.byteLength(JSON.stringify(e)))) > 190_000)
})

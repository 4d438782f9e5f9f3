import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Heap } from '../../../bench/scale/heap.ts'
import { count, type Scene, simulate } from '../../../bench/scale/simulate.ts'
import { plan } from '../../../packager/batch/plan.ts'
import { pricesOf } from '../../../packager/batch/prices.ts'
import { ASSUMED } from '../../../packager/batch/quotas.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { eachOf } from '../../../src/batch/pool.ts'
import type { ObjectStore } from '../../../src/batch/types.ts'
import { createWorker } from '../../../src/batch/worker.ts'
import { randomOf } from '../../fixtures/batch/faulty.ts'
import { jobAt, lineOf, stage } from '../../fixtures/batch/job.ts'
import { fc } from '../../random.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-scale-'))
after(() => rmSync(work, { recursive: true, force: true }))

const none = { crash: 0, error: 0, poison: 0, double: 0 }
const scene = (more: Partial<Scene> = {}): Scene => ({
  way: 'map',
  objects: 10_000,
  secondsPerObject: 0.5,
  reads: 7,
  writes: 4,
  prefixes: 100,
  items: 20,
  concurrency: 100,
  room: 1000,
  cold: 1,
  trouble: none,
  random: randomOf(1),
  ...more,
})

const shares = fc.double({ min: 0, max: 0.05, noNaN: true })
const scenes = fc
  .record({
    way: fc.constantFrom('map', 'queue'),
    objects: fc.integer({ min: 1, max: 50_000 }),
    secondsPerObject: fc.double({ min: 0.001, max: 5, noNaN: true }),
    items: fc.integer({ min: 1, max: 500 }),
    concurrency: fc.integer({ min: 1, max: 300 }),
    room: fc.integer({ min: 1, max: 300 }),
    prefixes: fc.integer({ min: 1, max: 10 }),
    trouble: fc.record({ crash: shares, error: shares, poison: shares, double: shares }),
    seed: fc.integer(),
    events: fc.constantFrom(100, 1000),
  })
  .map(({ seed, ...rest }) => scene({ ...rest, random: randomOf(seed) } as Partial<Scene>))

test('every object is answered, named or lost, once; what is under way is rate times time (Little)', () => {
  fc.assert(
    fc.property(scenes, (s) => {
      const o = simulate(s)
      assert.equal(o.answered + o.named + o.lost, s.objects)
      assert.ok(Math.abs(o.meanHeld * o.seconds - o.heldSeconds) <= 1e-6 * o.heldSeconds)
      assert.ok(o.peak <= Math.min(s.concurrency, s.room))
      assert.ok(o.invocations >= 1 || o.lost === s.objects)
      assert.ok(o.lambdaSeconds <= o.heldSeconds * 1.000001)
    }),
    { numRuns: 150 },
  )
})

test('the same seed is the same run', () => {
  const trouble = { crash: 0.01, error: 0.01, poison: 0.001, double: 0.01 }
  const once = () => simulate(scene({ trouble, random: randomOf(5) }))
  assert.deepEqual(once(), once())
})

test('more objects take longer, more places less, and trouble costs', () => {
  const seconds = (more: Partial<Scene>) => simulate(scene(more)).seconds
  const sizes = [1e3, 1e4, 1e5, 1e6].map((objects) => seconds({ objects }))
  assert.deepEqual(
    sizes,
    [...sizes].sort((a, b) => a - b),
  )
  const places = [10, 30, 100, 300].map((concurrency) => seconds({ concurrency, objects: 1e5 }))
  assert.deepEqual(
    places,
    [...places].sort((a, b) => b - a),
  )
  const trouble = { ...none, crash: 0.02, poison: 0.001 }
  assert.ok(seconds({ trouble }) > seconds({}))
  assert.ok(seconds({ prefixes: 1, secondsPerObject: 0.001 }) > seconds({ secondsPerObject: 0.001 }))
})

test('several invocations as one event change little', () => {
  const trouble = { crash: 0.002, error: 0.001, poison: 0, double: 0 }
  const big = { objects: 1e6, trouble, concurrency: 200 }
  const [fine, coarse] = [1e6, 3000].map((events) => simulate(scene({ ...big, events })))
  assert.ok(Math.abs(coarse!.seconds / fine!.seconds - 1) < 0.05, `${coarse!.seconds} ${fine!.seconds}`)
  assert.ok(Math.abs(coarse!.lambdaSeconds / fine!.lambdaSeconds - 1) < 0.02)
})

test('without trouble the plan says what the simulation finds', () => {
  const rate = { busyPerByte: 0.001, earlier: false, reads: 7, writes: 4, objects: 100, failed: 0 }
  const { prices } = pricesOf('us-east-1')
  const setting = {
    memory: 1769,
    arch: 'arm64',
    timeout: 900,
    concurrency: 1000,
    prefixes: 100,
    keyBytes: 40,
    prices,
  } as const
  for (const objects of [1e2, 1e3, 1e4, 1e5, 1e6, 1e7]) {
    const p = plan([{ objects, bytes: objects * 1e5, largest: 1e5, single: true, rate }], setting)
    const { secondsPerBatch, items, concurrency, wallSeconds } = p
    const o = simulate(
      scene({ objects, items, concurrency, secondsPerObject: secondsPerBatch / items, cold: ASSUMED.coldMs / 1000 }),
    )
    assert.ok(Math.abs(wallSeconds / o.seconds - 1) < 0.25, `${objects}: ${wallSeconds} planned, ${o.seconds} found`)
    assert.ok(Math.abs(p.lambdaSeconds / o.lambdaSeconds - 1) < 0.1)
  }
})

test('a real worker under as many hands takes what the simulation says', async () => {
  const [input, output] = [join(work, 'in'), join(work, 'out')]
  for (const d of [input, output]) mkdirSync(d)
  stage(join(work, 'model'))
  const [objects, items, concurrency] = [48, 4, 4]
  const batches = Array.from({ length: objects / items }, (_, b) =>
    Array.from({ length: items }, (_, i) => {
      const Key = `${b}-${i}.jsonl`
      writeFileSync(join(input, Key), Array.from({ length: 20 }, (_, r) => `${lineOf(r)}\n`).join(''))
      return { Bucket: input, Key }
    }),
  )
  const worker = createWorker(jobAt(join(work, 'model'), slowly(createFolderStore(), 10), input, output), {
    log: () => undefined,
  })
  await worker({ Items: [batches[0]![0]] }, {})
  let busy = 0
  const begin = performance.now()
  await eachOf(batches, concurrency, async (Items) => {
    const start = performance.now()
    await worker({ Items }, {})
    busy += performance.now() - start
  })
  const real = (performance.now() - begin) / 1000
  const secondsPerObject = busy / 1000 / objects
  const o = simulate(scene({ objects, items, concurrency, secondsPerObject, cold: 0 }))
  assert.ok(Math.abs(o.seconds / real - 1) < 0.35, `${o.seconds} s simulated, ${real} s taken`)
})

/** As far away as S3. */
function slowly(store: ObjectStore, ms: number): ObjectStore {
  const wait = () => sleep(ms)
  return {
    ...store,
    stat: (ref) => wait().then(() => store.stat(ref)),
    put: (ref, bytes, o) => wait().then(() => store.put(ref, bytes, o)),
    async *read(ref, o) {
      await wait()
      yield* store.read(ref, o)
    },
  }
}

test('chance: as many as the share says, and the heap gives the least', () => {
  const random = randomOf(3)
  for (const [n, share] of [
    [100, 0.02],
    [1e6, 0.001],
  ] as const) {
    const found = Array.from({ length: 2000 }, () => count(n, share, random))
    const mean = found.reduce((a, b) => a + b) / found.length
    assert.ok(Math.abs(mean / (n * share) - 1) < 0.1, String(mean))
  }
  fc.assert(
    fc.property(fc.array(fc.integer()), (list) => {
      const heap = new Heap<number>((n) => n)
      for (const n of list) heap.push(n)
      assert.deepEqual(
        list.map(() => heap.pop()),
        [...list].sort((a, b) => a - b),
      )
      assert.equal(heap.pop(), undefined)
    }),
  )
})

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  BATCH_BYTES,
  plan,
  type Rate,
  ramped,
  type Setting,
  secondsOf,
  toleratedOf,
  type Work,
} from '../../../packager/batch/plan.ts'
import { pricesOf } from '../../../packager/batch/prices.ts'
import { ASSUMED, QUOTAS } from '../../../packager/batch/quotas.ts'
import { projectRoot } from '../../../packager/root.ts'
import { fc } from '../../random.ts'

const { prices } = pricesOf('us-east-1')
const setting: Setting = {
  memory: 1769,
  arch: 'arm64',
  timeout: 900,
  concurrency: 1000,
  prefixes: 1,
  keyBytes: 40,
  prices,
}
const rate: Rate = { busyPerByte: 0.001, earlier: false, reads: 6, writes: 4, objects: 100, failed: 0 }
/** one millisecond of work for each thousand bytes */
const of = (objects: number, size: number, more: Partial<Work> = {}): Work => ({
  objects,
  bytes: objects * size,
  largest: size,
  single: false,
  rate,
  ...more,
})

test('the arithmetic, by hand', () => {
  // 10,000 objects of 1 MB: a second of work, and ten requests of 30 ms one after the other
  const work = of(10_000, 1e6)
  assert.equal(secondsOf(work, setting), 13_000)
  const p = plan([work], setting)
  // 13,000 s on 900 environments in four rounds are 3.6 s each: the least is ten, so seven objects
  assert.equal(p.items, 7)
  assert.equal(p.batches, 1429)
  assert.equal(p.concurrency, 900)
  assert.equal(p.lambdaSeconds, 13_900)
  // nine seconds until all are there, which have then done 4,050 s of it, and half a batch at the end
  assert.ok(Math.abs(p.wallSeconds - (9 + (13_900 - 4050) / 900 + 9.1 / 2)) < 1e-9)
  assert.equal(p.bound, 'concurrency')
  const gigabytes = 1769 / 1024
  const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-6 * b, `${a} is not ${b}`)
  near(p.cost.lambda, 13_900 * gigabytes * 0.0000133334 + 1429 * 2e-7)
  near(p.cost.s3, 60_000 * 4e-7 + (40_000 + 1e10 / 2 ** 23 + 10) * 5e-6)
  near(p.cost.stepFunctions, 1429 * 4 * 25e-6)
})

test('memory is a share of a processor up to one, and waiting is not', () => {
  const work = of(100, 1e6, { rate: { ...rate, reads: 0, writes: 0 } })
  const at = (memory: number) => secondsOf(work, { memory })
  assert.ok(Math.abs(at(1769 / 2) - 2 * at(1769)) < 1e-9)
  assert.equal(at(10_240), at(1769))
  const waiting = of(100, 0)
  assert.equal(secondsOf(waiting, { memory: 128 }), secondsOf(waiting, { memory: 1769 }))
  assert.equal(secondsOf({ ...waiting, single: true }, setting), secondsOf(waiting, setting) / ASSUMED.overlap)
  // earlier runs had the share of their function already
  const earlier = { ...work, rate: { ...work.rate, earlier: true } }
  assert.equal(secondsOf(earlier, { memory: 128 }), secondsOf(earlier, { memory: 1769 }))
})

test('what S3 answers is a limit, and one long object is', () => {
  const small = plan([of(1e8, 1000, { single: true })], setting)
  assert.equal(small.bound, 'S3 writes')
  assert.ok(small.wallSeconds >= (4e8 + 1e11 / 2 ** 23) / QUOTAS.s3.writes)
  // no more environments than S3 can serve
  assert.ok(small.concurrency < 900)
  const divided = plan([of(1e8, 1000, { single: true })], { ...setting, prefixes: 100 })
  assert.deepEqual([divided.bound, divided.concurrency], ['concurrency', 900])
  const long = plan([of(1, 5e9)], setting)
  assert.equal(long.bound, 'objects')
  // 5,000 s are five pauses of a function of 900
  assert.equal(long.invocations, 6)
})

test('the tolerated share is what the sample may have hidden', () => {
  const sampled = (objects: number, failed: number) => toleratedOf([{ rate: { ...rate, objects, failed } }])
  assert.equal(sampled(5, 0), 5)
  assert.equal(sampled(1000, 0), 1)
  assert.equal(sampled(64, 0), 6)
  assert.equal(sampled(1000, 50), 7)
  assert.equal(sampled(100, 90), 25)
})

test('prices of a region that is not in the table are said to be of another', () => {
  assert.equal(pricesOf('eu-central-1').of, 'eu-central-1')
  assert.equal(pricesOf('mars-north-1').of, 'us-east-1')
  assert.equal(pricesOf(undefined).of, 'us-east-1')
  assert.equal(pricesOf('constructor').of, 'us-east-1')
})

test('until all environments are there, work is the area below the line of their number', () => {
  assert.equal(ramped(0, 100, 100), 0)
  assert.equal(ramped(50, 100, 100), 1)
  assert.equal(ramped(150, 100, 100), 2)
  assert.equal(ramped(12.5, 1000, 100), 0.5)
})

test('docs/scaling.md: its worked example, and its quotas', () => {
  const digit = { ...rate, busyPerByte: 4.2 / 253, reads: 2, writes: 2 }
  const p = plan([of(1e7, 253, { single: true, rate: digit })], { ...setting, prefixes: 100 })
  assert.deepEqual([p.items, p.batches, p.concurrency], [1000, 10_000, 900])
  const text = readFileSync(join(projectRoot(), 'docs', 'scaling.md'), 'utf8')
  const minutes = `${Math.floor(p.wallSeconds / 60)} min ${Math.round(p.wallSeconds % 60)} s`
  const { lambda, s3, stepFunctions } = p.cost
  for (const said of [minutes, `$${lambda.toFixed(2)}`, `$${s3.toFixed(0)}`, `$${stepFunctions.toFixed(2)}`])
    assert.ok(text.includes(said), `the example does not say ${said}`)
  const { lambda: l, map, sqs, s3: rates } = QUOTAS
  const numbers = [l.concurrency, l.seconds, map.concurrency, map.starts, map.items, map.state, map.history]
  for (const n of [...numbers, sqs.concurrency, rates.reads, rates.writes])
    assert.ok(text.includes(n.toLocaleString('en-US')), `no quota of ${n}`)
})

const some = fc.record({
  objects: fc.integer({ min: 1, max: 1e8 }),
  size: fc.integer({ min: 1, max: 1e9 }),
  busyPerByte: fc.double({ min: 1e-9, max: 0.1, noNaN: true }),
  requests: fc.integer({ min: 1, max: 20 }),
  concurrency: fc.integer({ min: 1, max: 20_000 }),
  memory: fc.integer({ min: 128, max: 10_240 }),
  timeout: fc.integer({ min: 30, max: 900 }),
  keyBytes: fc.integer({ min: 1, max: 6000 }),
  single: fc.boolean(),
})

test('whatever is asked, quotas hold, and more work takes no less', () => {
  fc.assert(
    fc.property(some, ({ objects, size, busyPerByte, requests, concurrency, memory, timeout, keyBytes, single }) => {
      const s = { ...setting, concurrency, memory, timeout, keyBytes }
      const r = { ...rate, busyPerByte, reads: requests, writes: requests }
      const p = plan([of(objects, size, { single, rate: r })], s)
      assert.ok(p.items >= 1 && p.items * keyBytes <= Math.max(BATCH_BYTES, keyBytes))
      assert.ok(p.concurrency >= 1 && p.concurrency <= Math.min(QUOTAS.map.concurrency, Math.max(concurrency, 1)))
      assert.ok(p.items * p.batches >= objects && p.items * (p.batches - 1) < objects)
      assert.ok(Number.isFinite(p.wallSeconds) && p.wallSeconds > 0)
      assert.ok(p.cost.total > 0)
      // no more is done than all environments can do
      assert.ok(p.wallSeconds * p.concurrency >= p.lambdaSeconds * 0.999 || p.bound !== 'concurrency')
      const more = plan([of(objects * 2, size, { single, rate: r })], s)
      assert.ok(more.cost.total >= p.cost.total)
      assert.ok(more.wallSeconds >= p.wallSeconds * 0.999 - p.secondsPerBatch)
    }),
  )
})

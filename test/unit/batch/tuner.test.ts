import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTuner } from '../../../src/batch/tuner.ts'

/** Where it settles when a run of n rows takes that long. */
function settles(msOf: (n: number, run: number) => number, max = 256): number {
  const tuner = createTuner(max)
  for (let run = 0; run < 600; run++) tuner.note(tuner.rows, msOf(tuner.rows, run))
  const { rows } = tuner
  tuner.note(rows, 1e9)
  assert.equal(tuner.rows, rows, 'it stays')
  return rows
}

test('a small model, where the call itself costs most, gets large batches', () => {
  assert.equal(
    settles((n) => 0.05 + n * 0.0004),
    256,
  )
})

test('a model that gains nothing from batches gets none', () => {
  assert.equal(
    settles((n) => 4 * n),
    1,
  )
  assert.equal(
    settles((n) => 4 * n ** 1.1),
    1,
  )
})

test('in between it takes the smallest that is nearly the best', () => {
  assert.equal(
    settles((n) => 1 + n),
    64,
  )
})

test('a single slow run misleads nobody', () => {
  assert.equal(
    settles((n, run) => (run % 3 === 0 ? 100 : 0) + 0.05 + n * 0.0004),
    256,
  )
})

test('runs do not get long', () => {
  assert.ok(settles((n) => 300 + n) <= 256)
  assert.ok(settles((n) => 20 * n ** 0.9) <= 64)
})

test('where chunks hold no more, the best of what was tried is kept', () => {
  const tuner = createTuner(256)
  for (let run = 0; run < 600; run++) {
    const n = Math.min(tuner.rows, 42)
    tuner.note(n, 1 + n)
  }
  assert.equal(tuner.rows, 32)
})

test('where chunks hold fewer than the first, it goes by those', () => {
  const tuner = createTuner(256)
  for (let run = 0; run < 600; run++) {
    const n = Math.min(tuner.rows, 3)
    tuner.note(n, 4 * n ** 1.1)
  }
  assert.equal(tuner.rows, 1)
})

test('what slows everything down for a while decides nothing', () => {
  const rates: Record<number, number> = { 1: 1, 2: 0.99, 4: 0.95, 8: 0.92, 16: 0.91, 32: 0.8 }
  for (let phase = 0; phase < 120; phase++)
    assert.equal(
      settles((n, run) => ((4 * n) / (rates[n] ?? 0.6)) * ((run + phase) % 120 < 40 ? 1.3 : 1)),
      1,
    )
})

test('the most that is allowed is kept', () => {
  assert.equal(
    settles(() => 1, 32),
    32,
  )
  assert.equal(
    settles(() => 1, 1),
    1,
  )
  assert.equal(
    settles(() => 1, 3),
    3,
  )
})

test('a model that is best with fewer than the first gets those', () => {
  const rates: Record<number, number> = { 1: 0.8, 2: 0.99, 4: 1, 8: 0.95, 16: 0.85, 32: 0.7 }
  assert.equal(
    settles((n) => (4 * n) / (rates[n] ?? 0.6)),
    2,
  )
})

test('what was found is told once and holds for the next; what chunks were too small to tell is not', () => {
  const found: number[] = []
  const never = () => assert.fail('nothing is found')
  const tuner = createTuner(256, { found: (rows) => found.push(rows) })
  for (let run = 0; run < 600; run++) tuner.note(tuner.rows, 1 + tuner.rows)
  assert.deepEqual(found, [tuner.rows])
  const next = createTuner(256, { known: found[0], found: never })
  for (let run = 0; run < 600; run++) next.note(next.rows, run)
  assert.equal(next.rows, found[0])
  assert.equal(createTuner(4, { known: 64 }).rows, 4)

  const small = createTuner(256, { found: never })
  for (let run = 0; run < 600; run++) small.note(Math.min(small.rows, 5), 1 + small.rows)
  assert.ok(small.rows <= 5)
})

import assert from 'node:assert/strict'
import { isAppError } from '../../src/errors.ts'
import { mutate, random } from './mutate.ts'

/** What one run may add to memory: files of a few kilobytes must not make gigabytes. */
const MAX_GROWTH = 512 * 2 ** 20

/** `FUZZ=50 FUZZ_SEED=7 node --import tsx --test test/fuzz/…` looks harder, and elsewhere. */
const TIMES = Number(process.env.FUZZ ?? 1)
const SEED = Number(process.env.FUZZ_SEED ?? 0)

/** Runs `attempt` on damaged copies: only our own errors may come out, and memory stays bounded. */
export async function onlyOurErrors(
  seed: number,
  runs: number,
  bytes: Uint8Array,
  attempt: (bytes: Buffer) => unknown,
): Promise<void> {
  const next = random(seed + 1000 * SEED)
  const before = process.memoryUsage.rss()
  for (let i = 0; i < runs * TIMES; i++) {
    const damaged = mutate(next, bytes)
    try {
      await attempt(damaged)
    } catch (e) {
      assert.ok(
        isAppError(e) && e.code !== 'INTERNAL',
        `seed ${seed}, run ${i}: ${e instanceof Error ? e.stack : String(e)}`,
      )
    }
  }
  const growth = process.memoryUsage.rss() - before
  assert.ok(growth < MAX_GROWTH, `memory grew by ${Math.round(growth / 2 ** 20)} MB`)
}

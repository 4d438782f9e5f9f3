import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSharedBuffers } from '../../../src/batch/buffers.ts'
import { decoded } from '../../../src/batch/decoded.ts'
import { npy } from '../../../src/batch/formats/npy.ts'
import { merged } from '../../../src/batch/merge.ts'
import { pack } from '../../../src/batch/parcel.ts'
import type { BatchRecord } from '../../../src/batch/types.ts'
import { npyHeader, parseNpyHeader } from '../../../src/npy.ts'
import { SIGNATURE } from '../../fixtures/batch/reading.ts'
import { fc } from '../../random.ts'

const buffers = createSharedBuffers()
const header = parseNpyHeader(npyHeader('<f4', [9999, 4]), 'a')

/** Blocks of rows as a file of arrays yields them: several in shared memory, one in its own. */
function recordsOf(counts: readonly number[]): BatchRecord[] {
  let record = 0
  return counts.map((count) => {
    const first = record
    record += count
    const memory = count > 1 ? buffers.take(16 * count) : new ArrayBuffer(16)
    new Float32Array(memory, 0, 4 * count).forEach((_, i, all) => {
      all[i] = 10 * (first + Math.floor(i / 4)) + (i % 4)
    })
    const input = { kind: 'raw', bytes: Buffer.from(memory, 0, 16 * count), about: { header, where: 'a' } } as const
    return { record: first, ...(count > 1 && { count }), input, bytes: 16 * count, next: { record } }
  })
}

test('rows in shared memory become tensors in memory of the thread', async () => {
  const context = { signature: SIGNATURE, preprocess: false, options: {} }
  const decode = await npy.decode(context)
  const counts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(counts, (counts) => {
      const { parcel, transfer, shared } = pack(recordsOf(counts))
      assert.equal(shared.length, counts.filter((n) => n > 1).length)
      assert.equal(transfer.length, counts.includes(1) ? 1 : 0)
      const all = structuredClone(parcel).flatMap((r) => decoded(r, decode))
      const there = merged(all, SIGNATURE)
      const total = counts.reduce((a, b) => a + b)
      assert.equal(
        there.reduce((n, r) => n + (r.count ?? 1), 0),
        total,
      )
      const values = there.flatMap(({ input, count = 1, record }) => {
        assert.ok(input.kind === 'tensors')
        const { data, shape } = input.tensors.x!
        assert.ok(!Array.isArray(data) && data.buffer instanceof ArrayBuffer)
        assert.deepEqual(shape, count > 1 ? [count, 4] : [4])
        assert.equal(data[0], 10 * record)
        return [...data]
      })
      assert.deepEqual(
        values,
        Array.from({ length: 4 * total }, (_, i) => 10 * Math.floor(i / 4) + (i % 4)),
      )
      for (const b of shared) buffers.give(b)
    }),
  )
})

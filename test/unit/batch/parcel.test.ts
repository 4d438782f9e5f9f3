import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createBuffers } from '../../../src/batch/buffers.ts'
import { merged } from '../../../src/batch/merge.ts'
import { createUnpacker, pack } from '../../../src/batch/parcel.ts'
import type { BatchRecord, Decoded } from '../../../src/batch/types.ts'
import type { Signature } from '../../../src/manifest.ts'

const signature: Signature = {
  graph: 'g.onnx',
  method: '',
  inputs: { x: { name: 'x', dtype: 'float32', shape: [null, 3] } },
  outputs: { y: { name: 'y', dtype: 'float32', shape: [null, 3] } },
}
const buffers = createBuffers()

/** Blocks of rows as a file of arrays yields them: several in shared memory, one in its own. */
function recordsOf(counts: readonly number[]): BatchRecord[] {
  let record = 0
  return counts.map((count) => {
    const first = record
    record += count
    const memory = count > 1 ? buffers.take(12 * count) : new ArrayBuffer(12)
    const data = new Float32Array(memory, 0, 3 * count).map((_, i) => 10 * (first + Math.floor(i / 3)) + (i % 3))
    const held = new Float32Array(memory, 0, 3 * count)
    held.set(data)
    const shape = count > 1 ? [count, 3] : [3]
    const input = { kind: 'tensors', tensors: { x: { dtype: 'float32', shape, data: held } } } as const
    return { record: first, ...(count > 1 && { count }), input, bytes: 12 * count, next: { record } }
  })
}

test('rows in shared memory arrive in memory of the thread, and as few records', () => {
  const unpack = createUnpacker()
  const counts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(counts, (counts) => {
      const { parcel, transfer, shared } = pack(recordsOf(counts))
      assert.equal(shared.length, counts.filter((n) => n > 1).length)
      assert.equal(transfer.length, counts.filter((n) => n === 1).length)
      const there = merged(unpack(structuredClone(parcel)) as Decoded[], signature)
      const total = counts.reduce((a, b) => a + b)
      assert.equal(
        there.reduce((n, r) => n + (r.count ?? 1), 0),
        total,
      )
      if (counts.every((n) => n > 1)) assert.equal(there.length, 1)
      const values = there.flatMap(({ input, count = 1, record }) => {
        assert.ok(input.kind === 'tensors')
        const { data, shape } = input.tensors.x!
        assert.ok(!Array.isArray(data) && data.buffer instanceof ArrayBuffer)
        assert.deepEqual(shape, count > 1 ? [count, 3] : [3])
        assert.equal(data[0], 10 * record)
        return [...data]
      })
      assert.deepEqual(
        values,
        Array.from({ length: 3 * total }, (_, i) => 10 * Math.floor(i / 3) + (i % 3)),
      )
      for (const b of shared) buffers.give(b)
    }),
  )
})

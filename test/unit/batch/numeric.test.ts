import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tensorsOfText } from '../../../src/batch/numeric.ts'
import { fromInstance } from '../../../src/batch/ready.ts'
import { toFeeds } from '../../../src/feeds.ts'
import type { Signature } from '../../../src/manifest.ts'
import { fc } from '../../random.ts'

const signature = (shapes: Record<string, (number | null)[]>): Signature => ({
  graph: '',
  method: '',
  inputs: Object.fromEntries(
    Object.entries(shapes).map(([a, shape]) => [a, { name: a, dtype: 'float32' as const, shape }]),
  ),
  outputs: {},
})

const one = signature({ x: [null, 3] })
const two = signature({ x: [null, 2], y: [null, 2, 2] })
const read = (text: string, s = one) => tensorsOfText(Buffer.from(text), s)

test('regular lists are read straight, with and without the batch dimension', () => {
  const x = { dtype: 'float32', shape: [3], data: Float32Array.of(1, -2.5, 3e-3) }
  for (const text of ['[1,-2.5,3e-3]', '[[1,-2.5,3e-3]]', ' {"x": [1, -2.5, 0.003]} \r', '{"x":[[1,-2.5,3e-3]]}'])
    assert.deepEqual(read(text), { x }, text)
  const both = read('{"y":[[1,2],[3,4]],"x":[5,6]}', two)
  assert.deepEqual(both?.y, { dtype: 'float32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) })
  assert.deepEqual(both?.x, { dtype: 'float32', shape: [2], data: Float32Array.of(5, 6) })
})

test('anything else is left to the general way', () => {
  for (const text of [
    '',
    '[1,2',
    '[1,2,3] 4',
    '{"x":[1,2,3]} {}',
    '{"x":[1,2,3],}',
    '{"x":[1,2,3],"x":[1,2,3]}',
    '{"z":[1,2,3]}',
    '{"\\u0078":[1,2,3]}',
    '{"x":1}',
    '{"x":[1,"2",3]}',
    '{"x":[[1],[2,3]]}',
    '[[[1,2,3]]]',
    '[[1,2,3],[4,5,6]]',
    'null',
  ])
    assert.equal(read(text), undefined, text)
  assert.equal(read('[1,2]', two), undefined)
})

test('the sign of a zero is kept by both ways', () => {
  const text = '[-0,0,-0.0]'
  const zeros = Float32Array.of(-0, 0, -0)
  assert.deepEqual(read(text)?.x?.data, zeros)
  assert.deepEqual(toFeeds(fromInstance(JSON.parse(text), one), one).x?.data, zeros)
})

test('what float32 does not hold is left to the general way, which refuses it', () => {
  for (const text of ['[0,0,1e39]', '[0,0,-3.4028235677973366e+38]', '{"x":[0,1e300,0]}', '[0,0,4e38]'])
    assert.equal(read(text), undefined, text)
  assert.equal(read('{"x":1e39,"y":1}', two), undefined)
  assert.equal(read('[0,0,3.4028235677973362e+38]')?.x?.data[2], 3.4028234663852886e38)
  assert.equal(read('[0,0,-Infinity]')?.x?.data[2], Number.NEGATIVE_INFINITY)
})

test('where both ways can read a line, they read the same', () => {
  const number = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e30, max: 1e30 }))
  const list = fc.oneof(
    fc.array(number, { maxLength: 4 }),
    fc.array(fc.array(number, { maxLength: 3 }), { maxLength: 3 }),
  )
  const value = fc.oneof(
    list,
    fc.dictionary(fc.constantFrom('x', 'y', 'z'), fc.oneof(list, fc.jsonValue())),
    fc.jsonValue(),
  )
  fc.assert(
    fc.property(value, fc.constantFrom(one, two), (v, s) => {
      // JSON.stringify writes -0 as 0, so what it wrote is what both are given
      const text = JSON.stringify(v)
      const fast = read(text, s)
      if (!fast || Object.keys(fast).length < Object.keys(s.inputs).length) return
      const feeds = (f: object) => {
        try {
          return toFeeds(f, s)
        } catch (e) {
          return (e as { code: string }).code
        }
      }
      const batched = Object.fromEntries(Object.entries(fast).map(([a, t]) => [a, { ...t, shape: [1, ...t.shape] }]))
      const [got, want] = [feeds(batched), feeds(fromInstance(JSON.parse(text), s))]
      // a line with two faults is refused for either
      if (typeof got === 'string' && typeof want === 'string') return
      assert.deepEqual(got, want)
    }),
    { numRuns: 3000 },
  )
})

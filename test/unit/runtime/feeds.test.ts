import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAppError } from '../../../src/errors.ts'
import { toFeeds } from '../../../src/feeds.ts'
import { fromBfloat, fromHalf, toBfloat, toHalf } from '../../../src/half.ts'
import { parseJson, stringify } from '../../../src/json.ts'
import { edits, nearest } from '../../../src/nearest.ts'
import { toNested, toTensor } from '../../../src/nested.ts'
import { DTYPES, type DType, tensor } from '../../../src/tensor.ts'
import { compareVersions } from '../../../src/version.ts'
import { fc } from '../../random.ts'

const shape = (...dims: (number | null)[]) => dims
const refused = (code: string, run: () => unknown, ...texts: string[]) =>
  assert.throws(run, (e) => {
    assert.ok(isAppError(e) && e.code === code, String(e))
    for (const text of texts) assert.ok(e.message.includes(text), e.message)
    return true
  })

/** dtype → what it takes and how it is kept, and what it refuses */
const ELEMENTS: Record<DType, { takes: [unknown, number | bigint | string][]; refuses: unknown[] }> = {
  float32: {
    takes: [
      [0.1, Math.fround(0.1)],
      [Number.NaN, Number.NaN],
      [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
    ],
    refuses: [1e300, '1', true, null, 1n],
  },
  float64: { takes: [[1e300, 1e300]], refuses: ['1', null, undefined, {}] },
  float16: {
    takes: [
      [1, 0x3c00],
      [-2, 0xc000],
      [Number.POSITIVE_INFINITY, 0x7c00],
    ],
    refuses: [65520, '1'],
  },
  bfloat16: { takes: [[1, 0x3f80]], refuses: ['1'] },
  int8: {
    takes: [
      [-128, -128],
      [127n, 127],
    ],
    refuses: [128, -129, 0.5, Number.NaN, true],
  },
  int16: { takes: [[-32768, -32768]], refuses: [32768] },
  int32: { takes: [[2 ** 31 - 1, 2 ** 31 - 1]], refuses: [2 ** 31, 1.5] },
  int64: {
    takes: [
      [2 ** 53 - 1, 2n ** 53n - 1n],
      [-(2n ** 63n), -(2n ** 63n)],
    ],
    refuses: [2 ** 53, 2n ** 63n, 0.5],
  },
  uint8: { takes: [[255, 255]], refuses: [256, -1] },
  uint16: { takes: [[65535, 65535]], refuses: [65536] },
  uint32: { takes: [[2 ** 32 - 1, 2 ** 32 - 1]], refuses: [2 ** 32, -1] },
  uint64: { takes: [[2n ** 64n - 1n, 2n ** 64n - 1n]], refuses: [-1, -1n, 2n ** 64n] },
  bool: {
    takes: [
      [true, 1],
      [false, 0],
    ],
    refuses: [1, 'true', null],
  },
  string: { takes: [['é', 'é']], refuses: [1, null, true] },
}

for (const dtype of Object.keys(DTYPES) as DType[])
  test(`${dtype}: what is taken loses nothing, the rest is refused`, () => {
    for (const [given, kept] of ELEMENTS[dtype].takes)
      assert.deepEqual([...toTensor('a', [given], dtype, [null]).data], [kept], String(given))
    for (const given of ELEMENTS[dtype].refuses)
      refused('WRONG_DTYPE', () => toTensor('a', [given], dtype, [null]), 'a[0]', dtype)
  })

test('shapes: nested, scalar, flat typed arrays, rows of typed arrays, empty', () => {
  const of = (value: unknown, declared: (number | null)[] | null) => toTensor('a', value, 'float32', declared).shape
  assert.deepEqual(of([[[1], [2]]], shape(null, null, 1)), [1, 2, 1])
  assert.deepEqual(of(7, []), [])
  assert.deepEqual(of(new Float32Array(12), shape(null, 4)), [3, 4])
  assert.deepEqual(of(new Uint8Array(4), shape(1, 2, 2)), [1, 2, 2])
  assert.deepEqual(of(new Uint8Array(4), null), [4])
  assert.deepEqual(of([Float32Array.of(1, 2), Float32Array.of(3, 4)], shape(null, 2)), [2, 2])
  assert.deepEqual(of([], shape(null)), [0])
  assert.deepEqual(of([[], []], shape(null, null)), [2, 0])
  refused('WRONG_SHAPE', () => of(new Float32Array(5), shape(null, 4)), 'a flat array of 5')
  refused('WRONG_SHAPE', () => of(new Float32Array(4), shape(null, null)), 'tensor(dtype, shape, data)')
  for (const ragged of [
    [[1], 2],
    [1, [2]],
    [[1, 2], [3]],
    [[1], [[2]]],
    [[1], null],
  ])
    refused('WRONG_SHAPE', () => of(ragged, null), 'equal lengths')
  const data = Float32Array.of(1, 2)
  assert.equal(toTensor('a', data, 'float32', [2]).data, data)
})

test('a few megabytes of JSON cannot claim terabytes', () => {
  const rows: number[][] = Array.from({ length: 500_000 }, () => [])
  rows[0] = new Array(500_000).fill(0)
  refused('WRONG_SHAPE', () => toTensor('a', rows, 'float32', [null, null]), 'a[1]', '500000 elements', '0')
  let deep: unknown = 0
  for (let i = 0; i < 30; i++) deep = [deep, 0]
  refused('WRONG_SHAPE', () => toTensor('a', deep, 'float32', null))
})

test('feeds: dtypes, ranks, unknown and missing names, and no tensors at all', () => {
  const signature = {
    graph: '',
    method: '',
    inputs: {
      images: { name: 'x', dtype: 'float32', shape: [null, 2] },
      k: { name: 'k', dtype: 'int64', shape: [], optional: true },
    },
    outputs: {},
  } as const
  const feeds = toFeeds({ images: [[1, 2]], k: 3 }, signature)
  assert.deepEqual(feeds.k, { dtype: 'int64', shape: [], data: BigInt64Array.of(3n) })
  assert.deepEqual(Object.keys(toFeeds({ images: [[1, 2]], k: undefined }, signature)), ['images'])
  for (const [value, got] of [
    [null, 'null'],
    [undefined, 'undefined'],
    [7, 'an integer'],
    [Number.NaN, 'NaN'],
    ['x', 'a string'],
    [[[1, 2]], 'an array of 1'],
    [new Float32Array(2), 'Float32Array'],
  ] as const)
    refused('HOOK_RESULT', () => toFeeds(value, signature), '{ images: float32 [?,2], k?: int64 [] }', got)
  refused('HOOK_RESULT', () => toFeeds(Promise.resolve({}), signature), 'is an await missing?')
  refused('MISSING_INPUT', () => toFeeds({}, signature), 'float32 [?,2]', 'no inputs')
  refused('UNKNOWN_INPUT', () => toFeeds({ imges: 1 }, signature), 'Rename it to images')
  refused('UNKNOWN_INPUT', () => toFeeds(JSON.parse('{"__proto__":[[1,2]]}'), signature), '__proto__')
  refused('WRONG_SHAPE', () => toFeeds({ images: [1, 2] }, signature), 'float32 [2]')
  refused(
    'WRONG_DTYPE',
    () => toFeeds({ images: tensor('float64', [1, 2], new Float64Array(2)) }, signature),
    'float64 [1,2]',
  )
})

test('tensors become nested arrays and come back', () => {
  assert.equal(toNested(tensor('float32', [], Float32Array.of(0.5))), 0.5)
  assert.deepEqual(toNested(tensor('int64', [2, 1], BigInt64Array.of(5n, 2n ** 60n))), [[5], [2n ** 60n]])
  assert.deepEqual(toNested(tensor('bool', [2], Uint8Array.of(1, 0))), [true, false])
  assert.deepEqual(toNested(tensor('float16', [1], Uint16Array.of(0x3555))), [0.333251953125])
  assert.deepEqual(toNested(tensor('float32', [2, 0], new Float32Array())), [[], []])
  const dims = fc.array(fc.nat(3), { maxLength: 4 })
  fc.assert(
    fc.property(dims, (shape) => {
      const size = shape.reduce((a, b) => a * b, 1)
      const t = tensor(
        'float32',
        shape,
        Float32Array.from({ length: size }, (_, i) => i / 3),
      )
      // a zero dimension hides those behind it, as in numpy
      if (size > 0) assert.deepEqual(toTensor('a', toNested(t), 'float32', null), t)
    }),
    { seed: 1 },
  )
})

test('float16 and bfloat16 keep every bit pattern and round to nearest even', () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    const half = fromHalf(bits)
    if (!Number.isNaN(half)) assert.equal(toHalf(half), bits)
    const bfloat = fromBfloat(bits)
    if (!Number.isNaN(bfloat)) assert.equal(toBfloat(bfloat), bits)
  }
  assert.ok(Number.isNaN(fromHalf(toHalf(Number.NaN))) && Number.isNaN(fromBfloat(toBfloat(Number.NaN))))
  // ties: to even, up and down; the smallest steps; the largest that is finite
  const cases = [
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [2 ** -25, 0],
    [2 ** -24, 1],
    [2 ** -25 * 1.5, 1],
    [65519, 0x7bff],
    [2048 - 0.5, 0x6800],
    [2 ** -14 * (1 - 2 ** -12), 0x0400],
  ] as const
  for (const [x, bits] of cases) assert.equal(toHalf(x), bits, String(x))
  assert.equal(toBfloat(1 + 2 ** -8), 0x3f80)
  assert.equal(toBfloat(1 + 3 * 2 ** -8), 0x3f82)
})

test('JSON is written as JSON.stringify does, where that says it all', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (v) => {
      assert.equal(stringify(v), JSON.stringify(v))
      // a bigint sends the same value through our own writer
      assert.equal(stringify([v, 1n]), `[${JSON.stringify(v)},1]`)
    }),
    { seed: 1 },
  )
  assert.equal(
    stringify({ a: undefined, b: [undefined, () => 1], c: 1n, d: new Date(Number.NaN) }),
    '{"b":[null,null],"c":1,"d":null}',
  )
  for (const value of [undefined, Symbol('x')]) refused('HOOK_RESULT', () => stringify(value))
  const deep = JSON.parse(`${'['.repeat(200000)}${']'.repeat(200000)}`)
  refused('HOOK_RESULT', () => stringify(deep), 'nested too deeply')
})

test('a JSON fault names its place and never its text', () => {
  refused('BAD_JSON', () => parseJson(Buffer.from('{"a": SECRET}'), 'the body'), 'the body')
  assert.throws(
    () => parseJson(Buffer.from('{"a": SECRET}'), 'the body'),
    (e) => !String(e).includes('SECRET'),
  )
})

test('versions and names', () => {
  const sorted = ['10', '9', 'V0002', '0.0.10', '0.0.9', '1', 'V0001', '01'].sort(compareVersions)
  assert.deepEqual(
    sorted.filter((v) => v.startsWith('0.')),
    ['0.0.9', '0.0.10'],
  )
  assert.deepEqual(
    sorted.filter((v) => v.startsWith('V')),
    ['V0001', 'V0002'],
  )
  assert.ok(sorted.indexOf('9') < sorted.indexOf('10'))
  assert.equal(edits('kitten', 'sitting'), 3)
  assert.equal(nearest('image', ['images', 'k']), 'images')
  assert.equal(nearest('zzz', ['images', 'k']), undefined)
})

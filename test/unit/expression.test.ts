import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evaluate } from '../../packager/expression/evaluate.ts'
import { toFeed } from '../../packager/expression/feed.ts'
import type { NdArray } from '../../packager/expression/ndarray.ts'
import { Budget, toArray } from '../../packager/expression/value.ts'
import type { TensorSpec } from '../../src/manifest.ts'
import { fixture, float, type Recorded } from '../fixtures/show/read.ts'

const PLACE = { option: '--input_exprs', input: 'x' }
const array = (text: string): NdArray => toArray(evaluate(text, PLACE), new Budget())

test('expressions are what numpy makes of them', () => {
  const cases = fixture<Recorded & { text: string }>('expressions.json')
  assert.ok(cases.length > 180)
  for (const c of cases) {
    const got = array(c.text)
    const dtype = got.dtype === 'str' || got.dtype === 'bytes' ? 'string' : got.dtype
    assert.deepEqual([dtype, [...got.shape]], [c.dtype, c.shape], c.text)
    const values = Array.from<unknown>(got.data)
    if (c.dtype.startsWith('float')) assert.deepEqual(values, c.data.map(float), c.text)
    else if (dtype === 'string')
      assert.deepEqual(
        got.dtype === 'str' ? values.map((s) => Buffer.from(String(s)).toString('latin1')) : values,
        c.data,
      )
    else assert.deepEqual(values.map(String), c.data, c.text)
  }
})

test('random numbers have the shape and range that were asked for', () => {
  const cases: [string, string, number[], number, number][] = [
    ['np.random.rand(2,3)', 'float64', [2, 3], 0, 1],
    ['np.random.randn(1000)', 'float64', [1000], -8, 8],
    ['np.random.random((4,))', 'float64', [4], 0, 1],
    ['np.random.random(size=5)', 'float64', [5], 0, 1],
    ['np.random.uniform(2,3,size=(2,2))', 'float64', [2, 2], 2, 3],
    ['np.random.uniform([0,10],[1,11])', 'float64', [2], 0, 11],
    ['np.random.normal(100,0.1,(50,))', 'float64', [50], 98, 102],
    ['np.random.randint(5,size=(3,200))', 'int64', [3, 200], 0, 4],
    ['np.random.randint(-3,high=-1,size=20,dtype=np.int8)', 'int8', [20], -3, -2],
    ['np.random.rand()', 'float64', [], 0, 1],
    ['np.random.rand(1,128,128,3).astype(np.float32)*255', 'float32', [1, 128, 128, 3], 0, 255],
  ]
  for (const [text, dtype, shape, low, high] of cases) {
    const got = array(text)
    assert.deepEqual([got.dtype, [...got.shape]], [dtype, shape], text)
    for (const v of got.data) assert.ok(Number(v) >= low && Number(v) <= high, text)
  }
  const spread = array('np.random.randn(5000)').data as Float64Array
  const mean = spread.reduce((s, v) => s + v, 0) / spread.length
  const variance = spread.reduce((s, v) => s + (v - mean) ** 2, 0) / spread.length
  assert.ok(Math.abs(mean) < 0.15 && Math.abs(variance - 1) < 0.2, `${mean} ${variance}`)
})

test('everything else is refused with its place', () => {
  const cases: [string, RegExp][] = [
    ['__import__("os").system("x")', /position 1 but received '__import__'/],
    ['np.load("x")', /one of np's ones, zeros.*position 4 but received 'load'/],
    ['np.ones(3).__class__', /expected T, shape.*position 12/],
    ['np.ones.__globals__', /an array before the dot/],
    ['constructor', /'constructor'/],
    ['np.constructor', /'constructor'/],
    ['np.__proto__', /'__proto__'/],
    ['(lambda: 1)()', /position 8/],
    ['[x for x in y]', /received 'for'/],
    ['1 if 2 else 3', /position 3/],
    ['1j', /complex/],
    ['f"{1}"', /prefix f/],
    ['"abc', /position 1.*does not end/],
    ['1 +', /position 4 but received the end/],
    ['', /position 1 but received the end/],
    ['np.ones(3', /',' .*the end/],
    ['007', /leading zeros/],
    ['1a', /end of the number/],
    ['np', /the module np/],
    ['np.ones', /the function np\.ones/],
    ['[1,[2,3]]', /equal lengths/],
    ['[[1,2],[3]]', /equal lengths/],
    ['[1,"a"]', /one kind/],
    ['{"a": 1}', /a dict/],
    ['None', /None/],
    ['np.ones(2)+np.ones(3)', /broadcast/],
    ['np.ones(shap=3)', /shape, dtype=.*'shap'/],
    ['np.ones()', /no 'shape'/],
    ['np.ones(2,shape=3)', /twice/],
    ['np.ones(-1)', /not negative/],
    ['np.ones(2.5)', /an integer for shape/],
    ['np.ones(3,dtype="float99")', /a dtype.*'float99'/],
    ['np.ones(3)[3]', /index from -3 to 2/],
    ['np.ones(6).reshape(4,-1)', /a shape of 6 elements/],
    ['np.array([np.nan]).astype(int)', /NaN/],
    ["np.ones((2,2)).flatten('F')", /order='C'/],
    ["np.reshape([1,2],(2,1),order='F')", /order='C'/],
    ['np.uint8(3)+300', /fits uint8/],
    ['1/0', /zero/],
    ['2**-1.5j', /complex/],
    ['-"a"', /a number after -/],
    ['np.ones(10**12)', /at most 16,777,216 elements/],
    ['[0]*10**12', /at most 16,777,216 elements/],
    ['"a"*10**12', /at most 16,777,216 elements/],
    ['9**9**9', /bits/],
    ['np.eye(10**6)', /elements/],
    ['np.arange(0,1,1e-300)', /elements/],
    [`${'['.repeat(500)}${']'.repeat(500)}`, /levels/],
    [`1${'+1'.repeat(2000)}`, /operators in a row/],
    [`${'9'.repeat(5000)}`, /digits/],
  ]
  for (const [text, message] of cases)
    assert.throws(() => toArrayOf(text), { name: 'AppError', code: 'USAGE', message }, text.slice(0, 60))
})

/** As the command does it: what cannot be an array is an error with a place as well. */
function toArrayOf(text: string): void {
  const value = evaluate(text, PLACE)
  try {
    toArray(value, new Budget())
  } catch (e) {
    // the command adds the place
    const { expected, got } = e as { expected: string; got: string }
    throw Object.assign(new Error(`expected ${expected} but received ${got}`), { name: 'AppError', code: 'USAGE' })
  }
}

test('arrays become the dtype of the input as feeding a session makes them', () => {
  const spec = (dtype: TensorSpec['dtype'], bytes = false): TensorSpec => ({ name: 'x', dtype, shape: null, bytes })
  const feed = (text: string, s: TensorSpec) => toFeed(array(text), s, 'x')
  assert.deepEqual(feed('[0.1,2]', spec('float32')).data, Float32Array.of(0.1, 2))
  assert.deepEqual(feed('[1.9,-1.9]', spec('int32')).data, Int32Array.of(1, -1))
  assert.deepEqual(feed('np.ones((1,2))', spec('int64')), {
    dtype: 'int64',
    shape: [1, 2],
    data: BigInt64Array.of(1n, 1n),
  })
  assert.deepEqual(feed('[0,2.5]', spec('bool')).data, Uint8Array.of(0, 1))
  assert.deepEqual(feed('[True,False]', spec('float32')).data, Float32Array.of(1, 0))
  assert.deepEqual(feed('[1,0.5]', spec('float16')).data, Uint16Array.of(0x3c00, 0x3800))
  assert.deepEqual(feed("['é', 'a']", spec('string')).data, ['é', 'a'])
  assert.deepEqual(feed("['é']", spec('string', true)).data, ['\xc3\xa9'])
  assert.deepEqual(feed(String.raw`[b'\xc3\xa9', b'\xff']`, spec('string')).data, ['é', '\xff'])
  assert.deepEqual(feed(String.raw`b'\xff\x00'`, spec('string', true)).data, ['\xff\0'])
  assert.deepEqual(feed('[]', spec('string')).data, [])
  const wrong: [string, TensorSpec, RegExp][] = [
    ['[1,2]', spec('string'), /numbers \(int64\)\. Write strings/],
    ["['1']", spec('float32'), /strings/],
    ['[300]', spec('int8'), /cannot hold/],
    ['[-1]', spec('uint8'), /cannot hold/],
    ['[np.nan]', spec('int32'), /cannot hold/],
  ]
  for (const [text, s, message] of wrong) assert.throws(() => feed(text, s), { code: 'WRONG_DTYPE', message }, text)
})

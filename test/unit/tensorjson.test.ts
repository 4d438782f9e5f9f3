import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../../src/errors.ts'
import type { Signature } from '../../src/manifest.ts'
import { writeColumns, writeRows } from '../../src/protocols/tfserving/answer.ts'
import type { Tensor } from '../../src/tensor.ts'
import { toTensor } from '../../src/tensorjson/convert.ts'
import { formatDouble, formatFloat, formatString } from '../../src/tensorjson/format.ts'
import { NumberReader } from '../../src/tensorjson/number.ts'
import { scanNumbers } from '../../src/tensorjson/numbers.ts'
import { quoteJson } from '../../src/tensorjson/spell.ts'
import { differs, stack } from '../../src/tensorjson/stack.ts'
import { expand, isList, isNumbers, isObject, type Json, parseValue } from '../../src/tensorjson/value.ts'
import { fc } from '../random.ts'

const parse = (text: string | Uint8Array) => parseValue(typeof text === 'string' ? Buffer.from(text) : text)
const scan = (text: string, narrow = false) => scanNumbers(new NumberReader(Buffer.from(text)), 0, narrow)

/** What JSON.parse would make of it; integers are numbers again. */
function plain(v: Json): unknown {
  if (typeof v === 'bigint') return Number(v)
  if (typeof v !== 'object' || v === null) return v
  if (isNumbers(v)) return plain(expand(v))
  if (isObject(v)) return Object.fromEntries(v.members.map(([name, value]) => [name, plain(value)]))
  return isList(v) ? v.map(plain) : v
}

test('a number is the double nearest to its text, however it is written', () => {
  const number = fc.double({ noNaN: true, noDefaultInfinity: true })
  const spelled = fc
    .tuple(number, fc.integer({ min: 1, max: 40 }))
    .chain(([x, digits]) =>
      fc.constantFrom(
        String(x),
        x.toPrecision(digits),
        x.toExponential(digits - 1),
        Math.abs(x) < 1e21 ? x.toFixed(digits) : String(x),
      ),
    )
  fc.assert(
    fc.property(spelled, (text) => {
      fc.pre(Number.isFinite(Number(text)))
      const found = scan(`[${text}]`)
      assert.ok('end' in found, text)
      assert.ok(Object.is(found.values[0], Number(text)), text)
      const narrow = scan(`[${text}]`, true)
      assert.ok('end' in narrow && Object.is(narrow.values[0], Math.fround(Number(text))), text)
    }),
    { numRuns: 3000 },
  )
})

/** Halfway between two doubles or two floats, and one unit of a far digit beside it: where rounding is decided. */
for (const text of [
  '9007199254740993.0',
  '9007199254740993.00000000000000000001',
  '9007199254740992.99999999999999999999',
  '1.00000005960464477539062500',
  '1.0000000596046447753906250000000000001',
  '1.0000000596046447753906249999999999999',
  '0.500000029802322387695312500',
  '0.000000000000000000000000000000000000011754942807573642918',
  '2.2250738585072011e-308',
  '4.9e-324',
  '1.7976931348623157e308',
  '3.4028235677973366e38',
  '123456789012345678901234567890e-20',
  '0.000000000000000000000000000000000000000000000000000000001234567890123456789e50',
])
  test(`${text} to the bit`, () => {
    const [double, float] = [scan(`[${text}]`), scan(`[${text}]`, true)]
    assert.ok('end' in double && 'end' in float)
    assert.ok(Object.is(double.values[0], Number(text)), `${double.values[0]}`)
    assert.ok(Object.is(float.values[0], Math.fround(Number(text))), `${float.values[0]}`)
  })

test('regular lists of numbers become one array of their shape', () => {
  for (const [text, shape, values] of [
    ['[]', [0], []],
    ['[[],[]]', [2, 0], []],
    ['[ [ 1 , 2 ] ,\n[3,4]\t]', [2, 2], [1, 2, 3, 4]],
    ['[[[1]],[[2]]]', [2, 1, 1], [1, 2]],
    ['[NaN,-Infinity,Inf,-0.0]', [4], [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, -0]],
    [`[${Array(1000).fill(7)}]`, [1000], Array(1000).fill(7)],
  ] as const) {
    const found = scan(text)
    assert.ok('end' in found, text)
    assert.deepEqual([found.shape, [...found.values], found.end], [shape, values, text.length])
  }
  const long = scan('[1, 9007199254740993, -9223372036854775808]')
  assert.ok('end' in long && long.integral)
  assert.deepEqual(
    [...(long.long ?? [])],
    [
      [1, '9007199254740993'],
      [2, '-9223372036854775808'],
    ],
  )
})

for (const text of [
  '[1,[2]]',
  '[[1],2]',
  '[[1],[2,3]]',
  '[[],[1]]',
  '[[1],[]]',
  '[[[1]],[2]]',
  '["a"]',
  '[true]',
  '[null]',
  '[{}]',
  '[1,]',
  '[1,2, ]',
  '[1,2,[3]]',
  '[1, 2,, 3]',
  '[1,2 3]',
  '[1,2,',
  '[,1]',
  '[1 2]',
  '[1',
  '[',
  '[01]',
  '[1.]',
  '[.5]',
  '[+1]',
  '[1e]',
  '[0e]',
  '[1e+]',
  '[-]',
  '[0x1]',
  '[1e400]',
  '[Infinit]',
  '[NaNs]',
  '[--1]',
])
  test(`${text} is no regular list of numbers`, () => assert.ok('failed' in scan(text)))

test('digits by themselves, however they are spaced', () => {
  const space = fc.constantFrom('', '', ' ', '\n  ')
  const item = fc.tuple(
    space,
    fc.oneof(fc.nat(9), fc.integer(), fc.double({ noNaN: true, max: 1e30, min: -1e30 })),
    space,
  )
  fc.assert(
    fc.property(fc.array(item, { minLength: 1, maxLength: 60 }), (items) => {
      const text = `[${items.map(([a, v, b]) => `${a}${v}${b}`).join(',')}]`
      const room = new Float32Array(items.length)
      const found = [scan(text), scanNumbers(new NumberReader(Buffer.from(text)), 0, true, room)] as const
      const wanted = (JSON.parse(text) as number[]).map((v) => v + 0)
      for (const [i, f] of found.entries()) {
        assert.ok('end' in f && f.end === text.length, text)
        assert.deepEqual([...f.values], i === 0 ? wanted : wanted.map(Math.fround))
      }
    }),
  )
})

test('any JSON is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), fc.string(), (text, behind) => {
      assert.deepEqual(
        plain(parse(` ${text} ,${behind}`)),
        JSON.parse(text, (_, v) => (Object.is(v, -0) ? 0 : v)),
      )
    }),
    { numRuns: 1500 },
  )
})

test('integers and decimals are told apart, integers are exact to 64 bits', () => {
  assert.deepEqual(parse('[1, "x", 1.0, 1e2, 18446744073709551615, -9223372036854775808, 18446744073709551616]'), [
    1n,
    'x',
    1,
    100,
    18446744073709551615n,
    -9223372036854775808n,
    2 ** 64,
  ])
})

test('strings: escapes, pairs, UTF-8, and bytes that are none', () => {
  assert.equal(parse('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00ä"'), '"\\/\b\f\n\r\tä😀ä')
  assert.equal(parse(Buffer.from([34, 0xff, 0x41, 34])), '\xffA')
})

for (const [text, reply] of [
  ['', 'The document is empty. at offset: 0'],
  ['\n', 'The document is empty. at offset: 1'],
  ['{', 'Missing a name for object member. at offset: 1'],
  ['{1: 2}', 'Missing a name for object member. at offset: 1'],
  ['{"a" 1}', 'Missing a colon after a name of object member. at offset: 5'],
  ['{"a": 1 "b"}', 'Missing a comma or } after an object member. at offset: 8'],
  ['{"a": 1,}', 'Missing a name for object member. at offset: 8'],
  ['["a" 1]', 'Missing a comma or ] after an array element. at offset: 5'],
  ['["a",]', 'Invalid value. at offset: 5'],
  ['[nul]', 'Invalid value. at offset: 4'],
  ['[tru', 'Invalid value. at offset: 4'],
  ['["a', 'Missing a closing quotation mark in string. at offset: 3'],
  ['["\\x"]', 'Invalid escape character in string. at offset: 2'],
  ['["\\u12x4"]', 'Incorrect hex digit after \\u escape in string. at offset: 2'],
  ['["\\ud800"]', 'The surrogate pair in string is invalid. at offset: 2'],
  ['["\\ude00"]', 'The surrogate pair in string is invalid. at offset: 2'],
  ['["a\nb"]', 'Invalid encoding in string. at offset: 3'],
  ['[1.]', 'Miss fraction part in number. at offset: 3'],
  ['[1e]', 'Miss exponent in number. at offset: 3'],
  ['[1e999]', 'Number too big to be stored in double. at offset: 1'],
  ['[01]', 'Missing a comma or ] after an array element. at offset: 2'],
  ['-', 'Invalid value. at offset: 0'],
] as const)
  test(`${JSON.stringify(text)}: ${reply}`, () => {
    assert.throws(
      () => parse(text),
      (e) => e instanceof AppError && e.details.reply === `JSON Parse error: ${reply}`,
    )
  })

test('a million brackets are no recursion', () => {
  const deep = `${'[{"a":'.repeat(300_000)}1${'}]'.repeat(300_000)}`
  assert.ok(isList(parse(deep)))
})

test('floats are written with six digits, or with all they need', () => {
  for (const [x, float, double] of [
    [0, '0.0', '0.0'],
    [-0, '-0.0', '-0.0'],
    [3, '3.0', '3.0'],
    [9e6, '9e+06', '9e+06'],
    [3e-5, '3e-05', '3e-05'],
    [0.0001, '0.0001', '0.0001'],
    [999999, '999999.0', '999999.0'],
    [1e6, '1e+06', '1e+06'],
    [1234567, '1234567.0', '1234567.0'],
    [0.1, '0.1', '0.1'],
    [1 / 3, '0.333333343', '0.33333333333333331'],
    [16777216, '16777216.0', '16777216.0'],
    [123456789, '123456792.0', '123456789.0'],
    [1e15, '1e+15', '1e+15'],
    [1e-40, '9.99995e-41', '1e-40'],
    [3.4028234663852886e38, '3.40282347e+38', '3.4028234663852886e+38'],
    [5e-324, '0.0', '4.94066e-324'],
    [Number.NaN, 'NaN', 'NaN'],
    [Number.NEGATIVE_INFINITY, '-Infinity', '-Infinity'],
  ] as const) {
    assert.equal(formatFloat(Math.fround(x)), float)
    assert.equal(formatDouble(x), double)
  }
})

test('what is written is the number again', () => {
  fc.assert(
    fc.property(
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      (d, f) => {
        assert.ok(Object.is(Number(formatDouble(d)), d), `${d}`)
        assert.ok(Object.is(Math.fround(Number(formatFloat(f))), f), `${f}`)
        for (const text of [formatDouble(d), formatFloat(f)]) assert.match(text, /^-?\d+(\.\d+)?(e[+-]\d{2,3})?$/)
      },
    ),
    { numRuns: 5000 },
  )
})

test('strings are escaped as rapidjson does', () => {
  assert.equal(formatString('"\\/\b\f\n\r\t\u001f\u007fä\u2028'), '"\\"\\\\/\\b\\f\\n\\r\\t\\u001F\u007fä\u2028"')
})

test('an error quotes the beginning of a value', () => {
  assert.equal(
    quoteJson(parse('{"a": [1, 2.50, "x"], "b": {}}')),
    '{\n    "a": [\n        1,\n        2.5,\n        "x"\n    ],\n    "b": {}\n}',
  )
  assert.equal(quoteJson('x'.repeat(1000)).length, 256)
  const deep = parse(`${'['.repeat(50_000)}"x"${']'.repeat(50_000)}`)
  assert.ok(quoteJson(deep).length <= 256)
})

test('tensors: numbers, strings, and what they refuse', () => {
  assert.deepEqual(toTensor(parse('[[1, 2], [3, 4]]'), { dtype: 'int64' }), {
    dtype: 'int64',
    shape: [2, 2],
    data: BigInt64Array.of(1n, 2n, 3n, 4n),
  })
  assert.deepEqual(toTensor(parse('"ä"'), { dtype: 'string', bytes: true }), {
    dtype: 'string',
    shape: [],
    data: ['Ã¤'],
  })
  assert.deepEqual(toTensor(parse('{"b64": "/w"}'), { dtype: 'string', bytes: true }).data, ['\xff'])
  assert.deepEqual(toTensor(parse('[]'), { dtype: 'float16' }), {
    dtype: 'float16',
    shape: [0],
    data: new Uint16Array(),
  })
  for (const [text, dtype, code] of [
    ['[1.0]', 'int32', 'WRONG_DTYPE'],
    ['[1, "a"]', 'float32', 'WRONG_DTYPE'],
    ['[[1], [1, 2]]', 'float32', 'WRONG_SHAPE'],
    ['[1]', 'bfloat16', 'UNSUPPORTED_DTYPE'],
  ] as const)
    assert.throws(() => toTensor(parse(text), { dtype }), { code })
})

test('a short row before a long one claims no memory', () => {
  const text = `[[${Array(50_000).fill(1)}],${Array(50_000).fill('[1]')}]`
  assert.throws(() => toTensor(parse(text), { dtype: 'float32' }), { code: 'WRONG_SHAPE' })
})

test('tensors of one shape are stacked', () => {
  const [a, b, c] = ['[1, 2]', '[3, 4]', '[[5], [6]]'].map((t) => toTensor(parse(t), { dtype: 'int16' })) as [
    Tensor,
    Tensor,
    Tensor,
  ]
  assert.deepEqual(stack([a, b]), { dtype: 'int16', shape: [2, 2], data: Int16Array.of(1, 2, 3, 4) })
  assert.equal(differs(b, a), undefined)
  assert.equal(differs(c, a), 'Expecting shape [2] but got: [2,1]')
  const words = ['["a"]', '["b"]'].map((t) => toTensor(parse(t), { dtype: 'string' }))
  assert.deepEqual(stack(words), { dtype: 'string', shape: [2, 1], data: ['a', 'b'] })
})

test('answers: an empty batch, scalars, and half floats', () => {
  const signature: Signature = { graph: 'g', method: 'm', inputs: {}, outputs: {} }
  const empty: Tensor = { dtype: 'float32', shape: [0, 3], data: new Float32Array() }
  assert.equal(writeRows({ y: empty }, signature), '{\n    "predictions": []\n}')
  assert.equal(writeRows({ y: empty, z: empty }, signature), '{\n    "predictions": []\n}')
  assert.equal(writeColumns({ y: empty }, signature), '{\n    "outputs": []\n}')
  const half: Tensor = { dtype: 'float16', shape: [], data: Uint16Array.of(0x3c00) }
  assert.equal(writeColumns({ y: half }, signature), '{\n    "outputs": 1.0\n}')
  const bytes: Tensor = { dtype: 'string', shape: [1, 1], data: ['x'] }
  assert.equal(
    writeRows({ a_bytes: bytes }, signature),
    '{\n    "predictions": [[{\n                "b64": "eA=="\n            }]\n    ]\n}',
  )
})

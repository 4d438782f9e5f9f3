import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatArray } from '../../packager/expression/numpyformat.ts'
import { shortest } from '../../packager/inspect/decimal.ts'
import { pyFloat, pyString } from '../../packager/inspect/python.ts'
import { toBfloat } from '../../src/half.ts'
import { fixture, type Recorded, tensorOf } from '../fixtures/show/read.ts'

test('arrays are printed as numpy prints them', () => {
  const cases = fixture<Recorded & { text: string }>('numpy.json')
  assert.ok(cases.length > 250)
  for (const c of cases) assert.equal(formatArray(tensorOf(c)), c.text, `${c.dtype} [${c.shape}] ${c.data.slice(0, 4)}`)
})

test('bfloat16 spells itself as %g', () => {
  const of = (...v: number[]) => ({
    dtype: 'bfloat16' as const,
    shape: [v.length],
    data: Uint16Array.from(v, toBfloat),
  })
  assert.equal(formatArray(of(1.5, 1000, 123456, 0.1)), '[1.5 1000 123392 0.100098]')
  assert.equal(formatArray({ ...of(1e-5), shape: [] }), '1.00136e-05')
})

test('the shortest decimal of every power of two reads back as itself', () => {
  for (let e = -149; e < 128; e++) {
    const { digits, point } = shortest(2 ** e, 'float32')
    assert.equal(Math.fround(Number(`0.${digits}e${point}`)), 2 ** e, `2^${e}`)
    assert.ok(digits.length <= 9)
  }
})

test('Python spells strings and floats', () => {
  const strings = [
    ["it's", '"it\'s"'],
    ['both\'"', "'both\\'\"'"],
    ['a\n\\\x00', "'a\\n\\\\\\x00'"],
    ['é\u200b😀\u00a0', "'é\\u200b😀\\xa0'"],
  ] as const
  for (const [text, spelled] of strings) assert.equal(pyString(text), spelled)
  assert.equal(pyString('\xff a', true), "b'\\xff a'")
  const floats = [
    [1, '1.0'],
    [1e16, '1e+16'],
    [123456789012345.6, '123456789012345.6'],
    [1e-5, '1e-05'],
    [-0, '-0.0'],
    [Number.NaN, 'nan'],
  ] as const
  for (const [value, spelled] of floats) assert.equal(pyFloat(value), spelled)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../../src/errors.ts'
import type { Signature } from '../../src/manifest.ts'
import type { DType } from '../../src/tensor.ts'
import { toTensor } from '../../src/tensorjson/convert.ts'
import { parseValue } from '../../src/tensorjson/value.ts'
import { serve } from '../unit/runtime/support.ts'
import { mutate, random } from './mutate.ts'
import { onlyOurErrors } from './support.ts'

const TEXTS = [
  '{"signature_name": "serving_default", "instances": [{"images": [1, 2.5, -3e-5, 0.1234567890123456789]}, {"images": [4, 5, 6, 7]}]}',
  '{"instances": [[1, 2, 3, 4], [NaN, Infinity, -Infinity, 9007199254740993]]}',
  '{"inputs": {"images": [[0.1, 0.2, 0.3, 0.4]]}, "x": ["\\ud83d\\ude00", {"b64": "AAEC"}, null, true, false, [], {}]}',
  '{"context": {"a": [1, 2]}, "examples": [{"a": [1.5], "b": "text", "c": {"b64": "AA=="}}]}',
]
const DTYPES: readonly DType[] = [
  'float32',
  'float64',
  'int8',
  'int64',
  'uint32',
  'uint64',
  'bool',
  'string',
  'float16',
]

/** Damage that JSON feels: its own marks, numbers and words where they do not belong. */
const TOKENS = [
  '[',
  ']',
  '{',
  '}',
  ',',
  ':',
  '"',
  '\\',
  '\\u',
  '1',
  '-',
  '.',
  'e',
  '0',
  'NaN',
  'Inf',
  'null',
  ' ',
  '\n',
  '[[',
  ']]',
  '1e309',
  '99999999999999999999',
]
function garble(next: () => number, text: string): Buffer {
  let out = text
  for (let i = 1 + Math.floor(next() * 4); i > 0; i--) {
    const at = Math.floor(next() * out.length)
    out = out.slice(0, at) + TOKENS[Math.floor(next() * TOKENS.length)] + out.slice(at + Math.floor(next() * 3))
  }
  return Buffer.from(out)
}

test('damaged texts: a value, or our own error', async () => {
  for (const [i, text] of TEXTS.entries())
    await onlyOurErrors(100 + i, 1500, Buffer.from(text), (bytes) => {
      const value = parseValue(bytes, { narrow: bytes.length % 2 === 0 })
      for (const dtype of DTYPES) toTensor(value, { dtype })
    })
})

test('of garbled texts all that JSON.parse reads is read, but what no double and no UTF-8 holds', () => {
  const next = random(7)
  let read = 0
  for (let i = 0; i < 4000; i++) {
    const bytes = garble(next, TEXTS[i % TEXTS.length]!)
    if (!isJson(bytes.toString())) continue
    read++
    try {
      parseValue(bytes)
    } catch (e) {
      assert.ok(e instanceof AppError && /surrogate pair|Number too big/.test(e.message), `${bytes}: ${e}`)
    }
  }
  assert.ok(read > 100, `${read}`)
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (e) {
    assert.ok(e instanceof SyntaxError)
    return false
  }
}

const signature = (dtype: DType): Signature => ({
  graph: 'softmax.onnx',
  method: 'tensorflow/serving/predict',
  inputs: { images: { name: 'x:0', dtype, shape: [null, 4] } },
  outputs: { scores: { name: 'y:0', dtype: 'float32', shape: [null, 3] } },
})

test('damaged requests to every endpoint have proper answers, and the next one works', async () => {
  const { send } = serve({ signatures: { serving_default: signature('float32') } })
  const next = random(11)
  const paths = ['predict', 'classify', 'regress'].map((action) => `/v1/models/digits:${action}`)
  const good = { path: paths[0]!, text: '{"instances": [[1, 2, 3, 4]]}' }
  for (let i = 0; i < 1500; i++) {
    const text = TEXTS[i % TEXTS.length]!
    const body = i % 2 ? garble(next, text) : mutate(next, Buffer.from(text))
    const path = i % 5 ? paths[i % 3]! : garble(next, paths[i % 3]!).toString()
    const method = i % 50 === 0 ? 'GET' : 'POST'
    if (!/^\/v1\//i.test(path) || /^\/v1\/infers(\/|$)/.test(path)) continue
    const { status, body: answer, headers } = await send({ method, path, text: body.toString('latin1') })
    assert.ok(status === 200 || (status >= 400 && status < 500), `${status} for ${method} ${path} ${body}: ${answer}`)
    assert.equal(headers['content-type'], 'application/json')
    if (status !== 200) assert.equal(typeof JSON.parse(String(answer)).error, 'string')
  }
  assert.equal((await send(good)).status, 200)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../../src/errors.ts'
import { PROTOCOLS } from '../../src/protocols/index.ts'
import { datatypeOf } from '../../src/protocols/oipdatatypes.ts'
import type { DType } from '../../src/tensor.ts'
import { CARRIED } from '../fixtures/sandbox/dtypes.ts'
import { type Package, serve } from '../unit/runtime/support.ts'

/** How a client of each protocol sends one tensor `v` of shape [rows, 2] as JSON text, and finds `w` in the answer's text. */
interface Way {
  path(model: string, version?: string): string
  body(dtype: DType, rows: number, text: string): string
  /** dtypes whose rows here the protocol's JSON cannot carry */
  readonly without: readonly DType[]
  /** how it names a signature; absent: it cannot */
  signature?(name: string): { readonly path: string; readonly body: string }
}

const WAYS: Readonly<Record<string, Way>> = {
  modelarts: {
    path: (model) => `/v1/infers/${model}`,
    body: (_dtype, _rows, text) => `{"v":${text}}`,
    // hooks get what JSON.parse gives, so integers past 2^53 are refused and not rounded
    without: ['int64', 'uint64'],
  },
  tfserving: {
    path: (model, version) => `/v1/models/${model}${version ? `/versions/${version}` : ''}:predict`,
    body: (_dtype, _rows, text) => `{"inputs":{"v":${text}}}`,
    without: ['uint16', 'float16'],
    signature: (name) => ({ path: '/v1/models/int32:predict', body: `{"signature_name":"${name}","inputs":[[1,2]]}` }),
  },
  oip: {
    path: (model, version) => `/v2/models/${model}${version ? `/versions/${version}` : ''}/infer`,
    body: (dtype, rows, text) =>
      `{"inputs":[{"name":"v","shape":[${rows},2],"datatype":"${datatypeOf(dtype)}","data":${text}}]}`,
    without: ['float16'],
    signature: (name) => ({
      path: '/v2/models/int32/infer',
      body: `{"parameters":{"signature_name":"${name}"},"inputs":[{"name":"v","shape":[1,2],"datatype":"INT32","data":[1,2]}]}`,
    }),
  },
  sagemaker: {
    path: (model) => `/models/${model}/invoke`,
    body: (_dtype, _rows, text) => `{"inputs":{"v":${text}}}`,
    without: ['uint16', 'float16'],
  },
}

const identity = (dtype: DType): Package => ({
  model: dtype,
  signatures: {
    serving_default: {
      graph: `identity-${dtype}.onnx`,
      method: '',
      inputs: { v: { name: 'v', dtype, shape: [null, 2] } },
      outputs: { w: { name: 'w', dtype, shape: [null, 2] } },
    },
  },
})
const resize: Package = {
  model: 'resize',
  session: { level: 'extended', zeroBatch: 'skip' },
  signatures: {
    serving_default: {
      graph: 'resize.onnx',
      method: '',
      inputs: { v: { name: 'v', dtype: 'float32', shape: [null, 1, 2, 2] } },
      outputs: { w: { name: 'w', dtype: 'float32', shape: [null, 1, 4, 4] } },
    },
  },
}
const server = serve(...CARRIED.map(identity), resize)
const send = (path: string, text: string) =>
  server.send({ path, text, headers: { 'content-type': 'application/json' } })

/** Two rows of each dtype with what is extreme in it. */
const ROWS: Readonly<Record<(typeof CARRIED)[number], string>> = {
  float32: '[[1.5,-3e38],[0.1,-0.5]]',
  float64: '[[1.5,-1e300],[0.1,-0.5]]',
  float16: '[[1.5,-2.0],[0.25,8.0]]',
  int8: '[[-128,127],[0,1]]',
  int16: '[[-32768,32767],[0,1]]',
  int32: '[[-2147483648,2147483647],[0,1]]',
  int64: '[[9223372036854775807,-9223372036854775808],[9007199254740993,1]]',
  uint8: '[[255,0],[1,2]]',
  uint16: '[[65535,0],[1,2]]',
  uint32: '[[4294967295,0],[1,2]]',
  uint64: '[[18446744073709551615,0],[9007199254740993,1]]',
  bool: '[[true,false],[false,true]]',
  string: '[["a",""],["é","日本"]]',
}
const TOKEN = /"(?:[^"\\]|\\.)*"|true|false|-?(?:Infinity|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|NaN/g

/** The values of an answer's list, whatever the shape around them: as they are written, floats by their value. */
function valuesOf(text: string, dtype: DType): (string | number)[] {
  const value = (t: string) =>
    dtype === 'float32' ? Math.fround(Number(t)) : dtype.startsWith('float') ? Number(t) : t
  return (text.match(TOKEN) ?? []).map(value)
}
const listOf = (body: string): string =>
  body.slice(body.lastIndexOf(':', body.indexOf('[', Math.max(body.indexOf('"data":'), 0))), body.lastIndexOf(']') + 1)

test('every protocol has a way', () => assert.deepEqual(Object.keys(WAYS).sort(), PROTOCOLS.map((p) => p.name).sort()))

for (const [name, way] of Object.entries(WAYS)) {
  for (const dtype of CARRIED)
    test(`${name}: ${dtype} there and back`, async () => {
      const { status, body } = await send(way.path(dtype), way.body(dtype, 2, ROWS[dtype]))
      if (way.without.includes(dtype)) {
        assert.ok(status === 400 || status === 501, `${status}: ${body}`)
        return
      }
      assert.equal(status, 200, String(body))
      assert.deepEqual(valuesOf(listOf(String(body)), dtype), valuesOf(ROWS[dtype], dtype))
    })

  test(`${name}: numbers that are not finite`, async () => {
    const { status, body } = await send(way.path('float32'), way.body('float32', 1, '[[NaN,-Infinity]]'))
    // JSON.parse reads the body for hooks and knows no such tokens; the other rows have a parser that does
    if (name === 'modelarts') assert.equal(status, 400)
    else
      assert.deepEqual(
        [status, valuesOf(listOf(String(body)), 'float32')],
        [200, [Number.NaN, Number.NEGATIVE_INFINITY]],
      )
  })

  const faults: readonly [what: string, path: string, body: string, status: readonly number[]][] = [
    ['wrong shape', way.path('float32'), way.body('float32', 1, '[[1,2,3]]'), [400]],
    ['ragged rows', way.path('float32'), way.body('float32', 2, '[[1,2],[3]]'), [400]],
    ['wrong dtype', way.path('float32'), way.body('float32', 1, '[["a","b"]]'), [400]],
    ['a fraction for integers', way.path('int32'), way.body('int32', 1, '[[1.5,2]]'), [400]],
    ['unknown model', way.path('nobody'), way.body('float32', 1, '[[1,2]]'), [404]],
    ['no JSON', way.path('float32'), '{"inputs', [400]],
    ['an empty body', way.path('float32'), '', [400]],
    [
      'an empty batch where Resize would kill the process',
      way.path('resize'),
      way.body('float32', 0, '[]'),
      [200, 400],
    ],
  ]
  for (const [what, path, body, statuses] of faults)
    test(`${name}: ${what}`, async () => {
      const answer = await send(path, body)
      assert.ok(statuses.includes(answer.status), `${answer.status}: ${answer.body}`)
      assert.equal(
        (await send(way.path('float32'), way.body('float32', 1, '[[1,2]]'))).status,
        200,
        'the next request works',
      )
    })

  if (way.path('m', '9') !== way.path('m'))
    test(`${name}: unknown version`, async () =>
      assert.equal((await send(way.path('float32', '9'), way.body('float32', 1, '[[1,2]]'))).status, 404))
  const { signature } = way
  if (signature)
    test(`${name}: unknown signature`, async () => {
      const { path, body } = signature('nobody')
      assert.equal((await send(path, body)).status, 400)
    })

  test(`${name}: a body over the limit is refused in its own words`, () => {
    const tooLarge = new AppError('BODY_TOO_LARGE', { expected: 'at most 6 MB', got: '7 MB' })
    const req = {
      method: 'POST',
      path: way.path('float32'),
      query: '',
      headers: {},
      body: new Uint8Array(),
      requestId: 'r',
    }
    const { status, body } = server.app.refuse(req, tooLarge)
    assert.equal(status, 413)
    assert.equal(typeof JSON.parse(String(body)), 'object')
  })
}

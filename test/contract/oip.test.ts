import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DATATYPES } from '../../src/protocols/oipdatatypes.ts'
import { DTYPES, type DType } from '../../src/tensor.ts'
import { FIXTURES, type Package, serve } from '../unit/runtime/support.ts'

const { rows, scores } = JSON.parse(readFileSync(join(FIXTURES, 'expected.json'), 'utf8')) as {
  rows: number[][]
  scores: number[][]
}

/** One model for each dtype, that answers what it is given: v [n, 2] → w. bfloat16 has no kernel to go through. */
const dtypes = Object.entries(DATATYPES).filter(([, dtype]) => dtype !== 'bfloat16') as [string, DType][]
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
const server = serve(
  { model: 'digits' },
  { model: 'digits', version: '2' },
  ...dtypes.map(([, dtype]) => identity(dtype)),
)

const infer = (model: string, body: unknown, more: object = {}) =>
  server.send({ path: `/v2/models/${model}/infer`, json: body, ...more })
const images = { name: 'images', datatype: 'FP32', shape: [3, 4], data: rows }
const close = (got: number[], want: number[]) => {
  assert.equal(got.length, want.length)
  for (const [i, w] of want.entries()) assert.ok(Math.abs(got[i]! - w) < 1e-6, `${got[i]} is not ${w}`)
}

/** JSON texts of four values of each dtype, extremes among them. */
const VALUES: Partial<Record<DType, string>> = {
  float32: '1.5,-3e+38,0.1,16777217',
  float64: '1.5,-1e300,0.1,5e-324',
  int64: '9223372036854775807,-9223372036854775808,0,1',
  uint64: '18446744073709551615,0,9007199254740993,1',
  int8: '-128,127,0,1',
  uint8: '255,0,1,2',
  int16: '-32768,32767,0,1',
  uint16: '65535,0,1,2',
  int32: '-2147483648,2147483647,0,1',
  uint32: '4294967295,0,1,2',
  bool: 'true,false,false,true',
  string: '"a","","\\u00e9\\n","日本"',
}

for (const [datatype, dtype] of dtypes) {
  const text = VALUES[dtype]
  if (text !== undefined)
    test(`${datatype}: JSON round trip, nested and flat`, async () => {
      for (const data of [`[${text}]`, `[[${text.split(',').slice(0, 2)}],[${text.split(',').slice(2)}]]`]) {
        const { status, body } = await server.send({
          path: `/v2/models/${dtype}/infer`,
          text: `{"inputs":[{"name":"v","shape":[2,2],"datatype":"${datatype}","data":${data}}]}`,
        })
        assert.equal(status, 200, String(body))
        const back = /"data":\[(.*)\]\}\]\}$/s.exec(String(body))![1]!
        // the same values: bigints keep every digit, floats are compared in their own size
        const value = (t: string) =>
          dtype === 'string' || dtype === 'bool'
            ? JSON.parse(t)
            : dtype.startsWith('float')
              ? dtype === 'float32'
                ? Math.fround(Number(t))
                : Number(t)
              : BigInt(t)
        assert.deepEqual(back.split(',').map(value), text.split(',').map(value))
      }
    })

  test(`${datatype}: binary round trip, byte for byte`, async () => {
    const strings = ['a', '', 'é', '日本']
      .map((s) => Buffer.from(s))
      .flatMap((b) => [Buffer.from(Uint32Array.of(b.length).buffer), b])
    const blob =
      dtype === 'string'
        ? Buffer.concat(strings)
        : Buffer.from(
            Array.from({ length: 4 * DTYPES[dtype].bytes }, (_, i) => (dtype === 'bool' ? i % 2 : (i * 7) % 60)),
          )
    const head = Buffer.from(
      JSON.stringify({
        parameters: { binary_data_output: true },
        inputs: [{ name: 'v', shape: [2, 2], datatype, parameters: { binary_data_size: blob.length } }],
      }),
    )
    const answer = await server.send({
      path: `/v2/models/${dtype}/infer`,
      headers: { 'inference-header-content-length': String(head.length) },
      body: Buffer.concat([head, blob]),
    })
    assert.equal(answer.status, 200, String(answer.body))
    const length = Number(answer.headers['inference-header-content-length'])
    const bytes = Buffer.from(answer.body as Uint8Array)
    assert.deepEqual(bytes.subarray(length), blob)
    assert.equal(JSON.parse(bytes.toString('utf8', 0, length)).outputs[0].parameters.binary_data_size, blob.length)
  })
}

test('an inference: names, versions, ids and requested outputs', async () => {
  const { json, status } = await infer('digits', { id: 'req-7', inputs: [images], outputs: [{ name: 'scores' }] })
  assert.equal(status, 200)
  const [{ data, ...out }] = json.outputs
  assert.deepEqual([json.model_name, json.model_version, json.id], ['digits', '2', 'req-7'])
  assert.deepEqual(out, { name: 'scores', datatype: 'FP32', shape: [3, 3] })
  close(data, scores.flat())
  const old = await server.send({ path: '/v2/models/digits/versions/1/infer', json: { inputs: [images] } })
  assert.equal(old.json.model_version, '1')
  const logits = await infer('digits', { parameters: { signature_name: 'logits' }, inputs: [images] })
  assert.deepEqual(
    logits.json.outputs.map((o: { name: string }) => o.name),
    ['logits'],
  )
})

test('classification gives the best classes with their indices', async () => {
  const { json } = await infer('digits', {
    inputs: [images],
    outputs: [{ name: 'scores', parameters: { classification: 2 } }],
  })
  const [out] = json.outputs
  assert.deepEqual([out.datatype, out.shape, out.data.length], ['BYTES', [3, 2], 6])
  const best = scores[1]!.indexOf(Math.max(...scores[1]!))
  assert.match(out.data[2], new RegExp(`^0\\.\\d{6}:${best}$`))
})

test('an empty batch and numbers that are not finite', async () => {
  const empty = await infer('digits', { inputs: [{ ...images, shape: [0, 4], data: [] }] })
  assert.deepEqual([empty.status, empty.json.outputs[0].shape, empty.json.outputs[0].data], [200, [0, 3], []])
  const { status, body } = await server.send({
    path: '/v2/models/float32/infer',
    text: '{"inputs":[{"name":"v","shape":[1,2],"datatype":"FP32","data":[NaN,-Infinity]}]}',
  })
  assert.equal(status, 200)
  assert.match(String(body), /"data":\[NaN,-Infinity\]/)
})

const FAULTS: readonly [what: string, model: string, body: unknown, status: number, says: RegExp][] = [
  [
    'wrong shape',
    'digits',
    { inputs: [{ ...images, shape: [3, 5], data: Array(15).fill(0) }] },
    400,
    /\[\?,4\].*\[3,5\]/,
  ],
  ['data that does not fill its shape', 'digits', { inputs: [{ ...images, shape: [2, 4] }] }, 400, /\[2,4\]/],
  ['wrong datatype', 'digits', { inputs: [{ ...images, datatype: 'FP64' }] }, 400, /FP32.*FP64/],
  ['unknown datatype', 'digits', { inputs: [{ ...images, datatype: 'FLOAT' }] }, 400, /FP32/],
  ['unknown input', 'digits', { inputs: [{ ...images, name: 'image' }] }, 400, /Did you mean images/],
  ['missing input', 'digits', { inputs: [] }, 400, /images/],
  ['an input twice', 'digits', { inputs: [images, images] }, 400, /twice/],
  ['unknown output', 'digits', { inputs: [images], outputs: [{ name: 'score' }] }, 400, /Did you mean scores/],
  ['unknown signature', 'digits', { inputs: [images], parameters: { signature_name: 'x' } }, 400, /logits/],
  ['unknown model', 'nobody', { inputs: [images] }, 404, /digits/],
  ['unknown version', 'digits/versions/9', { inputs: [images] }, 404, /2, 1/],
  [
    'half precision as JSON',
    'float16',
    { inputs: [{ name: 'v', datatype: 'FP16', shape: [1, 2], data: [1, 2] }] },
    400,
    /binary_data_size/,
  ],
  [
    'fewer bytes than promised',
    'digits',
    { inputs: [{ name: 'images', datatype: 'FP32', shape: [1, 4], parameters: { binary_data_size: 16 } }] },
    400,
    /binary_data_size/,
  ],
  ['inputs that are no list', 'digits', { inputs: images }, 400, /list/],
  ['a list as body', 'digits', [], 400, /object/],
  [
    '1.0 for an integer',
    'int32',
    { inputs: [{ name: 'v', datatype: 'INT32', shape: [1, 2], data: [1.5, 2] }] },
    400,
    /int/i,
  ],
]
for (const [what, model, body, status, says] of FAULTS)
  test(`refused: ${what}`, async () => {
    const answer = await infer(model, body)
    assert.equal(answer.status, status, String(answer.body))
    assert.match(answer.json.error, says)
    assert.equal((await infer('digits', { inputs: [images] })).status, 200)
  })

test('health, server, model metadata and readiness', async () => {
  const get = async (path: string) => (await server.send({ method: 'GET', path })).json
  assert.equal((await get('/v2/health/live')).live, true)
  assert.equal((await get('/v2/health/ready')).ready, true)
  assert.ok((await get('/v2')).extensions.includes('binary_tensor_data'))
  assert.deepEqual(await get('/v2/models/digits/ready'), { name: 'digits', ready: true })
  assert.deepEqual(await get('/v2/models/digits'), {
    name: 'digits',
    versions: ['2', '1'],
    platform: 'onnx_onnxv1',
    inputs: [{ name: 'images', datatype: 'FP32', shape: [-1, 4] }],
    outputs: [{ name: 'scores', datatype: 'FP32', shape: [-1, 3] }],
  })
  assert.equal((await server.send({ method: 'GET', path: '/v2/models/nobody' })).status, 404)
  assert.equal((await server.send({ method: 'GET', path: '/v2/models/digits/infer' })).status, 405)
})

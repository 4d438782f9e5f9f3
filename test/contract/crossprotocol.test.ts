import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FIXTURES, serve } from '../unit/runtime/support.ts'

const { rows } = JSON.parse(readFileSync(join(FIXTURES, 'expected.json'), 'utf8')) as { rows: number[][] }
const server = serve({ model: 'digits' })
const input = { name: 'images', datatype: 'FP32', shape: [3, 4], data: rows }

/** The scores of the same three rows through each protocol, as the float32 values the client has in the end. */
const WAYS: Readonly<Record<string, () => Promise<readonly number[]>>> = {
  'ModelArts, JSON': async () => (await server.send({ path: '/', json: { images: rows } })).json.scores.flat(),
  'TensorFlow Serving, rows': async () =>
    (await server.send({ path: '/v1/models/digits:predict', json: { instances: rows } })).json.predictions.flat(),
  'TensorFlow Serving, columns': async () =>
    (await server.send({ path: '/v1/models/digits:predict', json: { inputs: { images: rows } } })).json.outputs.flat(),
  'Open Inference Protocol, JSON': async () =>
    (await server.send({ path: '/v2/models/digits/infer', json: { inputs: [input] } })).json.outputs[0].data,
  'Open Inference Protocol, binary': async () => {
    const json = { inputs: [input], parameters: { binary_data_output: true } }
    const { headers, body } = await server.send({ path: '/v2/models/digits/infer', json })
    const bytes = Uint8Array.from(
      Buffer.from(body as Uint8Array).subarray(Number(headers['inference-header-content-length'])),
    )
    return Array.from(new Float32Array(bytes.buffer))
  },
  'SageMaker, JSON': async () =>
    (await server.send({ path: '/invocations', json: { instances: rows } })).json.predictions.flat(),
  'SageMaker, CSV': async () => {
    const headers = { 'content-type': 'text/csv', accept: 'text/csv' }
    const { body } = await server.send({ path: '/invocations', headers, text: rows.map((r) => r.join(',')).join('\n') })
    return String(body).trim().split(/[\n,]/).map(Number)
  },
}

test('the same tensors give the same bits through every protocol', async () => {
  const bits = async (way: string) => Buffer.from(Float32Array.from(await WAYS[way]!()).buffer).toString('hex')
  const [first, ...others] = Object.keys(WAYS)
  const want = await bits(first!)
  assert.equal(want.length, 9 * 8)
  for (const way of others) assert.equal(await bits(way), want, way)
})

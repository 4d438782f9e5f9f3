import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { imgToArray, loadImg } from '../../../src/image/index.ts'
import { toNested } from '../../../src/nested.ts'
import { PROJECT, type Server, serveModels } from './support.ts'

/** The requests that tutorials of TensorFlow Serving make, on the models of the examples; these have hooks, which tensors pass by. */
let server: Server
before(async () => {
  server = await serveModels([
    { path: `${PROJECT}examples/iris`, name: 'raw_export_model' },
    { path: `${PROJECT}examples/planet/1`, name: 'PlanetModel' },
  ])
})

const FLOWERS = [
  { SepalLength: [5.1], SepalWidth: [3.3], PetalLength: [1.7], PetalWidth: [0.5] },
  { SepalLength: [5.9], SepalWidth: [3.0], PetalLength: [4.2], PetalWidth: [1.5] },
  { SepalLength: [6.9], SepalWidth: [3.1], PetalLength: [5.4], PetalWidth: [2.1] },
]

test('iris: three flowers by row and by column are three species', async () => {
  const scalars = FLOWERS.map((f) => Object.fromEntries(Object.entries(f).map(([k, [v]]) => [k, v])))
  const byRow = await server.post('/v1/models/raw_export_model:predict', {
    signature_name: 'serving_default',
    instances: scalars,
  })
  assert.equal(byRow.status, 200, byRow.text)
  assert.deepEqual(
    byRow.json.predictions.map((p: { class_ids: number[] }) => p.class_ids),
    [[0], [1], [2]],
  )
  const columns = Object.fromEntries(
    Object.keys(FLOWERS[0]!).map((k) => [k, FLOWERS.map((f) => f[k as keyof (typeof FLOWERS)[0]][0])]),
  )
  const byColumn = await server.post('/v1/models/raw_export_model:predict', { inputs: columns })
  assert.deepEqual(byColumn.json.outputs.class_ids, [[0], [1], [2]])
  assert.deepEqual(
    byColumn.json.outputs.logits,
    byRow.json.predictions.map((p: { logits: number[] }) => p.logits),
  )
})

test('iris: the request of the tutorial, whose features are lists of one, is answered as TensorFlow Serving answers it', async () => {
  const body = { signature_name: 'serving_default', instances: FLOWERS }
  const { json, status, text } = await server.post('/v1/models/raw_export_model:predict', body)
  assert.equal(status, 200, text)
  assert.deepEqual(
    json.predictions.map((p: { class_ids: number[] }) => p.class_ids),
    [[0], [1], [2]],
  )
  const columns = Object.fromEntries(Object.keys(FLOWERS[0]!).map((k) => [k, [[1]]]))
  const column = await server.post('/v1/models/raw_export_model:predict', { inputs: columns })
  assert.equal(column.status, 400)
  const wide = { instances: FLOWERS.map((f) => ({ ...f, SepalLength: [1, 2] })) }
  const refused = await server.post('/v1/models/raw_export_model:predict', wide)
  assert.equal(refused.status, 400)
  assert.match(refused.json.error, /float32 \[\?\] for input SepalLength but received float32 \[3,2\]/)
})

test('iris: what TensorFlow recorded for the golden requests', async () => {
  for (const name of ['setosa', 'versicolor', 'virginica']) {
    const golden = JSON.parse(readFileSync(`${PROJECT}examples/iris/golden/${name}.json`, 'utf8'))
    const { json } = await server.post('/v1/models/raw_export_model:predict', {
      instances: golden.request.json.data.req_data,
    })
    const expected: { scores: [string, number][] }[] = golden.expected.body.data.resp_data
    for (const [i, { scores }] of expected.entries())
      near(
        [...json.predictions[i].probabilities].sort((a: number, b: number) => b - a),
        scores.map(([, p]) => p),
      )
  }
})

test('planet: metadata is what the SavedModel says, the initialiser included', async () => {
  const { json } = await server.get('/v1/models/PlanetModel/metadata')
  const { signature_def } = json.metadata.signature_def
  assert.deepEqual(Object.keys(signature_def).sort(), ['__saved_model_init_op', 'serve', 'serving_default'])
  assert.deepEqual(signature_def.__saved_model_init_op, {
    inputs: {},
    outputs: {
      __saved_model_init_op: { dtype: 'DT_INVALID', tensor_shape: { dim: [], unknown_rank: true }, name: 'NoOp' },
    },
    method_name: '',
    defaults: {},
  })
  const dim = ['-1', '128', '128', '3'].map((size) => ({ size, name: '' }))
  assert.deepEqual(signature_def.serving_default.inputs, {
    input_image: {
      dtype: 'DT_FLOAT',
      tensor_shape: { dim, unknown_rank: false },
      name: 'serving_default_input_image:0',
    },
  })
})

test('planet: a picture as nested lists, the two outputs by their names', async () => {
  const golden = JSON.parse(readFileSync(`${PROJECT}examples/planet/1/golden/clouds.json`, 'utf8'))
  const labels = JSON.parse(readFileSync(`${PROJECT}examples/planet/1/labels.json`, 'utf8'))
  const bytes = readFileSync(`${PROJECT}examples/planet/1/golden/clouds.png`)
  const tile = imgToArray(await loadImg(bytes, { targetSize: [128, 128] }))
  const scaled = { ...tile, data: Float32Array.from(tile.data as Float32Array, (x) => x / 255) }
  const { status, json } = await server.post('/v1/models/PlanetModel:predict', {
    instances: [{ input_image: toNested(scaled) }],
  })
  assert.equal(status, 200)
  const [answer] = json.predictions
  const [expected] = golden.expected.body.tiles
  assert.deepEqual(Object.keys(answer).sort(), ['ground', 'weather'])
  near([answer.weather[labels.weather.indexOf(expected.weather)]], [expected.weather_probability])
  for (const [label, p] of Object.entries<number>(expected.ground))
    near([answer.ground[labels.ground.indexOf(label)]], [p])
  const { json: columns } = await server.post('/v1/models/PlanetModel:predict', {
    inputs: { input_image: [toNested(scaled)] },
  })
  assert.deepEqual(columns.outputs, { ground: [answer.ground], weather: [answer.weather] })
})

function near(got: readonly number[], expected: readonly number[]): void {
  assert.equal(got.length, expected.length)
  for (const [i, x] of expected.entries())
    assert.ok(Math.abs(got[i]! - x) <= 1e-5 + 1e-4 * Math.abs(x), `${got[i]} is not ${x}`)
}

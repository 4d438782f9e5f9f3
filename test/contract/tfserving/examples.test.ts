import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { encodeExample, type FeatureValues } from '../../../src/tfexample/encode.ts'
import { MODELS, type Server, serveModels } from './support.ts'

/** What TensorFlow answers to the same features. */
const recorded = JSON.parse(readFileSync(`${MODELS}/answers.json`, 'utf8')) as {
  requests: Record<string, (number | string)[]>[]
  scores: number[][]
  values: number[]
  names: string[]
}
const LABELS = ['rose', 'tulip', 'daisy "x"']

let server: Server
before(async () => {
  server = await serveModels([{ path: `${MODELS}/flowers` }])
})

const ask = (action: string, body: unknown) => server.post(`/v1/models/flowers:${action}`, body)

/** In JSON a whole float is written with its point, or it is an integer. */
const EXAMPLES = recorded.requests.map((features) => {
  const members = Object.entries(features).map(([name, values]) => {
    const list = values.map((v) => (name !== 'petals' && Number.isInteger(v) ? `${v}.0` : JSON.stringify(v)))
    return `${JSON.stringify(name)}: [${list}]`
  })
  return `{${members}}`
})

function near(got: number[], expected: readonly number[]): void {
  assert.equal(got.length, expected.length)
  for (const [i, x] of expected.entries())
    assert.ok(Math.abs(got[i]! - x) <= 1e-5 + 1e-4 * Math.abs(x), `${got[i]} is not ${x}`)
}

test('classify: labels and scores by example', async () => {
  for (const signature of ['', '"signature_name": "classification", ']) {
    const { status, json } = await ask('classify', `{${signature}"examples": [${EXAMPLES}]}`)
    assert.equal(status, 200)
    const results = json.results as [string, number][][]
    assert.deepEqual(
      results.map((r) => r.map(([label]) => label)),
      EXAMPLES.map(() => LABELS),
    )
    for (const [i, r] of results.entries())
      near(
        r.map(([, score]) => score),
        recorded.scores[i]!,
      )
  }
})

test('classify: without labels they are empty, without scores 0', async () => {
  const scores = await ask('classify', `{"signature_name": "scores_only", "examples": [${EXAMPLES[0]}]}`)
  assert.deepEqual(
    scores.json.results[0].map(([label]: [string]) => label),
    ['', '', ''],
  )
  const classes = await ask('classify', `{"signature_name": "classes_only", "examples": [${EXAMPLES[0]}]}`)
  assert.equal(classes.text, '{\n    "results": [[["rose", 0.0], ["tulip", 0.0], ["daisy \\"x\\"", 0.0]]\n    ]\n}')
})

test('regress: a value by example', async () => {
  const { status, json, text } = await ask('regress', `{"signature_name": "regression", "examples": [${EXAMPLES}]}`)
  assert.equal(status, 200)
  near(json.results, recorded.values)
  assert.match(text, /^\{\n {4}"results": \[9\.5, 11\.25, -4\.[\d]+\]\n\}$/)
})

test('predict: the same serialized, as base64', async () => {
  const kinds = { length: 'float', width: 'float', petals: 'int64', name: 'bytes' } as const
  const serialized = recorded.requests.map((features) =>
    encodeExample(
      Object.entries(features).map(([name, values]) => {
        const kind = kinds[name as keyof typeof kinds]
        const list =
          kind === 'int64' ? values.map(BigInt) : kind === 'bytes' ? values.map((v) => Buffer.from(String(v))) : values
        return [name, { kind, values: list } as FeatureValues] as const
      }),
    ).toString('base64'),
  )
  const { json } = await ask('predict', { signature_name: 'predict', instances: serialized.map((b64) => ({ b64 })) })
  for (const [i, p] of json.predictions.entries()) {
    near(p.scores, recorded.scores[i]!)
    near(p.value, [recorded.values[i]!])
    assert.equal(Buffer.from(p.name_bytes[0].b64, 'base64').toString(), recorded.names[i])
  }
  const columns = await ask('predict', {
    signature_name: 'predict',
    inputs: { examples: serialized.map((b64) => ({ b64 })) },
  })
  assert.deepEqual(
    columns.json.outputs.value.map(([v]: [number]) => v),
    json.predictions.map((p: { value: number[] }) => p.value[0]),
  )
})

const value = async (members: string) => (await ask('regress', `{"signature_name": "regression", ${members}}`)).json
test('a context is part of every example, which may say otherwise', async () => {
  const context = '"context": {"length": [1.0, 1.0], "width": 2.0, "petals": 1}'
  assert.deepEqual(await value(`${context}, "examples": [{}, {"petals": 10}, {"length": [0.5, 0.5], "width": 0.25}]`), {
    results: [5, 14, 2.25],
  })
})
test('a value is a list of one, true and false are integers', async () => {
  assert.deepEqual(await value('"examples": [{"length": [1.0, 2.0], "width": 4.0, "petals": true}]'), { results: [8] })
})
test('an empty list says nothing: the default of the model counts', async () => {
  assert.deepEqual(await value('"examples": [{"length": [1.0, 2.0], "width": [], "petals": []}]'), { results: [8.5] })
})
test('of two members of a name the last counts, as in a map', async () => {
  assert.deepEqual(await value('"examples": [{"length": [1.0, 2.0], "length": [3.0, 4.0]}]'), { results: [12.5] })
})
test('text and base64 are bytes', async () => {
  const { status } = await ask(
    'regress',
    '{"signature_name": "regression", "examples": [{"length": [1.0, 2.0], "name": {"b64": "/w=="}}]}',
  )
  assert.equal(status, 200)
})

const L = '"length": [1.0, 2.0]'
for (const [action, body, error] of [
  ['classify', '', 'JSON Parse error: The document is empty'],
  ['classify', '{}', "JSON Value: {} When method is classify, key 'examples' is expected and was not found"],
  [
    'classify',
    '{"examples": {}}',
    'JSON Value: {\n    "examples": {}\n} Expecting \'examples\' value to be an list/array',
  ],
  ['classify', '{"examples": []}', 'JSON Value: {\n    "examples": []\n} \'examples\' value is an empty array'],
  ['classify', '{"examples": [1]}', 'Example must be JSON object but got JSON Number'],
  ['classify', '{"examples": [[]]}', 'Example must be JSON object but got JSON Array'],
  ['classify', '{"context": 1, "examples": [{}]}', 'Example must be JSON object but got JSON Number'],
  ['classify', `{"examples": [{${L}, "a": null}]}`, 'Feature: a has element with unexpected JSON type: Null'],
  ['classify', `{"examples": [{${L}, "a": [[1]]}]}`, 'Feature: a has element with unexpected JSON type: Array'],
  ['classify', `{"examples": [{${L}, "a": {"x": 1}}]}`, 'Feature: a has element with unexpected JSON type: Object'],
  ['classify', `{"examples": [{${L}, "a": [1, 2.5]}]}`, 'Unexpected element type in feature: a expecting type: int64'],
  ['classify', `{"examples": [{${L}, "a": [1.0, 2]}]}`, 'Unexpected element type in feature: a expecting type: float'],
  ['classify', `{"examples": [{${L}, "a": ["x", 2]}]}`, 'Unexpected element type in feature: a expecting type: bytes'],
  [
    'classify',
    `{"examples": [{${L}, "a": 9223372036854775808}]}`,
    'Feature: a has uint64 element. Only int64 is supported.',
  ],
  ['classify', `{"examples": [{${L}, "a": {"b64": "-"}}]}`, 'Unable to base64 decode'],
  ['classify', `{"signature_name": "none", "examples": [{${L}}]}`, 'No signature was found with the name: none'],
  [
    'classify',
    `{"signature_name": "regression", "examples": [{${L}}]}`,
    'Expected classification signature method_name to be tensorflow/serving/classify. Was: tensorflow/serving/regress',
  ],
  [
    'regress',
    `{"examples": [{${L}}]}`,
    'Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify',
  ],
  [
    'regress',
    `{"signature_name": "wide_regression", "examples": [{${L}}]}`,
    'Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,4]',
  ],
] as const)
  test(`${action} ${body}: ${error}`, async () => {
    const { status, json } = await ask(action, body)
    assert.deepEqual([status, json], [400, { error }])
  })

test("what the model does not find in an example is the caller's to mend", async () => {
  for (const [body, wrong] of [
    ['{"examples": [{}]}', /feature length/],
    ['{"examples": [{"length": [1, 2]}]}', /expected float .* received int64/],
    ['{"examples": [{"length": [1.0]}]}', /expected 2 values/],
  ] as const) {
    const { status, json } = await ask('classify', body)
    assert.equal(status, 400)
    assert.match(json.error, wrong)
  }
})

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { answer } from '../../../src/http/lambda.ts'
import { listen } from '../../../src/http/node.ts'
import { MODELS, type Server, serveModels } from './support.ts'

let server: Server
before(async () => {
  const kinds = `${MODELS}/kinds`
  server = await serveModels(
    [
      { path: kinds, version: '2' },
      { path: kinds, version: '10' },
      { path: kinds, name: 'other', version: 'V0003' },
      { path: kinds, name: 'no_colon', version: '1' },
    ],
    { labels: { kinds: { stable: '2', canary: '10' } } },
  )
})

const ASK = '{"signature_name":"float32","instances":[[1]]}'

for (const path of [
  '/v1/models/kinds:predict',
  '/V1/MODELS/kinds:PREDICT',
  '/v1/models/kinds%3Apredict',
  '/v1/models/kinds%3apredict',
  '/v1/models/%6Binds:predict',
  '/v1/models/kinds/versions/2:predict',
  '/v1/models/kinds/versions/0002:predict',
  '/v1/models/kinds/versions/10%3Apredict',
  '/v1/models/kinds/labels/stable:predict',
  '/v1/models/kinds/labels/%63anary:predict',
  '/v1/models/other/versions/3:predict',
])
  test(`POST ${path} predicts`, async () => {
    const { status, json, headers } = await server.post(path, ASK)
    assert.deepEqual({ status, json }, { status: 200, json: { predictions: [[1]] } })
    assert.equal(headers['content-type'], 'application/json')
  })

test('the version of the path answers; without one the newest', async () => {
  const versions = []
  for (const place of ['', '/versions/2', '/labels/stable', '/labels/canary']) {
    await server.post(`/v1/models/kinds${place}:predict`, ASK)
    versions.push(server.lines.at(-1)?.version)
  }
  assert.deepEqual(versions, ['10', '2', '2', '10'])
})

for (const [request, status, error] of [
  ['POST /v1/models/none:predict', 404, 'Servable not found for request: Latest(none)'],
  ['POST /v1/models/Kinds:predict', 404, 'Servable not found for request: Latest(Kinds)'],
  ['POST /v1/models/kinds/versions/7:predict', 404, 'Servable not found for request: Specific(kinds, 7)'],
  ['POST /v1/models/none:classify', 404, 'Servable not found for request: Latest(none)'],
  ['POST /v1/models/kinds/labels/none:predict', 400, 'Unrecognized servable version label: none'],
  ['POST /v1/models/other/labels/stable:predict', 400, 'Unrecognized servable version label: stable'],
  ['GET /v1/models/none', 404, 'Could not find any versions of model none'],
  ['GET /v1/models/kinds/versions/7', 404, 'Could not find version 7 of model kinds'],
  ['GET /v1/models/none/metadata', 404, 'Servable not found for request: Latest(none)'],
  ['GET /v1/models/kinds/versions/7/metadata', 404, 'Servable not found for request: Specific(kinds, 7)'],
  ['GET /v1/models', 400, 'Missing model name in request.'],
  [
    'GET /v1/models/kinds/versions/99999999999999999999',
    400,
    'Failed to convert version: 99999999999999999999 to numeric.',
  ],
  [
    'POST /v1/models/kinds/versions/9223372036854775808:predict',
    400,
    'Failed to convert version: 9223372036854775808 to numeric.',
  ],
  ['POST /v1/models/%ff:predict', 400, 'Failed to decode model name:%ff'],
  ...[
    'GET /v1/models/kinds:predict',
    'PUT /v1/models/kinds:predict',
    'DELETE /v1/models/kinds',
    'POST /v1/models/kinds/metadata',
    'POST /v1/models/kinds',
    'POST /v1/models',
    'POST /v1/models/kinds:explain',
    'POST /v1/models/kinds/version/2:predict',
    'POST /v1/models/kinds/versions/HELLO:predict',
    'POST /v1/models/kinds/versions/2/labels/stable:predict',
    'POST /v1/models/a:b:predict',
    'POST /v1/models/:predict',
    'GET /v1/models/kinds/versions/HELLO',
    'GET /v1/models/kinds/metadata/more',
    'GET /v1/foo',
    'POST /v1/',
  ].map((r) => [r, 400, `Malformed request: ${r}`] as const),
] as const)
  test(`${request} is answered ${status}: ${error}`, async () => {
    const [method, path] = request.split(' ') as [string, string]
    const reply = await server.send({ method, path, body: Buffer.from(ASK) })
    assert.deepEqual([reply.status, reply.json], [status, { error }])
    assert.equal(reply.headers['content-type'], 'application/json')
  })

test('the status lists all versions, newest first, or the one that is asked for', async () => {
  const state = (version: string) => ({ version, state: 'AVAILABLE', status: { error_code: 'OK', error_message: '' } })
  const all = await server.get('/v1/models/kinds')
  assert.deepEqual(all.json, { model_version_status: [state('10'), state('2')] })
  assert.deepEqual((await server.get('/v1/models/kinds/versions/2')).json, { model_version_status: [state('2')] })
  assert.deepEqual((await server.get('/v1/models/kinds/labels/stable')).json, { model_version_status: [state('2')] })
  assert.deepEqual((await server.get('/v1/models/other')).json, { model_version_status: [state('3')] })
  assert.match(all.text, /^\{\n "model_version_status": \[\n {2}\{\n {3}"version": "10",/)
})

test('metadata tells every signature in the words of its SavedModel', async () => {
  const { json, status } = await server.get('/v1/models/kinds/labels/stable/metadata')
  assert.equal(status, 200)
  assert.deepEqual(json.model_spec, { name: 'kinds', signature_name: '', version: '2' })
  const { signature_def } = json.metadata.signature_def
  const open = { size: '-1', name: '' }
  assert.deepEqual(signature_def.float16, {
    inputs: {
      x: { dtype: 'DT_HALF', tensor_shape: { dim: [open, open], unknown_rank: false }, name: 'float16_in:0' },
    },
    outputs: {
      y: { dtype: 'DT_HALF', tensor_shape: { dim: [open, open], unknown_rank: false }, name: 'float16_out:0' },
    },
    method_name: 'tensorflow/serving/predict',
    defaults: {},
  })
  assert.deepEqual(signature_def.anything.inputs.x.tensor_shape, { dim: [], unknown_rank: true })
  assert.equal(Object.keys(signature_def).length, 18)
})

test('a gzip body is inflated, the content type is not looked at', async () => {
  const headers = { 'content-encoding': 'gzip', 'content-type': 'text/plain' }
  const ask = { path: '/v1/models/kinds:predict', headers }
  const { json } = await server.send({ ...ask, body: gzipSync(ASK) })
  assert.deepEqual(json, { predictions: [[1]] })
  const bad = await server.send({ ...ask, body: Buffer.from(ASK) })
  assert.equal(bad.status, 400)
  assert.match(bad.json.error, /gzip/)
})

test('OPTIONS wants an origin; CORS headers come only where they were asked for', async () => {
  const ask = { method: 'OPTIONS', path: '/v1/models/kinds:predict' }
  const reply = await server.send({ ...ask, headers: { origin: 'https://example.com' } })
  assert.equal(reply.status, 200)
  assert.equal(reply.headers['access-control-allow-origin'], undefined)
  for (const origin of ['', 'file']) {
    const headers = { origin }
    const { status, json } = await server.send({ ...ask, headers })
    assert.deepEqual([status, json], [400, { error: 'Origin header is missing in CORS preflight' }])
  }
  const open = await serveModels([{ path: `${MODELS}/kinds` }], { cors: true })
  const refused = await open.send(ask)
  assert.deepEqual(refused.json, { error: 'Origin header is missing in CORS preflight' })
  for (const req of [
    { ...ask, headers: { origin: 'http://a' } },
    { path: ask.path, body: Buffer.from(ASK) },
    { path: ask.path },
  ]) {
    const { headers } = await open.send(req)
    assert.equal(headers['access-control-allow-origin'], '*')
    assert.equal(headers['access-control-allow-methods'], 'POST, GET')
    assert.equal(headers['access-control-allow-headers'], 'Content-Type')
  }
})

test('through the fronts of Lambda and over a port', async () => {
  const http = { method: 'POST', path: '/v1/models/kinds:predict' }
  const context = { requestId: 'f-1', stage: '$default', domainName: 'x.execute-api.eu-west-1.amazonaws.com', http }
  const body = Buffer.from(ASK).toString('base64')
  const api = { version: '2.0', rawPath: http.path, rawQueryString: '', headers: {}, requestContext: context }
  const viaApi = await answer(server.app, { ...api, body, isBase64Encoded: true }, { requestId: 'l-1' })
  const rest = {
    httpMethod: 'POST',
    path: '/mapped/v1/models/kinds%3Apredict',
    resource: '/{proxy+}',
    pathParameters: { proxy: 'v1/models/kinds%3Apredict' },
    headers: {},
    requestContext: { requestId: 'f-2', stage: 'prod' },
  }
  const viaRest = await answer(server.app, { ...rest, body: ASK, isBase64Encoded: false }, { requestId: 'l-2' })
  for (const { statusCode, body: text } of [viaApi, viaRest])
    assert.deepEqual([statusCode, JSON.parse(text)], [200, { predictions: [[1]] }])

  const listening = await listen(server.app, { port: 0, bodyLimit: 1000 })
  try {
    const ask = (text: string) => fetch(`${listening.url}${http.path}`, { method: 'POST', body: text })
    assert.deepEqual(await (await ask(ASK)).json(), { predictions: [[1]] })
    const tooLarge = await ask(ASK.padEnd(2000))
    assert.equal(tooLarge.status, 413)
    assert.match(((await tooLarge.json()) as { error: string }).error, /at most 1000 bytes/)
  } finally {
    await listening.close()
  }
})

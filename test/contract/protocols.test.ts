import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError, ERRORS, type ErrorCode } from '../../src/errors.ts'
import type { Manifest } from '../../src/manifest.ts'
import { PROTOCOLS } from '../../src/protocols/index.ts'
import type { Protocol } from '../../src/protocols/protocol.ts'
import type { HttpRequest } from '../../src/types.ts'
import { SOFTMAX } from '../unit/runtime/support.ts'

const manifest: Manifest = {
  format: 1,
  model: 'digits',
  version: '1',
  defaultSignature: 'serving_default',
  signatures: SOFTMAX,
  files: {},
}
const signature = manifest.signatures.serving_default!
const req = (method: string, path: string, text = '', type = 'application/json'): HttpRequest => {
  const body = Buffer.from(text)
  return { method, path, query: '', headers: { 'content-type': type }, body, requestId: 'r-1' }
}

/** What each row must be given here: a request it answers, and the data it makes of it. */
const SAMPLES: Record<string, { request: HttpRequest; data: unknown }> = {
  tfserving: {
    request: req('POST', '/v1/models/digits:predict', '{"instances":[[1,2,3,4]]}'),
    data: { images: { dtype: 'float32', shape: [1, 4], data: Float32Array.of(1, 2, 3, 4) } },
  },
  modelarts: { request: req('POST', '/', '{"images":[[1,2,3,4]]}'), data: { images: [[1, 2, 3, 4]] } },
  sagemaker: {
    request: req('POST', '/invocations', '{"inputs":{"images":[[1,2,3,4]]}}'),
    data: { images: { dtype: 'float32', shape: [1, 4], data: Float32Array.of(1, 2, 3, 4) } },
  },
  oip: {
    request: req(
      'POST',
      '/v2/models/digits/infer',
      '{"inputs":[{"name":"images","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}',
    ),
    data: { images: { dtype: 'float32', shape: [1, 4], data: Float32Array.of(1, 2, 3, 4) } },
  },
}

test('every protocol has a sample, and names are unique', () => {
  assert.deepEqual(PROTOCOLS.map((p) => p.name).sort(), Object.keys(SAMPLES).sort())
})

for (const protocol of PROTOCOLS as readonly Protocol[]) {
  const { request, data } = SAMPLES[protocol.name]!

  test(`${protocol.name}: matches by path alone, and only its own`, () => {
    const route = protocol.match(request)!
    assert.ok(route.methods.includes(request.method))
    assert.deepEqual(protocol.match({ ...request, body: new Uint8Array(), headers: {} }), route)
    for (const path of ['/nowhere', '//', '/v1', '/../etc', '/%'])
      assert.equal(protocol.match(req('POST', path)), undefined, path)
    for (const other of PROTOCOLS) if (other !== protocol) assert.equal(other.match(request), undefined, other.name)
  })

  test(`${protocol.name}: decodes a request and encodes a result`, async () => {
    const call = await protocol.decode(request, manifest, protocol.match(request)!)
    assert.deepEqual({ ...(call.kind === 'hooks' ? call.data : call.feeds) }, data)
    const scores = { dtype: 'float32', shape: [1, 1], data: Float32Array.of(0.5) } as const
    const answer = call.kind === 'hooks' ? call.encode({ scores: [[0.5]] }) : call.encode({ scores }, signature)
    assert.equal(answer.status, 200)
    assert.match(String(answer.body), /0\.5/)
  })

  for (const code of Object.keys(ERRORS) as ErrorCode[])
    test(`${protocol.name}: ${code} has the status of the table, JSON, and no inside of ours for a fault that is not the caller's`, () => {
      const error = new AppError(code, { where: 'INSIDE', cause: new Error('CAUSE'), data: { secret: 'DATA' } })
      const { status, body, headers } = protocol.fail(error, request)
      assert.equal(status, ERRORS[code].status)
      assert.match(headers['content-type']!, /json/)
      const text = String(body)
      assert.equal(typeof JSON.parse(text), 'object')
      assert.doesNotMatch(text, /CAUSE|DATA|\.ts:/)
      if (ERRORS[code].fault !== 'caller') assert.doesNotMatch(text, /INSIDE/)
      if (ERRORS[code].fault !== 'caller') assert.match(text, /r-1/)
    })
}

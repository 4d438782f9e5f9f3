import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { CaptureOptions, Exchange } from '../../src/capture/capture.ts'
import { createCapture, sampled } from '../../src/capture/capture.ts'
import { captureKey, captureRecord } from '../../src/capture/record.ts'
import { REDACTED, redactor } from '../../src/capture/redact.ts'
import { EXACT } from '../../src/golden/compare.ts'
import { goldenEvent } from '../../src/golden/stored.ts'
import { fc } from '../random.ts'

const at = new Date('2026-03-04T05:06:07.089Z')

function exchange(type: string, body: string | Uint8Array, answer: unknown = { predicted: 7 }): Exchange {
  return {
    request: {
      method: 'POST',
      path: '/v1/infers/mnist',
      query: 'token=secret',
      headers: { 'content-type': type, authorization: 'secret', cookie: 'secret' },
      body: Buffer.from(body as string),
      requestId: 'JKJaXmPLvHcESHA=',
    },
    response: { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(answer) },
    model: 'mnist',
    version: '1',
  }
}

function record(
  e: Exchange,
  o: { bodies?: CaptureOptions['bodies']; files?: CaptureOptions['files']; redact?: string[] },
) {
  const { bodies = 'both', files = 'hash', redact = [] } = o
  return captureRecord(e, { bodies, files, redact: redactor(redact) }, at) as {
    captureData: Record<'endpointInput' | 'endpointOutput', { data: string; encoding: string } | undefined>
    eventMetadata: { customAttributes: string[] }
  }
}

const input = (e: Exchange, o: Parameters<typeof record>[1] = {}) => {
  const { data, encoding } = record(e, o).captureData.endpointInput!
  return encoding === 'JSON' ? JSON.parse(data) : { encoding, data }
}
const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex')

test('the key has the model and the hour in it, whatever the id of the request is made of', () => {
  const key = captureKey('c/', exchange('', ''), at)
  assert.equal(key, 'c/mnist/1/2026/03/04/05/2026-03-04T05-06-07-089Z-JKJaXmPLvHcESHA_.jsonl')
})

test('bodies: none, the request’s, both; never a header but the type, never the query', () => {
  const e = exchange('application/json; charset=utf-8', '{"a": 1}')
  const sides = (bodies: CaptureOptions['bodies']) => Object.keys(record(e, { bodies }).captureData)
  assert.deepEqual(
    [sides('none'), sides('request'), sides('both')],
    [[], ['endpointInput'], ['endpointInput', 'endpointOutput']],
  )
  assert.doesNotMatch(JSON.stringify(record(e, {})), /secret/)
  assert.deepEqual(record(e, {}).captureData.endpointInput, {
    observedContentType: 'application/json',
    mode: 'INPUT',
    data: '{"a":1}',
    encoding: 'JSON',
  })
  assert.deepEqual(record(e, {}).eventMetadata.customAttributes.slice(0, 4), [
    'model=mnist',
    'version=1',
    'path=/v1/infers/mnist',
    'status=200',
  ])
})

test('paths are replaced, in requests, answers and forms', () => {
  const json = '{"name": "Ann", "rows": [{"ssn": 1, "x": 2}, {"ssn": {"deep": [1]}}], "__proto__": {"ssn": "3"}}'
  assert.deepEqual(
    JSON.stringify(input(exchange('application/json', json), { redact: ['$.name', '$..ssn'] })),
    `{"name":"${REDACTED}","rows":[{"ssn":"${REDACTED}","x":2},{"ssn":"${REDACTED}"}],"__proto__":{"ssn":"${REDACTED}"}}`,
  )
  const own = input(exchange('application/json', json), { redact: ["$['__proto__']"] })
  assert.equal(Object.getOwnPropertyDescriptor(own, '__proto__')?.value, REDACTED)
  assert.equal(input(exchange('application/json', '"Ann"'), { redact: ['$'] }), REDACTED)
  const answer = record(exchange('application/json', '{}', { who: 'Ann' }), { redact: ['$.who'] }).captureData
    .endpointOutput
  assert.equal(answer!.data, `{"who":"${REDACTED}"}`)
  // of two members of one name a reader may see either: what was sent is never written as it came
  const twice = input(exchange('application/json', '{"a": {"ssn": 1}, "a": {}}'), { redact: ['$.a.ssn'] })
  assert.deepEqual(twice, { a: {} })
})

test('files are hashed, left out or kept; their names come with them only', async () => {
  const form = new FormData()
  form.append('name', 'Ann')
  form.append('images', new Blob(['bytes'], { type: 'image/png' }), 'ann.png')
  const sent = new Response(form)
  const e = exchange(sent.headers.get('content-type')!, new Uint8Array(await sent.arrayBuffer()))
  const base = { contentType: 'image/png', bytes: 5 }
  const redact = ['$.name']
  assert.deepEqual(input(e, { redact }), { name: REDACTED, images: [{ ...base, sha256: sha256('bytes') }] })
  assert.deepEqual(input(e, { redact, files: 'omit' }), { name: REDACTED, images: [base] })
  const b64 = Buffer.from('bytes').toString('base64')
  const kept = { fileName: 'ann.png', contentType: 'image/png', b64 }
  assert.deepEqual(input(e, { redact, files: 'keep' }), { name: REDACTED, images: [kept] })

  const tf = exchange('application/json', JSON.stringify({ instances: [{ image: { b64 } }] }))
  assert.deepEqual(input(tf), { instances: [{ image: { bytes: 5, sha256: sha256('bytes') } }] })
  assert.deepEqual(input(tf, { files: 'keep' }), { instances: [{ image: { b64 } }] })

  const csv = exchange('text/csv', 'Ann,1')
  assert.deepEqual(input(csv, { redact }), { bytes: 5, sha256: sha256('Ann,1') })
  assert.deepEqual(input(csv, { files: 'keep' }), { encoding: 'BASE64', data: Buffer.from('Ann,1').toString('base64') })
  assert.deepEqual(input(csv, { redact, files: 'keep' }), { bytes: 5, sha256: sha256('Ann,1') })
  assert.deepEqual(input(exchange('application/json', '{"Ann"')), { bytes: 6, sha256: sha256('{"Ann"') })
})

test('a redacted value is nowhere in the record, whatever surrounds it', () => {
  const secret = 'zq-secret-zq'
  const holding = fc.letrec((tie) => ({
    value: fc.oneof({ depthSize: 'small' }, fc.jsonValue(), tie('holder')),
    holder: fc.oneof(
      fc
        .dictionary(fc.oneof(fc.string(), fc.constant('__proto__'), fc.constant('b64')), tie('value'), {
          noNullPrototype: true,
        })
        .map((o) => ({
          ...o,
          ssn: secret,
        })),
      fc.array(tie('value')),
    ),
  })).holder
  fc.assert(
    fc.property(holding, fc.constantFrom('omit', 'hash', 'keep'), (value, files) => {
      const e = exchange('application/json', JSON.stringify(value), value)
      assert.doesNotMatch(JSON.stringify(record(e, { redact: ['$..ssn'], files: files as 'hash' })), /zq-secret-zq/)
    }),
    { numRuns: 300 },
  )
})

test('whatever the body is, a record is made or an error of ours comes out', () => {
  const types = ['application/json', 'multipart/form-data; boundary=x', 'multipart/form-data', 'image/png', '']
  fc.assert(
    fc.property(
      fc.constantFrom(...types),
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((s) => Buffer.from(s)),
      ),
      (type, body) => {
        try {
          JSON.stringify(record(exchange(type, body), { redact: ['$..a', '$[*]'] }))
        } catch (error) {
          assert.equal((error as Error).name, 'AppError')
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('golden requests of a release are not captured, whatever the share', () => {
  const options = { bucket: 'b', prefix: '', percent: 100, redact: [], bodies: 'none', files: 'hash' } as const
  const capture = createCapture(options, {}, () => undefined)
  const stored = { path: '/', contentType: '', body: '', expected: { status: 200, body: undefined }, tolerance: EXACT }
  const { requestContext } = goldenEvent(stored, 'setosa') as { requestContext: { requestId: string } }
  assert.equal(capture.wants(requestContext.requestId), false)
  assert.equal(capture.wants('7c1f'), true)
})

test('the sample is a share, and the same share each time', () => {
  const ids = Array.from(
    { length: 20_000 },
    (_, i) => `b4b8f1d6-${i.toString(16).padStart(4, '0')}-4c1e-9a57-0c1de7a3${i}`,
  )
  for (const percent of [1, 10, 50]) {
    const share = ids.filter((id) => sampled(id, percent)).length / ids.length
    assert.ok(Math.abs(share - percent / 100) < 0.01, `${percent} %: ${share}`)
  }
  assert.ok(ids.every((id) => sampled(id, 100)))
  // whoever is in the smaller sample is in the larger
  assert.ok(ids.filter((id) => sampled(id, 1)).every((id) => sampled(id, 10)))
})

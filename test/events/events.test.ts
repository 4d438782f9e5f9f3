import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { FRONTS, type FrontName, frontOf, LIMITS, toRequest, toResult } from '../../src/http/events.ts'
import { answer } from '../../src/http/lambda.ts'
import { type Prelude, splitPrelude } from '../../src/http/prelude.ts'
import { stream } from '../../src/http/stream.ts'
import type { HttpRequest } from '../../src/types.ts'
import { fc } from '../random.ts'
import { serve } from '../unit/runtime/support.ts'

const read = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, import.meta.url), 'utf8'))
const invoke = { requestId: 'lambda-id' }

/** event file → the row that must read it, and what differs between fronts */
const CASES = {
  'rest-v1': { front: 'restApi', query: 'a=1%202&a=%C3%A9&b=', twice: 'first, second', id: 'v1-request-id' },
  'rest-v1-base-path': { front: 'restApi', query: 'a=1%202&a=%C3%A9&b=', twice: 'first, second', id: 'v1-request-id' },
  'http-v2': { front: 'httpApi', query: 'a=1%202&a=%C3%A9&b', twice: 'first,second', id: 'v2-request-id' },
  'http-v2-stage': { front: 'httpApi', query: 'a=1%202&a=%C3%A9&b', twice: 'first,second', id: 'v2-request-id' },
  'function-url': { front: 'functionUrl', query: 'a=1%202&a=%C3%A9&b', twice: 'first,second', id: 'v2-request-id' },
  alb: { front: 'alb', query: 'a=%C3%A9&b=', twice: 'second', id: 'lambda-id' },
  'alb-multi-value': { front: 'albMultiValue', query: 'a=1%202&a=%C3%A9&b=', twice: 'first, second', id: 'lambda-id' },
} as const satisfies Record<string, { front: FrontName; query: string; twice: string; id: string }>

const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i)

test('every row has an event', () => {
  assert.deepEqual([...new Set(Object.values(CASES).map((c) => c.front))].sort(), Object.keys(FRONTS).sort())
})

for (const [name, want] of Object.entries(CASES)) {
  test(`${name}: is read`, () => {
    const event = read(name)
    assert.equal(frontOf(event), want.front)
    const req = toRequest(want.front, event, invoke)
    assert.equal(req.method, 'POST')
    assert.equal(req.path, '/v1/infers/digits')
    assert.equal(req.query, want.query)
    assert.equal(req.headers['content-type'], 'multipart/form-data; boundary=B')
    assert.equal(req.headers['x-twice'], want.twice)
    assert.equal(req.headers.cookie, 'cookies' in event ? 'one=1; two=2' : undefined)
    assert.equal(req.requestId, want.id)
    assert.equal(req.body.length, 0)
  })

  test(`${name}: bodies keep every byte`, () => {
    const event = read(name)
    const base64 = { ...event, body: Buffer.from(everyByte).toString('base64'), isBase64Encoded: true }
    assert.deepEqual(Buffer.from(toRequest(want.front, base64, invoke).body), Buffer.from(everyByte))
    const text = { ...event, body: '{"é": "€😀"}', isBase64Encoded: false }
    assert.equal(Buffer.from(toRequest(want.front, text, invoke).body).toString(), '{"é": "€😀"}')
  })

  test(`${name}: is answered in its own words`, () => {
    const headers = { 'content-type': 'application/json' }
    const text = toResult(want.front, { status: 200, headers, body: '{"é":1}' })
    assert.equal(text.statusCode, 200)
    assert.equal(text.body, '{"é":1}')
    assert.equal(text.isBase64Encoded, false)
    const multi = want.front === 'albMultiValue'
    assert.deepEqual(text.headers, multi ? undefined : headers)
    assert.deepEqual(text.multiValueHeaders, multi ? { 'content-type': ['application/json'] } : undefined)
    assert.equal(text.statusDescription, want.front.startsWith('alb') ? '200 OK' : undefined)
    const view = everyByte.subarray(100, 200)
    const binary = toResult(want.front, { status: 200, headers: {}, body: view })
    assert.equal(binary.isBase64Encoded, true)
    assert.deepEqual([...Buffer.from(binary.body, 'base64')], [...view])
  })

  test(`${name}: a form comes through the app byte for byte`, async () => {
    const { app } = serve({
      source: `exports.default = class extends base {
        _inference(ready) { return ready }
        _postprocess(data) { return { file: Object.keys(data.f)[0], bytes: [...data.f['x.bin'].bytes] } }
      }`,
    })
    const head = '--B\r\nContent-Disposition: form-data; name="f"; filename="x.bin"\r\n\r\n'
    const body = Buffer.concat([Buffer.from(head), everyByte, Buffer.from('\r\n--B--\r\n')]).toString('base64')
    const result = await answer(app, { ...read(name), body, isBase64Encoded: true }, invoke)
    assert.equal(result.statusCode, 200, result.body)
    assert.deepEqual(JSON.parse(result.body), { file: 'x.bin', bytes: [...everyByte] })
  })
}

test('the front gives up before Lambda does', () => {
  const soon = Date.now() + 1000
  const deadline = (name: keyof typeof CASES, given?: number) =>
    (toRequest(CASES[name].front, read(name), { ...invoke, deadline: given }).deadline ?? Number.NaN) - Date.now()
  assert.ok(deadline('rest-v1', Date.now() + 900_000) <= 29_000)
  assert.ok(deadline('http-v2', Date.now() + 900_000) <= 30_000)
  assert.ok(deadline('function-url', Date.now() + 900_000) > 800_000)
  assert.ok(deadline('rest-v1', soon) <= 1000)
  assert.ok(Number.isNaN(deadline('alb')))
})

test('stages and base paths', () => {
  const path = (name: keyof typeof CASES, change: object) => {
    const event = read(name)
    return toRequest(CASES[name].front, { ...event, ...change }, invoke).path
  }
  assert.equal(path('http-v2-stage', { rawPath: '/dev' }), '/')
  assert.equal(path('http-v2-stage', { rawPath: '/dev/' }), '/')
  assert.equal(path('http-v2-stage', { rawPath: '/device' }), '/device')
  assert.equal(path('http-v2', { rawPath: '/dev/x' }), '/dev/x')
  assert.equal(path('rest-v1', { resource: '/', path: '/models' }), '/')
  assert.equal(path('rest-v1', { resource: undefined }), '/v1/infers/digits')
  assert.equal(path('function-url', { rawPath: '' }), '/')
})

test('an event that is no HTTP is answered too, and the next one works', async () => {
  const { app, lines } = serve({})
  for (const event of [
    {},
    null,
    undefined,
    1,
    'x',
    [],
    { Records: [] },
    { version: '2.0' },
    { ...read('http-v2'), rawPath: 7 },
  ]) {
    const { statusCode, body } = await answer(app, event, invoke)
    assert.equal(statusCode, 400)
    assert.match(body, /"code":"BAD_REQUEST"/)
  }
  assert.equal(lines.length, 9)
  const event = { ...read('http-v2'), rawPath: '/', body: '{"images":[[1,2,3,4]]}', headers: {} }
  assert.equal((await answer(app, event, invoke)).statusCode, 200)
})

test('an answer that its front cannot carry is said so', async () => {
  const { app, lines } = serve({
    source: `exports.default = class extends base {
      _inference() { return {} }
      _postprocess() { return 'x'.repeat(2_000_000) }
    }`,
  })
  const event = { ...read('alb'), body: '{}', headers: {} }
  const { statusCode, body } = await answer(app, event, invoke)
  assert.equal(statusCode, 500)
  assert.match(body, /"code":"ANSWER_TOO_LARGE"/)
  assert.match(lines.at(-1)!.error!.message, new RegExp(`at most ${LIMITS.alb} bytes for alb but received 2000002`))
  const url = { ...read('function-url'), body: '{}', headers: {} }
  assert.equal((await answer(app, url, invoke)).statusCode, 200)
})

test('whatever an event holds, the answer is a proper result', async () => {
  const { app } = serve({})
  // a seeded mutator: replaces, removes and nests values anywhere in a real event
  let seed = 7
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed % n
  }
  const values = [null, undefined, 0, -1, 'x', '', [], {}, [null], true, { a: ['b'] }, '%', '%zz', '__proto__']
  const mutate = (v: unknown): unknown => {
    if (random(12) === 0) return values[random(values.length)]
    if (Array.isArray(v)) return v.map(mutate)
    if (typeof v !== 'object' || v === null) return v
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [random(30) === 0 ? `${k}x` : k, mutate(x)]))
  }
  const events = Object.keys(CASES).map(read)
  for (let i = 0; i < 2000; i++) {
    const result = await answer(app, mutate({ ...events[i % events.length], body: '{"images":[[1,2,3,4]]}' }), invoke)
    assert.ok(Number.isInteger(result.statusCode) && result.statusCode >= 200 && result.statusCode < 600)
    assert.notEqual(result.statusCode, 500, result.body)
    assert.equal(typeof result.body, 'string')
    JSON.parse(result.body)
  }
})

test('the deadline of Lambda reaches the hooks', async () => {
  const { app } = serve({
    source: 'exports.default = class extends base { _preprocess() { return new Promise(() => {}) } }',
  })
  const event = { ...read('function-url'), body: '{}', headers: {} }
  const { statusCode } = await answer(app, event, {
    ...invoke,
    deadline: Date.now() + 230,
  } satisfies Partial<HttpRequest>)
  assert.equal(statusCode, 504)
})

test('a streamed answer is its prelude and its bytes, and larger than a result may be', async () => {
  const { app } = serve({
    source: `exports.default = class extends base {
      _inference() { return {} }
      _postprocess() { return 'x'.repeat(7_000_000) }
    }`,
  })
  const event = { ...read('function-url'), body: '{}', headers: {} }
  assert.equal((await answer(app, event, invoke)).statusCode, 500)
  const streamed = async (event: unknown) => {
    let prelude: Prelude | undefined
    const out = new PassThrough()
    const open = (p: Prelude) => {
      prelude = p
      return out
    }
    const [body] = await Promise.all([buffer(out), stream(app, event, open, invoke)])
    return { ...prelude!, body }
  }
  const { statusCode, headers, body } = await streamed(event)
  assert.deepEqual([statusCode, body.length], [200, 7_000_002])
  assert.match(headers!['content-type']!, /json/)
  assert.equal((await streamed({ no: 'http' })).statusCode, 400)
})

test('whatever is streamed, a prelude is found or none', () => {
  const body = Buffer.from([0, 0, 1, 2])
  const whole = Buffer.concat([Buffer.from('{"statusCode":200}'), Buffer.alloc(8), body])
  assert.deepEqual(splitPrelude(whole), { prelude: { statusCode: 200 }, body })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, ends) => {
      const found = splitPrelude(ends ? Buffer.concat([bytes, Buffer.alloc(8)]) : bytes)
      assert.ok(found === undefined || typeof found.prelude.statusCode === 'number')
    }),
  )
})

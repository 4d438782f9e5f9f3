import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { KINDS } from '../../packager/sandbox/front/kinds.ts'
import { type Front, type FrontOptions, startFront } from '../../packager/sandbox/front/server.ts'
import { throttle } from '../../packager/sandbox/front/throttle.ts'
import { frontOf, toRequest } from '../../src/http/events.ts'
import { type Heard, type Sent, send, text } from '../fixtures/sandbox/wire.ts'
import { fc } from '../random.ts'

type Api = keyof typeof KINDS
const APIS = Object.keys(KINDS) as Api[]
const fronts: Front[] = []
after(() => Promise.all(fronts.map((f) => f.close())))

async function start(o: Partial<FrontOptions> & Pick<FrontOptions, 'api'>): Promise<Front> {
  const front = await startFront({ invoke: async () => ({ response: { statusCode: 200, body: '' } }), ...o })
  fronts.push(front)
  return front
}

interface Event {
  readonly [key: string]: unknown
  readonly body?: string
  readonly headers: Record<string, string>
  readonly requestContext: Record<string, unknown> & { readonly http: Record<string, unknown> }
}

/** A front of each kind whose function remembers its event. */
const seen = {} as Record<Api, Event>
const ports = Object.fromEntries(
  await Promise.all(
    APIS.map(async (api) => {
      const invoke: FrontOptions['invoke'] = async (event) => {
        seen[api] = JSON.parse(JSON.stringify(event))
        return { response: { statusCode: 200, body: 'ok' } }
      }
      return [api, (await start({ api, invoke, stage: 'prod', region: 'eu-central-1' })).port] as const
    }),
  ),
) as Record<Api, number>

const within = (api: Api, path: string) => (api === 'rest' ? `/prod${path}` : path)

async function event(api: Api, sent: Sent): Promise<Event> {
  const heard = await send(ports[api], { ...sent, path: within(api, sent.path ?? '/') })
  assert.equal(heard.status, 200, text(heard))
  return seen[api]
}

const FILES = { rest: 'rest-v1', http: 'http-v2', url: 'function-url' } as const satisfies Record<Api, string>
const ROW = { rest: 'restApi', http: 'httpApi', url: 'functionUrl' } as const

/** What differs from run to run, or names an API that is not ours. */
const OWN = /^(apiId|domainName|domainPrefix|requestId|resourceId|time|timeEpoch|sourceIp|host|Host|routeKey)$/

/** All that the recorded event has is in ours, with the same values; ours may have more. */
function covers(ours: unknown, recorded: unknown, at: string): void {
  if (typeof recorded === 'object' && recorded !== null && !Array.isArray(recorded)) {
    for (const [key, value] of Object.entries(recorded)) {
      assert.ok(key in (ours as object), `${at}.${key} is missing`)
      if (!OWN.test(key)) covers((ours as Record<string, unknown>)[key], value, `${at}.${key}`)
    }
  } else assert.deepEqual(ours, recorded, at)
}

for (const api of APIS)
  test(`${api}: a request becomes the event that AWS makes of it`, async () => {
    const recorded = JSON.parse(readFileSync(new URL(`../events/${FILES[api]}.json`, import.meta.url), 'utf8'))
    const ours = await event(api, {
      path: '/v1/infers/digits?a=1%202&a=%C3%A9&b',
      headers: [
        ['Content-Type', 'multipart/form-data; boundary=B'],
        ['Accept', '*/*'],
        ['X-Twice', 'first'],
        ['X-Twice', 'second'],
        ['User-Agent', 'curl/8'],
        ...(api === 'rest' ? [] : ([['Cookie', 'one=1; two=2']] as const)),
      ],
    })
    // an absent body is null in version 1, and absent in version 2
    if (api !== 'rest') delete recorded.body
    covers(ours, recorded, 'event')
    assert.equal(frontOf(ours), ROW[api])
    assert.ok(!('body' in ours) || ours.body === null)
  })

test('paths: only an HTTP API decodes them, and loses what follows an encoded question mark', async () => {
  const cases: readonly [string, string][] = [
    ['/v1/models/m:predict', '/v1/models/m:predict'],
    ['/v1/models/m%3Apredict', '/v1/models/m:predict'],
    ['/a%20b/%C3%A9', '/a b/é'],
    ['/a%2Fb', '/a/b'],
    ['/a%3Fb=c', '/a'],
    ['/a%zz', '/a%zz'],
    ['/', '/'],
  ]
  for (const [sent, decoded] of cases) {
    const rest = await event('rest', { path: sent })
    assert.deepEqual([rest.path, rest.requestContext.path], [sent, `/prod${sent}`])
    assert.equal((await event('http', { path: sent })).rawPath, decoded)
    assert.equal((await event('url', { path: sent })).rawPath, sent)
  }
  const { pathParameters, resource } = await event('rest', { path: '/v1/models/m%3Apredict' })
  assert.deepEqual([resource, pathParameters], ['/{proxy+}', { proxy: 'v1/models/m%3Apredict' }])
  // the address of a REST API without its stage is nobody's
  assert.equal((await send(ports.rest, { path: '/v1/models' })).status, 403)
  assert.equal((await send(ports.rest, { path: '/production' })).status, 403)
})

test('headers: spelling and values as each kind keeps them; those of the connection stay behind', async () => {
  const headers = [
    ['X-Mixed-Case', 'ä, b'],
    ['x-mixed-case', 'c'],
    ['X-Forwarded-For', '203.0.113.7'],
    ['Connection', 'close'],
    ['Host', 'evil.example'],
  ] as const
  const rest = await event('rest', { headers })
  assert.equal(rest.headers['X-Mixed-Case'], 'c')
  assert.equal((rest.multiValueHeaders as Record<string, string[]>)['X-Mixed-Case']?.length, 2)
  for (const api of ['http', 'url'] as const) {
    const own = await event(api, { headers })
    assert.match(own.headers['x-mixed-case']!, /,c$/)
    assert.deepEqual(
      Object.keys(own.headers).filter((n) => n !== n.toLowerCase()),
      [],
    )
    assert.equal(own.headers.connection, undefined)
    assert.match(own.headers.host!, api === 'url' ? /\.lambda-url\./ : /\.execute-api\.eu-central-1\./)
    assert.match(own.headers['x-forwarded-for']!, /^203\.0\.113\.7, 127\.0\.0\.1$/)
  }
})

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i))

test('bodies: what is bytes to each kind, and arrives whole', async () => {
  const TEXTS = ['text/plain', 'application/json; charset=utf-8', 'application/xml', 'application/javascript']
  const BYTES = ['application/octet-stream', 'image/png', 'application/x-www-form-urlencoded', 'multipart/form-data']
  for (const type of [...TEXTS, ...BYTES, undefined]) {
    const headers = type === undefined ? [] : ([['content-type', type]] as const)
    const isText = type !== undefined && TEXTS.includes(type)
    const body = isText ? '{"é": "€😀"}' : everyByte
    for (const api of APIS) {
      const own = await event(api, { headers, body })
      assert.equal(own.isBase64Encoded, api === 'rest' || !isText, `${api} ${type}`)
      const req = toRequest(ROW[api], own, { requestId: 'x' })
      assert.deepEqual(Buffer.from(req.body), Buffer.from(body as Buffer), `${api} ${type}`)
    }
  }
  const gzip = [
    ['Content-Type', 'application/json'],
    ['Content-Encoding', 'gzip'],
  ] as const
  for (const api of APIS) assert.equal((await event(api, { headers: gzip, body: everyByte })).isBase64Encoded, true)
})

test('a REST API that does not list a type as binary breaks it, both ways', async () => {
  let event: Event | undefined
  const { port } = await start({
    api: 'rest',
    binaryMediaTypes: ['image/*'],
    invoke: async (e) => {
      event = e as Event
      return { response: { statusCode: 200, body: everyByte.toString('base64'), isBase64Encoded: true } }
    },
  })
  const call = (type: string, accept: string) =>
    send(port, {
      path: '/dev/',
      body: everyByte,
      headers: [
        ['content-type', type],
        ['accept', accept],
      ],
    })
  const good = await call('image/png', 'image/png, text/html')
  assert.deepEqual([event?.isBase64Encoded, good.body], [true, everyByte])
  const bad = await call('application/octet-stream', 'text/html, image/png')
  assert.deepEqual([event?.isBase64Encoded, text(bad)], [false, everyByte.toString('base64')])
  assert.notDeepEqual(Buffer.from(event?.body ?? ''), everyByte)
})

test('whatever comes in is what the function reads', async () => {
  const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/)
  // a REST API's decoded parameters, and an HTTP API's decoded path, cannot tell everything apart: checked above
  const segment = fc.stringMatching(/^[A-Za-z0-9._~:@-]{1,8}$/).filter((s) => !/^\.+$/.test(s))
  await fc.assert(
    fc.asyncProperty(
      fc.array(segment, { maxLength: 4 }),
      fc.array(fc.tuple(token, fc.string({ maxLength: 8, unit: 'binary' })), { maxLength: 4 }),
      fc.array(
        fc.tuple(
          token.map((t) => `x-${t}`),
          fc.stringMatching(/^[!-~]{1,12}$/),
        ),
        { maxLength: 4 },
      ),
      fc.uint8Array({ maxLength: 300 }),
      fc.constantFrom(...APIS),
      async (segments, pairs, headers, body, api) => {
        const path = `/${segments.join('/')}`
        const query = pairs.map(([n, v]) => `${n}=${encodeURIComponent(v)}`).join('&')
        const type = ['Content-Type', 'application/octet-stream'] as const
        const own = await event(api, { path: query ? `${path}?${query}` : path, headers: [type, ...headers], body })
        const req = toRequest(ROW[api], own, { requestId: 'x' })
        assert.equal(req.path, path)
        assert.deepEqual(Buffer.from(req.body), Buffer.from(body))
        const values = (q: string) => [...new URLSearchParams(q)].sort()
        assert.deepEqual(values(req.query), values(query))
        for (const [name] of headers) {
          const same = headers.filter(([n]) => n.toLowerCase() === name.toLowerCase()).map(([, v]) => v)
          assert.equal(req.headers[name.toLowerCase()], same.join(api === 'rest' ? ', ' : ','))
        }
      },
    ),
    { numRuns: 150 },
  )
})

const EXPECTED = {
  // [refusal's cause, rest, http, url]
  thrown: [
    [502, '{"message":"Internal server error"}'],
    [500, '{"message":"Internal Server Error"}'],
    [502, 'Internal Server Error'],
  ],
  busy: [
    [500, '{"message":"Internal server error"}'],
    [503, '{"message":"Service Unavailable"}'],
    [429, /Rate Exceeded/],
  ],
  payload: [
    [413, '{"message":"Request Too Long"}'],
    [413, '{"message":"Request Entity Too Large"}'],
    [413, /"Message":.*payload size/],
  ],
  malformed: [
    [502, '{"message":"Internal server error"}'],
    [500, '{"message":"Internal Server Error"}'],
    [502, 'Internal Server Error'],
  ],
} as const

const RESULTS = {
  thrown: { error: { errorType: 'Error', errorMessage: 'secret' } },
  busy: { error: { errorType: 'TooManyRequestsException', errorMessage: 'Rate Exceeded.' } },
  payload: { error: { errorType: 'RequestEntityTooLargeException', errorMessage: '' } },
  malformed: { response: { statusCode: 'none', body: 'x' } },
} as const satisfies Record<keyof typeof EXPECTED, object>

test('what the function does wrong is told in the words of each kind, and nothing of the inside', async () => {
  for (const [cause, expected] of Object.entries(EXPECTED))
    for (const [i, api] of APIS.entries()) {
      const { port } = await start({ api, invoke: async () => RESULTS[cause as keyof typeof RESULTS] })
      const heard = await send(port, { path: api === 'rest' ? '/dev/x' : '/x' })
      const [status, body] = expected[i]!
      assert.equal(heard.status, status, `${cause} ${api}`)
      if (typeof body === 'string') assert.equal(text(heard), body, `${cause} ${api}`)
      else assert.match(text(heard), body)
      assert.doesNotMatch(text(heard), /secret/)
    }
})

test('results: what counts as one, by kind', async () => {
  const cases: readonly [unknown, Record<Api, [number, string]>][] = [
    [
      { statusCode: 201, body: 'é' },
      { rest: [201, 'é'], http: [201, 'é'], url: [201, 'é'] },
    ],
    [{ any: 1 }, { rest: [502, ''], http: [200, '{"any":1}'], url: [200, '{"any":1}'] }],
    ['text', { rest: [502, ''], http: [200, 'text'], url: [200, 'text'] }],
    [null, { rest: [502, ''], http: [200, 'null'], url: [200, 'null'] }],
    [{ statusCode: '204' }, { rest: [204, ''], http: [204, ''], url: [204, ''] }],
    [
      { statusCode: 200, body: { a: 1 } },
      { rest: [502, ''], http: [200, '{"a":1}'], url: [200, '{"a":1}'] },
    ],
    [{ statusCode: 999 }, { rest: [502, ''], http: [500, ''], url: [502, ''] }],
    [
      { statusCode: 200, body: 'aGk=', isBase64Encoded: true },
      { rest: [200, 'hi'], http: [200, 'hi'], url: [200, 'hi'] },
    ],
  ]
  for (const [response, expected] of cases)
    for (const api of APIS) {
      const { port } = await start({ api, invoke: async () => ({ response }) })
      const heard = await send(port, { path: api === 'rest' ? '/dev' : '/' })
      const [status, body] = expected[api]
      assert.equal(heard.status, status, `${api} ${JSON.stringify(response)}`)
      if (status < 300) assert.equal(text(heard), body, `${api} ${JSON.stringify(response)}`)
    }
})

test('headers of answers: a REST API renames some, the others take cookies', async () => {
  const headers = { 'X-Own': 'a', 'WWW-Authenticate': 'Basic', Date: 'never', 'Content-Type': 'text/csv' }
  const multiValueHeaders = { 'X-Many': ['1', '2'] }
  const response = { statusCode: 200, headers, multiValueHeaders, cookies: ['a=1', 'b=2'], body: 'x' }
  const heard = {} as Record<Api, Heard>
  for (const api of APIS) {
    const { port } = await start({ api, invoke: async () => ({ response }) })
    heard[api] = await send(port, { path: api === 'rest' ? '/dev' : '/' })
  }
  const { raw, headers: rest } = heard.rest
  assert.deepEqual(
    ['X-Own', 'x-amzn-Remapped-WWW-Authenticate', 'x-amzn-Remapped-Date', 'X-Many'].filter((n) => !raw.includes(n)),
    [],
  )
  assert.deepEqual([rest['x-many'], rest['www-authenticate'], rest['content-type']], ['1, 2', undefined, 'text/csv'])
  assert.deepEqual(heard.http.headers['set-cookie'], ['a=1', 'b=2'])
  assert.ok(heard.http.headers['apigw-requestid'] && heard.url.headers['x-amzn-requestid'] && rest['x-amzn-requestid'])
})

test('bodies beyond the limit are read to their end and refused; the function is not called', async () => {
  for (const api of APIS) {
    let calls = 0
    const invoke: FrontOptions['invoke'] = async () => {
      calls++
      return { response: { statusCode: 200, body: '' } }
    }
    const { port } = await start({ api, invoke, limits: { body: 1000 } })
    const path = api === 'rest' ? '/dev' : '/'
    assert.equal((await send(port, { path, body: Buffer.alloc(1000) })).status, 200)
    assert.equal((await send(port, { path, body: Buffer.alloc(1001) })).status, 413)
    assert.equal((await send(port, { path, body: Buffer.alloc(3_000_000) })).status, 413)
    assert.equal(calls, 1, api)
  }
  assert.deepEqual(
    APIS.map((api) => KINDS[api].body),
    [10_485_760, 10_485_760, 6_291_456],
  )
})

test('an HTTP API takes 10,240 bytes of headers', async () => {
  const big = (n: number) => [['X-Big', 'x'.repeat(n)]] as const
  assert.equal((await send(ports.http, { headers: big(9_000) })).status, 200)
  const heard = await send(ports.http, { headers: big(10_300) })
  assert.deepEqual([heard.status, text(heard)], [431, '{"message":"Request Header Fields Too Large"}'])
})

test('a front gives up after its time, and a function URL does not', async () => {
  const said = { rest: [504, 'Endpoint request timed out'], http: [503, 'Service Unavailable'] } as const
  for (const api of ['rest', 'http'] as const) {
    let finished = false
    const invoke = async () => {
      await new Promise((r) => setTimeout(r, 120))
      finished = true
      return { response: { statusCode: 200, body: '' } }
    }
    const { port } = await start({ api, invoke, limits: { patience: 40 } })
    const heard = await send(port, { path: api === 'rest' ? '/dev' : '/' })
    assert.deepEqual([heard.status, JSON.parse(text(heard)).message], said[api])
    assert.equal(finished, false)
    // the function is not told of it
    await new Promise((r) => setTimeout(r, 120))
    assert.equal(finished, true)
  }
  assert.deepEqual([KINDS.rest.patience, KINDS.http.patience, 'patience' in KINDS.url], [29_000, 30_000, false])
})

test('throttling: a bucket that fills with time, and a quota per period', async () => {
  let now = 0
  const ask = throttle({ rate: { rate: 10, burst: 2 } }, () => now)
  assert.deepEqual([ask(), ask(), ask()], [undefined, undefined, 'throttled'])
  now += 100
  assert.deepEqual([ask(), ask()], [undefined, 'throttled'])
  now += 10_000
  assert.deepEqual([ask(), ask(), ask()], [undefined, undefined, 'throttled'])

  const month = throttle({ quota: { limit: 2, period: 'DAY' } }, () => now)
  assert.deepEqual([month(), month(), month()], [undefined, undefined, 'quota'])
  now += 86_400_000
  assert.equal(month(), undefined)

  const { port } = await start({ api: 'rest', throttle: throttle({ quota: { limit: 1, period: 'DAY' } }) })
  await send(port, { path: '/dev' })
  const heard = await send(port, { path: '/dev' })
  assert.deepEqual([heard.status, text(heard)], [429, '{"message":"Limit Exceeded"}'])
  const http = await start({ api: 'http', throttle: throttle({ rate: { rate: 1, burst: 1 } }) })
  await send(http.port, {})
  assert.equal(text(await send(http.port, {})), '{"message":"Too Many Requests"}')
})

test('CORS: preflight is the front’s, before any gate; answers carry what each kind lets through', async () => {
  const gate = async () => ({ refused: 'forbidden' }) as const
  const ask = [
    ['Origin', 'https://a.example'],
    ['Access-Control-Request-Method', 'POST'],
  ] as const
  for (const api of APIS) {
    const path = api === 'rest' ? '/dev/x' : '/x'
    const { port } = await start({ api, cors: true, gate })
    const heard = await send(port, { method: 'OPTIONS', path, headers: ask })
    assert.equal(heard.status, api === 'http' ? 204 : 200)
    assert.equal(heard.headers['access-control-allow-origin'], '*')
    assert.match(String(heard.headers['access-control-allow-headers']), /authorization/)
    assert.equal(heard.body.length, 0)
    const closed = await send(port, { path, headers: [['Origin', 'https://a.example']] })
    assert.equal(closed.status, 403)

    const without = await start({ api, gate })
    assert.equal((await send(without.port, { method: 'OPTIONS', path, headers: ask })).status, 403)

    const response = { statusCode: 200, headers: { 'access-control-allow-origin': 'own' }, body: '' }
    const open = await start({ api, cors: true, invoke: async () => ({ response }) })
    const answer = await send(open.port, { path, headers: [['Origin', 'https://a.example']] })
    assert.equal(answer.headers['access-control-allow-origin'], api === 'rest' ? 'own' : '*')
  }
})

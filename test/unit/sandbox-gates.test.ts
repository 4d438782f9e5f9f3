import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { createHash, createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { apiKeyGate } from '../../packager/sandbox/front/apikey.ts'
import type { Gate } from '../../packager/sandbox/front/gate.ts'
import { iamGate } from '../../packager/sandbox/front/iam.ts'
import { jwtGate } from '../../packager/sandbox/front/jwt.ts'
import { type Front, startFront } from '../../packager/sandbox/front/server.ts'
import { type Sent, send, text } from '../fixtures/sandbox/wire.ts'

const ends: (() => unknown)[] = []
after(() => Promise.all(ends.map((e) => e())))

/** An issuer of tokens as OIDC has it: its configuration, and the key set that names. */
const rsa = await generateKeyPair('RS256')
const ec = await generateKeyPair('ES256')
const stranger = await generateKeyPair('RS256')
const jwks = {
  keys: [
    { ...(await exportJWK(rsa.publicKey)), kid: 'rsa', alg: 'RS256', use: 'sig' },
    { ...(await exportJWK(ec.publicKey)), kid: 'ec', alg: 'ES256', use: 'sig' },
  ],
}
const oidc = createServer((req, res) => {
  const body = { '/.well-known/openid-configuration': { issuer, jwks_uri: `${issuer}/keys` }, '/keys': jwks }[req.url!]
  res.writeHead(body ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body))
})
await new Promise<void>((done) => oidc.listen(0, '127.0.0.1', done))
ends.push(() => {
  oidc.close()
  oidc.closeAllConnections()
})
const issuer = `http://127.0.0.1:${(oidc.address() as AddressInfo).port}`

const now = () => Math.floor(Date.now() / 1000)

/** A front behind which the function answers with what it was told of the caller. */
async function guarded(api: 'rest' | 'http' | 'url', gate: Gate): Promise<Front> {
  const front = await startFront({
    api,
    gate,
    region: 'eu-central-1',
    invoke: async (event) => {
      const { authorizer, identity } = (event as { requestContext: Record<string, unknown> }).requestContext
      return { response: { statusCode: 200, body: JSON.stringify(authorizer ?? identity ?? null) } }
    },
  })
  ends.push(front.close)
  return front
}

test('an API key: the right one, or nobody', async () => {
  const { port } = await guarded('rest', apiKeyGate({ id: 'k1', key: 'right' }))
  const call = (...headers: [string, string][]) => send(port, { path: '/dev/x', headers })
  const good = await call(['X-API-Key', 'right'])
  assert.equal(good.status, 200)
  assert.equal(JSON.parse(text(good)).apiKeyId, 'k1')
  for (const headers of [[], [['x-api-key', 'wrong']], [['x-api-key', 'right2']], [['x-api-key', '']]] as [
    string,
    string,
  ][][]) {
    const heard = await call(...headers)
    assert.deepEqual([heard.status, text(heard)], [403, '{"message":"Forbidden"}'])
    assert.equal(heard.headers['x-amzn-errortype'], 'ForbiddenException')
  }
})

const credentials = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }
const REGION = 'eu-central-1'

interface Signing {
  readonly secret?: string
  readonly key?: string
  readonly region?: string
  readonly service?: string
  readonly at?: number
  readonly body?: string
}

/** Signature Version 4 by its description, and not by the library that the gate uses. */
function signed(port: number, sent: Sent & { path: string; body?: string }, o: Signing = {}): Sent {
  const { key = credentials.accessKeyId, secret = credentials.secretAccessKey, region = REGION } = o
  const { service = 'execute-api', at = Date.now(), body = sent.body ?? '' } = o
  const sha = (s: string) => createHash('sha256').update(s).digest('hex')
  const hmac = (k: string | Buffer, s: string) => createHmac('sha256', k).update(s).digest()
  const long = new Date(at).toISOString().replace(/[-:]|\.\d+/g, '')
  const day = long.slice(0, 8)
  const strict = (s: string) =>
    encodeURIComponent(s).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  const [path = '', query = ''] = sent.path.split('?')
  const parameters = query
    .split('&')
    .filter(Boolean)
    .map((p) => p.split('=').map((x) => strict(decodeURIComponent(x))))
    .map(([n, v = '']) => `${n}=${v}`)
    .sort()
  const own: [string, string][] = [
    ['content-type', 'text/plain'],
    ['host', `localhost:${port}`],
    ['x-amz-date', long],
  ]
  const names = own.map(([n]) => n).join(';')
  const canonical = [
    sent.method ?? 'POST',
    path.split('/').map(strict).join('/'),
    parameters.join('&'),
    ...own.map(([n, v]) => `${n}:${v}`),
    '',
    names,
    sha(body),
  ].join('\n')
  const scope = `${day}/${region}/${service}/aws4_request`
  const derived = [day, region, service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`)
  const signature = hmac(derived, `AWS4-HMAC-SHA256\n${long}\n${scope}\n${sha(canonical)}`).toString('hex')
  const authorization = `AWS4-HMAC-SHA256 Credential=${key}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  return { ...sent, headers: [...own, ['authorization', authorization], ['user-agent', 'not signed']] }
}

test('IAM: a signature of the right key over the very request', async () => {
  const options = { credentials, region: REGION, service: 'execute-api', accountId: '123456789012' }
  const { port } = await guarded('rest', iamGate(options))
  const PATHS = ['/dev/', '/dev/v1/models/m:predict', '/dev/v1/models/m%3Apredict?b=2&a=x%20y&a=1', '/dev/%C3%A9?q']
  for (const path of PATHS) {
    const heard = await send(port, signed(port, { path, body: 'é' }))
    assert.equal(heard.status, 200, `${path} ${text(heard)}`)
    assert.equal(JSON.parse(text(heard)).accessKey, 'AKIATEST')
  }
  const good = signed(port, { path: '/dev/x', body: 'body' })
  const MISMATCH = 'InvalidSignatureException'
  const bad: readonly [string, Sent, string][] = [
    ['none', { path: '/dev/x' }, 'MissingAuthenticationTokenException'],
    [
      'another scheme',
      { path: '/dev/x', headers: [['authorization', 'Bearer x']] },
      'MissingAuthenticationTokenException',
    ],
    ['another key', signed(port, { path: '/dev/x' }, { key: 'AKIAOTHER' }), 'UnrecognizedClientException'],
    ['another secret', signed(port, { path: '/dev/x' }, { secret: 'guess' }), MISMATCH],
    ['another region', signed(port, { path: '/dev/x' }, { region: 'us-east-1' }), MISMATCH],
    ['another service', signed(port, { path: '/dev/x' }, { service: 'lambda' }), MISMATCH],
    ['too old', signed(port, { path: '/dev/x' }, { at: Date.now() - 6 * 60_000 }), MISMATCH],
    ['another body', { ...good, body: 'other' }, MISMATCH],
    ['another path', { ...good, path: '/dev/y' }, MISMATCH],
    ['another method', { ...good, method: 'PUT' }, MISMATCH],
    ['another query', { ...good, path: '/dev/x?a' }, MISMATCH],
    [
      'another header',
      { ...good, headers: good.headers!.map(([n, v]) => [n, n === 'content-type' ? 'x' : v]) },
      MISMATCH,
    ],
    ['garbage', { path: '/dev/x', headers: [['authorization', 'AWS4-HMAC-SHA256 nonsense']] }, MISMATCH],
  ]
  for (const [what, sent, type] of bad) {
    const heard = await send(port, sent)
    assert.deepEqual([heard.status, heard.headers['x-amzn-errortype']], [403, type], what)
  }
})

const curl = /^curl (\d+)\.(\d+)/.exec(spawnSync('curl', ['--version'], { encoding: 'utf8' }).stdout ?? '')
const noCurl = curl && 100 * Number(curl[1]) + Number(curl[2]) >= 775 ? false : 'no curl that signs is here'

test('IAM: what `curl --aws-sigv4` signs comes in, by an HTTP API and a function URL', { skip: noCurl }, async () => {
  for (const [api, service] of [
    ['http', 'execute-api'],
    ['url', 'lambda'],
  ] as const) {
    const { port } = await guarded(api, iamGate({ credentials, region: REGION, service, accountId: '1' }))
    const call = (user: string) =>
      new Promise<string>((done) => {
        const args = ['-s', '-d', '{"a":1}', '-H', 'content-type: application/json']
        const sign = ['--aws-sigv4', `aws:amz:${REGION}:${service}`, '--user', user]
        execFile('curl', [...args, ...sign, `http://localhost:${port}/v1/infers/m`], (_, out) => done(out))
      })
    assert.equal(JSON.parse(await call('AKIATEST:secret')).iam.accessKey, 'AKIATEST')
    assert.match(await call('AKIATEST:wrong'), api === 'http' ? /^\{"message":"Forbidden"\}$/ : /signature/)
  }
})

const CLAIMS = { iss: issuer, aud: 'app', sub: 'me', exp: now() + 60, iat: now() }
const token = (claims: JWTPayload = {}, { alg = 'RS256', kid = 'rsa', key = rsa.privateKey } = {}) =>
  new SignJWT({ ...CLAIMS, ...claims }).setProtectedHeader({ alg, kid }).sign(key)
const bearer = (t: string) => ({ headers: [['Authorization', `Bearer ${t}`]] }) as const

test('JWT: a token that the issuer signed comes in, and the function reads its claims', async () => {
  const { port } = await guarded('http', jwtGate({ issuer, audience: ['other', 'app'] }))
  const heard = await send(port, bearer(await token({ groups: ['a', 'b'], n: 1, address: { city: 'x' } })))
  assert.equal(heard.status, 200, text(heard))
  const { claims, scopes } = JSON.parse(text(heard)).jwt
  assert.deepEqual(
    [claims.sub, claims.aud, claims.groups, claims.n, claims.address, scopes],
    ['me', 'app', '[a b]', '1', '{"city":"x"}', null],
  )
  assert.equal((await send(port, { headers: [['authorization', await token()]] })).status, 200, 'without Bearer')
  const many = await token({ aud: ['x', 'app'] })
  assert.equal((await send(port, bearer(many))).status, 200)
  const client = await token({ aud: undefined, client_id: 'app' })
  assert.equal((await send(port, bearer(client))).status, 200)
  assert.equal((await send(port, bearer(await token({ aud: 'no', client_id: 'app' })))).status, 401)
})

test('JWT: every other token is refused with its reason, and none of its content', async () => {
  const { port } = await guarded('http', jwtGate({ issuer, audience: ['app'] }))
  const [head, , signature] = (await token()).split('.')
  const base64 = (o: object) => Buffer.from(JSON.stringify(o)).toString('base64url')
  const none = `${base64({ alg: 'none', kid: 'rsa' })}.${base64(CLAIMS)}.`
  const secret = Buffer.from(JSON.stringify(jwks.keys[0]))
  const confused = await new SignJWT(CLAIMS).setProtectedHeader({ alg: 'HS256', kid: 'rsa' }).sign(secret)
  const unnamed = await new SignJWT(CLAIMS).setProtectedHeader({ alg: 'RS256' }).sign(rsa.privateKey)
  const cases: readonly [string, string, RegExp][] = [
    ['expired', await token({ exp: now() - 1 }), /expired/],
    ['not yet valid', await token({ nbf: now() + 60 }), /nbf/],
    ['issued later', await token({ iat: now() + 60 }), /issued later/],
    ['without an end', await token({ exp: undefined }), /exp/],
    ['another audience', await token({ aud: 'other' }), /valid audience/],
    ['no audience', await token({ aud: undefined }), /valid audience/],
    ['another issuer', await token({ iss: 'http://127.0.0.1:9' }), /valid issuer/],
    ['another key under the same name', await token({}, { key: stranger.privateKey }), /signature/],
    ['a key that is not published', await token({}, { kid: 'new', key: stranger.privateKey }), /key of the token/],
    ['no key named', unnamed, /key id/],
    ['alg none', none, /algorithm|read/],
    ['a public key as the secret', confused, /algorithm/],
    ['other claims under the signature', `${head}.${base64({ ...CLAIMS, sub: 'admin' })}.${signature}`, /signature/],
    // AWS verifies RSA only, so what would be refused there is refused here
    ['an elliptic curve', await token({}, { alg: 'ES256', kid: 'ec', key: ec.privateKey }), /algorithm/],
    ['garbage', 'abc', /read/],
  ]
  for (const [what, given, reason] of cases) {
    const heard = await send(port, bearer(given))
    assert.deepEqual([heard.status, text(heard)], [401, '{"message":"Unauthorized"}'], what)
    const told = String(heard.headers['www-authenticate'])
    assert.match(told, /^Bearer scope="" error="invalid_token" error_description="/, what)
    assert.match(told, reason, what)
    assert.doesNotMatch(told, /me|admin|eyJ/)
  }
  const missing = await send(port, {})
  assert.deepEqual([missing.status, missing.headers['www-authenticate']], [401, 'Bearer'])
})

test('JWT: one of the scopes has to be there, in either claim', async () => {
  const { port } = await guarded('http', jwtGate({ issuer, audience: ['app'], scopes: ['read', 'write'] }))
  const good = await send(port, bearer(await token({ scope: 'openid write' })))
  assert.deepEqual(JSON.parse(text(good)).jwt.scopes, ['openid', 'write'])
  assert.equal((await send(port, bearer(await token({ scp: ['read'] })))).status, 200)
  const poor = await send(port, bearer(await token({ scope: 'openid reader' })))
  assert.deepEqual([poor.status, text(poor)], [403, '{"message":"Forbidden"}'])
  assert.match(String(poor.headers['www-authenticate']), /scope="read write" error="insufficient_scope"/)
})

test('JWT: an issuer that cannot be reached is our failure and not the caller’s', async () => {
  const lines: string[] = []
  const front = await startFront({
    api: 'http',
    gate: jwtGate({ issuer: 'http://127.0.0.1:9', audience: ['app'] }),
    invoke: async () => ({ response: '' }),
    log: (line) => lines.push(line),
  })
  ends.push(front.close)
  const heard = await send(front.port, bearer(await token()))
  assert.deepEqual([heard.status, text(heard)], [500, '{"message":"Internal Server Error"}'])
  assert.match(lines.join('\n'), /openid-configuration/)
})

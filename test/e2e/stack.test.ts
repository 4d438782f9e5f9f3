import assert from 'node:assert/strict'
import { exec, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { curlLine } from '../../packager/curl.ts'
import { type BatchOptions, type HttpOptions, readOptions } from '../../packager/deploy/options.ts'
import { settingsOf } from '../../packager/deploy/settings.ts'
import type { Arch } from '../../packager/layers/definition.ts'
import { readDist } from '../../packager/layers/dist.ts'
import { openAny } from '../../packager/package/open.ts'
import { defaultCache, projectRoot } from '../../packager/root.ts'
import { createFleet } from '../../packager/sandbox/fleet.ts'
import { startFront } from '../../packager/sandbox/front/server.ts'
import { FETCHED, type Stack, startStack } from '../../packager/sandbox/stack.ts'
import { unpack } from '../../packager/sandbox/unpack.ts'
import { silenceTelemetry } from '../../src/boot.ts'
import { createApp } from '../../src/http/app.ts'
import { listen } from '../../src/http/node.ts'
import { openStore } from '../../src/models.ts'
import { BIN, built, run } from '../fixtures/package/run.ts'
import { type Heard, type Sent, send, text } from '../fixtures/sandbox/wire.ts'

const arch = process.arch as Arch
const root = projectRoot()
const work = mkdtempSync(join(tmpdir(), 'modelayer-stack-'))
const dist = join(work, 'dist')
const ends: (() => Promise<unknown>)[] = [async () => rmSync(work, { recursive: true, force: true })]
after(async () => {
  for (const end of ends.toReversed()) await end()
})
silenceTelemetry()

before(async () => {
  await built()
  const { code, err } = await run(['package', 'examples/mnist', '-o', dist, '--arch', arch])
  assert.equal(code, 0, err)
})

interface Plan {
  readonly http?: Partial<HttpOptions>
  readonly more?: object
  readonly patience?: number
}

async function deployed({ http, more, patience }: Plan, log: (line: string) => void = () => undefined): Promise<Stack> {
  const options = readOptions({
    models: { mnist: '.' },
    arch,
    ...(http && { http: { auth: 'none', ...http } }),
    ...more,
  })
  const index = await readDist(dist)
  const stack = await startStack({
    dist,
    index,
    arch,
    settings: settingsOf(options, 'test-dev', { index, raw: more ?? {}, models: FETCHED }),
    http: options.http,
    batch: options.batch as BatchOptions | undefined,
    data: join(work, 'data'),
    stage: 'dev',
    region: 'us-east-1',
    concurrency: 4,
    front: { port: 0, limits: patience === undefined ? {} : { patience } },
    log,
  })
  ends.push(stack.close)
  return stack
}

const png = readFileSync(join(root, 'examples/mnist/digits/7.png'))

function multipart(file: Buffer): Sent {
  const head = `--B\r\nContent-Disposition: form-data; name="images"; filename="7.png"\r\nContent-Type: image/png\r\n\r\n`
  const body = Buffer.concat([Buffer.from(head), file, Buffer.from('\r\n--B--\r\n')])
  return { headers: [['Content-Type', 'multipart/form-data; boundary=B']], body }
}

const pixels = Float32Array.from({ length: 784 }, (_, i) => (i % 28) / 28)
const json = JSON.stringify({ signature_name: 'predict_images', instances: [Array.from(pixels)] })
const JSON_TYPE = ['Content-Type', 'application/json'] as const

function oip(): Sent {
  const input = { name: 'images', shape: [1, 784], datatype: 'FP32', parameters: { binary_data_size: 4 * 784 } }
  const outputs = [{ name: 'scores', parameters: { binary_data: true } }]
  const head = Buffer.from(JSON.stringify({ inputs: [input], outputs }))
  return {
    path: '/v2/models/mnist/infer',
    headers: [
      ['Content-Type', 'application/octet-stream'],
      ['Inference-Header-Content-Length', String(head.length)],
    ],
    body: Buffer.concat([head, Buffer.from(pixels.buffer)]),
  }
}

/** What a client of each protocol sends, and some that have to be refused alike. */
const REQUESTS: Readonly<Record<string, Sent>> = {
  'an image in a form': multipart(png),
  'TensorFlow Serving': { path: '/v1/models/mnist:predict', headers: [JSON_TYPE], body: json },
  'the same with %3A': { path: '/v1/models/mnist%3Apredict', headers: [JSON_TYPE], body: json },
  'the same compressed': {
    path: '/v1/models/mnist:predict',
    headers: [JSON_TYPE, ['Content-Encoding', 'gzip']],
    body: gzipSync(json),
  },
  'tensors as bytes, both ways': oip(),
  metadata: { method: 'GET', path: '/v1/models/mnist/metadata' },
  'a damaged image': multipart(png.subarray(0, 60)),
  'no such model': { path: '/v1/models/none:predict', headers: [JSON_TYPE], body: json },
  'no such path': { path: '/nowhere?x=%20' },
  'bad JSON': { path: '/v1/models/mnist:predict', headers: [JSON_TYPE], body: '{"instances": [' },
}

/** Without what names the one request. */
const comparable = ({ status, headers, body }: Heard) => ({
  status,
  type: headers['content-type'],
  inference: headers['inference-header-content-length'],
  body: body.toString('latin1').replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID'),
})

const ENDPOINTS = [
  { api: 'rest' },
  { api: 'http' },
  { api: 'url' },
  { api: 'rest', stream: true },
  { api: 'url', stream: true },
] as const

for (const http of ENDPOINTS)
  test(`${JSON.stringify(http)}: the built zips behind it answer as \`modelayer serve\` does`, async () => {
    const { api } = http
    const index = await readDist(dist)
    const files = [...index.layers.filter((l) => l.name.startsWith('model-')), ...index.functions.slice(0, 1)]
    const roots = await Promise.all(files.map((f) => unpack(join(dist, f.file), defaultCache())))
    const direct = await listen(createApp(openStore({ roots }), { log: () => undefined }), { port: 0 })
    const stack = await deployed({ http })
    try {
      for (const [what, sent] of Object.entries(REQUESTS)) {
        const expected = comparable(await send(direct.port, sent))
        const path = `${api === 'rest' ? '/dev' : ''}${sent.path ?? '/'}`
        assert.deepEqual(comparable(await send(stack.front!.port, { ...sent, path })), expected, what)
        assert.equal(expected.status >= 400, /damaged|no such|bad/.test(what), `${what} ${expected.body}`)
      }
      // a body that fits the front and, as base64 in an event, not Lambda
      const path = api === 'rest' ? '/dev/' : '/'
      const heard = await send(stack.front!.port, { ...multipart(Buffer.alloc(5_000_000)), path })
      assert.equal(heard.status, 413)
      assert.match(text(heard), api === 'http' ? /Entity Too Large/ : api === 'rest' ? /Too Long/ : /payload size/)
    } finally {
      await direct.close()
      await stack.close()
    }
  })

const fixture = join(root, 'test/fixtures/sandbox/function')

test('requests at a time are environments at a time, each cold; free ones are used again, idle ones end', async () => {
  const lines: string[] = []
  const boot = { layers: [], function: fixture, handler: 'index.handler', functionName: 'f', memory: 512, arch }
  const fleet = createFleet({ boot, concurrency: 3, onLine: (l) => lines.push(l) })
  try {
    const wait = { do: 'wait', ms: 250 }
    const four = await Promise.all([1, 2, 3, 4].map(() => fleet.invoke(wait)))
    assert.deepEqual(four.map((r) => r.error?.errorType).filter(Boolean), ['TooManyRequestsException'])
    assert.deepEqual(
      four
        .slice(0, 3)
        .map((r) => r.environment)
        .sort(),
      [1, 2, 3],
    )
    assert.equal(
      lines.filter((l) => /Init Duration: [\d.]+ ms\tEnvironment: \d cold$/.test(l)).length,
      3,
      lines.join('\n'),
    )
    const report =
      /^REPORT RequestId: [\w-]+\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 512 MB\tMax Memory Used: \d+ MB\t/
    assert.match(lines.find((l) => l.startsWith('REPORT'))!, report)
    const last = await fleet.invoke({ do: 'echo' })
    const again = await fleet.invoke({ do: 'echo' })
    // the one used last is the first to be used again
    assert.equal(again.environment, last.environment)
    assert.match(lines.at(-1)!, /warm$/)
    await fleet.invoke({ do: 'exit', code: 1 })
    assert.match(lines.at(-2)!, /Status: error\tError Type: Runtime.ExitError/)
    assert.match(lines.at(-1)!, /^ERROR RequestId: [\w-]+\t.*exit status 1$/)
    await fleet.invoke({ do: 'echo' })
    assert.match(lines.at(-1)!, /restarted$/)
    assert.equal(fleet.size, 3)
  } finally {
    await fleet.close()
  }
  assert.equal(fleet.size, 0)

  const brief = createFleet({ boot, concurrency: 3, idleMs: 50, onLine: (l) => lines.push(l) })
  try {
    await brief.warm(2)
    for (let i = 0; i < 100 && brief.size > 0; i++) await sleep(100)
    assert.equal(brief.size, 0)
    assert.equal(lines.filter((l) => /ended: idle/.test(l)).length, 2)
    assert.equal((await brief.invoke({ do: 'echo' })).environment, 3)
  } finally {
    await brief.close()
  }
})

test('a function that runs out of time, crashes or answers too much, by each kind of front', async () => {
  const boot = { layers: [], function: fixture, handler: 'index.handler', memory: 512, timeoutSeconds: 1, arch }
  const fleet = createFleet({ boot, concurrency: 1 })
  let next: object = {}
  const invoke = () => fleet.invoke(next)
  const cases: readonly [object, Record<string, number>][] = [
    [{ do: 'spin' }, { rest: 502, http: 500, url: 502 }],
    [
      { do: 'exit', code: 1 },
      { rest: 502, http: 500, url: 502 },
    ],
    [{ do: 'fail' }, { rest: 502, http: 500, url: 502 }],
    [
      { do: 'big', bytes: 6_291_555 },
      { rest: 502, http: 500, url: 502 },
    ],
    [
      { do: 'echo', statusCode: 200, body: 'fine' },
      { rest: 200, http: 200, url: 200 },
    ],
  ]
  try {
    for (const api of ['rest', 'http', 'url'] as const) {
      const front = await startFront({ api, invoke })
      for (const [event, status] of cases) {
        next = event
        const heard = await send(front.port, { path: '/dev' })
        assert.equal(heard.status, status[api], `${api} ${JSON.stringify(event)} ${text(heard)}`)
      }
      await front.close()
    }
  } finally {
    await fleet.close()
  }
})

test('reserved concurrency and throttling of a service hold', async () => {
  const lines: string[] = []
  const more = { concurrency: { reserved: 1, provisioned: 1 } }
  const stack = await deployed({ http: { api: 'http', throttle: { rate: 1, burst: 3 } }, more }, (l) => lines.push(l))
  const ask = () => send(stack.front!.port, REQUESTS['an image in a form']!)
  const first = await Promise.all([ask(), ask(), ask(), ask()])
  assert.deepEqual(first.map((h) => h.status).sort(), [200, 429, 503, 503])
  assert.equal(lines.filter((l) => l.startsWith('THROTTLED')).length, 2)
})

const noCurl = /^curl 7\.(7[5-9]|[89])|^curl ([89]|\d\d)\./.test(
  spawnSync('curl', ['--version'], { encoding: 'utf8' }).stdout ?? '',
)
  ? false
  : 'no curl that signs is here'

test('the line for curl that a deploy prints passes the check of its signature', { skip: noCurl }, async () => {
  for (const api of ['http', 'rest', 'url'] as const) {
    const stack = await deployed({ http: { api, auth: 'iam' } })
    const pkg = await openAny(join(root, 'examples/mnist'))
    const line = await curlLine(pkg, stack.front!.url, { several: true, flags: stack.access!.flags })
    const said = await new Promise<string>((done) => exec(`${line} -s`, (_, out) => done(out)))
    assert.match(said, /"predicted_label":"0"/, line)
    assert.equal((await send(stack.front!.port, { path: api === 'rest' ? '/dev/' : '/' })).status, 403)
    await stack.close()
  }
})

test('a batch: an object in a bucket becomes predictions in the other, by queue and function', async () => {
  const input = join(work, 'data', 'digits-in', 'incoming')
  const lines: string[] = []
  const batch = { input: 's3://digits-in/incoming/', output: 's3://digits-out/results/', timeout: 60 }
  const stack = await deployed({ http: { api: 'url' }, more: { batch } }, (l) => lines.push(l))
  writeFileSync(join(input, '7 ü.png'), png)
  const { S3Client, PutObjectCommand } = await import('@aws-sdk/client-s3')
  const credentials = { accessKeyId: 'x', secretAccessKey: 'y' }
  const client = new S3Client({ endpoint: stack.s3, forcePathStyle: true, region: 'us-east-1', credentials })
  const rows = `${JSON.stringify(Array.from(pixels))}\n`.repeat(3)
  await client.send(new PutObjectCommand({ Bucket: 'digits-in', Key: 'incoming/rows.jsonl', Body: rows }))
  const output = join(work, 'data', 'digits-out', 'results')
  const results = () => (existsSync(output) ? readdirSync(output).filter((f) => f.endsWith('.done.json')) : [])
  for (let i = 0; i < 200 && results().length < 2; i++) await sleep(100)
  assert.equal(results().length, 2, lines.join('\n'))
  const own = (pattern: RegExp) => readFileSync(join(output, readdirSync(output).find((f) => pattern.test(f))!), 'utf8')
  assert.match(own(/^7 ü\.png\.[0-9a-f]{12}\.jsonl$/), /"predicted_label":"7"/)
  assert.equal(
    own(/^rows\.jsonl\.[0-9a-f]{12}\.jsonl$/)
      .trim()
      .split('\n').length,
    3,
  )
  // the same stack answers requests meanwhile
  assert.equal((await send(stack.front!.port, REQUESTS['an image in a form']!)).status, 200)
})

test('serve --sandbox: one command, and nothing is left after Ctrl-C', async () => {
  const own = join(work, 'tmp')
  mkdirSync(own)
  const args = [BIN, 'serve', '--sandbox', dist, '--api', 'rest', '--port', '0']
  const child = spawn(process.execPath, args, { cwd: work, env: { ...process.env, TMPDIR: own, NO_COLOR: '1' } })
  let said = ''
  for (const out of [child.stdout, child.stderr]) out.setEncoding('utf8').on('data', (t: string) => (said += t))
  const url = () => /on (http:\/\/localhost:\d+\/dev)/.exec(said)?.[1]
  for (let i = 0; i < 300 && !url() && child.exitCode === null; i++) await sleep(100)
  assert.ok(url(), said)
  const heard = await send(Number(new URL(url()!).port), { ...multipart(png), path: '/dev/' })
  assert.match(text(heard), /"predicted_label":"7"/)
  for (let i = 0; i < 20 && !/REPORT/.test(said); i++) await sleep(50)
  assert.match(said, /REPORT .*Init Duration: .*Environment: 1 cold/)
  child.kill('SIGINT')
  const code = await new Promise((done) => child.on('close', done))
  assert.equal(code, 0, said)
  assert.deepEqual(readdirSync(own), [])
})

test('serve --sandbox: what it refuses', async () => {
  const cases: readonly [string[], RegExp][] = [
    [['serve'], /a model, or --sandbox/],
    [['serve', 'examples/mnist', '--api', 'rest'], /--sandbox for --api/],
    [['serve', '--sandbox', 'x', '--service', '.'], /--service or models.*both/],
    [['serve', '--sandbox', '--service', work], /a serverless.yml/],
    [['serve', '--sandbox', dist, '--issuer', 'http://x'], /http\.auth: jwt for --issuer/],
    [['serve', '--sandbox', dist, '--api', 'soap'], /api/],
    [['serve', '--sandbox', dist, '--threads', '2'], /without --sandbox for --threads/],
    [['serve', '--sandbox', '--service', '.', '--cors'], /serverless\.yml.* for --cors/],
  ]
  const told = await Promise.all(cases.map(([args]) => run(args)))
  for (const [i, [args, message]] of cases.entries()) {
    assert.equal(told[i]!.code, 2, args.join(' '))
    assert.match(told[i]!.err, message)
  }
})

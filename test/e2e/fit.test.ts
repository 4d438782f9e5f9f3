import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import S3rver from 's3rver'
import { functionEntry } from '../../packager/bundle/function.ts'
import { storageUploads } from '../../packager/deploy/storage.ts'
import { DeploymentBucket } from '../../packager/deploy/upload.ts'
import type { Storage } from '../../packager/fit/demand.ts'
import { LIMITS } from '../../packager/fit/limits.ts'
import type { PlanLine } from '../../packager/fit/solve.ts'
import type { Arch } from '../../packager/layers/definition.ts'
import { type Packed, pack } from '../../packager/layers/pack.ts'
import { openAny } from '../../packager/package/open.ts'
import { bootOptions } from '../../packager/sandbox/dist.ts'
import { httpEvent } from '../../packager/sandbox/events.ts'
import { Sandbox, type SandboxOptions } from '../../packager/sandbox/sandbox.ts'
import { SHARED_AT } from '../../packager/sandbox/skeleton.ts'
import { isAppError } from '../../src/errors.ts'
import { apply, bytesOfMlp, type Mlp, mlpPackage, rowOf, weightsOf } from '../fixtures/budget/mlp.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const arch = process.arch as Arch
const work = mkdtempSync(join(tmpdir(), 'modelayer-fit-'))
const MB = 2 ** 20
/** 1.4 MB of weights each: small for a test, and large enough to be moved */
const SMALL: Mlp = { width: 600, layers: 1 }
/** 15.7 MB: two ranges, and seconds at the speed a test allows */
const SLOW: Mlp = { width: 1400, layers: 2 }
/** bytes of the function and the runtime layer */
let fixed = 0

const store = new S3rver({
  address: '127.0.0.1',
  port: 0,
  silent: true,
  directory: join(work, 's3'),
  configureBuckets: [{ name: 'models', configs: [] }],
})
let endpoint = ''
const credentials = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' }

before(async () => {
  mkdirSync(join(work, 's3'))
  const { port } = (await store.run()) as AddressInfo
  endpoint = `http://127.0.0.1:${port}`
  fixed = (await packed('room', [mlpPackage(join(work, 'room'), SMALL, { name: 'a' }).dir])).plan.state.demand.fixed
    .bytes
})
after(async () => {
  await store.close()
  rmSync(work, { recursive: true, force: true })
})

const out = (name: string) => join(work, name, 'dist')

async function packed(
  name: string,
  dirs: readonly string[],
  room?: number,
  storage?: Storage,
  layers = 5,
): Promise<Packed> {
  const packages = await Promise.all(dirs.map((d) => openAny(d)))
  const limits = { ...LIMITS, layers, ...(room !== undefined && { unzipped: fixed + room }) }
  return pack(packages, {
    out: out(name),
    arch: [arch],
    image: false,
    // the other would only cost time
    functions: { predict: functionEntry('predict') },
    fit: { limits, efs: storage === 'efs', ...(storage && { storage }) },
  })
}

const done = (p: Packed): string[] => p.plan.lines.filter((l) => l.done && l.saves !== undefined).map((l) => l.move)
const line = (p: Packed, move: string): PlanLine => p.plan.lines.find((l) => l.move === move)!

/** The environment Lambda and the deployment give. */
const lambda = (bucket = 'models') => ({
  AWS_ENDPOINT_URL_S3: endpoint,
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  MODELAYER_MODELS: `s3://${bucket}/modelayer/models/`,
})

const upload = (name: string, { index }: Packed) =>
  new DeploymentBucket('models', { endpoint, region: 'us-east-1', forcePathStyle: true, credentials }).upload(
    storageUploads(index, out(name)),
  )

async function boot<T>(
  name: string,
  p: Packed,
  o: Partial<SandboxOptions>,
  use: (s: Sandbox) => Promise<T>,
): Promise<T> {
  const sandbox = await Sandbox.start({ ...bootOptions(out(name), p.index, arch), ...o })
  try {
    return await use(sandbox)
  } finally {
    await sandbox.close()
  }
}

interface Answered {
  readonly status: number
  readonly y: number[]
  readonly text: string
  readonly log: string
  readonly fetched: boolean
}

async function ask(sandbox: Sandbox, model: string, x: readonly number[]): Promise<Answered> {
  const body = Buffer.from(JSON.stringify({ instances: [x] }))
  const event = httpEvent({ path: `/v1/models/${model}:predict`, contentType: 'application/json', body })
  const { response, error, log } = await sandbox.invoke(event)
  assert.equal(error, undefined, JSON.stringify(error))
  const { statusCode, body: text } = response as { statusCode: number; body: string }
  const y = statusCode === 200 ? JSON.parse(text).predictions[0] : []
  return { status: statusCode, y, text, log, fetched: /Model fetched/.test(sandbox.init.log + log) }
}

/** Numbers that were not there when the golden request was written. */
async function answersRightly(sandbox: Sandbox, model: string, seed: number, tolerance = 1e-4): Promise<Answered> {
  const x = rowOf(SMALL.width, 7)
  const answer = await ask(sandbox, model, x)
  assert.equal(answer.status, 200, answer.text)
  const expected = apply(weightsOf(SMALL, seed), x)
  for (const [i, v] of expected.entries())
    assert.ok(Math.abs(v - answer.y[i]!) <= tolerance * (1 + Math.abs(v)), `${i}: ${v} and ${answer.y[i]}`)
  return answer
}

const example = (name: string, model: string, o: Partial<Parameters<typeof mlpPackage>[2]> = {}) =>
  mlpPackage(join(work, name), SMALL, { name: model, ...o }).dir

test('what fits stays in its layers, and the plan says so', async () => {
  const p = await packed('fits', [example('fits', 'a')])
  assert.deepEqual(
    p.plan.lines.map((l) => l.move),
    ['as it is'],
  )
  await boot('fits', p, {}, (s) => answersRightly(s, 'a', 1))
})

test('more models than layers: the smallest share one', async () => {
  const dirs = ['a', 'b', 'c'].map((m, i) => example('merged', m, { seed: i + 1 }))
  const p = await packed('merged', dirs, undefined, undefined, 3)
  assert.deepEqual(done(p), ['one layer for several models'])
  assert.deepEqual(p.index.layers.map((l) => l.name).sort(), ['model-c', 'models', 'runtime'])
  await boot('merged', p, {}, async (s) => {
    for (const [i, m] of ['a', 'b', 'c'].entries()) await answersRightly(s, m, i + 1)
  })
})

test('the same weights in two models and two versions are there once', async () => {
  const dirs = [example('same', 'a'), example('same', 'b')]
  // version 2 of a: a folder named by its number, below the name
  const two = join(work, 'same', 'more', 'a')
  mkdirSync(two, { recursive: true })
  mlpPackage(two, SMALL, { name: '2', golden: false })
  const p = await packed('same', [dirs[0]!, dirs[1]!, join(two, '2')], 2 * MB)
  assert.deepEqual(done(p), ['weights that are the same, once'])
  assert.ok(line(p, 'weights that are the same, once').saves! > 2 * MB)
  assert.equal(p.index.models.length, 3)
  await boot('same', p, {}, async (s) => {
    await answersRightly(s, 'a', 1)
    await answersRightly(s, 'b', 1)
    await answersRightly(s, 'a/versions/1', 1)
    await answersRightly(s, 'a/versions/2', 1)
  })
})

for (const [kind, room, rtol] of [
  ['float16', 1 * MB, 5e-3],
  ['int8', 0.5 * MB, 5e-2],
] as const)
  test(`${kind} weights where the author allows them and the golden requests pass`, async () => {
    const p = await packed(kind, [example(kind, 'a', { weights: ['float16', 'int8'], rtol })], room)
    assert.deepEqual(done(p), [`${kind} weights`])
    assert.match(line(p, `${kind} weights`).reason, /too much; the author allows it and the golden requests pass/)
    if (kind === 'int8') assert.match(line(p, 'float16 weights').reason, /would leave .* too much all the same/)
    await boot(kind, p, {}, (s) => answersRightly(s, 'a', 1, rtol))
  })

test('weights that change an answer are refused with the difference; without golden requests nobody would see; both go to S3', async () => {
  const strict = await packed('strict', [example('strict', 'a', { weights: ['int8'], rtol: 1e-5 })], 0.5 * MB)
  assert.match(line(strict, 'int8 weights').reason, /a@1: 1 of 1 golden requests differ, by \d/)
  assert.deepEqual(done(strict), ['fetched from S3'])
  const blind = await packed('blind', [example('blind', 'a', { weights: ['float16'], golden: false })], 1 * MB)
  assert.match(line(blind, 'float16 weights').reason, /a@1: without golden requests/)
  assert.match(line(blind, 'int8 weights').reason, /no author allows it/)
  assert.deepEqual(done(blind), ['fetched from S3'])
  // what was tried leaves no trace: the weights are those of the model
  await upload('strict', strict)
  await boot('strict', strict, { env: lambda() }, (s) => answersRightly(s, 'a', 1, 1e-5))
})

test('fetched from S3 in the init phase: the largest first, and only as many as it takes', async () => {
  const large = mlpPackage(join(work, 's3fit'), { width: 1400, layers: 2 }, { name: 'large' }).dir
  const p = await packed('s3fit', [example('s3fit', 'a'), large], 3 * MB)
  assert.deepEqual(done(p), ['fetched from S3'])
  assert.deepEqual(line(p, 'fetched from S3').models, ['large@1'])
  assert.equal(p.index.functions.find((f) => f.name === 'predict')?.handler, 'prepared.handler')
  assert.deepEqual(readdirSync(join(out('s3fit'), 'models')), [p.index.fetched[0]!.sha256])
  const first = await upload('s3fit', p)
  assert.deepEqual([first.sent, first.unchanged], [1, 0])
  const again = await upload('s3fit', p)
  assert.deepEqual([again.sent, again.unchanged], [0, 1])

  await boot('s3fit', p, { env: { ...lambda(), MODELAYER_DEFAULT_MODEL: 'large' } }, async (s) => {
    // the init phase fetched it, and no request has to
    assert.match(s.init.log, /"Model fetched",.*"bytesIn":15680000,"ms":\{"fetch":\d+\}/)
    const x = rowOf(1400)
    const { status, y } = await ask(s, 'large', x)
    assert.equal(status, 200)
    const expected = apply(weightsOf({ width: 1400, layers: 2 }), x)
    for (const [i, v] of expected.entries()) assert.ok(Math.abs(v - y[i]!) < 1e-4)
    assert.doesNotMatch((await answersRightly(s, 'a', 1)).log, /fetched/)
  })
})

test('what cannot be fetched is said by the model it belongs to, with what to do, and can be mended', async () => {
  const p = await packed('faults', [example('faults', 'a', { seed: 9 })], undefined, 's3')
  const cases: [Record<string, string>, number, string, RegExp][] = [
    [{ ...lambda(), MODELAYER_MODELS: '' }, 500, 'MODEL_MISPLACED', /MODELAYER_MODELS=s3:\/\/BUCKET\/PREFIX\//],
    [lambda(), 500, 'MODEL_MISPLACED', /modelayer\/models\/[0-9a-f]{64} but received no such object/],
    [{ ...lambda(), AWS_ACCESS_KEY_ID: 'somebody' }, 500, 'MODEL_MISPLACED', /access denied.*s3:GetObject/],
    [{ ...lambda(), AWS_ACCESS_KEY_ID: '' }, 500, 'MODEL_MISPLACED', /AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/],
  ]
  for (const [env, status, code, message] of cases)
    await boot('faults', p, { env }, async (s) => {
      const answer = await ask(s, 'a', rowOf(600))
      assert.equal(answer.status, status, answer.text)
      const log = s.init.log + answer.log
      assert.match(log, new RegExp(`"code":"${code}"`))
      assert.match(log, message)
      assert.doesNotMatch(log, /S3RVER|somebody/)
    })
  await boot('faults', p, { env: lambda() }, async (s) => {
    assert.equal((await ask(s, 'a', rowOf(600))).status, 500)
    await upload('faults', p)
    // the object is there now, and nothing has to be restarted
    await answersRightly(s, 'a', 9)
  })
})

test('a fetch that outlives a request goes on in the next, from what is there', { timeout: 120_000 }, async (t) => {
  const p = await packed('slow', [mlpPackage(join(work, 'slow'), SLOW, { name: 'a' }).dir], undefined, 's3')
  await upload('slow', p)
  const slow = await slowProxy(endpoint, 4 * MB)
  try {
    const env = { ...lambda(), AWS_ENDPOINT_URL_S3: slow.url }
    // over 512 MB /tmp is a folder, which outlives the process as Lambda's does
    const o = { env, timeoutSeconds: 3, initSeconds: 1, tmp: 600, handler: 'predict.handler' }
    await boot('slow', p, o, async (s) => {
      if (s.kind === 'plain') return t.skip('no /tmp of its own')
      const x = rowOf(SLOW.width)
      const body = Buffer.from(JSON.stringify({ instances: [x] }))
      const event = httpEvent({ path: '/v1/models/a:predict', contentType: 'application/json', body })
      const late: string[] = []
      for (let i = 0; i < 12; i++) {
        const { error, response } = await s.invoke(event)
        if (error) {
          assert.match(error.errorMessage ?? '', /timed out/)
          late.push('late')
          continue
        }
        const { statusCode, body: text } = response as { statusCode: number; body: string }
        assert.equal(statusCode, 200, text)
        const expected = apply(weightsOf(SLOW), x)
        for (const [j, v] of expected.entries()) assert.ok(Math.abs(v - JSON.parse(text).predictions[0][j]) < 1e-4)
        assert.ok(late.length > 0, 'the first request was to be too short')
        // what came once did not come again, but for what was under way
        assert.ok(slow.sent() < 1.9 * bytesOfMlp(SLOW), `${slow.sent()} bytes were sent`)
        return
      }
      assert.fail('it never came')
    })
  } finally {
    await slow.close()
  }
})

test('on a shared file system: the first environment fetches, the second finds it', async () => {
  const p = await packed('efs', [example('efs', 'a', { seed: 4 })], undefined, 'efs')
  assert.deepEqual(done(p), ['on a shared file system'])
  await upload('efs', p)
  const shared = join(work, 'efs', 'disk')
  mkdirSync(shared)
  // the function runs as another user
  chmodSync(shared, 0o777)
  const env = { ...lambda(), MODELAYER_MODELS_ROOT: SHARED_AT }
  const o = { env, shared }
  const both = await Promise.all([1, 2].map(() => boot('efs', p, o, (s) => answersRightly(s, 'a', 4))))
  assert.equal(both.length, 2)
  assert.deepEqual(readdirSync(join(shared, 'files')), [p.index.fetched[0]!.sha256])
  // no bucket: nothing is fetched any more
  await boot('efs', p, { ...o, env: { ...env, MODELAYER_MODELS: 's3://gone/' } }, (s) => answersRightly(s, 'a', 4))
})

test('a container image: the files its Dockerfile copies boot and answer', async () => {
  const p = await packed('image', [example('image', 'a')], undefined, 'image')
  assert.deepEqual(done(p), ['a container image'])
  const context = join(out('image'), p.index.images![arch]!)
  const dockerfile = readFileSync(join(context, 'Dockerfile'), 'utf8')
  assert.match(
    dockerfile,
    /^FROM public\.ecr\.aws\/lambda\/nodejs:24-(x86_64|arm64)\nCOPY opt\/ \/opt\/\nCOPY task\/ \/var\/task\/\nCMD/,
  )
  assert.deepEqual(p.index.layers, [])
  await boot('image', p, {}, (s) => answersRightly(s, 'a', 1))
  writeFileSync(join(context, 'Dockerfile'), dockerfile.replace('COPY opt/ /opt/\n', ''))
  assert.throws(
    () => bootOptions(out('image'), p.index, arch),
    (e) => isAppError(e) && e.code === 'BAD_ARTIFACT' && /COPY FOLDER \/opt\//.test(e.message),
  )
})

test('the author may insist on layers, and hears what was considered', async () => {
  await assert.rejects(packed('insist', [example('insist', 'a')], 0.5 * MB, 'layer'), (e) => {
    assert.ok(isAppError(e) && e.code === 'LAYER_TOO_BIG')
    assert.match(e.message, /not: weights that are the same(.|\n)*not: float16 weights(.|\n)*not: int8 weights/)
    assert.doesNotMatch(e.message, /S3/)
    return true
  })
})

/** Hands requests on, and no more bytes a second than it is told. */
async function slowProxy(target: string, perSecond: number) {
  const { createServer, request } = await import('node:http')
  let sent = 0
  let budget = 0
  const waiting: (() => void)[] = []
  const timer = setInterval(() => {
    budget = perSecond / 20
    while (budget > 0 && waiting.length > 0) waiting.shift()!()
  }, 50)
  const server = createServer((req, res) => {
    // signed for this address, which the store is told
    const { hostname, port } = new URL(target)
    const headers = { ...req.headers }
    const onward = request({ hostname, port, path: req.url, headers }, async (answer) => {
      const closed = new Promise((resolve) => res.once('close', resolve))
      res.writeHead(answer.statusCode!, answer.headers)
      try {
        for await (const chunk of answer as AsyncIterable<Buffer>) {
          while (budget <= 0) await new Promise<void>((resolve) => waiting.push(resolve))
          budget -= chunk.length
          sent += chunk.length
          if (!res.write(chunk)) await Promise.race([new Promise((resolve) => res.once('drain', resolve)), closed])
          if (res.destroyed) break
        }
        res.end()
      } catch {
        res.destroy()
      }
    })
    onward.on('error', () => res.destroy())
    res.on('close', () => onward.destroy())
    onward.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent: () => sent,
    close: async () => {
      clearInterval(timer)
      for (const w of waiting) w()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

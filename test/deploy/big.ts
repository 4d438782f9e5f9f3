/**
 * A 150 MB model fits into layers, a 600 MB model is fetched from S3: both are made here, packaged, booted in the sandbox with limited
 * memory and asked for numbers that were computed elsewhere. S3 is a stand-in on 127.0.0.1. Takes minutes and 4 GB of disk.
 *
 *   npm run build && node --import tsx test/deploy/big.ts
 *
 * With STANDIN_PYTHON (test/deploy/ministack.ts) the large one is deployed to MiniStack as well, and removed.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import S3rver from 's3rver'
import { bytes, table } from '../../packager/cli/table.ts'
import { storageUploads } from '../../packager/deploy/storage.ts'
import { DeploymentBucket } from '../../packager/deploy/upload.ts'
import { LIMITS } from '../../packager/fit/limits.ts'
import { ROOM_MB } from '../../packager/fit/solve.ts'
import { planTable } from '../../packager/fit/table.ts'
import { budgetTable } from '../../packager/layers/budget.ts'
import type { Arch } from '../../packager/layers/definition.ts'
import { type Packed, pack } from '../../packager/layers/pack.ts'
import { openAny } from '../../packager/package/open.ts'
import { projectRoot } from '../../packager/root.ts'
import { bootOptions } from '../../packager/sandbox/dist.ts'
import { httpEvent } from '../../packager/sandbox/events.ts'
import { Sandbox } from '../../packager/sandbox/sandbox.ts'
import { apply, type Mlp, mlpPackage, rowOf, weightsOf } from '../fixtures/budget/mlp.ts'
import { lacks, signed, startStandin } from './standin.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const arch = process.arch as Arch
const root = projectRoot()
const work = mkdtempSync(join(tmpdir(), 'modelayer-big-'))
const credentials = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' }
const MODELS = { medium: { width: 2500, layers: 6 }, large: { width: 5000, layers: 6 } } as const satisfies Record<
  string,
  Mlp
>

try {
  await step('150 MB as layers', () => layers('medium'))
  await step('600 MB from S3', () => fetches('large'))
  await step('600 MB on MiniStack', () => deploys('large'))
} finally {
  rmSync(work, { recursive: true, force: true })
}

async function built(name: keyof typeof MODELS): Promise<Packed> {
  const { dir } = mlpPackage(join(work, 'packages'), MODELS[name], { name })
  const packed = await pack([await openAny(dir)], { out: join(work, name), arch: [arch], fit: { memory: 1769 } })
  console.log(`\n${budgetTable(packed.budgets)}\n\n${planTable(packed.plan)}\n`)
  return packed
}

async function layers(name: keyof typeof MODELS): Promise<string> {
  const p = await built(name)
  assert.equal(p.index.fetched.length, 0)
  for (const b of p.budgets) assert.ok(b.unzipped <= LIMITS.unzipped, `${b.unzipped} bytes`)
  const rows = [await run(name, p, 1769, {}), await run(name, p, p.index.plan.memory + ROOM_MB, {})]
  return `${bytes(p.budgets[0]!.unzipped)} of ${bytes(LIMITS.unzipped)}\n${report(rows)}`
}

async function fetches(name: keyof typeof MODELS): Promise<string> {
  const p = await built(name)
  assert.equal(p.index.models[0]?.spot, 's3')
  const store = new S3rver({
    address: '127.0.0.1',
    port: 0,
    silent: true,
    directory: join(work, 's3'),
    configureBuckets: [{ name: 'models', configs: [] }],
  })
  mkdirSync(join(work, 's3'))
  const endpoint = `http://127.0.0.1:${((await store.run()) as AddressInfo).port}`
  try {
    const bucket = new DeploymentBucket('models', { endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
    const wanted = storageUploads(p.index, join(work, name))
    const { sent, bytes: up } = await bucket.upload(wanted)
    assert.equal((await bucket.upload(wanted)).sent, 0)
    const env = {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      MODELAYER_MODELS: 's3://models/modelayer/models/',
    }
    const rows = [
      await run(name, p, 3008, env),
      await run(name, p, 1769, env),
      await run(name, p, p.index.plan.memory + ROOM_MB, env),
    ]
    return `${sent} object of ${bytes(up)} uploaded, then none\n${report(rows)}`
  } finally {
    await store.close()
  }
}

interface Run {
  readonly memory: number
  readonly init: number
  readonly first: number
  readonly warm: number
  readonly fetch: string
  readonly rss: number
}

/** From the start of node to the first answer. */
async function run(name: keyof typeof MODELS, p: Packed, memory: number, env: Record<string, string>): Promise<Run> {
  const options = { ...bootOptions(join(work, name), p.index, arch), memory, env, timeoutSeconds: 120 }
  const s = await Sandbox.start(options)
  try {
    const { width } = MODELS[name]
    const x = rowOf(width, 3)
    const body = Buffer.from(JSON.stringify({ instances: [x] }))
    const event = httpEvent({ path: `/v1/models/${name}:predict`, contentType: 'application/json', body })
    const first = await s.invoke(event)
    assert.equal(first.error, undefined, JSON.stringify(first.error))
    const { statusCode, body: text } = first.response as { statusCode: number; body: string }
    assert.equal(statusCode, 200, text)
    compare(apply(weightsOf(MODELS[name]), x), JSON.parse(text).predictions[0])
    const warm = await s.invoke(event)
    const [, fetch = ''] = /"fetch":(\d+)/.exec(s.init.log + first.log) ?? []
    return { memory, init: s.init.ms, first: first.ms, warm: warm.ms, fetch, rss: peak() }
  } finally {
    await s.close()
  }
}

function compare(expected: readonly number[], got: readonly number[]): void {
  assert.equal(got.length, expected.length)
  for (const [i, v] of expected.entries())
    assert.ok(Math.abs(v - got[i]!) <= 1e-4 * (1 + Math.abs(v)), `${i}: expected ${v}, got ${got[i]}`)
}

/** Memory that cannot be given back, of the youngest group of this process; what is mapped from disk is not part of it. */
function peak(): number {
  for (const root of ['/sys/fs/cgroup/memory', '/sys/fs/cgroup']) {
    if (!existsSync(root)) continue
    const groups = readdirSync(root).filter((d) => d.startsWith(`modelayer-${process.pid}-`))
    const stat = groups
      .map((g) => join(root, g, 'memory.stat'))
      .filter((f) => existsSync(f))
      .at(-1)
    const [, rss] = (stat && /^(?:total_rss|anon) (\d+)$/m.exec(readFileSync(stat, 'utf8'))) || []
    if (rss !== undefined) return Number(rss)
  }
  return Number.NaN
}

function report(rows: readonly Run[]): string {
  const ms = (n: number) => `${n.toFixed(0)} ms`
  return table(
    ['memory', 'init', 'of it fetching', 'first request', 'warm request', 'resident'],
    rows.map((r) => [
      `${r.memory} MB`,
      ms(r.init),
      r.fetch && ms(Number(r.fetch)),
      ms(r.first),
      ms(r.warm),
      bytes(r.rss),
    ]),
  )
}

async function deploys(name: keyof typeof MODELS): Promise<string> {
  const missing = lacks('ministack.app')
  if (missing) return `skipped: ${missing}`
  // functions run as processes of this machine there, and fetch to its own /tmp
  const fetched = '/tmp/modelayer'
  const own = !existsSync(fetched)
  const service = join(root, 'build', 'deploy-big')
  const standin = await startStandin([join(root, 'test', 'deploy', 'standin.py')], '/_ministack/health', (port) => ({
    BIND_HOST: '127.0.0.1',
    GATEWAY_PORT: String(port),
    LAMBDA_EXECUTOR: 'local',
    S3_DATA_DIR: join(work, 'data'),
  }))
  const { endpoint, env } = standin
  try {
    mkdirSync(service, { recursive: true })
    writeFileSync(
      join(service, 'serverless.yml'),
      `service: big
frameworkVersion: '*'
provider: { name: aws, region: eu-central-1, deploymentMethod: direct }
plugins: [modelayer/serverless]
custom:
  modelayer:
    models: { ${name}: ${join(work, 'packages', name)} }
    arch: ${arch}
    runtime: nodejs22.x
    image: false
    http: { auth: none }
`,
    )
    const serverless = (command: string): string => {
      const bin = join(root, 'node_modules', '.bin', 'serverless')
      const { status, stdout, stderr } = spawnSync(bin, [command], {
        cwd: service,
        env,
        encoding: 'utf8',
        timeout: 300_000,
      })
      assert.equal(status, 0, stdout + stderr)
      return stdout + stderr
    }
    const said = /Layers and functions: .*/.exec(serverless('deploy'))?.[0]
    const again = /Layers and functions: .*/.exec(serverless('deploy'))?.[0]
    const { items } = JSON.parse(await (await fetch(`${endpoint}/v2/apis`, { headers: signed('apigateway') })).text())
    const x = rowOf(MODELS[name].width, 5)
    const answer = await fetch(`${endpoint}/_aws/execute-api/${items[0].apiId}/$default/v1/models/${name}:predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ instances: [x] }),
    })
    const text = await answer.text()
    assert.equal(answer.status, 200, text.slice(0, 500))
    compare(apply(weightsOf(MODELS[name]), x), JSON.parse(text).predictions[0])
    serverless('remove')
    return `${said}; again: ${again}; the deployed API answers rightly; removed`
  } finally {
    standin.stop()
    rmSync(service, { recursive: true, force: true })
    if (own) rmSync(fetched, { recursive: true, force: true })
  }
}

async function step(name: string, work: () => Promise<string>): Promise<void> {
  const start = Date.now()
  console.log(`${name}: ${await work()}\n(${((Date.now() - start) / 1000).toFixed(1)} s)\n`)
}

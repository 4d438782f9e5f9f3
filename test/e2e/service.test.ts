import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { apply, type Mlp, mlpPackage, rowOf, weightsOf } from '../fixtures/budget/mlp.ts'
import { BIN, built, ROOT } from '../fixtures/package/run.ts'

/** 1.4 MB of weights: small for a test, and large enough to be moved */
const MLP: Mlp = { width: 600, layers: 1 }
// inside the clone, where `modelayer/serverless` is the build of this clone
mkdirSync(join(ROOT, 'build'), { recursive: true })
const work = mkdtempSync(join(ROOT, 'build', 'service-'))
const children: ChildProcess[] = []
before(built)
after(() => {
  for (const c of children) c.kill('SIGKILL')
  rmSync(work, { recursive: true, force: true })
})
mlpPackage(work, MLP, { name: 'mlp' })

const arn = (kind: string) => `arn:aws:elasticfilesystem:eu-central-1:123456789012:${kind}`
const STORAGES: Readonly<Record<string, string>> = {
  s3: 'storage: s3',
  efs: `storage: efs
    vpc: { securityGroups: [sg-1], subnets: [subnet-1] }
    efs: { fileSystem: '${arn('file-system/fs-1')}', accessPoint: '${arn('access-point/fsap-1')}' }`,
  image: 'storage: image',
}

for (const [name, storage] of Object.entries(STORAGES))
  test(`serve --sandbox of a service with storage: ${name}, tracing, a batch and capture`, async () => {
    const data = join(work, name)
    const service = `service: digits
frameworkVersion: '*'
provider: { name: aws, region: eu-central-1 }
plugins: [modelayer/serverless]
custom:
  modelayer:
    models: { mlp: ./mlp }
    arch: ${process.arch}
    image: false
    http: { auth: none }
    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/ }
    capture: { output: s3://digits-kept/captured/, percent: 100, bodies: request }
    tracing: true
    ${storage}
`
    writeFileSync(join(work, 'serverless.yml'), service)
    const args = [BIN, 'serve', '--sandbox', '--service', work, '--port', '0', '--data', data]
    const child = spawn(process.execPath, args, { cwd: work, env: { ...process.env, NO_COLOR: '1' } })
    children.push(child)
    let said = ''
    for (const out of [child.stdout, child.stderr]) out.setEncoding('utf8').on('data', (t: string) => (said += t))
    const until = async <T>(found: () => T | undefined): Promise<T> => {
      for (let i = 0; i < 600 && child.exitCode === null; i++) {
        const it = found()
        if (it !== undefined) return it
        await sleep(100)
      }
      throw new Error(said)
    }
    const url = await until(() => /on (http:\/\/localhost:\d+)/.exec(said)?.[1])
    const x = rowOf(MLP.width, 3)
    const expected = apply(weightsOf(MLP), x)
    const same = (y: readonly number[]) => {
      assert.equal(y.length, expected.length)
      for (const [i, v] of expected.entries()) assert.ok(Math.abs(v - y[i]!) <= 1e-4 * (1 + Math.abs(v)), `${i}`)
    }
    const answer = await fetch(`${url}/v1/models/mlp:predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ instances: [x] }),
    })
    const text = await answer.text()
    assert.equal(answer.status, 200, text + said)
    same(JSON.parse(text).predictions[0])
    assert.equal(/"message":"Model fetched"/.test(said), name !== 'image')
    assert.equal(existsSync(join(data, '.file-system')), name === 'efs')

    writeFileSync(join(data, 'digits-in', 'incoming', 'rows.jsonl'), `${JSON.stringify(x)}\n`)
    const output = join(data, 'digits-out', 'results')
    await until(() => readdirSync(output).find((f) => f.endsWith('.done.json')))
    const lines = readdirSync(output).find((f) => f.endsWith('.jsonl'))
    same(JSON.parse(readFileSync(join(output, lines!), 'utf8')).result.y)

    const kept = readdirSync(join(data, 'digits-kept', 'captured'), { recursive: true }).map(String)
    assert.equal(kept.filter((f) => f.endsWith('.jsonl')).length, 1, said)
    child.kill('SIGINT')
    assert.equal(await new Promise((done) => child.on('close', done)), 0, said)
  })

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import S3rver from 's3rver'
import { projectRoot } from '../../packager/root.ts'
import { readWhole } from '../../src/batch/reliable.ts'
import { createS3Store } from '../../src/batch/s3store.ts'
import { isBad, lineOf } from '../fixtures/batch/job.ts'

/** The command as users have it, on buckets. s3rver ignores conditions; test/contract has them. */
const work = mkdtempSync(join(tmpdir(), 'modelayer-batch-cli-'))
const configureBuckets = ['in', 'out'].map((name) => ({ name, configs: [] }))
const s3 = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory: join(work, 's3'), configureBuckets })
const { port } = await s3.run()
after(async () => {
  await s3.close()
  rmSync(work, { recursive: true, force: true })
})

const ENV = {
  PATH: process.env.PATH,
  HOME: work,
  NODE_NO_WARNINGS: '1',
  AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
  AWS_EC2_METADATA_DISABLED: 'true',
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'S3RVER',
  AWS_SECRET_ACCESS_KEY: 'S3RVER',
}
Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' })
const store = createS3Store({ endpoint: ENV.AWS_ENDPOINT_URL_S3, region: 'us-east-1' })
const put = (key: string, text: string) => store.put({ bucket: 'in', key }, Buffer.from(text))
const MODEL = join(projectRoot(), 'test/fixtures/runtime/models/softmax.onnx')

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

function start(args: readonly string[], env: Readonly<Record<string, string | undefined>> = {}) {
  const child = spawn(process.execPath, [join(projectRoot(), 'bin/modelayer'), 'batch', MODEL, ...args], {
    env: { ...ENV, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const texts = { out: '', err: '' }
  child.stdout.on('data', (c) => (texts.out += c))
  child.stderr.on('data', (c) => (texts.err += c))
  const ended = new Promise<Ended>((resolve) => child.on('close', (code) => resolve({ code, ...texts })))
  return { child, ended }
}

const run = (...args: string[]) => start(args).ended

async function keys(prefix: string): Promise<string[]> {
  const found: string[] = []
  for await (const { key } of store.list('out', prefix)) found.push(key)
  return found
}

async function recordsOf(prefix: string, pattern: RegExp): Promise<number[]> {
  const [key] = (await keys(prefix)).filter((k) => pattern.test(k))
  const text = (await readWhole(store, { bucket: 'out', key: key! })).toString()
  return text
    .split('\n')
    .filter(Boolean)
    .map((l) => (JSON.parse(l) as { record: number }).record)
}
const answered = (prefix: string) => recordsOf(prefix, /[0-9a-f]{12}\.jsonl$/)
const named = (prefix: string) => recordsOf(prefix, /\.err\.jsonl$/)

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i)
const lines = (n: number) =>
  numbers(n)
    .map((i) => `${lineOf(i).replace('"x"', '"x:0"')}\n`)
    .join('')

test('many objects with odd names; again it is a no-op; what failed once more', async () => {
  const odd = [
    'a b.jsonl',
    'a+b.jsonl',
    'ü/ß.jsonl',
    '100%.jsonl',
    '%20.jsonl',
    'q?x=1&y#z.jsonl',
    "it's.jsonl",
    '日本.jsonl',
  ]
  const all = [...odd, ...numbers(16).map((i) => `many/${i}.jsonl`)]
  for (const key of all) await put(`p/${key}`, lines(40))
  await put('p/empty.jsonl', '')
  await put('p/notes.docx', 'text')
  const first = await run('s3://in/p/', 's3://out/p')
  assert.equal(first.code, 1, first.err)
  assert.match(first.out, /960 records, 24 failed; objects: 24 done, 2 skipped\.\nResults are in s3:\/\/out\/p/)
  assert.match(first.err, /24 records failed, as record 37 of p\/.*: BAD_JSON .*All are named in \*\.err\.jsonl/)
  for (const key of odd) {
    assert.deepEqual(
      await answered(`p/${key}.`),
      numbers(40).filter((i) => !isBad(i)),
      key,
    )
    assert.deepEqual(await named(`p/${key}.`), [37], key)
  }
  const made = await keys('p/')
  assert.equal(made.length, 3 * 24)
  const again = await run('s3://in/p/', 's3://out/p', '--json')
  assert.deepEqual(JSON.parse(again.out).objects, { done: 0, failed: 0, earlier: 24, skipped: 2, open: 0 })
  assert.deepEqual(await keys('p/'), made)
  const failed = await run('s3://in/p/', 's3://out/p', '--only', 'FAILED', '--json')
  assert.deepEqual(JSON.parse(failed.out).counts, { records: 24, answered: 0, failed: 24 })
})

test('one object; from a bucket to a folder, and back', async () => {
  await put('one/a b.jsonl', lines(10))
  const single = await run('s3://in/one/a b.jsonl', 's3://out/one/')
  assert.deepEqual([single.code, (await keys('one/a b.jsonl.')).length], [0, 2], single.err)
  const folder = join(work, 'folder')
  assert.equal((await run('s3://in/one/', folder)).code, 0)
  const [result] = readdirSync(folder).filter((f) => /^a b\.jsonl\.[0-9a-f]{12}\.jsonl$/.test(f))
  assert.equal(readFileSync(join(folder, result!), 'utf8').split('\n').length, 11)
  const from = join(work, 'from')
  mkdirSync(from)
  writeFileSync(join(from, 'ü %.jsonl'), lines(10))
  assert.equal((await run(from, 's3://out/back/')).code, 0)
  assert.deepEqual(await answered('back/ü %.jsonl.'), numbers(10))
})

/** The checkpoint of a run; its content changes when a process takes it over. */
async function stateOf(prefix: string): Promise<string | undefined> {
  for await (const { key, etag } of store.list('out', prefix)) if (key.endsWith('.state.json')) return etag
  return undefined
}

test('Ctrl-C and kill -9: the same command goes on, and each record is answered or named once', async () => {
  const n = 12_000
  // one by one, so that there is something to interrupt
  const long = ['s3://in/long/', 's3://out/long/', '--max-rows', '1']
  await put('long/a.jsonl', lines(n))
  for (const signal of ['SIGINT', 'SIGKILL', 'SIGINT'] as const) {
    const before = await stateOf('long/')
    const { child, ended } = start(long)
    while ((await stateOf('long/')) === before) {
      assert.equal(child.exitCode, null, 'the command is running')
      await sleep(20)
    }
    child.kill(signal)
    const { code, out } = await ended
    assert.equal(code, signal === 'SIGINT' ? 1 : null, out)
    if (signal === 'SIGINT') assert.match(out, /1 not finished\.\nStopped; the same command goes on from here\./)
  }
  assert.equal((await run(...long)).code, 1)
  assert.deepEqual(
    await answered('long/'),
    numbers(n).filter((i) => !isBad(i)),
  )
  assert.deepEqual(await named('long/'), numbers(n).filter(isBad))
  assert.deepEqual(
    (await keys('long/')).filter((k) => k.endsWith('.state.json')),
    [],
  )
})

/** A store that answers all requests with one error. */
const refusing = createServer((req, res) => {
  const [, status, code] = req.url!.split('/')
  res.writeHead(Number(status), { 'content-type': 'application/xml' })
  res.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`)
})
await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve))
after(() => refusing.close())
const says = (status: number, code: string) => ({
  AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${(refusing.address() as AddressInfo).port}/${status}/${code}`,
})

test('what is wrong is told on one screen, with what to do', async () => {
  await put('few/a.jsonl', lines(2))
  const none = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined }
  const places = ['s3://in/few/', 's3://out/few/']
  const table: readonly [args: string[], env: Record<string, string | undefined>, said: RegExp][] = [
    [['s3://nowhere/', places[1]!], {}, /STORE_REFUSED .*s3:\/\/nowhere\/: 404 NoSuchBucket\. Create the bucket, or/],
    [[places[0]!, 's3://nowhere/'], {}, /STORE_REFUSED .*s3:\/\/nowhere\/: 404 NoSuchBucket\. Create the bucket, or/],
    [['s3://in/none/', places[1]!], {}, /USAGE .*files to answer for s3:\/\/in\/none\/ but received none/],
    [['s3://in/', 's3://in/out/'], {}, /BATCH_OVERLAP .*Use another bucket/],
    [places, says(403, 'SignatureDoesNotMatch'), /STORE_REFUSED .*403 SignatureDoesNotMatch\. Check the credentials/],
    [places, says(400, 'ExpiredToken'), /STORE_REFUSED .*400 ExpiredToken\. Check the credentials/],
    [places, says(403, 'AccessDenied'), /STORE_REFUSED .*403 AccessDenied\. The role or user needs s3:GetObject/],
    [places, says(503, 'SlowDown'), /STORE_FAILED .*503 SlowDown\./],
    [places, { AWS_ACCESS_KEY_ID: 'WRONG' }, /STORE_REFUSED .*403 InvalidAccessKeyId\. Check the credentials/],
    [places, none, /STORE_REFUSED .*CredentialsProviderError\. Check the credentials: AWS_PROFILE/],
    [
      places,
      { AWS_ENDPOINT_URL_S3: undefined, AWS_REGION: undefined },
      /STORE_REFUSED .*Region is missing\. Set AWS_REGION/,
    ],
    [
      places,
      { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1' },
      /STORE_FAILED .*ECONNREFUSED\. Check the network, and AWS_/,
    ],
    [places, { AWS_ENDPOINT_URL_S3: 'nonsense' }, /STORE_REFUSED .*ERR_INVALID_URL\. Check the network, and AWS_/],
  ]
  for (const [args, env, said] of table) {
    const { code, out, err } = await start(args, env).ended
    assert.match(err, said)
    assert.equal(code, /USAGE/.test(said.source) ? 2 : 1)
    assert.ok(err.split('\n').length <= 4 && !/defect|wrong|WRONG| at /.test(err + out), err)
  }
})

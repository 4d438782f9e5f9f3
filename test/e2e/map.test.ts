// The deployed definition over a real S3 API: its listing, the function's own entry point, its results.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { after, test } from 'node:test'
import type { Context } from 'aws-lambda'
import S3rver from 's3rver'
import { main } from '../../packager/cli/main.ts'
import { mapDefinition } from '../../packager/deploy/map.ts'
import { readOptions } from '../../packager/deploy/options.ts'
import { projectRoot } from '../../packager/root.ts'
import { createS3Store } from '../../src/batch/s3store.ts'
import { isBad, lineOf, stage } from '../fixtures/batch/job.ts'
import { execute } from '../fixtures/batch/statesmachine.ts'

const work = mkdtempSync(join(tmpdir(), 'modelayer-e2e-map-'))
const [IN, OUT] = ['digits-in', 'digits-out']
const s3 = new S3rver({
  port: 0,
  address: '127.0.0.1',
  silent: true,
  directory: join(work, 's3'),
  configureBuckets: [IN, OUT].map((name) => ({ name, configs: [] })),
})
const { port } = await s3.run()
after(async () => {
  await s3.close()
  rmSync(work, { recursive: true, force: true })
})

const batch = { input: `s3://${IN}/incoming/`, output: `s3://${OUT}/results/`, map: { items: 4 } }
stage(join(work, 'model'))
// read where the function is imported, as in Lambda's init phase
Object.assign(process.env, {
  AWS_ACCESS_KEY_ID: 'S3RVER',
  AWS_SECRET_ACCESS_KEY: 'S3RVER',
  AWS_REGION: 'us-east-1',
  AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
  MODELAYER_OPT: join(work, 'model'),
  MODELAYER_BATCH_INPUT: batch.input,
  MODELAYER_BATCH_OUTPUT: batch.output,
})
const { handler } = await import('../../functions/batch.ts')
const store = createS3Store({ endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1' })

test('a Distributed Map: listing → batches → function → results, each record once', async () => {
  const line = (n: number) => Array.from({ length: n }, (_, i) => `${lineOf(i)}\n`).join('')
  const keys = ['a b+c.jsonl', 'd/e.jsonl', 'ü.jsonl', 'x1.jsonl', 'x2.jsonl', 'x3.jsonl']
  for (const key of keys) await store.put({ bucket: IN, key: `incoming/${key}` }, Buffer.from(line(80)))
  await store.put({ bucket: IN, key: 'incoming/notes.txt' }, Buffer.from('none'))
  await store.put({ bucket: IN, key: 'elsewhere/z.jsonl' }, Buffer.from(line(1)))
  let invocations = 0
  const { batch: read } = readOptions({ models: { m: './m' }, batch })
  const run = await execute(
    JSON.parse(JSON.stringify(mapDefinition({ ...read!, map: read!.map! }))),
    {},
    {
      async list(bucket, prefix) {
        const found: object[] = []
        for await (const { key, size, etag, modified } of store.list(bucket, prefix))
          found.push({
            Key: key,
            Size: size,
            Etag: `"${etag}"`,
            LastModified: modified / 1000,
            StorageClass: 'STANDARD',
          })
        return found
      },
      // the first invocation has no time
      invoke: (_, payload) => handler(payload, context(++invocations === 1 ? 2_000 : 60_000)),
    },
  )
  assert.equal(run.status, 'SUCCEEDED')
  assert.equal(run.items.total, 7)
  const bad = Array.from({ length: 80 }, (_, i) => i).filter(isBad).length
  const records = run.batches.map((b) => b.output.records.records)
  assert.equal(
    records.reduce((a, b) => a + b),
    480,
  )
  assert.equal(
    run.batches.reduce((n, b) => n + b.output.records.failed, 0),
    6 * bad,
  )
  assert.deepEqual(run.waits, [15])
  assert.equal(invocations, run.batches.length + 1)
  const written = await listed(OUT)
  assert.equal(written.filter((k) => k.endsWith('.done.json')).length, 6)
  for (const key of keys)
    assert.ok(
      written.some((k) => k.startsWith(`results/${key}.`)),
      key,
    )
  assert.ok(!written.some((k) => k.includes('state.json')))
})

test('a dry run of a bucket says how to start the map, and writes nothing', async () => {
  const before = await listed(OUT)
  let text = ''
  const out = new Writable({
    write(chunk, _, done) {
      text += chunk
      done()
    },
  })
  const err = new Writable({ write: (_c, _e, done) => done() })
  const model = join(projectRoot(), 'test/fixtures/runtime/models/softmax.onnx')
  const args = ['batch', model, batch.input, batch.output, '--dry-run', '--sample', '5', '--json']
  assert.equal(await main(args, { out, err, env: {} }), 0, text)
  const { formats, skipped, lambda, start, prices } = JSON.parse(text)
  assert.deepEqual([formats.jsonl.objects, skipped], [6, { 'no file type has this suffix': 1 }])
  assert.equal(prices.of, 'us-east-1')
  const [, input] = /^aws stepfunctions start-execution --state-machine-arn "\$BATCH_MAP_ARN" --input '(.*)'$/.exec(
    start,
  )!
  const { items, concurrency, tolerated } = lambda
  assert.deepEqual(JSON.parse(input!), { prefix: 'incoming/', items, concurrency, tolerated })
  assert.deepEqual(await listed(OUT), before)
})

async function listed(bucket: string): Promise<string[]> {
  const found: string[] = []
  for await (const { key } of store.list(bucket, '')) found.push(key)
  return found
}

const context = (ms: number) => ({ getRemainingTimeInMillis: () => ms }) as Context

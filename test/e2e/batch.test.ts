import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import S3rver from 's3rver'
import { bundleFunction, functionEntry } from '../../packager/bundle/function.ts'
import { type Arch, loadDefinition } from '../../packager/layers/definition.ts'
import { layerSources } from '../../packager/layers/fetch.ts'
import { writeZip } from '../../packager/layers/zip.ts'
import { defaultCache } from '../../packager/root.ts'
import { createQueue, type Queue, s3Event } from '../../packager/sandbox/queue.ts'
import { Sandbox } from '../../packager/sandbox/sandbox.ts'
import { startQueueServer } from '../../packager/sandbox/sqs.ts'
import { readWhole, reliable } from '../../src/batch/reliable.ts'
import { createS3Store } from '../../src/batch/s3store.ts'
import { randomOf } from '../fixtures/batch/faulty.ts'
import { isBad, lineOf, stage } from '../fixtures/batch/job.ts'

const work = mkdtempSync(join(tmpdir(), 'modelayer-e2e-batch-'))
process.env.AWS_ACCESS_KEY_ID = 'S3RVER'
process.env.AWS_SECRET_ACCESS_KEY = 'S3RVER'

const s3 = new S3rver({
  port: 0,
  address: '127.0.0.1',
  silent: true,
  directory: join(work, 's3'),
  configureBuckets: [
    { name: 'in', configs: [] },
    { name: 'out', configs: [] },
  ],
})
const { port } = await s3.run()
const endpoint = `http://127.0.0.1:${port}`
after(async () => {
  await s3.close()
  rmSync(work, { recursive: true, force: true })
})

const store = reliable(createS3Store({ endpoint, region: 'us-east-1' }))
const text = (key: string) => readWhole(store, { bucket: 'out', key }).then((b) => b.toString())

async function keys(prefix = ''): Promise<string[]> {
  const found: string[] = []
  for await (const { key } of store.list('out', prefix)) found.push(key)
  return found
}

test('S3 → queue → function, with doubles and disorder: each record answered or named once', async () => {
  const arch = process.arch as Arch
  const { files } = await bundleFunction('batch', functionEntry('batch'), join(work, 'function'))
  await writeZip(files, join(work, 'batch.zip'))
  const sources = await layerSources(loadDefinition('runtime').files[arch], arch, defaultCache(), () => undefined)
  const runtime = sources.map((s) => ({ name: s.to, path: s.path, bytes: s.bytes, sha256: s.sha256 }))
  await writeZip(runtime, join(work, 'runtime.zip'), { cache: defaultCache() })
  const model = join(work, 'model')
  stage(model)
  let queue: Queue | undefined
  const queues = await startQueueServer(() => queue)
  after(() => queues.close())
  const sandbox = await Sandbox.start({
    layers: [join(work, 'runtime.zip'), model],
    function: join(work, 'batch.zip'),
    handler: 'batch.handler',
    functionName: 'batch',
    memory: 1024,
    arch,
    env: {
      MODELAYER_BATCH_INPUT: 's3://in/',
      MODELAYER_BATCH_OUTPUT: 's3://out/results/',
      MODELAYER_BATCH_OPTIONS: '{"maxReceives":3}',
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ENDPOINT_URL_SQS: queues.url,
      AWS_ACCESS_KEY_ID: 'S3RVER',
      AWS_SECRET_ACCESS_KEY: 'S3RVER',
    },
  })
  try {
    const random = randomOf(5)
    queue = createQueue({
      invoke: sandbox.invoke,
      batchSize: 3,
      visibilityMs: 20,
      maxReceives: 3,
      duplicates: 0.3,
      random,
    })
    const sizes = new Map<string, number>()
    for (let i = 0; i < 6; i++) {
      const key = `a folder/ü+${i}.jsonl`
      const n = 200 + i * 400
      sizes.set(key, n)
      const body = Buffer.from(Array.from({ length: n }, (_, k) => `${lineOf(k)}\n`).join(''))
      const put = await store.put({ bucket: 'in', key }, body)
      assert.ok(put.written)
      for (let d = 0; d < 3; d++) queue.send(s3Event('in', key, { size: body.length, eTag: put.etag }))
    }
    queue.send({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'in' })
    queue.send(s3Event('in', 'a folder/', { size: 0 }))
    queue.send('no event at all')
    const { dead } = await queue.drain()
    assert.deepEqual(
      dead.map((m) => m.body),
      ['"no event at all"'],
    )
    for (const [key, n] of sizes) {
      const own = await keys(`results/${key}.`)
      assert.equal(own.length, 3, own.join('\n'))
      const lines = async (pattern: RegExp) =>
        (await text(own.find((k) => pattern.test(k))!))
          .split('\n')
          .filter(Boolean)
          .map((l) => (JSON.parse(l) as { record: number }).record)
      const all = Array.from({ length: n }, (_, i) => i)
      assert.deepEqual(
        await lines(/[0-9a-f]{12}\.jsonl$/),
        all.filter((i) => !isBad(i)),
      )
      assert.deepEqual(await lines(/\.err\.jsonl$/), all.filter(isBad))
    }
    assert.equal((await keys()).length, 3 * sizes.size)
    const again = await sandbox.invoke({ input: 's3://in/a folder/ü+0.jsonl', output: 's3://out/results/' })
    assert.ok(again.response)
    const overlap = await sandbox.invoke({ input: 's3://in/a folder/ü+0.jsonl', output: 's3://in/a folder/' })
    assert.match(overlap.error?.errorMessage ?? '', /overlap/)
  } finally {
    await sandbox.close()
  }
})

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { unchunk } from '../../packager/sandbox/s3/chunked.ts'
import { startBuckets } from '../../packager/sandbox/s3/server.ts'
import { startTrigger } from '../../packager/sandbox/trigger.ts'
import { mutate, random } from '../fuzz/mutate.ts'

const work = mkdtempSync(join(tmpdir(), 'modelayer-sandbox-s3-'))
const buckets = await startBuckets({ folders: { in: join(work, 'in') } })
after(async () => {
  await buckets.close()
  rmSync(work, { recursive: true, force: true })
})
const credentials = { accessKeyId: 'x', secretAccessKey: 'y' }
const client = new S3Client({ endpoint: buckets.url, forcePathStyle: true, region: 'us-east-1', credentials })

test('a file is an object and an object is a file, whatever its name', async () => {
  for (const Key of ['a b+ü/<&">.txt', 'a b+ü/plain']) {
    await client.send(new PutObjectCommand({ Bucket: 'in', Key, Body: 'text' }))
    assert.equal(readFileSync(join(work, 'in', Key), 'utf8'), 'text')
  }
  // a stream goes out in chunks with a checksum behind them
  const Body = Readable.from([Buffer.alloc(70_000, 'a'), Buffer.alloc(70_000, 'b')])
  await client.send(new PutObjectCommand({ Bucket: 'in', Key: 'stream', Body, ContentLength: 140_000 }))
  assert.equal(readFileSync(join(work, 'in', 'stream'), 'latin1'), 'a'.repeat(70_000) + 'b'.repeat(70_000))
  writeFileSync(join(work, 'in', 'dropped'), 'by hand')
  const got = await client.send(new GetObjectCommand({ Bucket: 'in', Key: 'dropped', Range: 'bytes=3-' }))
  assert.deepEqual([await got.Body?.transformToString(), got.ContentRange], ['hand', 'bytes 3-6/7'])
})

test('lists by pages and by folders', async () => {
  const list = (o: object) => client.send(new ListObjectsV2Command({ Bucket: 'in', ...o }))
  const top = await list({ Delimiter: '/' })
  assert.deepEqual([top.CommonPrefixes?.map((p) => p.Prefix), top.KeyCount], [['a b+ü/'], 3])
  const keys: string[] = []
  let token: string | undefined
  do {
    const page = await list({ MaxKeys: 1, ContinuationToken: token })
    keys.push(...(page.Contents ?? []).map((c) => c.Key!))
    token = page.NextContinuationToken
  } while (token)
  assert.deepEqual(keys, ['a b+ü/<&">.txt', 'a b+ü/plain', 'dropped', 'stream'])
})

test('what is not there, not allowed or not understood is refused as S3 does, and stays inside its folder', async () => {
  const cases: readonly [string, string, number, string][] = [
    ['GET', '/none/x', 404, 'NoSuchBucket'],
    ['GET', '/in/none', 404, 'NoSuchKey'],
    ['PUT', '/in/..%2F..%2Fescaped', 400, 'InvalidArgument'],
    ['PUT', '/in/a/%2E%2E/%2E%2E/escaped', 404, 'NoSuchBucket'],
    ['GET', '/in/%zz', 400, 'InvalidURI'],
    ['GET', '/in?acl', 501, 'NotImplemented'],
    ['PUT', '/in/x?partNumber=0&uploadId=1', 400, 'InvalidArgument'],
    ['PUT', '/in/x?partNumber=1&uploadId=..%2F..%2Fx', 200, ''],
    ['POST', '/in/x?uploadId=unknown', 400, 'InvalidPart'],
  ]
  for (const [method, path, status, code] of cases) {
    const answer = await fetch(buckets.url + path, { method, ...(method === 'PUT' && { body: 'x' }) })
    assert.equal(answer.status, status, `${method} ${path}`)
    if (code) assert.match(await answer.text(), new RegExp(`<Code>${code}</Code>`), `${method} ${path}`)
  }
  assert.ok(!existsSync(join(work, 'escaped')) && !existsSync(join(work, '..', 'escaped')))
})

test('chunked bodies: whole ones are read, damaged ones never throw', () => {
  const body = Buffer.from(
    '3;chunk-signature=ab\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n',
  )
  assert.equal(unchunk(body)?.toString(), 'abc0123456789')
  for (let n = 0; n < body.length - 34; n++) assert.equal(unchunk(body.subarray(0, n)), undefined, String(n))
  const next = random(7)
  for (let i = 0; i < 500; i++) unchunk(mutate(next, body))
})

test('a new object starts the function; what fails each time ends as a dead letter', async () => {
  const events: string[] = []
  const dead: string[] = []
  const trigger = await new Promise<ReturnType<typeof startTrigger>>((resolve) => {
    const started = startTrigger({
      bucket: 'in',
      folder: join(work, 'in'),
      prefix: 'a b+ü/',
      maxReceives: 3,
      everyMs: 10,
      visibilityMs: 10,
      invoke: async (event) => {
        const { Records } = event as { Records: { messageId: string; body: string }[] }
        const failed = Records.filter((r) => r.body.includes('plain'))
        events.push(...Records.map((r) => JSON.parse(r.body).Records[0].s3.object.key))
        const batchItemFailures = failed.map((r) => ({ itemIdentifier: r.messageId }))
        return { requestId: '', ms: 0, log: '', restarted: false, response: { batchItemFailures } }
      },
      onDead: ({ body, receives }) => {
        dead.push(`${JSON.parse(body).Records[0].s3.object.key} ${receives}`)
        resolve(started)
      },
    })
  })
  await trigger.stop()
  assert.deepEqual(dead, ['a+b%2B%C3%BC/plain 3'])
  assert.equal(events.filter((k) => k.endsWith('plain')).length, 3)
  assert.equal(events.filter((k) => !k.endsWith('plain')).length, 1)
})

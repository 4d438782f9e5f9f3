import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, relative } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connectS3 } from '../../packager/cli/s3.ts'
import { openAny } from '../../packager/package/open.ts'
import { fetchSource, type ObjectSource } from '../../packager/package/source.ts'
import { CONFIG, tree } from '../fixtures/package/tree.ts'

/** ListObjectsV2 (three keys a page) and GetObject, path style, as any S3-compatible store has them. */
async function fakeS3(t: TestContext, objects: Record<string, string>) {
  const requests: string[] = []
  const server = createServer((req, res) => {
    const url = new URL(req.url ?? '/', 'http://x')
    requests.push(`${req.method} ${decodeURIComponent(url.pathname)}`)
    assert.match(req.headers.authorization ?? '', /^AWS4-HMAC-SHA256 Credential=test-key\//)
    if (url.searchParams.get('list-type') === '2') {
      const keys = Object.keys(objects).filter((k) => k.startsWith(url.searchParams.get('prefix') ?? ''))
      const start = Number(url.searchParams.get('continuation-token') ?? 0)
      const more = start + 3 < keys.length
      const contents = keys
        .sort()
        .slice(start, start + 3)
        .map(
          (k) =>
            `<Contents><Key>${k}</Key><Size>${objects[k]!.length}</Size><ETag>"${objects[k]!.length}-${k.length}"</ETag></Contents>`,
        )
      const next = more ? `<NextContinuationToken>${start + 3}</NextContinuationToken>` : ''
      res.setHeader('content-type', 'application/xml')
      return res.end(
        `<?xml version="1.0"?><ListBucketResult><IsTruncated>${more}</IsTruncated>${next}${contents.join('')}</ListBucketResult>`,
      )
    }
    const body = objects[decodeURIComponent(url.pathname).replace(/^\/models-bucket\//, '')]
    if (body !== undefined) return res.end(body)
    res.writeHead(404, { 'content-type': 'application/xml' })
    res.end('<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>The key does not exist</Message></Error>')
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.after(() => server.close())
  const before = { ...process.env }
  Object.assign(process.env, {
    AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    AWS_ACCESS_KEY_ID: 'test-key',
    AWS_SECRET_ACCESS_KEY: 'test-secret',
    AWS_REGION: 'eu-central-1',
  })
  t.after(() => {
    process.env = before
  })
  return requests
}

const memory = (objects: Record<string, string>) => async (): Promise<ObjectSource> => ({
  async *list(prefix) {
    for (const [key, text] of Object.entries(objects)) {
      if (key.startsWith(prefix)) yield { key, size: text.length, etag: text }
    }
  },
  async read(key) {
    return (async function* () {
      yield Buffer.from(objects[key]!)
    })()
  },
})

test('an s3:// prefix is listed page by page, downloaded once, and opened like a folder', async (t) => {
  const files = {
    'config.json': CONFIG,
    'net.onnx': 'graph',
    'labels.txt': 'a\nb',
    'golden/1.json': '{}',
    'assets/x y.txt': '1',
  }
  const objects: Record<string, string> = { 'team/digits/': '', 'team/digits-other/net.onnx': 'another' }
  for (const [name, text] of Object.entries(files)) {
    objects[`team/digits/1/${name}`] = text
    objects[`team/digits/2/${name}`] = text
  }
  const requests = await fakeS3(t, objects)
  const cache = tree(t, {})
  const said: string[] = []
  const options = { cache, connect: connectS3, progress: (detail: string) => said.push(detail) }
  const dir = await fetchSource('s3://models-bucket/team/digits', options)
  const pkg = await openAny(dir)
  assert.deepEqual([pkg.name, pkg.version, Object.keys(pkg.assets)], ['digits', '2', ['assets/x y.txt', 'labels.txt']])
  assert.equal(readFileSync(join(dir, '1/net.onnx'), 'utf8'), 'graph')
  assert.equal(requests.filter((r) => r.endsWith('/models-bucket/')).length, 4)
  assert.equal(requests.length, 4 + 10)
  assert.match(said.at(-1)!, /^\d+ B of \d+ B$|kB/)
  assert.ok(!readdirSync(dir).includes('digits-other'))

  assert.equal(await fetchSource('s3://models-bucket/team/digits', options), dir)
  assert.equal(requests.length, 4 + 10 + 4)
  assert.equal((await openAny(await fetchSource('s3://models-bucket/team/digits@1', options))).version, '1')
  objects['team/digits/2/labels.txt'] = 'changed'
  assert.notEqual(await fetchSource('s3://models-bucket/team/digits', options), dir)
})

test('what goes wrong with a source names the source and what to do', async (t) => {
  await fakeS3(t, { 'a/net.onnx': 'x' })
  const cache = tree(t, {})
  const fails = (source: string, code: string, message: RegExp, connect = connectS3) =>
    assert.rejects(fetchSource(source, { cache, connect }), (e: Error & { code?: string }) => {
      assert.equal(e.code, code)
      assert.match(e.message, message)
      return true
    })
  await fails('s3://models-bucket/nowhere', 'SOURCE_FAILED', /s3:\/\/models-bucket\/nowhere.*none/)
  await fails('s3://', 'USAGE', /s3:\/\/bucket\/prefix/)
  await fails('s3://x/', 'USAGE', /s3:\/\/bucket\/prefix/)
  await fails('s3://bucket/a', 'SOURCE_FAILED', /'a\/\.\.\/b'/, memory({ 'a/../b': '' }))
  await fails('s3://bucket/a', 'SOURCE_FAILED', /'a\/\/b'/, memory({ 'a//b': '' }))
  const shorter = async () => ({
    ...(await memory({ 'a/b': 'x' })()),
    list: async function* () {
      yield { key: 'a/b', size: 9, etag: '' }
    },
  })
  await fails('s3://bucket/a', 'SOURCE_FAILED', /expected 9 bytes for a\/b but received 1/, shorter)
  assert.deepEqual(
    readdirSync(join(cache, 's3')).flatMap((d) => readdirSync(join(cache, 's3', d))),
    [],
  )
  process.env.AWS_ENDPOINT_URL_S3 = 'http://127.0.0.1:1'
  process.env.AWS_MAX_ATTEMPTS = '1'
  await fails('s3://models-bucket/a', 'SOURCE_FAILED', /ECONNREFUSED.*AWS_ENDPOINT_URL_S3/)
})

test('a path that is no s3:// URL stays itself', async () => {
  const connect = () => assert.fail('nothing to connect to')
  assert.equal(relative('.', await fetchSource('examples/mnist', { connect })), 'examples/mnist')
})

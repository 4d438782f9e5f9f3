import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import { runObject } from '../../../src/batch/run.ts'
import type { ObjectRef } from '../../../src/batch/types.ts'
import { isPrivate, webAccess } from '../../../src/batch/webaccess.ts'
import { createWebStore } from '../../../src/batch/webstore.ts'
import { withWeb } from '../../../src/batch/withweb.ts'
import { jobAt, stage } from '../../fixtures/batch/job.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const CSV = Array.from({ length: 50 }, (_, i) => `${i},1,2,3\n`).join('')

/** Of S3's manners, and of those that other servers have. */
const PAGES: Readonly<Record<string, (req: IncomingMessage, res: ServerResponse) => void>> = {
  'rows.csv': (req, res) => ranged(req, res, Buffer.from(CSV)),
  'signed.csv': (req, res) =>
    req.url!.includes('sig=good') ? ranged(req, res, Buffer.from('1,2,3,4\n')) : end(res, 403),
  // pays no heed to ranges, and tells no etag
  'plain.csv': (_, res) => res.writeHead(200, { 'content-length': CSV.length }).end(CSV),
  'endless.csv': (_, res) => void res.writeHead(200).write('1,2,3,4\n'),
  'large.csv': (_, res) => void res.writeHead(200, { 'content-length': 5000 }).end(),
  'lying.csv': (_, res) => void res.writeHead(200, { 'content-length': 200 }).end('x'.repeat(200)),
  'hop.csv': (_, res) => end(res, 302, { location: '/rows.csv' }),
  'loop.csv': (_, res) => end(res, 302, { location: '/loop.csv' }),
  'away.csv': (_, res) => end(res, 302, { location: 'http://169.254.169.254/latest/meta-data/x.csv' }),
  'broken.csv': (_, res) => end(res, 500),
  'empty.csv': (req, res) => end(res, req.headers.range ? 416 : 200),
  'silent.csv': () => undefined,
  'cut.csv': (req, res) => {
    res.writeHead(req.headers.range ? 206 : 200, {
      'content-range': 'bytes 0-0/100',
      'content-length': 100,
      etag: '"a"',
    })
    res.write('1,2,3,4\n', () => res.destroy())
  },
}
let calls = 0
const server = createServer((req, res) => {
  calls++
  const page = PAGES[/^\/([^?]*)/.exec(req.url!)![1]!]
  if (page) page(req, res)
  else end(res, 404)
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const work = mkdtempSync(join(tmpdir(), 'modelayer-web-'))
after(() => {
  server.closeAllConnections()
  server.close()
  rmSync(work, { recursive: true, force: true })
})

function end(res: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  res.writeHead(status, headers).end()
}

function ranged(req: IncomingMessage, res: ServerResponse, bytes: Buffer): void {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? '') ?? []
  const etag = { etag: '"v1"' }
  if (from === undefined) return void res.writeHead(200, { ...etag, 'content-length': bytes.length }).end(bytes)
  const part = bytes.subarray(Number(from), to ? Number(to) + 1 : undefined)
  const range = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`
  res.writeHead(206, { ...etag, 'content-length': part.length, 'content-range': range }).end(part)
}

const store = createWebStore(webAccess([origin]), { bytes: 4000, idleMs: 200 })
const ref = (key: string, query = ''): ObjectRef => ({ bucket: origin, key, query })
async function read(r: ObjectRef, options = {}): Promise<string> {
  let text = ''
  for await (const chunk of store.read(r, options)) text += Buffer.from(chunk).toString()
  return text
}

test('a file of a server is an object: size, parts, changes, redirects', async () => {
  for (const key of ['rows.csv', 'plain.csv', 'hop.csv']) {
    const info = await store.stat(ref(key))
    assert.equal(info?.size, CSV.length, key)
    assert.equal(await read(ref(key), { ifMatch: info.etag }), CSV)
    assert.equal(await read(ref(key), { start: 5, end: 12 }), CSV.slice(5, 12))
    assert.equal(await read(ref(key), { start: 200, ifMatch: info.etag }), CSV.slice(200))
    await assert.rejects(read(ref(key), { ifMatch: 'other' }), { code: 'INPUT_CHANGED' })
  }
  assert.equal((await store.stat(ref('empty.csv')))?.size, 0)
  assert.equal((await store.stat(ref('signed.csv', '?sig=good')))?.size, 8)
})

test('what a server says or does not say is told by its name, without the query', async () => {
  const table: readonly [key: string, code: string, said: RegExp][] = [
    ['none.csv', 'NO_OBJECT', /no such object.*none\.csv/],
    ['signed.csv', 'STORE_REFUSED', /signed\.csv: 403\. A signed address may have expired/],
    ['broken.csv', 'STORE_FAILED', /500/],
    ['endless.csv', 'STORE_REFUSED', /does not tell its size/],
    ['large.csv', 'BODY_TOO_LARGE', /4000 bytes .*received 5000/],
    ['loop.csv', 'STORE_REFUSED', /too many redirects/],
    ['away.csv', 'BAD_INPUT', /webSources .*--web-source http:\/\/169\.254\.169\.254\)/],
    ['silent.csv', 'STORE_FAILED', /ETIMEDOUT/],
  ]
  for (const [key, code, said] of table)
    await assert.rejects(store.stat(ref(key, '?sig=SECRET')), (e: Error & { code: string }) => {
      assert.equal(e.code, code, key)
      assert.match(e.message, said)
      assert.ok(!e.message.includes('SECRET'))
      return true
    })
  await assert.rejects(read(ref('cut.csv')), { code: 'STORE_FAILED' })
  const small = createWebStore(webAccess([origin]), { bytes: 100 })
  const whole = async () => {
    for await (const _ of small.read(ref('lying.csv')));
  }
  await assert.rejects(whole(), { code: 'BODY_TOO_LARGE' })
})

test('only what is named may be reached, and by a name nothing that is private', async () => {
  const allows = (sources: readonly string[], url: string) => {
    try {
      webAccess(sources).check(new URL(url))
      return true
    } catch {
      return false
    }
  }
  const table: readonly [sources: string[], url: string, allowed: boolean][] = [
    [[], 'https://example.com/a', false],
    [['example.com'], 'https://example.com/a', true],
    [['example.com'], 'https://EXAMPLE.com:443/a', true],
    [['example.com'], 'http://example.com/a', false],
    [['example.com'], 'https://example.com:8443/a', false],
    [['example.com'], 'https://x.example.com/a', false],
    [['example.com'], 'https://u:p@example.com/a', false],
    [['*.example.com'], 'https://x.y.example.com/a', true],
    [['*.example.com'], 'https://example.com/a', false],
    [['*.example.com'], 'https://badexample.com/a', false],
    [['*'], 'https://any.where/a', true],
    [['http://10.0.0.5:8080'], 'http://10.0.0.5:8080/a', true],
    [['http://10.0.0.5:8080'], 'http://10.0.0.5/a', false],
    [['https://example.com:8443/'], 'https://example.com:8443/a', true],
  ]
  for (const [sources, url, allowed] of table) assert.equal(allows(sources, url), allowed, `${sources} ${url}`)
  for (const wrong of ['ftp://x', 'http://x/path', 'a b', '', '*.'])
    assert.throws(() => webAccess([wrong]), { code: 'USAGE' }, wrong)
  const inside = [
    '127.0.0.1',
    '10.1.2.3',
    '169.254.169.254',
    '172.31.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '0.0.0.0',
    '::1',
  ]
  for (const a of [
    ...inside,
    '::ffff:10.0.0.1',
    'fd00::1',
    'fe80::1',
    '64:ff9b::a00:1',
    '255.255.255.255',
    'no address',
  ])
    assert.ok(isPrivate(a), a)
  for (const a of ['93.184.215.14', '172.32.0.1', '2606:2800:21f:cb07::1']) assert.ok(!isPrivate(a), a)
  const any = createWebStore(webAccess(['*']))
  for (const host of ['127.0.0.1', 'localhost', '[::1]', '2130706433', '0x7f.1', '169.254.169.254'])
    await assert.rejects(any.stat({ bucket: `https://${host}`, key: 'a' }), { message: /private network/ }, host)
})

test('a list of web addresses, run: answered or named, and no signature is written anywhere', async () => {
  const [input, output, model] = ['in', 'out', 'model'].map((d) => join(work, d)) as [string, string, string]
  for (const d of [input, output]) mkdirSync(d)
  stage(model)
  const lines = ['rows.csv', 'signed.csv?sig=good', 'none.csv?sig=good', 'broken.csv', 'hop.csv', 'none.docx']
  writeFileSync(
    join(input, 'a.manifest'),
    lines.map((l) => `${JSON.stringify({ source: `${origin}/${l}` })}\n`).join(''),
  )
  const run = async (sources: readonly string[]) => {
    const files = reliable(withWeb(createFolderStore(), sources), { pause: 1, tries: 2 })
    const job = { ...jobAt(model, files, input, output), inputOptions: { webSources: sources } }
    const o = await runObject(job, { bucket: input, key: 'a.manifest' })
    assert.ok(o.status === 'DONE')
    return o.done
  }
  const before = calls
  assert.deepEqual((await run([])).counts, { records: 6, answered: 0, failed: 6 })
  assert.equal(calls, before)
  const done = await run([origin])
  assert.deepEqual(done.counts, { records: 104, answered: 101, failed: 3 })
  const text = (key: string) => readFileSync(join(output, key), 'utf8')
  const named = text(done.output.errors!)
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l) as { id: string; code: string })
  assert.deepEqual(
    named.map((n) => [n.id.split('#')[0], n.code]),
    [
      [`${origin}/none.csv`, 'NO_OBJECT'],
      [`${origin}/broken.csv`, 'STORE_FAILED'],
      [`${origin}/none.docx`, 'BAD_INPUT'],
    ],
  )
  assert.equal(JSON.parse(text(done.output.key).split('\n')[50]!).id, `${origin}/signed.csv#0`)
  for (const file of readdirSync(output)) assert.ok(!text(file).includes('sig='), file)
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type ListenOptions, listen } from '../../../src/http/node.ts'
import { form, type Package, serve } from './support.ts'

const closing: (() => Promise<void>)[] = []
after(() => Promise.all(closing.map((close) => close())))

async function start(options: Partial<ListenOptions> = {}, pack: Package = {}) {
  const served = serve(pack)
  const server = await listen(served.app, { port: 0, ...options })
  closing.push(server.close)
  const post = (
    body: string | Uint8Array<ArrayBuffer> | FormData | ReadableStream,
    headers: Record<string, string> = {},
  ) => fetch(server.url, { method: 'POST', body, headers, duplex: 'half' } as RequestInit)
  return { ...served, ...server, post }
}
const rows = JSON.stringify({ images: [[1, 2, 3, 4]] })

test('a curl away: JSON, forms, gzip, and what is no prediction', async () => {
  let told = ''
  const echo = `exports.default = class extends base {
    _inference(ready) { return ready }
    _postprocess(data) { return data.images ? [...data.images['a.bin'].bytes] : data }
  }`
  const plain = await start({
    onListening: (url) => {
      told = url
    },
  })
  assert.equal(told, `http://localhost:${plain.port}`)
  assert.equal((await plain.post(rows)).status, 415)
  const json = { 'content-type': 'application/json' }
  const answer = await plain.post(rows, { ...json, 'x-request-id': 'mine-1' })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('x-request-id'), 'mine-1')
  assert.equal(((await answer.json()) as { scores: number[][] }).scores[0]!.length, 3)
  const unsafe = await plain.post(rows, { ...json, 'x-request-id': '{"a":1}' })
  assert.match(unsafe.headers.get('x-request-id')!, /^[0-9a-f-]{36}$/)
  assert.equal((await plain.post(gzipSync(rows), { ...json, 'content-encoding': 'gzip' })).status, 200)
  const get = await fetch(plain.url)
  assert.equal(get.status, 405)
  assert.equal(get.headers.get('allow'), 'POST')
  assert.equal((await fetch(`${plain.url}/nowhere?x`, { method: 'POST' })).status, 404)

  const hooked = await start({}, { source: echo })
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
  assert.deepEqual(await (await hooked.post(form({ 'a.bin': bytes }))).json(), [...bytes])
})

test('a body over the limit is refused in the words of the protocol, sized or chunked, and the next request works', async () => {
  const { post, lines } = await start({ bodyLimit: 1000 })
  const json = { 'content-type': 'application/json' }
  const chunks = () =>
    new ReadableStream({
      start(controller) {
        for (let i = 0; i < 100; i++) controller.enqueue(new Uint8Array(10_000))
        controller.close()
      },
    })
  for (const body of [new Uint8Array(1001), chunks()]) {
    const answer = await post(body, json)
    assert.equal(answer.status, 413)
    const { erno, code, detail } = (await answer.json()) as Record<string, string>
    assert.deepEqual([erno, code], ['MR.0101', 'BODY_TOO_LARGE'])
    assert.match(detail!, /at most 1000 bytes/)
  }
  assert.equal((await post(rows.padEnd(1000), json)).status, 200)
  assert.deepEqual(
    lines.map((line) => line.status),
    [413, 413, 200],
  )
})

test('a client that goes away mid-body takes nothing with it', async () => {
  const { port, post, lines } = await start()
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc')
  socket.destroy()
  await once(socket, 'close')
  assert.equal((await post(rows, { 'content-type': 'application/json' })).status, 200)
  assert.equal(lines.length, 1)
})

test('the deadline is the option', async () => {
  const never = 'exports.default = class extends base { _preprocess() { return new Promise(() => {}) } }'
  const { post } = await start({ deadlineMs: 230 }, { source: never })
  assert.equal((await post('{}', { 'content-type': 'application/json' })).status, 504)
})

test('close answers what has begun, and refuses what comes after', async () => {
  const slow = `exports.default = class extends base {
    _preprocess() { return new Promise((done) => setTimeout(done, 100, { images: [[1, 2, 3, 4]] })) }
  }`
  const { app } = serve({ source: slow })
  const server = await listen(app, { port: 0 })
  const pending = request(server.url, { method: 'POST', agent: false, headers: { 'content-type': 'application/json' } })
  const answered = once(pending, 'response')
  pending.end('{}')
  await new Promise((done) => setTimeout(done, 30))
  const [[response]] = await Promise.all([answered, server.close()])
  assert.equal(response.statusCode, 200)
  await assert.rejects(fetch(server.url, { method: 'POST' }))
})

test('a port that is taken is an error of listen', async () => {
  const { app, port } = await start()
  await assert.rejects(listen(app, { port }), { code: 'EADDRINUSE' })
})

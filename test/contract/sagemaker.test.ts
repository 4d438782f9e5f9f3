import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FIXTURES, serve } from '../unit/runtime/support.ts'

const { rows, scores } = JSON.parse(readFileSync(join(FIXTURES, 'expected.json'), 'utf8')) as {
  rows: number[][]
  scores: number[][]
}
const server = serve({ model: 'digits' })
const hooked = serve({
  model: 'digits',
  fields: { images: { kind: 'file', required: true } },
  source: `exports.default = class extends base {
    _preprocess(data) { const [file] = Object.values(data.images ?? {}); return { images: file ? [Array.from(file.bytes)] : data.instances } }
    _postprocess(out) { return { best: out.scores.map((r) => r.indexOf(Math.max(...r))) } }
  }`,
})

const invoke = (s: typeof server, type: string, body: string | Uint8Array, accept = '') =>
  s.send({ path: '/invocations', headers: { 'content-type': type, accept }, body: Buffer.from(body) })
const near = (got: number[][], want: number[][]) => {
  for (const [i, row] of want.entries()) for (const [k, w] of row.entries()) assert.ok(Math.abs(got[i]![k]! - w) < 1e-6)
}
const csv = rows.map((r) => r.join(',')).join('\n')

test('ping', async () => {
  assert.equal((await server.send({ method: 'GET', path: '/ping' })).status, 200)
  assert.equal((await server.send({ method: 'POST', path: '/ping' })).status, 405)
})

test('JSON: instances, inputs, a bare list, inputs by name', async () => {
  for (const body of [{ instances: rows }, rows, { inputs: rows }, { images: rows }]) {
    const { status, json } = await invoke(server, 'application/json', JSON.stringify(body))
    assert.equal(status, 200, JSON.stringify(json))
    near(json.predictions ?? json.outputs, scores)
  }
})

test('JSON lines and CSV, both ways', async () => {
  const text = rows.map((r) => JSON.stringify(r)).join('\n')
  near((await invoke(server, 'application/jsonlines', text)).json.predictions, scores)
  near((await invoke(server, 'text/csv', csv)).json.predictions, scores)
  const lines = String((await invoke(server, 'text/csv', csv, 'application/jsonlines')).body)
    .trim()
    .split('\n')
  near(
    lines.map((l) => JSON.parse(l)),
    scores,
  )
  const table = String((await invoke(server, 'text/csv', csv, 'text/csv')).body)
    .trim()
    .split('\n')
  near(
    table.map((l) => l.split(',').map(Number)),
    scores,
  )
})

test('with hooks the body is the file, or the JSON', async () => {
  for (const type of ['application/x-image', 'image/png', 'application/octet-stream']) {
    const { status, json } = await invoke(hooked, type, Uint8Array.of(1, 2, 3, 4))
    assert.deepEqual([status, json.best.length], [200, 1])
  }
  const { json } = await invoke(hooked, 'application/json', JSON.stringify(rows))
  assert.deepEqual(
    json.best,
    scores.map((r) => r.indexOf(Math.max(...r))),
  )
})

const FAULTS: readonly [what: string, type: string, body: string, status: number, says: RegExp][] = [
  ['another type', 'text/html', '<p>', 415, /application\/json/],
  ['an image without hooks', 'image/png', 'x', 415, /text\/csv/],
  ['text in a column of numbers', 'text/csv', '1,2,x,4', 400, /row 1, column 3/],
  ['a short row', 'text/csv', '1,2,3', 400, /\[\?,4\]/],
  ['no JSON', 'application/json', '{"instances":', 400, /JSON/],
  ['wrong shape', 'application/json', '[[1,2]]', 400, /\[\?,4\]/],
]
for (const [what, type, body, status, says] of FAULTS)
  test(`refused: ${what}`, async () => {
    const answer = await invoke(server, type, body)
    assert.equal(answer.status, status, String(answer.body))
    assert.match(answer.json.error, says)
    assert.equal((await invoke(server, 'text/csv', csv)).status, 200)
  })

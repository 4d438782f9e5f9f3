import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { s3Event } from '../../../packager/sandbox/queue.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { stage } from '../../fixtures/batch/job.ts'
import { encodePng } from '../../fixtures/batch/png.ts'

const work = mkdtempSync(join(tmpdir(), 'modelayer-together-'))
after(() => rmSync(work, { recursive: true, force: true }))

const child = new URL('../../fixtures/batch/invoke.ts', import.meta.url)
const LEASE = 300

/** Ends the process on a file or a record that says so, after a pause in which others are in work too. */
const HOOKS = `
const { BaseService } = require('modelayer')
const pause = () => new Promise((done) => setTimeout(done, 60))
exports.default = class extends BaseService {
  async _preprocess(data) {
    const [[name] = []] = Object.values(data).map((files) => Object.keys(files))
    await pause()
    if (name?.startsWith('deadly') || data.x?.[0] === 666) process.kill(process.pid, 'SIGKILL')
    return { x: [name ? [1, 2, 3, 4] : data.x] }
  }
}`

test('objects that were in work together when the process ended: only the one that ends it is blamed', async () => {
  const [input, output, model] = ['in', 'out', 'model'].map((name) => join(work, name)) as [string, string, string]
  for (const dir of [input, output]) mkdirSync(dir)
  stage(model, 'softmax', HOOKS)
  const images = ['a.png', 'b.png', 'deadly.png', 'c.png', 'd.png', 'deadly2.png', 'e.png']
  for (const name of images) writeFileSync(join(input, name), encodePng(2, 2, Uint8Array.of(1, 2, 3, 4)))
  const rows = ['f.jsonl', 'g.jsonl', 'h.jsonl']
  for (const name of rows) {
    const line = (i: number) => `${JSON.stringify({ x: [name === 'g.jsonl' && i === 5 ? 666 : i, 0, 0, 0] })}\n`
    writeFileSync(join(input, name), Array.from({ length: 8 }, (_, i) => line(i)).join(''))
  }
  let open = [...images, ...rows]
  let processes = 0
  while (open.length > 0) {
    assert.ok(++processes <= 20, `${processes} processes`)
    const args = [model, input, output, String(LEASE)]
    const c = fork(child, args, { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    c.send(await Promise.all(open.map((key) => messageOf(input, key, processes))))
    const heard = (await Promise.race([once(c, 'message'), once(c, 'exit').then(() => [])])) as [Answer?]
    if (heard[0]) open = heard[0].batchItemFailures.map((f) => f.itemIdentifier)
    c.kill('SIGKILL')
    await sleep(LEASE)
  }
  const files = readdirSync(output)
  const linesOf = (pattern: RegExp) =>
    files
      .filter((f) => pattern.test(f))
      .flatMap((f) => readFileSync(join(output, f), 'utf8').split('\n').filter(Boolean))
      .map((l) => JSON.parse(l) as { id: string; record: number; code?: string })
  const named = files.filter((f) => f.endsWith('.err.jsonl')).map((f) => f.slice(0, -23))
  assert.deepEqual(named.sort(), ['deadly.png', 'deadly2.png', 'g.jsonl'])
  assert.ok(linesOf(/\.err\.jsonl$/).every((l) => l.code === 'CRASHED'))
  assert.equal(linesOf(/[0-9a-f]{12}\.jsonl$/).length, 5 + 8 + 7 + 8)
  assert.deepEqual(
    files.filter((f) => /\.(state|hand)\.json$/.test(f)),
    [],
  )
})

async function messageOf(bucket: string, key: string, receives: number) {
  const { size, etag: eTag } = (await createFolderStore().stat({ bucket, key }))!
  return { id: key, body: JSON.stringify(s3Event(bucket, key, { size, eTag })), receives }
}

interface Answer {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[]
}

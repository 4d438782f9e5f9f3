import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { watchInbox } from '../../../packager/batch/inbox.ts'
import { runLocal } from '../../../packager/batch/local.ts'
import { line } from '../../../packager/cli/batch.ts'
import { main } from '../../../packager/cli/main.ts'
import { projectRoot } from '../../../packager/root.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import { isBad, jobAt, lineOf, stage } from '../../fixtures/batch/job.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-local-'))
after(() => rmSync(work, { recursive: true, force: true }))

const records = (n: number, name = 'x') =>
  Array.from({ length: n }, (_, i) => `${lineOf(i).replaceAll('"x"', `"${name}"`)}\n`).join('')

function folders(name: string) {
  const dir = join(work, name)
  const [input, output, model] = [join(dir, 'in'), join(dir, 'out'), join(dir, 'model')]
  for (const d of [input, output]) mkdirSync(d, { recursive: true })
  stage(model)
  return { input, output, job: jobAt(model, reliable(createFolderStore()), input, output) }
}

async function cli(...args: string[]): Promise<{ code: number; json: Record<string, unknown> }> {
  let text = ''
  const out = new Writable({
    write(chunk, _, done) {
      text += chunk
      done()
    },
  })
  const err = new Writable({ write: (_c, _e, done) => done() })
  const code = await main([...args, '--json'], { out, err, env: {} })
  return { code, json: JSON.parse(text) as Record<string, unknown> }
}

const model = join(projectRoot(), 'test/fixtures/runtime/models/softmax.onnx')

test('modelayer batch: a folder with sub-folders, twice, and what failed once more', async () => {
  const { input, output } = folders('cli')
  mkdirSync(join(input, 'sub'))
  writeFileSync(join(input, 'a.jsonl'), records(300, 'x:0'))
  writeFileSync(join(input, 'sub', 'b.jsonl'), records(200, 'x:0'))
  writeFileSync(join(input, 'notes.xyz'), 'nothing')
  const first = await cli('batch', model, input, output)
  const bad = Array.from({ length: 300 }, (_, i) => i).filter(isBad).length + 4
  assert.deepEqual(first.json.counts, { records: 500, answered: 500 - bad, failed: bad })
  assert.deepEqual(first.json.objects, { done: 2, failed: 0, earlier: 0, skipped: 1, open: 0 })
  assert.equal(first.code, 1)
  const files = readdirSync(output, { recursive: true })
  const second = await cli('batch', model, input, output)
  assert.deepEqual(second.json.objects, { done: 0, failed: 0, earlier: 2, skipped: 1, open: 0 })
  assert.deepEqual(readdirSync(output, { recursive: true }), files)
  const third = await cli('batch', model, input, output, '--only', 'FAILED')
  assert.deepEqual(third.json.counts, { records: bad, answered: 0, failed: bad })
})

test('modelayer batch: a single file; overlaps and empty folders are refused', async () => {
  const { input, output } = folders('file')
  writeFileSync(join(input, 'a.jsonl'), '[0,0,0,0]\n[1,2,3,4]\n')
  const { code, json } = await cli('batch', model, join(input, 'a.jsonl'), output)
  assert.equal(code, 0)
  assert.deepEqual(json.counts, { records: 2, answered: 2, failed: 0 })
  const refused = async (...args: string[]) => ((await cli('batch', ...args)).json.error as { code: string }).code
  assert.equal(await refused(model, input, join(input, 'out')), 'BATCH_OVERLAP')
  assert.equal(await refused(model, join(work, 'nowhere'), output), 'USAGE')
  assert.ok(!readdirSync(input).includes('out'))
})

test('stopped and started again, a job ends where it would have', async () => {
  const { input, job } = folders('stop')
  writeFileSync(join(input, 'a.jsonl'), records(4000))
  const items = [{ bucket: input, key: 'a.jsonl', size: 1 }]
  const stop = new AbortController()
  const first = await runLocal(job, {
    items,
    signal: stop.signal,
    progress: (p) => p.counts.records > 300 && stop.abort(),
  })
  assert.equal(first.objects.open, 1)
  const second = await runLocal(job, { items })
  assert.equal(second.objects.done, 1)
  assert.equal(second.counts.records, 4000)
})

test('an inbox: files that appear are answered, once', async () => {
  const { input, output, job } = folders('inbox')
  const stop = new AbortController()
  const told: string[] = []
  const watching = watchInbox(job, {
    signal: stop.signal,
    everyMs: 20,
    told: (key, o) => told.push(`${key} ${o.status}`) > 1 && stop.abort(),
  })
  writeFileSync(join(input, 'a.jsonl'), records(10))
  writeFileSync(join(input, 'b.txt.xyz'), 'nothing')
  await watching
  assert.deepEqual(told.sort(), ['a.jsonl DONE', 'b.txt.xyz SKIPPED'])
  const [result] = readdirSync(output).filter((f) => /[0-9a-f]{12}\.jsonl$/.test(f))
  assert.equal(readFileSync(join(output, result!), 'utf8').split('\n').length, 11)
})

test('an inbox: sub-folders, what fails is tried again but not at once, what changes is answered again', async () => {
  const { input, job } = folders('inbox-again')
  const stop = new AbortController()
  const told: string[] = []
  let broken = true
  const store: typeof job.store = {
    ...job.store,
    stat: (ref) => (broken && ref.key === 'sub/a.jsonl' ? Promise.reject(new Error('disk')) : job.store.stat(ref)),
  }
  mkdirSync(join(input, 'sub'))
  writeFileSync(join(input, 'sub', 'a.jsonl'), records(3))
  const watching = watchInbox(
    { ...job, store },
    { signal: stop.signal, everyMs: 10, told: (key, o) => void told.push(`${key} ${o.status}`) },
  )
  await sleep(1300)
  assert.deepEqual(told, ['sub/a.jsonl ERROR'])
  broken = false
  while (told.length < 2) await sleep(20)
  writeFileSync(join(input, 'sub', 'a.jsonl'), records(4))
  while (told.length < 3) await sleep(20)
  stop.abort()
  await watching
  assert.deepEqual(told.slice(1), ['sub/a.jsonl DONE', 'sub/a.jsonl DONE'])
})

test('the progress line says how far, how fast and how long', () => {
  const counts = { records: 5000, answered: 4990, failed: 10 }
  const far = { objects: 1, of: 4, bytes: 25, ofBytes: 100, counts }
  const text = line({ ...far, before: { records: 0, bytes: 0 } }, 10_000)
  assert.equal(text, '███░░░░░░░ 25 %  5,000 records  500/s  10 failed  1 of 4 objects  00:30 left')
  // what an earlier command did was not done in this one's time
  const on = line({ ...far, before: { records: 4000, bytes: 15 } }, 10_000)
  assert.equal(on, '███░░░░░░░ 25 %  5,000 records  100/s  10 failed  1 of 4 objects  01:15 left')
})

test('one file beside its results; what is not there or cannot be made is told', async () => {
  const dir = join(work, 'beside')
  mkdirSync(dir)
  writeFileSync(join(dir, 'rows.csv'), '0,0,0,0\n1,2,3,4\n')
  const { code, json } = await cli('batch', model, join(dir, 'rows.csv'), join(dir, 'out'))
  assert.deepEqual([code, json.counts], [0, { records: 2, answered: 2, failed: 0 }])
  const refused = async (...args: string[]) => (await cli('batch', model, ...args)).json.error as { message: string }
  assert.match((await refused(join(dir, 'none'), join(dir, 'out'))).message, /nothing at .*none/)
  assert.match((await refused(dir, join(dir, 'rows.csv', 'out'))).message, /overlap/)
  assert.match((await refused(join(dir, 'out'), join(dir, 'rows.csv'))).message, /folder that can be made .*EEXIST/)
  assert.match((await refused('s3:/b/p', dir)).message, /s3:\/\/bucket\/prefix\/ for <input> but received 's3:\/b\/p'/)
  assert.match((await refused(dir, 's3://')).message, /for <output> but received 's3:\/\/'/)
  const rule = [dir, join(work, 'out'), '--mapping-rule', join(dir, 'none')]
  assert.match((await refused(...rule)).message, /a file of JSON for --mapping-rule but received ENOENT/)
})

test('results under one name: what failed is answered again beside what did not, and a job lists each input once', async () => {
  const dir = join(work, 'named')
  const [input, output] = [join(dir, 'in'), join(dir, 'out')]
  mkdirSync(input, { recursive: true })
  writeFileSync(join(input, 'b.csv'), '1,2,3,4\n')
  const run = (...more: string[]) => cli('batch', model, input, output, '--result', 'modelarts', ...more)
  const read = (name: string) => readFileSync(join(output, name), 'utf8').trim().split('\n')
  for (const text of ['1,2,3,4\n', '1,2,3,4\n1,2,3\n']) {
    writeFileSync(join(input, 'a.csv'), text)
    await run()
  }
  for (let again = 0; again < 2; again++) {
    const { json } = await run('--only', 'FAILED')
    assert.deepEqual(json.counts, { records: 2, answered: 1, failed: 1 })
    assert.equal((json.objects as { done: number }).done, 1)
    assert.match(read('infer-result/a.csv_result.txt').join(), /^\{"y:0":\[/)
  }
  const lines = read('infer-result-batch.manifest').map((l) => JSON.parse(l) as { source: string; result: string })
  assert.deepEqual(
    lines.map((l) => [l.source, l.result]),
    ['a.csv', 'b.csv'].map((f) => [join(input, f), 'SUCCESSFUL']),
  )
})

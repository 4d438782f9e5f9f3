import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { after, test } from 'node:test'
import { counted, measuredBefore, REQUESTS } from '../../../packager/batch/sample.ts'
import { survey } from '../../../packager/batch/survey.ts'
import { clock } from '../../../packager/cli/dryrun.ts'
import { main } from '../../../packager/cli/main.ts'
import { projectRoot } from '../../../packager/root.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { donesOf } from '../../../src/batch/replay.ts'
import { runObject } from '../../../src/batch/run.ts'
import type { ObjectInfo } from '../../../src/batch/types.ts'
import { randomOf } from '../../fixtures/batch/faulty.ts'
import { jobAt, lineOf, stage } from '../../fixtures/batch/job.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-dry-'))
after(() => rmSync(work, { recursive: true, force: true }))
const model = join(projectRoot(), 'test/fixtures/runtime/models/softmax.onnx')
const rows = (n: number) => Array.from({ length: n }, (_, i) => `[${i % 7}, 1, 2, 3]\n`).join('')

async function cli(...args: string[]) {
  let out = ''
  const to = (add: (text: string) => void) =>
    new Writable({
      write(chunk, _, done) {
        add(String(chunk))
        done()
      },
    })
  const streams = { out: to((t) => (out += t)), err: to(() => undefined) }
  const code = await main(args, { ...streams, env: {} })
  return { code, out }
}

function folder(name: string) {
  const [input, output] = [join(work, name, 'in'), join(work, name, 'out')]
  mkdirSync(input, { recursive: true })
  return { input, output }
}

test('a dry run: what there is, how long, how much; nothing is written', async () => {
  const { input, output } = folder('dry')
  for (let i = 0; i < 40; i++) writeFileSync(join(input, `a${i}.jsonl`), rows(200))
  writeFileSync(join(input, 'b.csv'), '1,2,3,4\n'.repeat(50))
  writeFileSync(join(input, 'empty.jsonl'), '')
  for (const key of ['c.xyz', 'd.xyz']) writeFileSync(join(input, key), 'none')
  const args = ['batch', model, input, output, '--dry-run', '--sample', '10', '--region', 'eu-central-1']
  const { code, out } = await cli(...args, '--json')
  assert.equal(code, 0, out)
  const said = JSON.parse(out)
  assert.equal(said.formats.jsonl.objects, 40)
  assert.equal(said.formats.csv.objects, 1)
  assert.equal(said.formats.jsonl.bytes, 40 * rows(200).length)
  assert.deepEqual(said.skipped, { 'an empty object': 1, 'no file type has this suffix': 2 })
  const { measured } = said.formats.jsonl
  assert.equal(measured.from, 'a sample on this machine')
  assert.equal(measured.records, measured.objects * 200)
  assert.ok(measured.cpuMs > 0 && measured.wallMs > 0)
  assert.ok(said.here.seconds > 0)
  assert.equal(said.lambda.items * said.lambda.batches >= 41, true)
  assert.deepEqual([said.prices.of, said.warnings], ['eu-central-1', undefined])
  assert.equal(said.start, undefined)
  assert.equal(existsSync(output), false)
  const shown = await cli(...args)
  assert.match(shown.out, /^jsonl +40 /m)
  assert.match(shown.out, /^Skipped +2: no file type has this suffix$/m)
  assert.match(shown.out, /^Cost .*list prices of eu-central-1/m)
  assert.equal(existsSync(output), false)
})

test('a dry run by earlier runs; without any it says so', async () => {
  const { input, output } = folder('earlier')
  for (let i = 0; i < 3; i++) writeFileSync(join(input, `a${i}.jsonl`), rows(300))
  const dry = ['batch', model, input, output, '--dry-run', '--earlier', '--json']
  const refused = JSON.parse((await cli(...dry)).out)
  assert.match(refused.error.message, /\.done\.json of jsonl/)
  assert.equal((await cli('batch', model, input, output)).code, 0)
  const before = readdirSync(output)
  const { formats } = JSON.parse((await cli(...dry)).out)
  assert.deepEqual([formats.jsonl.measured.from, formats.jsonl.measured.records], ['earlier runs', 900])
  assert.deepEqual(readdirSync(output), before)
})

test('nothing to answer is an error that says what was there', async () => {
  const { input, output } = folder('none')
  writeFileSync(join(input, 'a.xyz'), 'none')
  const { code, out } = await cli('batch', model, input, output, '--dry-run', '--json')
  assert.equal(code, 2)
  assert.match(JSON.parse(out).error.message, /1 skipped: no file type/)
  assert.equal((await cli('batch', model, input, output, '--dry-run', '--memory', '64')).code, 2)
})

test('a listing of a million is read once, in constant memory, and sampled fairly', async () => {
  const N = 1_000_000
  async function* listing(): AsyncGenerator<ObjectInfo> {
    for (let i = 0; i < N; i++)
      yield { bucket: 'b', key: `k/${i}.${i % 10 === 0 ? 'png' : 'jsonl'}`, size: i % 100, etag: 'e', modified: 0 }
  }
  let told = 0
  global.gc?.()
  const before = process.memoryUsage().heapUsed
  const { formats, skipped } = await survey(listing(), { random: randomOf(1), told: () => told++ })
  const grown = process.memoryUsage().heapUsed - before
  assert.ok(grown < 100e6, `${Math.round(grown / 1e6)} MB`)
  assert.ok(told > 100)
  const { image, jsonl } = formats
  assert.equal(image!.objects + jsonl!.objects + skipped['an empty object']!, N)
  // each object with the same chance: the mean of the numbers is the middle
  const numbers = jsonl!.sample.map((i) => Number(/\d+/.exec(i.key)![0]))
  const mean = numbers.reduce((a, b) => a + b) / numbers.length
  assert.ok(Math.abs(mean - N / 2) < (4 * N) / Math.sqrt(12 * numbers.length), String(mean))
})

test('the requests that the plan counts are those that the code makes', async () => {
  const { input, output } = folder('requests')
  mkdirSync(output, { recursive: true })
  stage(join(work, 'model'))
  writeFileSync(join(input, 'a.jsonl'), `${lineOf(1)}\n`)
  const { store, requests } = counted(createFolderStore())
  const job = jobAt(join(work, 'model'), store, input, output)
  await runObject(job, { bucket: input, key: 'a.jsonl', size: 1 })
  assert.deepEqual(requests, REQUESTS)
  const found = await measuredBefore(donesOf(job), 10)
  assert.deepEqual([found.jsonl!.objects, found.jsonl!.records], [1, 1])
})

test('times as people say them', () => {
  assert.deepEqual([3.14, 75, 600, 10_000, 1e6].map(clock), ['3.1 s', '75 s', '10 min', '2 h 47 min', '11.6 days'])
})

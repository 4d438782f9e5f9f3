import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { ALONE, afterTrouble, claim } from '../../../src/batch/ledger.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import { type Item, type Job, type Outcome, runObject } from '../../../src/batch/run.ts'
import type { Done, ObjectStore } from '../../../src/batch/types.ts'
import { isBad, jobAt, lineOf, stage } from '../../fixtures/batch/job.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-batch-'))
after(() => rmSync(work, { recursive: true, force: true }))

let places = 0
interface Place {
  readonly job: Job
  readonly input: string
  readonly output: string
}

interface PlaceOptions {
  readonly model?: 'softmax' | 'lookup'
  readonly hooks?: string
  readonly store?: ObjectStore
}

function place({ model, hooks, store = createFolderStore() }: PlaceOptions = {}): Place {
  const dir = join(work, String(places++))
  const [input, output] = [join(dir, 'in'), join(dir, 'out')]
  mkdirSync(input, { recursive: true })
  mkdirSync(output, { recursive: true })
  stage(join(dir, 'model'), model, hooks)
  return { job: jobAt(join(dir, 'model'), reliable(store, { pause: 1 }), input, output), input, output }
}

const put = ({ input }: Place, key: string, text: string): Item => {
  writeFileSync(join(input, key), text)
  return { bucket: input, key }
}

const lines = (n: number) => Array.from({ length: n }, (_, i) => `${lineOf(i)}\n`).join('')

interface Line {
  readonly record: number
  readonly id: string
  readonly result?: { y: number[] }
  readonly code?: string
  readonly reason?: string
}

const read = (dir: string, key: string): Line[] =>
  readFileSync(join(dir, key), 'utf8')
    .split('\n')
    .filter((l) => l !== '')
    .map((l) => JSON.parse(l) as Line)

function done(o: Outcome): Done {
  assert.ok(o.status === 'DONE' || o.status === 'FAILED', o.status)
  return o.done
}

/** What must hold of any finished run: each record once, in order, and nothing else in the folder. */
function checkWhole({ output }: Place, d: Done, n: number): { answered: Line[]; named: Line[] } {
  const answered = read(output, d.output.key)
  const named = d.output.errors === undefined ? [] : read(output, d.output.errors)
  assert.deepEqual(
    answered.map((l) => l.record),
    answered.map((l) => l.record).sort((a, b) => a - b),
  )
  assert.deepEqual(
    [...answered, ...named].map((l) => l.record).sort((a, b) => a - b),
    Array.from({ length: n }, (_, i) => i),
  )
  assert.deepEqual(d.counts, { records: n, answered: answered.length, failed: named.length })
  const left = readdirSync(output, { recursive: true, encoding: 'utf8' }).filter((f) =>
    /state\.json|\.modelayer-/.test(f),
  )
  assert.deepEqual(left, [])
  return { answered, named }
}

test('each record is answered in order, or named with its reason', async () => {
  const p = place()
  const d = done(await runObject(p.job, put(p, 'a.jsonl', lines(1000))))
  const { answered, named } = checkWhole(p, d, 1000)
  assert.deepEqual(
    named.map((l) => l.record),
    Array.from({ length: 1000 }, (_, i) => i).filter(isBad),
  )
  assert.deepEqual([...new Set(named.map((l) => l.code))].sort(), ['BAD_JSON', 'WRONG_SHAPE'])
  for (const { result } of answered) {
    assert.equal(result!.y.length, 3)
    assert.ok(Math.abs(result!.y.reduce((a, b) => a + b) - 1) < 1e-5)
  }
  assert.equal(d.status, 'DONE')
  assert.match(d.output.key, new RegExp(`^a\\.jsonl\\.${d.run}\\.jsonl$`))
  assert.ok(existsSync(join(p.output, `a.jsonl.${d.run}.done.json`)))
})

test('stacking changes no answer', async () => {
  const p = place()
  const item = put(p, 'a.jsonl', lines(700))
  const one = done(await runObject({ ...p.job, maxRows: 1, inputOptions: { idField: 'none' } }, item))
  const many = done(await runObject(p.job, item))
  const [a, b] = [read(p.output, one.output.key), read(p.output, many.output.key)]
  assert.equal(a.length, b.length)
  for (const [i, { result }] of a.entries())
    for (const [k, y] of result!.y.entries()) assert.ok(Math.abs(y - b[i]!.result!.y[k]!) < 1e-6)
})

test('a hook of its own may keep what it was given', async () => {
  const hooks = `const { BaseService } = require('modelayer')
exports.default = class extends BaseService {
  _inference(feeds) {
    const before = this.before ?? feeds.x
    this.before = feeds.x
    return { y: [Array.from(before.data)] }
  }
}`
  const p = place({ hooks })
  const text = Array.from({ length: 200 }, (_, i) => `${JSON.stringify({ x: [i, i, i, i] })}\n`).join('')
  const { answered } = checkWhole(p, done(await runObject(p.job, put(p, 'a.jsonl', text))), 200)
  for (const { record, result } of answered) {
    const before = Math.max(0, record - 1)
    assert.deepEqual(result!.y.flat(), [before, before, before, before], `record ${record}`)
  }
})

test('finished input is left alone; another version of it is another run', async () => {
  const p = place()
  const item = put(p, 'a.jsonl', lines(50))
  const first = await runObject(p.job, item)
  const files = readdirSync(p.output)
  const again = await runObject(p.job, item)
  assert.ok('fresh' in first && first.fresh)
  assert.ok('fresh' in again && !again.fresh)
  assert.deepEqual(readdirSync(p.output), files)
  put(p, 'a.jsonl', lines(60))
  const other = done(await runObject(p.job, item))
  assert.notEqual(other.run, done(first).run)
  assert.equal(other.counts.records, 60)
  const late = await runObject(p.job, { ...item, etag: done(first).input.version })
  assert.equal(late.status, 'SKIPPED')
})

test('what is no input is skipped with a reason', async () => {
  const p = place()
  put(p, 'empty.jsonl', '')
  put(p, 'odd.xyz', 'text')
  const reason = async (key: string) => {
    const o = await runObject(p.job, { bucket: p.input, key })
    return o.status === 'SKIPPED' ? o.reason : o.status
  }
  assert.equal(await reason('folder/'), 'a folder')
  assert.equal(await reason('empty.jsonl'), 'an empty object')
  assert.equal(await reason('gone.jsonl'), 'the object is gone')
  assert.equal(await reason('odd.xyz'), 'no file type has this suffix')
  assert.equal(await reason('a.jsonl.0123456789ab.done.json'), 'a result of a batch')
  assert.equal(await reason('a.jsonl.0123456789ab.jsonl'), 'a result of a batch')
  const run = 'map-runs/43a2bce9-5048-47b2-ae1f-c4c117557ff2'
  for (const key of ['manifest', 'SUCCEEDED_0', 'FAILED_12'])
    assert.equal(await reason(`${run}/${key}.json`), 'a result of a batch')
})

test('overlapping places are refused', async () => {
  const p = place()
  const item = put(p, 'a.jsonl', lines(1))
  const inside = { ...p.job, output: { bucket: p.input, prefix: 'out/' } }
  await assert.rejects(runObject(inside, item), { code: 'BATCH_OVERLAP' })
  await assert.rejects(runObject({ ...inside, input: undefined, output: { bucket: p.input, prefix: '' } }, item), {
    code: 'BATCH_OVERLAP',
  })
})

test('a file that is not what its name says fails as a whole, once', async () => {
  const p = place()
  const o = await runObject(p.job, put(p, 'a.jsonl', 'PK\0\0\0'))
  assert.equal(done(o).status, 'FAILED')
  assert.equal(done(o).error?.code, 'BAD_INPUT')
  assert.equal((await runObject(p.job, { bucket: p.input, key: 'a.jsonl' })).status, 'FAILED')
})

test('time runs out: the checkpoint goes on without doing a record twice', async () => {
  const hooks = `
    const { BaseService } = require('modelayer')
    exports.default = class extends BaseService {
      async _preprocess(data) {
        globalThis.seen = [...(globalThis.seen ?? []), data.n]
        await new Promise((r) => setTimeout(r, data.n % 256 === 0 ? 900 : 0))
        return { x: [[data.n, 0, 0, 0]] }
      }
    }`
  const p = place({ hooks })
  const n = 2000
  const item = put(p, 'a.jsonl', Array.from({ length: n }, (_, i) => `{"n":${i}}\n`).join(''))
  let pauses = 0
  let outcome: Outcome
  for (;;) {
    outcome = await runObject(p.job, item, { deadline: Date.now() + 6_000 })
    if (outcome.status !== 'PAUSED') break
    assert.ok(outcome.counts.records > 0)
    pauses++
  }
  assert.ok(pauses > 0, 'it was long enough to pause')
  const { named } = checkWhole(p, done(outcome), n)
  assert.deepEqual(named, [])
})

test('stopped by a signal, it goes on later', async () => {
  const p = place()
  const item = put(p, 'a.jsonl', lines(3000))
  const stop = new AbortController()
  const first = await runObject(p.job, item, {
    signal: stop.signal,
    progress: ({ records }) => records > 500 && stop.abort(),
  })
  assert.equal(first.status, 'PAUSED')
  assert.ok(first.status === 'PAUSED' && first.counts.records > 500 && first.counts.records < 3000)
  checkWhole(p, done(await runObject(p.job, item)), 3000)
})

test('a record on which the graph fails is found in its stack; the others are answered', async () => {
  const p = place({ model: 'lookup' })
  const wrong = [150, 151, 290]
  const text = Array.from({ length: 300 }, (_, i) => `{"i":${wrong.includes(i) ? 9 : i % 3}}\n`).join('')
  const { answered, named } = checkWhole(p, done(await runObject(p.job, put(p, 'a.jsonl', text))), 300)
  assert.deepEqual(
    named.map((l) => l.record),
    wrong,
  )
  assert.deepEqual([...new Set(named.map((l) => l.code))], ['RUN_FAILED'])
  for (const { record, result } of answered) assert.deepEqual(result, { w: (record % 3) + 1 })
})

test('a record on which a hook fails is named; its message is kept out', async () => {
  const hooks = `
    const { BaseService } = require('modelayer')
    exports.default = class extends BaseService {
      _postprocess(outputs) {
        if (outputs.y[0][0] > 0.9) throw new Error('a secret')
        return outputs.y[0]
      }
    }`
  const p = place({ hooks })
  const text = Array.from({ length: 300 }, (_, i) => `{"x":[${i === 150 ? '-90,0,0,0' : '1,1,1,1'}]}\n`).join('')
  const { named } = checkWhole(p, done(await runObject(p.job, put(p, 'a.jsonl', text))), 300)
  assert.deepEqual(
    named.map((l) => [l.record, l.code]),
    [[150, 'HOOK_FAILED']],
  )
  assert.doesNotMatch(JSON.stringify(named), /secret/)
})

test('while one process works on an object, another leaves it', async () => {
  const p = place()
  const item = put(p, 'a.jsonl', lines(10))
  const first = done(await runObject(p.job, item))
  const state = { bucket: p.output, key: `a.jsonl.${first.run}.state.json` }
  rmSync(join(p.output, `a.jsonl.${first.run}.done.json`))
  const held = await claim(p.job.store, state, first.run)
  assert.ok(held)
  assert.equal((await runObject(p.job, item)).status, 'BUSY')
  assert.equal((await runObject(p.job, item, { takeOver: true })).status, 'DONE')
  await assert.rejects(held.save(held.state), { code: 'LEASE_LOST' })
})

test('what ends the process is narrowed down to one record', () => {
  const start = { at: { record: 100 }, tries: 0, watchUntil: 0, suspectUntil: 0 }
  let s = afterTrouble(start as Parameters<typeof afterTrouble>[0])
  assert.ok(s.watchUntil > 100, 'from now on what is in hand is written down')
  s = afterTrouble({ ...s, hand: { from: 100, to: 132 } })
  assert.equal(s.suspectUntil, 132)
  for (let i = 1; i <= ALONE; i++) {
    s = afterTrouble({ ...s, hand: { from: 110, to: 111 } })
    assert.equal(s.ended?.times, i)
  }
  s = afterTrouble({ ...s, hand: { from: 111, to: 111 } })
  assert.deepEqual(s.ended, { from: 111, to: 111, times: 1 }, 'reading is another thing than the record before')
  assert.ok(s.suspectUntil > 132, 'what is read together is read one by one')
})

/** A store whose first look at what ends with `suffix` finds nothing: another process is about to write it. */
function late(store: ObjectStore, suffix: string): ObjectStore {
  let first = true
  return {
    ...store,
    async stat(ref) {
      if (!ref.key.endsWith(suffix) || !first) return store.stat(ref)
      first = false
      return undefined
    },
  }
}

test('a process that ended between its last two writes leaves a checkpoint, which the next delivery takes away', async () => {
  const p = place()
  const item = put(p, 'a.jsonl', lines(5))
  const first = done(await runObject(p.job, item))
  const name = readdirSync(p.output)
    .find((f) => f.endsWith('.done.json'))!
    .replace('.done.json', '.state.json')
  writeFileSync(join(p.output, name), '{}')
  const again = await runObject(p.job, item)
  assert.ok(again.status === 'DONE' && !again.fresh)
  checkWhole(p, first, 5)
})

test('a double that looked before the run was done, and claims after it, computes nothing and leaves nothing', async () => {
  const p = place()
  const item = put(p, 'a.jsonl', lines(5))
  const first = done(await runObject(p.job, item))
  const again = await runObject({ ...p.job, store: late(p.job.store, '.done.json') }, item)
  assert.ok(again.status === 'DONE' && !again.fresh, 'nothing was computed')
  checkWhole(p, first, 5)
})

test('the time of a run is counted once, however often it is written down', async () => {
  const p = place()
  const item = put(p, 'a.jsonl', lines(20_000))
  const begin = performance.now()
  const d = done(await runObject(p.job, item, { leaseMs: 4 }))
  assert.ok(d.ms.total! <= performance.now() - begin + 1, `${d.ms.total} ms`)
})

import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { runObject } from '../../../src/batch/run.ts'
import { memo } from '../../../src/memo.ts'
import { randomOf } from '../../fixtures/batch/faulty.ts'
import { isBad, jobAt, lineOf, stage } from '../../fixtures/batch/job.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-chaos-'))
after(() => rmSync(work, { recursive: true, force: true }))

const child = new URL('../../fixtures/batch/child.ts', import.meta.url)
const LEASE = 400

interface Setup {
  readonly dir: string
  readonly input: string
  readonly output: string
  readonly model: string
}

function setup(name: string, hooks?: string): Setup {
  const dir = join(work, name)
  const s = { dir, input: join(dir, 'in'), output: join(dir, 'out'), model: join(dir, 'model') }
  mkdirSync(s.input, { recursive: true })
  mkdirSync(s.output, { recursive: true })
  stage(s.model, 'softmax', hooks)
  return s
}

interface Drain {
  readonly workers: number
  readonly seed: number
  readonly rate: number
  /** what ends a process that reads it */
  readonly deadly?: string
  disturb(c: ChildProcess): void
}

/**
 * Two processes at one queue, as SQS and Lambda would have it: a message that is not answered comes back. `disturb` may kill.
 * Returns how many processes were needed.
 */
async function drain(s: Setup, queue: string[], { workers, seed, rate, deadly, disturb }: Drain): Promise<number> {
  let processes = 0
  let stillborn = 0
  let open = queue.length
  const loop = async () => {
    while (open > 0) {
      const run = [String(seed * 1000 + processes++), String(rate), String(LEASE)]
      const args = [s.model, s.input, s.output, ...run, ...(deadly === undefined ? [] : [deadly])]
      const c = fork(child, args, { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
      const events: unknown[] = []
      let wake = () => {}
      c.on('message', (m) => {
        events.push(m)
        wake()
      })
      c.on('exit', () => {
        events.push('exit')
        wake()
      })
      const next = async () => {
        if (events.length === 0)
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        return events.shift()
      }
      if ((await next()) === 'exit') {
        assert.ok(++stillborn < 5, 'processes start')
        continue
      }
      disturb(c)
      for (;;) {
        const key = queue.shift()
        if (key === undefined) {
          if (open === 0) break
          await sleep(10)
          if (c.exitCode !== null || c.signalCode !== null) break
          continue
        }
        // one that was just killed cannot be sent to; its exit comes next and puts the key back
        c.send(key, () => {})
        const answer = (await next()) as { status: string } | 'exit'
        if (answer === 'exit') {
          queue.push(key)
          break
        }
        if (['DONE', 'FAILED', 'SKIPPED'].includes(answer.status)) open--
        else {
          // an error goes back as well: five percent of failures beat the patience of the store now and then
          await sleep(LEASE / 4)
          queue.push(key)
        }
      }
      c.kill('SIGKILL')
    }
  }
  await Promise.all(Array.from({ length: workers }, loop))
  return processes
}

interface Line {
  readonly record: number
  readonly result?: unknown
  readonly code?: string
}

function linesOf(s: Setup, key: string): { answered: Line[]; named: Line[]; files: string[] } {
  const files = readdirSync(s.output).filter((f) => f.startsWith(`${key}.`))
  const read = (pattern: RegExp) =>
    files
      .filter((f) => pattern.test(f))
      .flatMap((f) => readFileSync(join(s.output, f), 'utf8').split('\n').filter(Boolean))
      .map((l) => JSON.parse(l) as Line)
  return { answered: read(/[0-9a-f]{12}\.jsonl$/), named: read(/\.err\.jsonl$/), files }
}

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i)

/** One seed in every run; many with CHAOS_SEEDS=1,2,3… */
const SEEDS = (process.env.CHAOS_SEEDS ?? '1').split(',').map(Number)

/** What records are answered without any chaos: they are the same in each file, by their number. */
const expected = memo(async () => {
  const s = setup('calm')
  writeFileSync(
    join(s.input, 'a.jsonl'),
    numbers(MOST)
      .map((k) => `${lineOf(k)}\n`)
      .join(''),
  )
  await runObject(jobAt(s.model, createFolderStore(), s.input, s.output), { bucket: s.input, key: 'a.jsonl' })
  return new Map(linesOf(s, 'a.jsonl').answered.map((l) => [l.record, l.result]))
})
const MOST = 20_000

for (const seed of SEEDS)
  test(`chaos, seed ${seed}: doubles, disorder, store failures, kill -9; each record answered or named exactly once`, async () => {
    const random = randomOf(seed)
    const s = setup(`seed-${seed}`)
    const sizes = new Map<string, number>()
    for (let i = 0; i < 12; i++) {
      const n = 1 + Math.floor(random() ** 3 * (MOST - 1))
      sizes.set(`f${i}.jsonl`, n)
      writeFileSync(
        join(s.input, `f${i}.jsonl`),
        numbers(n)
          .map((k) => `${lineOf(k)}\n`)
          .join(''),
      )
    }
    const queue = [...sizes.keys(), ...sizes.keys(), ...sizes.keys()]
      .map((key) => ({ key, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map((m) => m.key)
    let kills = 0
    const processes = await drain(s, queue, {
      workers: 2,
      seed,
      rate: 0.05,
      disturb(c) {
        if (kills++ >= 6) return
        setTimeout(() => c.kill('SIGKILL'), 20 + random() * 500)
      },
    })
    assert.ok(processes > 2, 'processes were killed')
    const calm = await expected()
    for (const [key, n] of sizes) {
      const { answered, named, files } = linesOf(s, key)
      for (const { record, result } of answered) assert.deepEqual(result, calm.get(record), `${key}, record ${record}`)
      assert.deepEqual(
        answered.map((l) => l.record),
        numbers(n).filter((i) => !isBad(i)),
        `${key} answered`,
      )
      assert.deepEqual(
        named.map((l) => l.record),
        numbers(n).filter(isBad),
        `${key} named`,
      )
      assert.equal(files.filter((f) => f.endsWith('.done.json')).length, 1)
      assert.equal(files.filter((f) => /\.(state|hand)\.json$/.test(f)).length, 0)
    }
  })

test('a record that ends the process is named after some attempts, and the rest is answered', async () => {
  const hooks = `
    const { BaseService } = require('modelayer')
    exports.default = class extends BaseService {
      _preprocess(data) {
        if (data.x[0] === 666) process.kill(process.pid, 'SIGKILL')
        return { x: [data.x] }
      }
    }`
  const s = setup('poison', hooks)
  const bad = [3, 700]
  const text = numbers(1000).map((i) => `{"x":[${bad.includes(i) ? 666 : i % 5},0,0,0]}\n`)
  writeFileSync(join(s.input, 'a.jsonl'), text.join(''))
  const processes = await drain(s, ['a.jsonl'], { workers: 1, seed: 1, rate: 0, disturb: () => undefined })
  const { answered, named } = linesOf(s, 'a.jsonl')
  assert.deepEqual(
    named.map((l) => [l.record, l.code]),
    bad.map((i) => [i, 'CRASHED']),
  )
  assert.deepEqual(
    answered.map((l) => l.record),
    numbers(1000).filter((i) => !bad.includes(i)),
  )
  assert.ok(processes <= 10, `${processes} processes`)
})

// in the head, which is looked at first; among the first that are read together; later
for (const k of [0, 20, 700])
  test(`reading that ends the process at record ${k} is given up there, and no record is blamed for it`, async () => {
    const s = setup(`reading-${k}`)
    const text = numbers(1000).map((i) => (i === k ? '"deadly"\n' : `{"x":[${i % 5},0,0,0]}${' '.repeat(40)}\n`))
    writeFileSync(join(s.input, 'a.jsonl'), text.join(''))
    const run = { workers: 1, seed: 1, rate: 0, deadly: '"deadly"', disturb: () => undefined }
    const processes = await drain(s, ['a.jsonl'], run)
    const { answered, named, files } = linesOf(s, 'a.jsonl')
    assert.deepEqual(
      named.map((l) => [l.record, l.code]),
      [[k, 'BAD_INPUT']],
    )
    assert.deepEqual(
      answered.map((l) => l.record),
      numbers(k),
    )
    const done = files.find((f) => f.endsWith('.done.json'))!
    assert.equal(JSON.parse(readFileSync(join(s.output, done), 'utf8')).status, 'FAILED')
    assert.deepEqual(
      files.filter((f) => /\.(state|hand)\.json$/.test(f)),
      [],
    )
    // eight of one place, and those that moved on before; how far one comes depends on its speed
    assert.ok(processes <= 20, `${processes} processes`)
  })

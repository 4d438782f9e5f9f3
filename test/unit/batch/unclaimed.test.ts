import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runLocal } from '../../../packager/batch/local.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { claim } from '../../../src/batch/ledger.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import { type Item, runObject } from '../../../src/batch/run.ts'
import { createTurns } from '../../../src/batch/turns.ts'
import type { Done, ObjectStore } from '../../../src/batch/types.ts'
import { isAppError } from '../../../src/errors.ts'
import { faulty, randomOf } from '../../fixtures/batch/faulty.ts'
import { jobAt, stage } from '../../fixtures/batch/job.ts'
import { encodePng } from '../../fixtures/batch/png.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-unclaimed-'))
after(() => rmSync(work, { recursive: true, force: true }))

/** What an image is called says what becomes of it; `meet` is where the test looks in. */
const HOOKS = `
const { BaseService } = require('modelayer')
exports.default = class extends BaseService {
  async _preprocess(data) {
    const [[name]] = Object.values(data).map((files) => Object.keys(files))
    await globalThis.meet?.(name)
    return { x: [[1, 2, 3, 4]] }
  }
}`
const hook = globalThis as { meet?: (name: string) => unknown }

const folder = createFolderStore()
const model = join(work, 'model')
stage(model, 'softmax', HOOKS)

let places = 0
function setup(names: readonly string[]) {
  const dir = join(work, String(places++))
  const [input, output] = [join(dir, 'in'), join(dir, 'out')]
  for (const d of [input, output]) mkdirSync(d, { recursive: true })
  for (const name of names) writeFileSync(join(input, name), encodePng(2, 2, Uint8Array.of(1, 2, 3, 4)))
  const itemOf = async (name: string): Promise<Item> => {
    const info = (await folder.stat({ bucket: input, key: name }))!
    return { bucket: input, key: name, size: info.size, etag: info.etag }
  }
  const jobWith = (store: ObjectStore) => jobAt(model, reliable(store, { pause: 0.1, tries: 3 }), input, output)
  return { input, output, itemOf, jobWith }
}

/** Counts what is asked of a store. */
function counting(store: ObjectStore) {
  const counts = { stat: 0, read: 0, put: 0, remove: 0 }
  const counted = <K extends keyof typeof counts>(name: K) =>
    ((...args: Parameters<ObjectStore[K]>) => {
      counts[name]++
      return (store[name] as (...args: Parameters<ObjectStore[K]>) => unknown)(...args)
    }) as ObjectStore[K]
  const own = { stat: counted('stat'), read: counted('read'), put: counted('put'), remove: counted('remove') }
  return { counts, counted: { ...store, ...own } }
}

test('an image that nobody has tried takes two reads and two writes, and the same files as with a claim', async () => {
  const { output, itemOf, jobWith } = setup(['a.png', 'b.png'])
  const { counts, counted } = counting(folder)
  const first = await runObject(jobWith(counted), await itemOf('a.png'), { first: true })
  assert.deepEqual(counts, { stat: 1, read: 1, put: 2, remove: 0 })
  const second = await runObject(jobWith(folder), await itemOf('b.png'))
  assert.deepEqual([first.status, second.status], ['DONE', 'DONE'])
  const files = readdirSync(output).sort()
  assert.deepEqual(
    files.map((f) => f.replace(/[0-9a-f]{12}/, '#')),
    ['a.png.#.done.json', 'a.png.#.jsonl', 'b.png.#.done.json', 'b.png.#.jsonl'],
  )
  const [a, b] = [1, 3].map((i) => readFileSync(join(output, files[i]!), 'utf8'))
  assert.equal(a, b!.replaceAll('b.png', 'a.png'))
  const again = await runObject(jobWith(folder), await itemOf('a.png'), { first: true })
  assert.ok(again.status === 'DONE' && !again.fresh)
})

test('what the event spoke of is another or gone', async () => {
  const { input, output, itemOf, jobWith } = setup(['a.png', 'b.png'])
  const [a, b] = [await itemOf('a.png'), await itemOf('b.png')]
  writeFileSync(join(input, 'a.png'), encodePng(2, 2, Uint8Array.of(9, 9, 9, 9)))
  rmSync(join(input, 'b.png'))
  const outcomes = [a, b].map((item) => runObject(jobWith(folder), item, { first: true }))
  assert.deepEqual(await Promise.all(outcomes), [
    { status: 'SKIPPED', reason: 'the object has changed since; its own event answers it' },
    { status: 'SKIPPED', reason: 'the object is gone' },
  ])
  assert.deepEqual(readdirSync(output), [])
})

test('a run that ends the process leaves a sign, and the next command names the image', async () => {
  const { output, itemOf, jobWith } = setup(['deadly.png', 'fine.png'])
  const items = [await itemOf('deadly.png'), await itemOf('fine.png')]
  let commands = 0
  const signs: boolean[] = []
  for (let life = createLife(); commands === 0 || life.gone; commands++) {
    assert.ok(commands < 10)
    life = createLife()
    const { end } = life
    hook.meet = (name) => {
      if (name !== 'deadly.png') return undefined
      end()
      return new Promise(() => {})
    }
    await Promise.race([runLocal(jobWith(mortal(folder, life)), { items }), life.ended])
    signs.push(readdirSync(output).some((f) => /^lot\.[0-9a-f]{12}\.hand\.json$/.test(f)))
  }
  delete hook.meet
  assert.deepEqual(signs, [...Array(commands - 1).fill(true), false])
  const files = readdirSync(output)
  assert.equal(files.filter((f) => f.endsWith('.done.json')).length, 2)
  const named = files.filter((f) => f.endsWith('.err.jsonl'))
  assert.equal(named.length, 1)
  assert.match(readFileSync(join(output, named[0]!), 'utf8'), /"CRASHED"/)
})

test('an image that was named before its process ended is not named again', async () => {
  const { output, itemOf, jobWith } = setup(['a.png'])
  const [job, item] = [jobWith(folder), await itemOf('a.png')]
  const first = await runObject(job, item)
  assert.ok(first.status === 'DONE')
  const { run } = first.done
  for (const file of readdirSync(output)) rmSync(join(output, file))
  const held = await claim(folder, { bucket: output, key: `a.png.${run}.state.json` }, run)
  const line = `${JSON.stringify({ record: 0, id: 'a.png', code: 'CRASHED', reason: 'it died' })}\n`
  const errors = { parts: [], tail: Buffer.from(line).toString('base64') }
  await held!.leave({ ...held!.state, at: { record: 1 }, counts: { records: 1, answered: 0, failed: 1 }, errors })
  const then = await runObject(job, item)
  assert.ok(then.status === 'DONE')
  assert.deepEqual(then.done.counts, { records: 1, answered: 0, failed: 1 })
  assert.equal(readFileSync(join(output, `a.png.${run}.err.jsonl`), 'utf8'), line)
})

/** A process of which nobody hears any more when it has ended. */
interface Life {
  readonly ended: Promise<void>
  readonly gone: boolean
  end(): void
  /** One more step, of which there may be only so many. */
  step(): void
}

function createLife(steps = Number.POSITIVE_INFINITY): Life {
  let gone = false
  let left = steps
  let tell = () => {}
  const ended = new Promise<void>((resolve) => {
    tell = resolve
  })
  const end = () => {
    gone = true
    tell()
  }
  return {
    ended,
    end,
    get gone() {
      return gone
    },
    step() {
      if (left-- <= 0) end()
    },
  }
}

const attempt = new AsyncLocalStorage<Life>()

/** What is asked of the store after the end of its process never happens, and what is under way then has no answer. */
function mortal(store: ObjectStore, life: Life): ObjectStore {
  const never = () => new Promise<never>(() => {})
  const around = async <T>(work: () => Promise<T>): Promise<T> => {
    life.step()
    if (life.gone) return never()
    const done = await work()
    return life.gone ? never() : done
  }
  return {
    stat: (ref) => around(() => store.stat(ref)),
    put: (ref, bytes, o) => around(() => store.put(ref, bytes, o)),
    remove: (ref) => around(() => store.remove(ref)),
    list: (bucket, prefix, after) => store.list(bucket, prefix, after),
    async *read(ref, o) {
      await around(async () => undefined)
      for await (const chunk of store.read(ref, o)) yield await around(async () => chunk)
    },
    upload: (ref, o) => store.upload(ref, o),
  }
}

const LEASE = 30

/** A few seeds in every run; many with CHAOS_SEEDS=1,2,3… */
for (const seed of (process.env.CHAOS_SEEDS ?? '1,2,3,4,5,6').split(',').map(Number))
  test(`doubles, ends at any moment, faults, answers that differ: each image is answered or named once (seed ${seed})`, async () => {
    const random = randomOf(seed)
    const names = Array.from({ length: 24 }, (_, i) => `${['moody', 'moody', 'fine', 'deadly'][i % 4]}-${i}.png`)
    const { output, itemOf, jobWith } = setup(names)
    const messages: { item: Item; receives: number; at: number }[] = []
    for (const name of names) {
      const item = await itemOf(name)
      for (let i = 1 + Math.floor(3 * random()); i > 0; i--) messages.push({ item, receives: 0, at: 0 })
    }
    hook.meet = async (name) => {
      await sleep(2 * random())
      if (name.startsWith('moody') && random() < 0.4) throw new Error('today I fail')
      if (!name.startsWith('deadly')) return
      attempt.getStore()!.end()
      await new Promise(() => {})
    }
    let busy = 0
    const take = () => {
      const ready = messages.filter((m) => m.at <= Date.now())
      const message = ready[Math.floor(random() * ready.length)]
      if (message) messages.splice(messages.indexOf(message), 1)
      return message
    }
    /** One process after the other, each for one message. */
    const hand = async () => {
      while (messages.length > 0 || busy > 0) {
        const message = take()
        if (!message) {
          await sleep(2)
          continue
        }
        busy++
        const { item, receives } = message
        const life = createLife(random() < 0.3 ? Math.floor(12 * random()) : Number.POSITIVE_INFINITY)
        const job = jobWith(mortal(faulty(folder, 0.05, random), life))
        const control = { first: receives === 0, leaseMs: LEASE, turns: createTurns() }
        const worked = attempt
          .run(life, () => runObject(job, item, control))
          .catch((e: unknown) => {
            assert.ok(isAppError(e), String(e))
          })
        const told = await Promise.race([life.ended, worked])
        const over = told && ['DONE', 'FAILED', 'SKIPPED'].includes(told.status)
        if (!over) messages.push({ item, receives: receives + 1, at: Date.now() + LEASE * (1 + random()) })
        busy--
      }
    }
    await Promise.all([hand(), hand(), hand(), hand()])
    delete hook.meet

    const files = readdirSync(output)
    for (const name of names) {
      const own = files.filter((f) => f.startsWith(`${name}.`))
      const text = (pattern: RegExp) =>
        own.filter((f) => pattern.test(f)).map((f) => readFileSync(join(output, f), 'utf8'))
      const [done, ...others] = text(/\.done\.json$/).map((t) => JSON.parse(t) as Done)
      assert.ok(done && others.length === 0, `${name}: ${own}`)
      const answered = text(/[0-9a-f]{12}\.jsonl$/)
        .join('')
        .split('\n')
        .filter(Boolean).length
      const named = text(/\.err\.jsonl$/)
        .join('')
        .split('\n')
        .filter(Boolean).length
      assert.deepEqual({ answered, named }, { answered: done.counts.answered, named: done.counts.failed }, name)
      assert.equal(answered + named, 1, `${name}: ${text(/err.jsonl$/)}`)
      if (!name.startsWith('moody')) assert.equal(named, name.startsWith('deadly') ? 1 : 0, name)
    }
    assert.deepEqual(
      files.filter((f) => /\.(state|hand)\.json$/.test(f)),
      [],
    )
  })

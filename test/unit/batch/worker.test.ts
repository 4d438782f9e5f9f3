import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createQueue, s3Event, sqsEvent } from '../../../packager/sandbox/queue.ts'
import { readEvent } from '../../../src/batch/events.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { giveBack } from '../../../src/batch/giveback.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import type { Control } from '../../../src/batch/run.ts'
import type { ObjectStore } from '../../../src/batch/types.ts'
import { createWorker, type WorkerOptions } from '../../../src/batch/worker.ts'
import { AppError } from '../../../src/errors.ts'
import type { LogLine } from '../../../src/log.ts'
import { jobAt, lineOf, stage } from '../../fixtures/batch/job.ts'
import { encodePng } from '../../fixtures/batch/png.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-worker-'))
after(() => rmSync(work, { recursive: true, force: true }))

let places = 0
function setup(options: Partial<WorkerOptions> = {}, store: ObjectStore = createFolderStore()) {
  const dir = join(work, String(places++))
  const [input, output, model] = [join(dir, 'in'), join(dir, 'out'), join(dir, 'model')]
  for (const d of [input, output]) mkdirSync(d, { recursive: true })
  stage(model)
  const lines: LogLine[] = []
  const log = (l: LogLine) => void lines.push(l)
  const worker = createWorker(jobAt(model, reliable(store, { pause: 1, tries: 2 }), input, output), { log, ...options })
  const put = (key: string, n: number) => {
    writeFileSync(join(input, key), Array.from({ length: n }, (_, i) => `${lineOf(i)}\n`).join(''))
    return s3Event(input, key)
  }
  return { worker, input, output, lines, put }
}

const soon = () => ({ deadline: Date.now() + 60_000 })
const late = () => ({ deadline: Date.now() + 1_000 })
const message = (id: string, body: unknown, receives = 1) => ({ id, body: JSON.stringify(body), receives })

/** Fails on one key, always. */
function brokenOn(pattern: RegExp): ObjectStore {
  const store = createFolderStore()
  return {
    ...store,
    async *read(ref, o) {
      if (pattern.test(ref.key)) throw new AppError('STORE_FAILED', { where: ref.key, got: '503 SlowDown' })
      yield* store.read(ref, o)
    },
  }
}

test('SQS: messages fail one by one; the last receive leaves the reason', async () => {
  const { worker, put, output, lines } = setup({ maxReceives: 3 }, brokenOn(/bad/))
  const event = sqsEvent([
    message('1', put('a.jsonl', 50)),
    message('2', put('bad.jsonl', 50), 3),
    message('3', 'text'),
  ])
  const answer = await worker(event, soon())
  assert.deepEqual(answer, { batchItemFailures: [{ itemIdentifier: '2' }, { itemIdentifier: '3' }] })
  const reason = JSON.parse(readFileSync(join(output, 'bad.jsonl.failed.json'), 'utf8'))
  assert.equal(reason.code, 'STORE_FAILED')
  assert.equal(reason.receives, 3)
  assert.match(reason.reason, /503/)
  assert.ok(lines.some((l) => l.error?.code === 'STORE_FAILED'))
  assert.ok(readdirSync(output).some((f) => /^a\.jsonl\..*\.done\.json$/.test(f)))
})

test('SQS: what has no time left comes back', async () => {
  const { worker, put } = setup()
  const event = sqsEvent([message('1', put('a.jsonl', 50))])
  assert.deepEqual(await worker(event, late()), { batchItemFailures: [{ itemIdentifier: '1' }] })
  assert.deepEqual(await worker(event, soon()), { batchItemFailures: [] })
  assert.deepEqual(await worker(event, soon()), { batchItemFailures: [] })
})

/** The queue of the sandbox as the function sees it, and how long it was asked to wait. */
function queued(worker: (event: unknown) => Promise<unknown>, maxReceives: number) {
  const waits: [what: string, seconds: number][] = []
  const dead: string[] = []
  const queue = createQueue({
    invoke: async (event) => ({ requestId: '', ms: 0, log: '', restarted: false, response: await worker(event) }),
    visibilityMs: 5,
    maxReceives,
    onDead: (m) => void dead.push(m.body),
  })
  const ours: WorkerOptions['queue'] = (arn) => {
    assert.equal(arn, 'arn:aws:sqs:us-east-1:123456789012:batch')
    return {
      async send(body, seconds) {
        waits.push(['send', seconds])
        queue.sendText(body, seconds * 1000)
      },
      async hide(receipts, seconds) {
        waits.push(['hide', seconds])
        for (const r of receipts) queue.hide(r, seconds * 1000)
      },
    }
  }
  return { queue, ours, waits, dead }
}

/** Time ends when some records are answered. */
function pausing(): Control {
  const stop = new AbortController()
  let start: number | undefined
  return {
    signal: stop.signal,
    progress({ records }) {
      start ??= records
      if (records > start) stop.abort()
    },
  }
}

test('SQS: an object with more pauses than receives is answered, and its message is no dead letter', async () => {
  const q = queued((event) => worker(event, pausing()), 3)
  const { worker, put, output } = setup({ maxReceives: 3, queue: q.ours })
  q.queue.send(put('a.jsonl', 2_000))
  const { dead, invocations } = await q.queue.drain()
  assert.deepEqual(dead, [])
  assert.ok(invocations > 4, `${invocations} invocations`)
  assert.deepEqual(new Set(q.waits.map(String)), new Set(['hide,90', 'send,0']))
  const done = readdirSync(output).find((f) => f.endsWith('.done.json'))!
  assert.equal(JSON.parse(readFileSync(join(output, done), 'utf8')).counts.records, 2_000)
})

test('SQS: what never gets anywhere, or fails, is a dead letter; the pauses grow', async () => {
  const store = brokenOn(/bad/)
  const stuck = queued((event) => late1.worker(event, late()), 3)
  const late1 = setup({ maxReceives: 3, queue: stuck.ours }, store)
  stuck.queue.send(late1.put('a.jsonl', 50))
  assert.equal((await stuck.queue.drain()).dead.length, 1)
  assert.deepEqual(stuck.waits.map(String), ['hide,90', 'hide,5', 'hide,90', 'hide,5', 'hide,90', 'hide,5'])

  const failing = queued((event) => bad.worker(event, soon()), 3)
  const bad = setup({ maxReceives: 3, queue: failing.ours }, store)
  failing.queue.send(bad.put('bad.jsonl', 50))
  assert.equal((await failing.queue.drain()).dead.length, 1)
  assert.deepEqual(failing.waits.map(String), ['hide,90', 'hide,10', 'hide,90', 'hide,20', 'hide,90', 'hide,40'])
})

test('SQS: a message of an object that another process works on comes back after the lease, and not for ever', async () => {
  const waits: string[] = []
  const queue: WorkerOptions['queue'] = () => ({
    send: async (_, seconds) => void waits.push(`send ${seconds}`),
    hide: async (_, seconds) => void waits.push(`hide ${seconds}`),
  })
  const { worker, put, output } = setup({ queue })
  const item = put('a.jsonl', 2_000)
  const receive = (n: number) => sqsEvent([message('1', item, n)])
  await worker(receive(1), pausing())
  const path = join(output, readdirSync(output).find((f) => f.endsWith('.state.json'))!)
  const lease = { owner: 'another', until: Date.now() + 60_000 }
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), lease }))
  for (const n of [1, 2, 9])
    assert.deepEqual(await worker(receive(n), soon()), { batchItemFailures: [{ itemIdentifier: '1' }] })
  assert.deepEqual(waits, ['hide 90', 'send 0', 'hide 90', 'hide 30', 'hide 90', 'hide 60', 'hide 90', 'hide 900'])
})

test('SQS: a queue that cannot be told keeps nothing back', async () => {
  const fail = async () => {
    throw new Error('AccessDenied')
  }
  const { worker, put, lines } = setup({ queue: () => ({ send: fail, hide: fail }) })
  const event = sqsEvent([message('1', put('a.jsonl', 2_000)), message('2', 'text')])
  const answer = await worker(event, pausing())
  assert.deepEqual(answer, { batchItemFailures: [{ itemIdentifier: '1' }, { itemIdentifier: '2' }] })
  assert.ok(lines.some((l) => l.level === 'warn' && l.message === 'batch: the queue cannot be told'))
})

test('S3 directly: a pause starts the function again, a failure is thrown', async () => {
  const events: object[] = []
  const { worker, put, input } = setup({ again: async (e) => void events.push(e) }, brokenOn(/bad/))
  assert.deepEqual(await worker(put('a.jsonl', 50), late()), { done: 0, paused: 1 })
  assert.deepEqual(events, [{ input: `s3://${input}/a.jsonl` }])
  assert.deepEqual(await worker(put('a.jsonl', 50), soon()), { done: 1, paused: 0 })
  await assert.rejects(Promise.resolve(worker(put('bad.jsonl', 5), soon())), /503/)
})

test('SQS: an image that was in work without a claim when the time ended is a receive, whatever moved beside it', async () => {
  const waits: string[] = []
  const queue: WorkerOptions['queue'] = () => ({
    send: async (_, seconds) => void waits.push(`send ${seconds}`),
    hide: async (_, seconds) => void waits.push(`hide ${seconds}`),
  })
  const [moved, tried] = readEvent(sqsEvent([message('1', {}), message('2', {})])).deliveries
  const counts = { records: 0, answered: 0, failed: 0 }
  const paused = { status: 'PAUSED', counts, moved: false } as const
  const reports = new Map([
    [moved!, [{ key: 'a.jsonl', outcome: { ...paused, moved: true } }]],
    [tried!, [{ key: 'b.png', outcome: { ...paused, tried: true as const } }]],
  ])
  const answer = await giveBack(reports, { log: () => undefined, queue })
  assert.deepEqual(answer, { batchItemFailures: [{ itemIdentifier: '2' }] })
  assert.deepEqual(waits.sort(), ['hide 5', 'send 0'])
})

test('a map: a sign stands beside the results while a process is at work, and stays where the time ended over an image', async () => {
  const { worker, input, output } = setup()
  const [a, b] = ['a.png', 'b.png'].map((key) => {
    writeFileSync(join(input, key), encodePng(2, 2, Uint8Array.of(1, 2, 3, 4)))
    return { Key: key, Bucket: input }
  })
  const told = async (item: { Key: string; Bucket: string }) => {
    const { size, etag } = (await createFolderStore().stat({ bucket: item.Bucket, key: item.Key }))!
    return { ...item, Size: size, Etag: `"${etag}"` }
  }
  const event = { Items: [await told(a!), await told(b!)], BatchInput: {} }
  const signs = () => readdirSync(output).filter((f) => /^lot\.[0-9a-f]{12}\.hand\.json$/.test(f))
  const over = new AbortController()
  over.abort()
  assert.equal(((await worker(event, { ...soon(), signal: over.signal })) as { open: number }).open, 2)
  assert.equal(signs().length, 1)
  assert.equal(((await worker(event, soon())) as { open: number }).open, 0)
  assert.deepEqual(signs(), [])
  assert.equal(readdirSync(output).filter((f) => f.endsWith('.done.json')).length, 2)
})

test('a map hears what is open, and the counts', async () => {
  const { worker, put, input, output } = setup()
  put('a.jsonl', 100)
  const event = {
    Items: [
      { Key: 'a.jsonl', Bucket: input },
      { Key: 'gone.jsonl', Bucket: input },
    ],
    BatchInput: {},
  }
  assert.deepEqual(await worker(event, late()), {
    open: 2,
    tooMany: false,
    objects: { done: 0, failed: 0, skipped: 0, open: 2 },
    records: { records: 0, answered: 0, failed: 0 },
    results: ['a.jsonl', 'gone.jsonl'].map((key) => ({
      key,
      status: 'PAUSED',
      counts: { records: 0, answered: 0, failed: 0 },
      moved: false,
    })),
  })
  assert.deepEqual(await worker(event, soon()), {
    open: 0,
    tooMany: false,
    objects: { done: 1, failed: 0, skipped: 1, open: 0 },
    records: { records: 100, answered: 98, failed: 2 },
    results: [
      { key: 'gone.jsonl', status: 'SKIPPED', reason: 'the object is gone' },
      { key: 'a.jsonl', status: 'DONE', records: 100, answered: 98, failed: 2, fresh: true },
    ],
  })
  assert.equal(readdirSync(output).length, 3)
})

test('an event of something else is refused', async () => {
  const { worker } = setup()
  await assert.rejects(Promise.resolve(worker({ httpMethod: 'GET' }, soon())), { code: 'BAD_EVENT' })
})

test('a reason that cannot be written keeps no other message back', async () => {
  const store = brokenOn(/bad/)
  const refusing: ObjectStore = {
    ...store,
    async put(ref, bytes, o) {
      if (ref.key.endsWith('.failed.json')) throw new AppError('STORE_REFUSED', { where: ref.key, got: '403' })
      return store.put(ref, bytes, o)
    },
  }
  const { worker, put, lines } = setup({ maxReceives: 1 }, refusing)
  const event = sqsEvent([message('1', put('bad.jsonl', 5)), message('2', put('a.jsonl', 5))])
  assert.deepEqual(await worker(event, soon()), { batchItemFailures: [{ itemIdentifier: '1' }] })
  assert.ok(lines.some((l) => l.error?.code === 'STORE_REFUSED'))
})

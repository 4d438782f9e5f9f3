import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { createQueue, type Queue, s3Event, sqsEvent } from '../../../packager/sandbox/queue.ts'
import { startQueueServer } from '../../../packager/sandbox/sqs.ts'
import { readEvent } from '../../../src/batch/events.ts'
import { createHolds } from '../../../src/batch/hold.ts'
import { openQueues } from '../../../src/batch/queue.ts'
import type { WorkerOptions } from '../../../src/batch/worker.ts'
import type { LogLine } from '../../../src/log.ts'

process.env.AWS_ACCESS_KEY_ID ??= 'test'
process.env.AWS_SECRET_ACCESS_KEY ??= 'test'

const ARN = 'arn:aws:sqs:us-east-1:123456789012:batch'
const messages = (n: number) =>
  Array.from({ length: n }, (_, i) => ({ id: `${i}`, body: JSON.stringify(s3Event('b', `${i}.png`)), receives: 1 }))
const received = (n: number) => readEvent(sqsEvent(messages(n))).deliveries

const QUICK = { seconds: 90, everyMs: 5, patienceMs: 50 }
const quiet = (line: LogLine) => assert.fail(line.message)

/** Waits for what comes soon, and fails where it does not come. */
async function until(is: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !is(); i++) await sleep(10)
  assert.ok(is(), 'it came in time')
}

test('messages in hand are hidden again and again, all in one request, until the end', async () => {
  const told: [string, readonly string[], number][] = []
  const queue = (arn: string) => ({
    send: async () => undefined,
    hide: async (receipts: readonly string[], seconds: number) => void told.push([arn, receipts, seconds]),
  })
  const held = await createHolds({ log: quiet, queue }, QUICK)(received(3))
  await until(() => told.length > 2)
  held.end()
  const before = told.length
  await sleep(50)
  assert.equal(told.length, before)
  for (const one of told) assert.deepEqual(one, [ARN, ['0', '1', '2'], 90])
})

test('a queue that refuses is named once; one that is slow keeps nobody waiting, and is not named', async () => {
  const lines: LogLine[] = []
  const log = (l: LogLine) => void lines.push(l)
  let asked = 0
  const refusing = async () => {
    asked++
    throw Object.assign(new Error('no'), { name: 'AccessDenied' })
  }
  const refused = createHolds({ log, queue: () => ({ send: refusing, hide: refusing }) }, QUICK)
  const held = await refused(received(2))
  await until(() => asked > 2)
  held.end()
  assert.deepEqual(
    lines.map((l) => [l.level, l.message, l.error?.code]),
    [['warn', 'batch: the queue cannot be told', 'STORE_FAILED']],
  )

  const slow = (_: readonly string[], __: number, signal?: AbortSignal) =>
    new Promise<void>((_, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted'))))
  const hold = createHolds({ log, queue: () => ({ send: refusing, hide: slow }) }, QUICK)
  const states: string[] = []
  for (let i = 0; i < 2; i++) {
    const asked = hold(received(2))
    states.push(await Promise.race([asked.then(() => 'there'), setImmediate('waits')]))
    ;(await asked).end()
  }
  assert.deepEqual(states, ['waits', 'there'])
  await sleep(20)
  assert.equal(lines.length, 1)

  // one that was given up before does not keep a refusal secret
  let hide: WorkerOptions['queue'] = () => ({ send: refusing, hide: slow })
  const both = createHolds({ log, queue: (arn) => hide!(arn) }, QUICK)
  ;(await both(received(1))).end()
  await sleep(20)
  hide = () => ({ send: refusing, hide: refusing })
  const last = await both(received(1))
  await until(() => lines.length === 2)
  last.end()
})

test('a message of a process that ended comes back when its last sign of life is over, not when the queue says so', async () => {
  let queue: Queue | undefined
  const server = await startQueueServer(() => queue)
  const seen: string[][] = []
  const short = { seconds: 1, everyMs: 200, patienceMs: 1000 }
  const hold = createHolds({ log: quiet, queue: openQueues(server.url) }, short)
  const invoked = { requestId: '', ms: 0, log: '' }
  try {
    queue = createQueue({
      batchSize: 20,
      visibilityMs: 3_600_000,
      invoke: async (event) => {
        const { deliveries } = readEvent(event)
        seen.push(deliveries.map((d) => d.id!).sort())
        if (seen.length > 1) return { ...invoked, restarted: false, response: { batchItemFailures: [] } }
        const held = await hold(deliveries)
        await sleep(500)
        held.end()
        return { ...invoked, restarted: true, error: { errorType: 'Runtime.ExitError', errorMessage: 'gone' } }
      },
    })
    for (const m of messages(12)) queue.send(JSON.parse(m.body))
    assert.deepEqual((await queue.drain()).dead, [])
    assert.equal(seen[0]!.length, 12)
    assert.deepEqual(seen.slice(1).flat().sort(), seen[0])
  } finally {
    await server.close()
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createQueue, type Queue, type sqsEvent } from '../../../packager/sandbox/queue.ts'
import { startQueueServer } from '../../../packager/sandbox/sqs.ts'
import { openQueues } from '../../../src/batch/queue.ts'

process.env.AWS_ACCESS_KEY_ID ??= 'test'
process.env.AWS_SECRET_ACCESS_KEY ??= 'test'

type Event = ReturnType<typeof sqsEvent> & {
  Records: { messageId: string; receiptHandle: string; body: string; eventSourceARN: string }[]
}

test('the SDK at the queue of the sandbox: a message goes out anew, another comes back at once', async () => {
  const seen: string[] = []
  let queue: Queue | undefined
  const server = await startQueueServer(() => queue)
  const open = openQueues(server.url)
  try {
    const made = createQueue({
      visibilityMs: 60_000,
      maxReceives: 3,
      invoke: async (event) => {
        const [{ messageId, receiptHandle, body, eventSourceARN }] = (event as Event).Records as [Event['Records'][0]]
        const own = open(eventSourceARN)
        seen.push(body)
        const back = body === '"back"' && seen.length < 4
        if (body === '"on"') await own.send('"ü\n"', 0)
        if (back) await own.hide([receiptHandle], 0)
        const batchItemFailures = back ? [{ itemIdentifier: messageId }] : []
        return { requestId: '', ms: 0, log: '', restarted: false, response: { batchItemFailures } }
      },
      batchSize: 1,
      random: () => 0.5,
    })
    queue = made
    made.send('on')
    made.send('back')
    assert.deepEqual((await made.drain()).dead, [])
    assert.equal(seen.filter((s) => s === '"ü\n"').length, 1)
    assert.ok(seen.filter((s) => s === '"back"').length > 1)
    queue = undefined
    await assert.rejects(open('arn:aws:sqs:us-east-1:123456789012:batch').send('x', 0), {
      name: 'UnsupportedOperation',
    })
  } finally {
    await server.close()
  }
})

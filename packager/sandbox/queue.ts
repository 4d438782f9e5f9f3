import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { InvokeResult } from './sandbox.ts'

export interface QueueOptions {
  readonly invoke: (event: unknown) => Promise<InvokeResult>
  /** messages of one invocation at most */
  readonly batchSize?: number
  /** how long a message that was delivered stays hidden at most; it comes back unless it was reported done */
  readonly visibilityMs?: number
  /** after this many deliveries a message goes to the dead-letter queue */
  readonly maxReceives?: number
  /** share of messages that are delivered once more although they were done: at least once is what SQS promises */
  readonly duplicates?: number
  readonly random?: () => number
  /** ends `drain` between two deliveries, whatever is left */
  readonly signal?: AbortSignal
  readonly onDead?: (message: Message) => void
}

export interface Message {
  readonly id: string
  readonly body: string
  readonly receives: number
}

export interface Drained {
  readonly invocations: number
  readonly dead: readonly Message[]
}

export interface Queue {
  send(body: unknown): void
  /** Text as it is, delivered after a while. Returns its id. */
  sendText(body: string, delayMs: number): string
  /** When a message that is in the hands of the function comes back, if it does. */
  hide(receipt: string, ms: number): void
  /** Until no message is left. */
  drain(): Promise<Drained>
}

/** A queue as Lambda polls it: no order, doubles, messages that come back, partial batch answers, a dead-letter queue. */
export function createQueue(o: QueueOptions): Queue {
  const { batchSize = 10, visibilityMs = 1000, maxReceives = 5, duplicates = 0, random = Math.random } = o
  let waiting: (Message & { readonly visible: number })[] = []
  const dead: Message[] = []
  /** by receipt, until when */
  const hidden = new Map<string, number>()
  let invocations = 0

  function take(): Message[] {
    const now = Date.now()
    const ready = waiting
      .filter((m) => m.visible <= now)
      .map((m) => ({ m, order: random() }))
      .sort((a, b) => a.order - b.order)
      .slice(0, batchSize)
      .map(({ m }) => m)
    waiting = waiting.filter((m) => !ready.includes(m))
    return ready.map((m) => ({ ...m, receives: m.receives + 1 }))
  }

  // no pause is longer than the visibility, which is short where somebody watches
  const inMs = (ms: number) => Date.now() + Math.min(ms, visibilityMs)

  function sendText(body: string, delayMs: number): string {
    const id = randomUUID()
    waiting.push({ id, body, receives: 0, visible: inMs(delayMs) })
    return id
  }

  function back(m: Message, visible: number): void {
    if (m.receives >= maxReceives) {
      dead.push(m)
      o.onDead?.(m)
    } else waiting.push({ ...m, visible })
  }

  return {
    send: (body) => void sendText(JSON.stringify(body), 0),
    sendText,
    hide: (receipt, ms) => void hidden.set(receipt, inMs(ms)),
    async drain() {
      while (waiting.length > 0 && !o.signal?.aborted) {
        const batch = take()
        if (batch.length === 0) {
          await sleep(Math.min(50, visibilityMs))
          continue
        }
        const { response, error } = await o.invoke(sqsEvent(batch))
        invocations++
        const failures = (response as { batchItemFailures?: { itemIdentifier: string }[] } | undefined)
          ?.batchItemFailures
        const failed = new Set(failures?.map((f) => f.itemIdentifier))
        for (const m of batch) {
          if (error || failed.has(m.id)) back(m, hidden.get(m.id) ?? inMs(visibilityMs))
          else if (random() < duplicates) back({ ...m, receives: 0 }, inMs(0))
          hidden.delete(m.id)
        }
      }
      return { invocations, dead }
    },
  }
}

/** The event that Lambda makes of messages. */
export function sqsEvent(messages: readonly Message[]): object {
  return {
    Records: messages.map(({ id, body, receives }) => ({
      messageId: id,
      receiptHandle: id,
      body,
      attributes: {
        ApproximateReceiveCount: String(receives),
        SentTimestamp: String(Date.now()),
        SenderId: 'AIDAEXAMPLE',
        ApproximateFirstReceiveTimestamp: String(Date.now()),
      },
      messageAttributes: {},
      md5OfBody: '',
      eventSource: 'aws:sqs',
      eventSourceARN: 'arn:aws:sqs:us-east-1:123456789012:batch',
      awsRegion: 'us-east-1',
    })),
  }
}

/** The event that S3 sends for an object that was made; the key as S3 encodes it. */
export function s3Event(
  bucket: string,
  key: string,
  o: { size?: number; eTag?: string; sequencer?: string } = {},
): object {
  return {
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 'aws:s3',
        awsRegion: 'us-east-1',
        eventTime: new Date().toISOString(),
        eventName: 'ObjectCreated:Put',
        s3: {
          s3SchemaVersion: '1.0',
          bucket: { name: bucket, arn: `arn:aws:s3:::${bucket}` },
          object: { key: encodeKey(key), sequencer: '0055AED6DCD90281E5', ...o },
        },
      },
    ],
  }
}

const encodeKey = (key: string) =>
  key
    .split('/')
    .map((s) => encodeURIComponent(s).replaceAll('%20', '+'))
    .join('/')

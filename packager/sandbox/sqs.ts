import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Queue } from './queue.ts'

export interface QueueServer {
  /** for AWS_ENDPOINT_URL_SQS */
  readonly url: string
  close(): Promise<void>
}

/** What a request of the SQS API may say. */
interface Said {
  readonly MessageBody?: string
  readonly DelaySeconds?: number
  readonly Entries?: readonly {
    readonly Id: string
    readonly ReceiptHandle: string
    readonly VisibilityTimeout: number
  }[]
}

const OPERATIONS: Readonly<Record<string, (queue: Queue, said: Said) => object>> = {
  SendMessage: (queue, { MessageBody = '', DelaySeconds = 0 }) => ({
    MessageId: queue.sendText(MessageBody, DelaySeconds * 1000),
    MD5OfMessageBody: createHash('md5').update(MessageBody).digest('hex'),
  }),
  ChangeMessageVisibilityBatch(queue, { Entries = [] }) {
    for (const { ReceiptHandle, VisibilityTimeout } of Entries) queue.hide(ReceiptHandle, VisibilityTimeout * 1000)
    return { Successful: Entries.map(({ Id }) => ({ Id })), Failed: [] }
  },
}

/** As much of the SQS API as the batch function uses, over the one queue there is. It listens on 127.0.0.1 only. */
export async function startQueueServer(queue: () => Queue | undefined): Promise<QueueServer> {
  const server = createServer(async (message, out) => {
    const to = queue()
    const operation = OPERATIONS[String(message.headers['x-amz-target']).replace(/^AmazonSQS\./, '')]
    let answer: object | undefined
    try {
      const said: unknown = JSON.parse(await textOf(message))
      if (to && typeof said === 'object' && said !== null) answer = operation?.(to, said)
    } catch {
      // whoever sends anything else is told below
    }
    out.writeHead(answer ? 200 : 400, { 'content-type': 'application/x-amz-json-1.0' })
    out.end(JSON.stringify(answer ?? { __type: 'com.amazonaws.sqs#UnsupportedOperation' }))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function textOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

import { memo } from '../memo.ts'

/** The queue that a message came from. */
export interface Queue {
  /** The same again as a new message, that has never been received. */
  send(body: string, seconds: number): Promise<void>
  /** When messages are delivered again unless they are done by then. */
  hide(receipts: readonly string[], seconds: number, signal?: AbortSignal): Promise<void>
}

/** Messages of one request. */
const MOST = 10

/** It is asked also shortly before the function has to answer. */
const PATIENCE = { connectionTimeout: 1_000, requestTimeout: 1_000 }

/** Queues by their ARN, by the AWS SDK, which is loaded for the first message. */
export function openQueues(endpoint: string | undefined): (arn: string) => Queue {
  const sdk = memo(() => import('@aws-sdk/client-sqs'))
  const queues = new Map<string, Queue>()
  function open(arn: string): Queue {
    const [, partition, , region = '', account, name] = arn.split(':')
    const suffix = partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com'
    const QueueUrl = `${endpoint?.replace(/\/$/, '') ?? `https://sqs.${region}.${suffix}`}/${account}/${name}`
    const connect = memo(async () => {
      const { SQSClient } = await sdk()
      return new SQSClient({ region, maxAttempts: 2, requestHandler: PATIENCE, ...(endpoint && { endpoint }) })
    })
    return {
      async send(MessageBody, DelaySeconds) {
        const { SendMessageCommand } = await sdk()
        await (await connect()).send(new SendMessageCommand({ QueueUrl, MessageBody, DelaySeconds }))
      },
      async hide(receipts, VisibilityTimeout, abortSignal) {
        const { ChangeMessageVisibilityBatchCommand } = await sdk()
        const all = receipts.map((ReceiptHandle, i) => ({ Id: `${i}`, ReceiptHandle, VisibilityTimeout }))
        let failed: string | undefined
        for (let at = 0; at < all.length; at += MOST) {
          const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries: all.slice(at, at + MOST) })
          const answer = await (await connect()).send(command, { abortSignal })
          failed ??= answer.Failed?.[0]?.Code
        }
        if (failed !== undefined) throw Object.assign(new Error('a message cannot be hidden'), { name: failed })
      },
    }
  }
  return (arn) => {
    const queue = queues.get(arn) ?? open(arn)
    queues.set(arn, queue)
    return queue
  }
}

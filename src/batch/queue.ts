import { memo } from '../memo.ts'

/** The queue that a message came from. */
export interface Queue {
  /** The same again as a new message, that has never been received. */
  send(body: string, seconds: number): Promise<void>
  /** When a message that is given back is delivered again. */
  hide(receipt: string, seconds: number): Promise<void>
}

/** It is asked shortly before the function has to answer. */
const PATIENCE = { connectionTimeout: 1_000, requestTimeout: 1_000 }

/** Queues by their ARN, by the AWS SDK, which is loaded where a message is not done. */
export function openQueues(endpoint: string | undefined): (arn: string) => Queue {
  const sdk = memo(() => import('@aws-sdk/client-sqs'))
  return (arn) => {
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
      async hide(ReceiptHandle, VisibilityTimeout) {
        const { ChangeMessageVisibilityCommand } = await sdk()
        await (await connect()).send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout }))
      },
    }
  }
}

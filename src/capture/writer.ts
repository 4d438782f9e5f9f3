import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { AppError } from '../errors.ts'
import type { CaptureOptions, Exchange, Place } from './capture.ts'
import { captureKey, captureRecord } from './record.ts'
import { redactor } from './redact.ts'

export type Writer = (exchange: Exchange, signal: AbortSignal) => Promise<void>

/** An object per request: an environment that is frozen cannot say that it will ever be asked again, so nothing is kept for later. */
export async function createWriter(options: CaptureOptions, { region, endpoint }: Place): Promise<Writer> {
  const redact = redactor(options.redact)
  const client = new S3Client({
    region,
    // the patience of whoever waits is shorter than that of the SDK
    maxAttempts: 2,
    ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
  })
  return async (exchange, abortSignal) => {
    const at = new Date()
    const line = captureRecord(exchange, { ...options, redact }, at)
    const command = new PutObjectCommand({
      Bucket: options.bucket,
      Key: captureKey(options.prefix, exchange, at),
      Body: Buffer.from(`${JSON.stringify(line)}\n`),
      ContentType: 'application/jsonl',
    })
    await client.send(command, { abortSignal }).catch((cause: unknown) => {
      throw new AppError('STORE_FAILED', { where: `${options.bucket}/${options.prefix}`, cause })
    })
  }
}

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { Upload as Multipart } from '@aws-sdk/lib-storage'

export interface Upload {
  readonly key: string
  readonly file: string
}

export interface Uploaded {
  readonly sent: number
  readonly bytes: number
  readonly unchanged: number
}

const PREFIX = 'modelayer/'
const RECORD = `${PREFIX}deployed.sha256`

/** The deployment bucket: what it holds is named by its content, so that whatever is there already stays as it is. */
export class DeploymentBucket {
  private readonly client: S3Client
  private readonly Bucket: string

  constructor(bucket: string, config: S3ClientConfig) {
    this.Bucket = bucket
    this.client = new S3Client(config)
  }

  async upload(wanted: readonly Upload[]): Promise<Uploaded> {
    const there = new Set<string | undefined>()
    for await (const page of paginateListObjectsV2({ client: this.client }, { Bucket: this.Bucket, Prefix: PREFIX }))
      for (const o of page.Contents ?? []) there.add(o.Key)
    let [sent, bytes] = [0, 0]
    for (const { key, file } of wanted) {
      if (there.has(key)) continue
      bytes += await this.send(key, file)
      sent++
    }
    return { sent, bytes, unchanged: wanted.length - sent }
  }

  /** Of the template that was deployed last, all the way. */
  async deployed(): Promise<string | undefined> {
    try {
      const { Body } = await this.client.send(new GetObjectCommand({ Bucket: this.Bucket, Key: RECORD }))
      return await Body?.transformToString()
    } catch (e) {
      if ((e as { name?: string }).name === 'NoSuchKey') return undefined
      throw e
    }
  }

  async record(digest: string): Promise<void> {
    await this.put(RECORD, Buffer.from(digest))
  }

  /** In parts, so that no file is held whole and a fault costs a part. */
  private async send(Key: string, file: string): Promise<number> {
    const params = { Bucket: this.Bucket, Key, Body: createReadStream(file), ServerSideEncryption: 'AES256' } as const
    await new Multipart({ client: this.client, params, partSize: 16 * 2 ** 20 }).done()
    return (await stat(file)).size
  }

  private async put(Key: string, Body: Uint8Array): Promise<void> {
    await this.client.send(new PutObjectCommand({ Bucket: this.Bucket, Key, Body, ServerSideEncryption: 'AES256' }))
  }
}

/** osls names each deployment of a REST API by the time of packaging, whether anything changed or not. */
export const digestOf = (template: unknown): string =>
  createHash('sha256')
    .update(JSON.stringify(template).replace(/ApiGatewayDeployment\d+/g, 'ApiGatewayDeployment'))
    .digest('hex')

/** Every object: CloudFormation deletes only buckets that are empty. */
export async function emptyBucket(Bucket: string, config: S3ClientConfig): Promise<void> {
  const client = new S3Client(config)
  for await (const page of paginateListObjectsV2({ client }, { Bucket })) {
    const Objects = (page.Contents ?? []).map(({ Key }) => ({ Key }))
    if (Objects.length) await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
  }
}

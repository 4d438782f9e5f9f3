import { Readable } from 'node:stream'
import { AppError } from '../../src/errors.ts'
import { fetchSource, isRemote, type ObjectSource } from '../package/source.ts'
import type { Reporter } from './reporter.ts'

/** A path, or the local copy of an `s3://` prefix. */
export async function localSource(source: string, io: Reporter): Promise<string> {
  if (!isRemote(source)) return source
  return io.step(`Fetch ${source}`, (progress) => fetchSource(source, { connect: connectS3, progress }))
}

/** S3 by the AWS SDK, with the endpoint, region and credentials of the environment. */
export async function connectS3(Bucket: string): Promise<ObjectSource> {
  const { GetObjectCommand, paginateListObjectsV2, S3Client } = await import('@aws-sdk/client-s3')
  // other stores than S3 rarely have a DNS name for each bucket
  const custom = process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL
  const region = process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION ?? 'us-east-1'
  const client = new S3Client({ region, forcePathStyle: custom !== undefined, followRegionRedirects: true })
  return {
    async *list(Prefix) {
      for await (const page of paginateListObjectsV2({ client }, { Bucket, Prefix })) {
        for (const o of page.Contents ?? []) yield { key: o.Key ?? '', size: o.Size ?? 0, etag: o.ETag ?? '' }
      }
    },
    async read(Key) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }))
      if (Body instanceof Readable) return Body
      throw new AppError('SOURCE_FAILED', { where: `s3://${Bucket}/${Key}`, expected: 'a body', got: 'none' })
    },
  }
}

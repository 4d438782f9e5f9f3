import type { S3Client } from '@aws-sdk/client-s3'
import { AppError } from '../errors.ts'
import { memo } from '../memo.ts'
import { failed, nameOf, statusOf } from './s3errors.ts'
import type { ObjectRef, ObjectStore, PartUpload, UploadOptions, WriteOptions, Written } from './types.ts'

export interface S3Options {
  readonly region?: string
  /** of another store than S3; these rarely have a DNS name for each bucket */
  readonly endpoint?: string
}

const PART = 8 * 2 ** 20

/** S3 by the AWS SDK, which costs more to load than a small model and so is loaded when it is first used. */
export function createS3Store({ region, endpoint }: S3Options = {}): ObjectStore {
  const sdk = memo(() => import('@aws-sdk/client-s3'))
  const connect = memo(async (): Promise<S3Client> => {
    const { S3Client } = await sdk()
    // without a region the SDK looks into the profile; other stores take any
    const other = endpoint !== undefined && { endpoint, forcePathStyle: true, region: region ?? 'us-east-1' }
    return new S3Client({ region, ...other, maxAttempts: 3, followRegionRedirects: true })
  })
  const names = ({ bucket, key, versionId }: ObjectRef) => ({ Bucket: bucket, Key: key, VersionId: versionId })

  async function stat(ref: ObjectRef) {
    const { HeadObjectCommand } = await sdk()
    const client = await connect()
    const head = await client.send(new HeadObjectCommand(names(ref))).catch(absent)
    if (!head) return undefined
    return {
      ...ref,
      size: head.ContentLength ?? 0,
      etag: plain(head.ETag),
      modified: head.LastModified?.getTime() ?? 0,
    }
  }

  function upload(ref: ObjectRef, { id: known, contentType }: UploadOptions): PartUpload {
    let id = known
    const begin = memo(async () => {
      if (id !== undefined) return id
      const { CreateMultipartUploadCommand } = await sdk()
      const made = await (await connect())
        .send(new CreateMultipartUploadCommand({ ...names(ref), ContentType: contentType }))
        .catch(failed(ref))
      id = made.UploadId!
      return id
    })
    return {
      partSize: PART,
      id: begin,
      async part(number, bytes) {
        const { UploadPartCommand } = await sdk()
        const UploadId = await begin()
        const command = new UploadPartCommand({ ...names(ref), UploadId, PartNumber: number + 1, Body: bytes })
        const { ETag } = await (await connect()).send(command).catch(failed(ref))
        return { size: bytes.length, etag: plain(ETag) }
      },
      async complete(parts, { only } = {}) {
        const { CompleteMultipartUploadCommand } = await sdk()
        const UploadId = await begin()
        const Parts = parts.map((p, i) => ({ PartNumber: i + 1, ETag: `"${p.etag}"` }))
        const command = new CompleteMultipartUploadCommand({
          ...names(ref),
          UploadId,
          MultipartUpload: { Parts },
          ...condition(only),
        })
        return (await connect()).send(command).then(written, refused).catch(failed(ref))
      },
      async abort() {
        const { AbortMultipartUploadCommand } = await sdk()
        const UploadId = await begin()
        const command = new AbortMultipartUploadCommand({ ...names(ref), UploadId })
        await (await connect()).send(command).catch(absent).catch(failed(ref))
      },
    }
  }

  return {
    stat: (ref) => stat(ref).catch(failed(ref)),
    async *read(ref, { start = 0, end, ifMatch } = {}) {
      const { GetObjectCommand } = await sdk()
      const Range = start > 0 || end !== undefined ? `bytes=${start}-${end === undefined ? '' : end - 1}` : undefined
      const IfMatch = ifMatch === undefined ? undefined : `"${ifMatch}"`
      const answer = await (await connect())
        .send(new GetObjectCommand({ ...names(ref), Range, IfMatch }))
        .catch(beyond)
        .catch(failed(ref))
      if (!answer) return
      const wanted = answer.ContentLength
      let got = 0
      try {
        for await (const chunk of answer.Body as AsyncIterable<Uint8Array>) {
          got += chunk.length
          yield chunk
        }
      } catch (e) {
        failed(ref)(e)
      }
      if (wanted !== undefined && got < wanted)
        throw new AppError('STORE_FAILED', { where: ref.key, expected: `${wanted} bytes`, got: `${got}` })
    },
    async *list(bucket, prefix, after) {
      const { ListObjectsV2Command } = await sdk()
      const client = await connect()
      let token: string | undefined
      do {
        const page = await client
          .send(
            new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, StartAfter: after, ContinuationToken: token }),
          )
          .catch(failed({ bucket, key: prefix }))
        for (const o of page.Contents ?? [])
          yield {
            bucket,
            key: o.Key!,
            size: o.Size ?? 0,
            etag: plain(o.ETag),
            modified: o.LastModified?.getTime() ?? 0,
          }
        token = page.NextContinuationToken
      } while (token)
    },
    async put(ref, bytes, { only, contentType }: WriteOptions = {}) {
      const { PutObjectCommand } = await sdk()
      const command = new PutObjectCommand({ ...names(ref), Body: bytes, ContentType: contentType, ...condition(only) })
      return (await connect()).send(command).then(written, refused).catch(failed(ref))
    },
    async remove(ref) {
      const { DeleteObjectCommand } = await sdk()
      await (await connect()).send(new DeleteObjectCommand(names(ref))).catch(failed(ref))
    },
    upload: (ref, options = {}) => upload(ref, options),
  }
}

const plain = (etag: string | undefined) => etag?.replaceAll('"', '') ?? ''

function condition(only: WriteOptions['only']) {
  if (only === undefined) return {}
  return only === 'absent' ? { IfNoneMatch: '*' } : { IfMatch: `"${only.etag}"` }
}

const written = ({ ETag }: { ETag?: string }): Written => ({ written: true, etag: plain(ETag) })

/** 412: the condition does not hold; 404 of a conditional write: there is nothing to match. 409 is another writer, and is tried again. */
function refused(e: unknown): Written {
  if (statusOf(e) === 412 || (statusOf(e) === 404 && nameOf(e) === 'NoSuchKey')) return { written: false }
  throw e
}

function absent(e: unknown): undefined {
  if (statusOf(e) !== 404) throw e
}

/** A range that begins at the end of the object. */
function beyond(e: unknown): undefined {
  if (statusOf(e) !== 416) throw e
}

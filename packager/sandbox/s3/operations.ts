import type { IncomingHttpHeaders } from 'node:http'
import type { ObjectInfo, ObjectRef, ObjectStore, WriteOptions } from '../../../src/batch/types.ts'
import type { Elements } from './xml.ts'

export interface Call {
  readonly ref: ObjectRef
  readonly bucket: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Answered {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Elements | AsyncIterable<Uint8Array>
}

/** Method, whether a key is named, the parameter that tells the operation, and the operation. */
type Operation = readonly [
  method: string,
  keyed: boolean,
  parameter: string | undefined,
  run: (c: Call) => Promise<Answered>,
]

/** The operations over one store; the first row that fits a request answers it. */
export function operationsOf(store: ObjectStore): readonly Operation[] {
  return [
    ['GET', false, 'list-type', list],
    ['HEAD', false, undefined, async () => ({})],
    ['PUT', true, 'uploadId', uploadPart],
    ['PUT', true, undefined, put],
    ['GET', true, undefined, get],
    ['HEAD', true, undefined, head],
    ['POST', true, 'uploads', createUpload],
    ['POST', true, 'uploadId', completeUpload],
    ['DELETE', true, 'uploadId', abortUpload],
    ['DELETE', true, undefined, remove],
  ]

  async function list({ ref, bucket, query }: Call): Promise<Answered> {
    const prefix = query.get('prefix') ?? ''
    const delimiter = query.get('delimiter') ?? ''
    const most = Math.min(Number(query.get('max-keys') ?? 1000), 1000)
    const after = query.get('continuation-token') ?? query.get('start-after') ?? undefined
    const found: ObjectInfo[] = []
    const folders = new Set<string>()
    let last = ''
    let truncated = false
    for await (const info of store.list(ref.bucket, prefix, after)) {
      const cut = delimiter ? info.key.indexOf(delimiter, prefix.length) : -1
      const inside = cut < 0 ? undefined : info.key.slice(0, cut + delimiter.length)
      truncated = found.length + folders.size >= most && !(inside !== undefined && folders.has(inside))
      if (truncated) break
      if (inside === undefined) found.push(info)
      else folders.add(inside)
      last = info.key
    }
    return {
      body: {
        ListBucketResult: {
          Name: bucket,
          Prefix: prefix,
          KeyCount: found.length + folders.size,
          MaxKeys: most,
          IsTruncated: truncated,
          ...(truncated && { NextContinuationToken: last }),
          Contents: found.map((i) => ({
            Key: i.key,
            LastModified: new Date(i.modified).toISOString(),
            ETag: `"${i.etag}"`,
            Size: i.size,
            StorageClass: 'STANDARD',
          })),
          CommonPrefixes: [...folders].map((f) => ({ Prefix: f })),
        },
      },
    }
  }

  async function put({ ref, headers, body }: Call): Promise<Answered> {
    if (headers['x-amz-copy-source'] !== undefined) return fault(501, 'NotImplemented')
    const written = await store.put(ref, body, conditions(headers))
    return written.written ? { headers: { etag: `"${written.etag}"` } } : fault(412, 'PreconditionFailed')
  }

  async function head({ ref }: Call): Promise<Answered> {
    const info = await store.stat(ref)
    return info ? { headers: described(info) } : { status: 404 }
  }

  async function get({ ref, headers }: Call): Promise<Answered> {
    const info = await store.stat(ref)
    if (!info) return fault(404, 'NoSuchKey')
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? []
    const start = from === undefined ? 0 : Number(from)
    const end = to ? Math.min(Number(to) + 1, info.size) : info.size
    if (from !== undefined && start >= info.size) return fault(416, 'InvalidRange')
    const ifMatch = headers['if-match']?.replaceAll('"', '')
    if (ifMatch !== undefined && ifMatch !== info.etag) return fault(412, 'PreconditionFailed')
    return {
      status: from === undefined ? 200 : 206,
      headers: {
        ...described(info),
        'content-length': String(end - start),
        ...(from !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${info.size}` }),
      },
      body: store.read(ref, { start, end, ifMatch: info.etag }),
    }
  }

  async function remove({ ref }: Call): Promise<Answered> {
    await store.remove(ref)
    return { status: 204 }
  }

  async function createUpload({ ref, bucket }: Call): Promise<Answered> {
    const UploadId = await store.upload(ref).id()
    return { body: { InitiateMultipartUploadResult: { Bucket: bucket, Key: ref.key, UploadId } } }
  }

  async function uploadPart({ ref, query, body }: Call): Promise<Answered> {
    const number = Number(query.get('partNumber'))
    if (!Number.isInteger(number) || number < 1 || number > 10_000) return fault(400, 'InvalidArgument')
    const { etag } = await store.upload(ref, { id: uploadId(query) }).part(number - 1, body)
    return { headers: { etag: `"${etag}"` } }
  }

  async function completeUpload({ ref, bucket, query, headers, body }: Call): Promise<Answered> {
    const parts = [...body.toString().matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
      number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
      etag: /<ETag>(?:&quot;|")?([0-9a-f]+)/.exec(part)?.[1] ?? '',
      size: 0,
    }))
    if (parts.length === 0 || parts.some((p, i) => p.number !== i + 1)) return fault(400, 'InvalidPart')
    const done = await store.upload(ref, { id: uploadId(query) }).complete(parts, conditions(headers))
    if (!done.written) return fault(412, 'PreconditionFailed')
    return {
      body: { CompleteMultipartUploadResult: { Bucket: bucket, Key: ref.key, ETag: `"${done.etag}"` } },
    }
  }

  async function abortUpload({ ref, query }: Call): Promise<Answered> {
    await store.upload(ref, { id: uploadId(query) }).abort()
    return { status: 204 }
  }
}

export function fault(status: number, Code: string): Answered {
  return { status, body: { Error: { Code, Message: Code } } }
}

function conditions(headers: Call['headers']): WriteOptions {
  if (headers['if-none-match'] !== undefined) return { only: 'absent' }
  const etag = headers['if-match']?.replaceAll('"', '')
  return etag === undefined ? {} : { only: { etag } }
}

function described({ etag, size, modified }: ObjectInfo): Record<string, string> {
  return {
    etag: `"${etag}"`,
    'content-length': String(size),
    'last-modified': new Date(modified).toUTCString(),
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
  }
}

/** The id becomes the name of a folder, so nothing but what was given out. */
const uploadId = (query: URLSearchParams): string => /^[\w-]{1,64}$/.exec(query.get('uploadId') ?? '')?.[0] ?? 'none'

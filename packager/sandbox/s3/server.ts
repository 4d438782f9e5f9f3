import { mkdirSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { isAppError } from '../../../src/errors.ts'
import { unchunk } from './chunked.ts'
import { type Answered, fault, operationsOf } from './operations.ts'
import { xml } from './xml.ts'

export interface Buckets {
  /** for AWS_ENDPOINT_URL_S3 */
  readonly url: string
  close(): Promise<void>
}

/**
 * As much of the S3 API as batch functions and `aws s3 cp` use, over folders: a file is an object, with conditional writes, ranges
 * and uploads in parts. It asks for no signature and listens on 127.0.0.1 only.
 */
export async function startBuckets(o: {
  /** of each bucket */
  readonly folders: Readonly<Record<string, string>>
  readonly port?: number
}) {
  const store = createFolderStore()
  const operations = operationsOf(store)
  for (const folder of Object.values(o.folders)) mkdirSync(folder, { recursive: true })

  async function answer(message: IncomingMessage): Promise<Answered> {
    const url = new URL(message.url ?? '/', 'http://s3')
    const [bucket = '', ...rest] = url.pathname.slice(1).split('/').map(decodeURIComponent)
    const folder = Object.hasOwn(o.folders, bucket) ? o.folders[bucket] : undefined
    if (folder === undefined) return fault(404, 'NoSuchBucket')
    const key = rest.join('/')
    const operation = operations.find(
      ([method, keyed, parameter]) =>
        method === message.method && keyed === (key !== '') && (!parameter || url.searchParams.has(parameter)),
    )
    if (!operation) return fault(501, 'NotImplemented')
    const raw = Buffer.concat(await collected(message))
    const chunked = /aws-chunked/.test(message.headers['content-encoding'] ?? '')
    const streaming = /^STREAMING-/.test(String(message.headers['x-amz-content-sha256']))
    const body = chunked || streaming ? unchunk(raw) : raw
    if (!body) return fault(400, 'IncompleteBody')
    try {
      const ref = { bucket: folder, key }
      return await operation[3]({ ref, bucket, query: url.searchParams, headers: message.headers, body })
    } catch (e) {
      if (!isAppError(e)) throw e
      if (e.code === 'NOT_FOUND') return fault(404, url.searchParams.has('uploadId') ? 'NoSuchUpload' : 'NoSuchKey')
      return e.code === 'INPUT_CHANGED' ? fault(412, 'PreconditionFailed') : fault(400, 'InvalidArgument')
    }
  }

  const server = createServer(async (message, out) => {
    try {
      await send(out, await answer(message))
    } catch (e) {
      if (out.headersSent) out.destroy()
      else
        await send(
          out,
          fault(e instanceof URIError ? 400 : 500, e instanceof URIError ? 'InvalidURI' : 'InternalError'),
        )
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(o.port ?? 0, '127.0.0.1', resolve)
  })
  const buckets: Buckets = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return buckets
}

async function send(out: ServerResponse, { status = 200, headers = {}, body }: Answered): Promise<void> {
  const text = body && !(Symbol.asyncIterator in body) ? xml(body) : undefined
  const type = text === undefined ? {} : { 'content-type': 'application/xml' }
  out.writeHead(status, { ...headers, ...type })
  if (body && Symbol.asyncIterator in body) await pipeline(body, out)
  else out.end(text)
}

async function collected(message: IncomingMessage): Promise<Buffer[]> {
  const chunks: Buffer[] = []
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk)
  return chunks
}

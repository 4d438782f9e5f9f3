import { createHash } from 'node:crypto'
import type { Agent, ClientRequest, IncomingMessage } from 'node:http'
import { SignatureV4 } from '@smithy/signature-v4'
import { AppError } from '../errors.ts'
import { Sha256 } from './sha256.ts'

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** Where the files of models are, and who asks for them. */
export interface Store {
  readonly bucket: string
  /** '' or ending in a slash */
  readonly prefix: string
  readonly region: string
  /** of another store than S3, which has no DNS name for each bucket */
  readonly endpoint?: string
  readonly credentials: Credentials | undefined
}

/** Reads a range of an object, as it arrives. @throws {AppError} MODEL_UNREACHABLE where another attempt may help, MODEL_MISPLACED */
export type GetRange = (
  name: string,
  from: number,
  to: number,
  take: (chunk: Uint8Array) => Promise<void>,
  signal: AbortSignal,
) => Promise<void>

/** A connection that says nothing for this long is dead. */
const SILENCE_MS = 10_000

/**
 * GETs signed by AWS's signer over node:http. The whole client costs 68 ms of a cold start, the signer 6 (and one that uses
 * WebCrypto 24); presigned addresses end after a week, which a function outlives.
 */
export async function openStore(store: Store): Promise<{ get: GetRange; close(): void }> {
  const { credentials, region } = store
  if (!credentials)
    throw new AppError('MODEL_MISPLACED', {
      where: placeOf(store),
      expected: 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment',
      got: 'none',
      fix: 'Lambda sets them from the role of the function.',
    })
  const sign = signerOf(region, credentials)
  const base = baseOf(store)
  const http = base.protocol === 'http:' ? await import('node:http') : await import('node:https')
  const agent: Agent = new http.Agent({ keepAlive: true })

  const get: GetRange = async (name, from, to, take, signal) => {
    const where = `${placeOf(store)}${name}`
    const path = `${base.pathname}${store.prefix}${name}`
    const headers = await sign(base, path, `bytes=${from}-${to - 1}`)
    const request = http.request(new URL(path, base), { agent, headers, signal, timeout: SILENCE_MS })
    try {
      const response = await answered(request)
      const { statusCode = 0 } = response
      const wanted = to - from
      // a store may leave the range out where it is the whole
      const length = Number(response.headers['content-length'])
      if (statusCode !== 206 && !(statusCode === 200 && length === wanted)) throw refused(statusCode, response, where)
      let got = 0
      for await (const chunk of response as AsyncIterable<Uint8Array>) {
        got += chunk.length
        if (got > wanted) break
        await take(chunk)
      }
      if (got !== wanted) throw unreachable(where, `${got} bytes of ${wanted}`)
    } catch (cause) {
      request.destroy()
      const code = (cause as NodeJS.ErrnoException).code
      // of the network; ours and those of the disk stay what they are
      if (code !== undefined && NETWORK.test(code)) throw unreachable(where, code, cause)
      throw cause
    }
  }
  return { get, close: () => agent.destroy() }
}

/** Of no body at all. */
const EMPTY = createHash('sha256').digest('hex')

export function signerOf(region: string, credentials: Credentials) {
  const signer = new SignatureV4({ service: 's3', region, credentials, sha256: Sha256, uriEscapePath: false })
  return async ({ protocol, hostname, host }: URL, path: string, range: string, signingDate = new Date()) => {
    const unsigned = { host, range, 'x-amz-content-sha256': EMPTY }
    const request = { method: 'GET', protocol, hostname, path, query: {}, headers: unsigned }
    return (await signer.sign(request, { signingDate })).headers
  }
}

const NETWORK =
  /^(ECONNRESET|ECONNREFUSED|ECONNABORTED|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|EPROTO|HPE_.*|ERR_STREAM_PREMATURE_CLOSE)$/

function answered(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
    request.on('timeout', () => request.destroy(Object.assign(new Error('silence'), { code: 'ETIMEDOUT' })))
    request.end()
  })
}

function refused(status: number, response: IncomingMessage, where: string): AppError {
  response.resume()
  if (status >= 500 || status === 429 || status === 408) return unreachable(where, `status ${status}`)
  const [got, fix] = REFUSALS[status] ?? [`status ${status}`, 'Deploy again.']
  return new AppError('MODEL_MISPLACED', { where, expected: 'the file that was deployed', got, fix })
}

const REFUSALS: Readonly<Record<number, readonly [got: string, fix: string]>> = {
  403: [
    'access denied (403)',
    'Either it is not there, or the role of the function may not read it: s3:GetObject on this prefix. Deploying again does both.',
  ],
  404: ['no such object (404)', 'Deploy again: a deploy uploads what is missing.'],
  416: ['a shorter object (416)', 'Delete it and deploy again.'],
}

function unreachable(where: string, got: string, cause?: unknown): AppError {
  return new AppError('MODEL_UNREACHABLE', { where, expected: 'the file of the model', got, cause })
}

export const placeOf = ({ bucket, prefix }: Store): string => `s3://${bucket}/${prefix}`

/** A bucket with a dot in its name has no certificate of its own. */
function baseOf({ bucket, region, endpoint }: Store): URL {
  if (endpoint !== undefined) return new URL(`${endpoint.replace(/\/*$/, '')}/${bucket}/`)
  const domain = `${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`
  return new URL(bucket.includes('.') ? `https://s3.${domain}/${bucket}/` : `https://${bucket}.s3.${domain}/`)
}

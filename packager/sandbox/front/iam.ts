import { createHash, timingSafeEqual } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'
import { Sha256 } from '../../../src/fetch/sha256.ts'
import { type Arrival, headerOf } from './arrival.ts'
import { grouped, queryPairs } from './context.ts'
import type { Gate } from './gate.ts'

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface IamOptions {
  readonly credentials: Credentials
  readonly region: string
  /** `execute-api`, or `lambda` for a function URL */
  readonly service: string
  readonly accountId: string
}

/** As far as a signature's time may be from ours. */
const SKEW_MS = 5 * 60_000
const FORM =
  /^AWS4-HMAC-SHA256\s+Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request,\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})$/

/** Signs what came with the same key and compares; whatever is not in `SignedHeaders` is not looked at. */
export function iamGate(o: IamOptions): Gate {
  const signer = new SignatureV4({ ...o, applyChecksum: false, sha256: Sha256 })
  const userArn = `arn:aws:iam::${o.accountId}:user/sandbox`
  return async (a) => {
    const authorization = headerOf(a, 'authorization') ?? ''
    if (!authorization.startsWith('AWS4-')) return { refused: 'noSignature' }
    const [, accessKey, day, region, service, names = '', signature = ''] = FORM.exec(authorization) ?? []
    if (accessKey !== undefined && accessKey !== o.credentials.accessKeyId) return { refused: 'unknownKey' }
    const date = timeOf(headerOf(a, 'x-amz-date'))
    if (region !== o.region || service !== o.service || date === undefined) return { refused: 'badSignature' }
    if (Math.abs(date.getTime() - a.at) > SKEW_MS || headerOf(a, 'x-amz-date')!.slice(0, 8) !== day)
      return { refused: 'badSignature' }
    const claimed = headerOf(a, 'x-amz-content-sha256')
    if (claimed !== undefined && claimed !== 'UNSIGNED-PAYLOAD' && claimed !== sha256(a.body))
      return { refused: 'badSignature' }
    const signed = names.split(';')
    if (!signed.includes('host')) return { refused: 'badSignature' }
    const again = await signer.sign(requestOf(a, signed), { signingDate: date, signableHeaders: new Set(signed) })
    const [, ours = '', expected = ''] =
      /SignedHeaders=([^,]+), Signature=(\w+)/.exec(again.headers.authorization ?? '') ?? []
    if (ours !== names || !timingSafeEqual(Buffer.from(signature), Buffer.from(expected)))
      return { refused: 'badSignature' }
    return { identity: { iam: { accessKey: o.credentials.accessKeyId, userArn } } }
  }
}

function requestOf(a: Arrival, signed: readonly string[]) {
  const pairs = a.headers.map(([n, v]) => [n.toLowerCase(), v.trim()] as const).filter(([n]) => signed.includes(n))
  return {
    method: a.method,
    protocol: 'https:',
    hostname: headerOf(a, 'host') ?? '',
    path: a.path,
    query: Object.fromEntries(grouped(queryPairs(a.query))),
    headers: Object.fromEntries([...grouped(pairs)].map(([n, all]) => [n, all.join(',')])),
    body: a.body,
  }
}

function timeOf(text: string | undefined): Date | undefined {
  const form = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text ?? '')
  if (!form) return undefined
  const [, y, mo, d, h, mi, s] = form
  return new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`)
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

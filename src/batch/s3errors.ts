import { AppError } from '../errors.ts'
import { changed, notFound } from './foldstore.ts'
import type { ObjectRef } from './types.ts'

/** As the SDK throws it. */
interface Problem {
  readonly name?: string
  readonly message?: string
  /** of the operating system, where S3 was not reached */
  readonly code?: string
  /** of which a connection that was tried in several ways has one each */
  readonly errors?: readonly Problem[]
  readonly $metadata?: { readonly httpStatusCode?: number }
}

export const statusOf = (e: unknown) => (e as Problem).$metadata?.httpStatusCode
export const nameOf = (e: unknown) => (e as Problem).name

const CREDENTIALS =
  'Check the credentials: AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN).'
const REGION = 'Set AWS_REGION to the region of the bucket.'
const ENDPOINT = 'Check the network, and AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL where it is set.'

/** What to do about it, by the name of the error; the first that fits. */
const FIXES: readonly (readonly [name: RegExp, fix: string])[] = [
  [/^NoSuchBucket$/, 'Create the bucket, or check its name.'],
  [/^InvalidBucketName$/, 'Check the name of the bucket.'],
  [/Credentials|AccessKeyId|SignatureDoesNotMatch|Token/, CREDENTIALS],
  [/^RequestTimeTooSkewed$/, 'Set the clock of this machine.'],
  [/Redirect|^AuthorizationHeaderMalformed$|^Region is missing$/, REGION],
  [
    /^AccessDenied$|^Forbidden$|^403$/,
    'The role or user needs s3:GetObject and s3:ListBucket on the input, and what docs/batch.md lists on the output.',
  ],
  [/^ERR_INVALID_URL$|^E(CONN|NOT|AI_|PROTO|HOST|NET)/, ENDPOINT],
]

/** Before a request is sent, so that trying again would give the same. */
const NEVER = /^CredentialsProviderError$|^TokenProviderError$|^Region is missing$|^ERR_INVALID_URL$/

/** Some of the SDK's errors have no other name than their message. */
function kindOf(e: Problem): string {
  if (e.code !== undefined) return e.code
  if (e.errors?.[0]) return kindOf(e.errors[0])
  return e.message === 'Region is missing' ? e.message : (e.name ?? 'an error')
}

/** What S3 and the way to it do in passing (5xx, throttling, conflicts, resets, timeouts), and what will not pass. */
export function failed(ref: ObjectRef): (e: unknown) => never {
  const where = `s3://${ref.bucket}/${ref.key}`
  return (cause) => {
    // the bytes are out already, so reading on would not mend it
    if (cause instanceof Error && /checksum mismatch/i.test(cause.message))
      throw new AppError('STORE_REFUSED', { where, got: 'a wrong checksum', cause })
    const status = statusOf(cause)
    const kind = kindOf(cause as Problem)
    if (status === 404 && kind !== 'NoSuchBucket') throw notFound(ref)
    if (status === 412) throw changed(ref)
    const passing = status === undefined || status >= 500 || status === 429 || status === 409 || status === 408
    const slow = /SlowDown|Throttl|RequestTimeout|Timeout|RequestTimeTooSkewed/.test(kind)
    const got = status === undefined || kind === String(status) ? kind : `${status} ${kind}`
    const fix = FIXES.find(([name]) => name.test(kind))?.[1]
    const code = (passing || slow) && !NEVER.test(kind) ? 'STORE_FAILED' : 'STORE_REFUSED'
    throw new AppError(code, { where, got, fix, cause })
  }
}

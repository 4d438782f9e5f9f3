import { AppError } from '../../src/errors.ts'
import { nearest } from '../../src/nearest.ts'

/** `custom.modelayer` of a serverless.yml, checked and with its defaults. */
export interface DeployOptions {
  /** name → package or model, a folder or an s3:// prefix */
  readonly models: Readonly<Record<string, string>>
  readonly arch: 'arm64' | 'x64'
  readonly runtime: string
  /** MB; threads follow it */
  readonly memory: number
  /** seconds */
  readonly timeout: number
  readonly image: boolean
  readonly http: HttpOptions | undefined
  readonly batch: BatchOptions | undefined
}

export interface HttpOptions {
  readonly auth: 'iam' | 'jwt' | 'none'
  readonly issuer?: string
  readonly audience?: readonly string[]
  readonly cors: boolean
}

export interface BatchOptions {
  readonly input: S3Place
  readonly output: S3Place
}

export interface S3Place {
  readonly bucket: string
  /** '' or ending in a slash */
  readonly prefix: string
}

type Raw = Readonly<Record<string, unknown>>

const KEYS = ['models', 'arch', 'runtime', 'memory', 'timeout', 'image', 'http', 'batch'] as const
const HTTP_KEYS = ['auth', 'issuer', 'audience', 'cors'] as const
const AUTH = ['iam', 'jwt', 'none'] as const
const RUNTIMES = ['nodejs24.x', 'nodejs22.x'] as const

/** @throws {AppError} USAGE naming the key */
export function readOptions(raw: unknown): DeployOptions {
  const o = object(raw, 'custom.modelayer', KEYS)
  const models = object(o.models, 'custom.modelayer.models')
  if (Object.keys(models).length === 0) throw bad('models', 'at least one model: NAME: FOLDER', 'none')
  for (const [name, source] of Object.entries(models))
    if (typeof source !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(name))
      throw bad(`models.${name}`, 'a name of letters, digits, - and _ with a folder', typeof source)
  return {
    models: models as Record<string, string>,
    arch: choice(o.arch, 'arch', ['arm64', 'x64'], 'arm64'),
    runtime: choice(o.runtime, 'runtime', RUNTIMES, 'nodejs24.x'),
    memory: integer(o.memory, 'memory', 128, 10_240, 1769),
    timeout: integer(o.timeout, 'timeout', 1, 900, 29),
    image: o.image !== false,
    http: o.http === undefined ? undefined : readHttp(o.http),
    batch: o.batch === undefined ? undefined : readBatch(o.batch),
  }
}

/** Nothing is open by accident: whoever wants no authorisation says so. */
function readHttp(raw: unknown): HttpOptions {
  const o = object(raw, 'custom.modelayer.http', HTTP_KEYS)
  if (o.auth === undefined)
    throw bad('http.auth', `${AUTH.join(', ')}; none leaves the endpoint open to everybody`, 'nothing')
  const auth = choice(o.auth, 'http.auth', AUTH, 'iam')
  const audience = [o.audience ?? []].flat()
  if (auth === 'jwt' && (typeof o.issuer !== 'string' || audience.length === 0))
    throw bad('http', 'issuer and audience beside auth: jwt', 'neither, or one')
  return {
    auth,
    cors: o.cors === true,
    ...(auth === 'jwt' && { issuer: String(o.issuer), audience: audience.map(String) }),
  }
}

function readBatch(raw: unknown): BatchOptions {
  const o = object(raw, 'custom.modelayer.batch', ['input', 'output'])
  const [input, output] = [place(o.input, 'batch.input'), place(o.output, 'batch.output')]
  const inside = (a: S3Place, b: S3Place) => a.bucket === b.bucket && a.prefix.startsWith(b.prefix)
  if (inside(input, output) || inside(output, input))
    throw bad(
      'batch',
      'input and output that do not overlap: results would be read as new input',
      'one inside the other',
    )
  return { input, output }
}

function place(v: unknown, where: string): S3Place {
  const [, bucket, rest] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(String(v)) ?? []
  if (bucket === undefined) throw bad(where, 's3://BUCKET/PREFIX/', typeof v === 'string' ? 'another form' : typeof v)
  return { bucket, prefix: rest ? rest.replace(/\/*$/, '/') : '' }
}

function object(v: unknown, where: string, keys?: readonly string[]): Raw {
  if (typeof v !== 'object' || v === null || Array.isArray(v))
    throw new AppError('USAGE', { where, expected: 'an object', got: v === undefined ? 'nothing' : typeof v })
  const unknown = keys && Object.keys(v).find((k) => !keys.includes(k))
  if (!unknown) return v as Raw
  const meant = nearest(unknown, keys)
  throw new AppError('USAGE', {
    where,
    expected: keys.join(', '),
    got: `'${unknown}'`,
    fix: meant ? `Did you mean ${meant}?` : undefined,
  })
}

function choice<const T extends string>(v: unknown, where: string, all: readonly T[], fallback: T): T {
  if (v === undefined) return fallback
  const found = all.find((a) => a === v)
  if (found) return found
  throw bad(where, all.join(', '), String(v))
}

function integer(v: unknown, where: string, low: number, high: number, fallback: number): number {
  if (v === undefined) return fallback
  if (typeof v === 'number' && Number.isInteger(v) && v >= low && v <= high) return v
  throw bad(where, `an integer from ${low} to ${high}`, String(v))
}

function bad(where: string, expected: string, got: string): AppError {
  return new AppError('USAGE', { where: `custom.modelayer.${where}`, expected, got })
}

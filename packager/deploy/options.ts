import { type BatchOptions as JobOptions, readOptions as readJobOptions } from '../../src/batch/setup.ts'
import { shown } from '../../src/shown.ts'
import { STORAGES, type Storage } from '../fit/demand.ts'
import { type DeployedCapture, readCapture } from './capture.ts'
import { choice, flag, integer, object, place, type Raw, strings, text, usage } from './checks.ts'
import { type AlarmOptions, LOG_LEVELS, readAlarms, readMetrics } from './observe.ts'
import { type ReleaseOptions, readRelease } from './release.ts'
import { checkStorage, type Efs, readEfs } from './storage.ts'

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
  /** where models go */
  readonly storage: Storage
  /** a file system for them */
  readonly efs: Efs | undefined
  /** URI of the image that was built from the context */
  readonly container: string | undefined
  readonly concurrency: { readonly reserved?: number; readonly provisioned?: number }
  readonly vpc?: { readonly securityGroups: readonly string[]; readonly subnets: readonly string[] }
  readonly tracing: boolean
  readonly logDays: number
  /** of a key that encrypts the environment variables */
  readonly kmsKey?: string
  readonly tags: Readonly<Record<string, string>>
  readonly logLevel: (typeof LOG_LEVELS)[number]
  readonly metrics: { readonly namespace: string } | undefined
  readonly alarms: AlarmOptions | undefined
  readonly dashboard: boolean
  readonly capture: DeployedCapture | undefined
  readonly release: ReleaseOptions
  readonly http: HttpOptions | undefined
  readonly batch: BatchOptions | undefined
}

export interface HttpOptions {
  readonly api: 'http' | 'rest' | 'url'
  readonly auth: 'iam' | 'jwt' | 'apiKey' | 'none'
  readonly issuer?: string
  readonly audience?: readonly string[]
  readonly cors: boolean
  readonly accessLogs: boolean
  /** answers go out as they are, and may be larger than Lambda's 6 MB */
  readonly stream: boolean
  /** requests per second, and how many at once */
  readonly throttle?: { readonly rate: number; readonly burst: number }
}

export interface BatchOptions {
  readonly input: S3Place
  readonly output: S3Place
  readonly timeout: number
  readonly memory: number | undefined
  /** what happens to the buckets with the stack */
  readonly onRemove: 'keep' | 'delete'
  readonly options: JobOptions & { readonly maxReceives: number }
  /** a Distributed Map over what is there already */
  readonly map: MapOptions | undefined
}

export interface MapOptions {
  /** child executions at once */
  readonly concurrency: number
  /** percent of the objects that may fail */
  readonly tolerated: number
  /** objects of one child execution */
  readonly items: number
  /** errors of executions to CloudWatch */
  readonly logs: boolean
}

export interface S3Place {
  readonly bucket: string
  /** '' or ending in a slash */
  readonly prefix: string
}

const RUNTIMES = ['nodejs24.x', 'nodejs22.x'] as const
const AUTH = ['iam', 'jwt', 'apiKey', 'none'] as const
/** What each kind of endpoint can do. */
const APIS = {
  http: { auth: ['iam', 'jwt', 'none'], throttle: true, accessLogs: true, stream: false },
  rest: { auth: ['iam', 'apiKey', 'none'], throttle: true, accessLogs: true, stream: true },
  url: { auth: ['iam', 'none'], throttle: false, accessLogs: false, stream: true },
} as const satisfies Record<HttpOptions['api'], object>
/** What CloudWatch Logs accepts. */
const LOG_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
]

const KEYS = {
  models: readModels,
  arch: (v) => choice(v, 'arch', ['arm64', 'x64'], 'arm64'),
  runtime: (v) => choice(v, 'runtime', RUNTIMES, 'nodejs24.x'),
  memory: (v) => integer(v, 'memory', 128, 10_240, 1769),
  timeout: (v) => integer(v, 'timeout', 1, 900, 29),
  image: (v) => flag(v, 'image', true),
  storage: (v) => choice(v, 'storage', STORAGES, 'auto'),
  efs: readEfs,
  container: (v) =>
    text(v, 'container', /^\d{12}\.dkr\.ecr\.[^/]+\/[^@]+@sha256:[0-9a-f]{64}$/, 'REPOSITORY@sha256:DIGEST in ECR'),
  concurrency: readConcurrency,
  vpc: (v) => (v === undefined ? undefined : readVpc(v)),
  tracing: (v) => flag(v, 'tracing', false),
  logDays: readLogDays,
  kmsKey: (v) => text(v, 'kmsKey', /^arn:[^:]+:kms:/, 'the ARN of a key'),
  tags: readTags,
  logLevel: (v) => choice(v, 'logLevel', LOG_LEVELS, 'info'),
  metrics: readMetrics,
  alarms: readAlarms,
  dashboard: (v) => flag(v, 'dashboard', true),
  capture: (v) => (v === undefined ? undefined : readCapture(v)),
  release: readRelease,
  http: (v) => (v === undefined ? undefined : readHttp(v)),
  batch: (v) => (v === undefined ? undefined : readBatch(v)),
} as const satisfies { readonly [K in keyof DeployOptions]-?: (v: unknown) => DeployOptions[K] }

/** @throws {AppError} USAGE naming the key */
export function readOptions(raw: unknown): DeployOptions {
  const o = object(raw, '', Object.keys(KEYS))
  const entries = Object.entries(KEYS).map(([key, check]) => [key, check(o[key])])
  const read = Object.fromEntries(entries) as { [K in keyof typeof KEYS]: ReturnType<(typeof KEYS)[K]> }
  checkStorage(read)
  const names = Object.keys(read.models)
  if (read.batch && names.length > 1 && read.batch.options.model === undefined)
    throw usage('batch.options.model', `one of ${names.join(', ')}`, 'nothing', 'A batch is answered by one model.')
  const { capture, batch } = read
  if (capture && batch && [batch.input.bucket, batch.output.bucket].includes(capture.bucket))
    throw usage('capture.output', 'a bucket of its own', 'one of the batch')
  return read
}

function readModels(raw: unknown): DeployOptions['models'] {
  const models = object(raw, 'models')
  if (Object.keys(models).length === 0) throw usage('models', 'at least one model: NAME: FOLDER', 'none')
  for (const [name, source] of Object.entries(models))
    if (typeof source !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(name))
      throw usage(`models.${name}`, 'a name of letters, digits, - and _ with a folder', typeof source)
  return models as Record<string, string>
}

/** Nothing is open by accident: whoever wants no authorisation says so. */
function readHttp(raw: unknown): HttpOptions {
  const o = object(raw, 'http', ['api', 'auth', 'issuer', 'audience', 'cors', 'accessLogs', 'stream', 'throttle'])
  if (o.auth === undefined)
    throw usage('http.auth', `${AUTH.join(', ')}; none leaves the endpoint open to everybody`, 'nothing')
  const auth = choice(o.auth, 'http.auth', AUTH, 'iam')
  const api = choice(o.api, 'http.api', ['http', 'rest', 'url'], auth === 'apiKey' ? 'rest' : 'http')
  const can = APIS[api]
  if (!can.auth.some((a) => a === auth)) throw usage('http.auth', `${can.auth.join(', ')} for api: ${api}`, auth)
  const accessLogs = flag(o.accessLogs, 'http.accessLogs', false)
  for (const key of ['accessLogs', 'throttle'] as const)
    if (o[key] && !can[key])
      throw usage(`http.${key}`, 'api: http or rest', `api: ${api}`, 'For a function URL set concurrency.reserved.')
  const stream = flag(o.stream, 'http.stream', false)
  if (stream && !can.stream)
    throw usage('http.stream', 'api: rest or url', `api: ${api}`, 'An HTTP API has no streams.')
  if (o.throttle !== undefined && api === 'rest' && auth !== 'apiKey')
    throw usage('http.throttle', 'auth: apiKey for api: rest, where a usage plan throttles', `auth: ${auth}`)
  const common = { api, auth, accessLogs, stream, cors: flag(o.cors, 'http.cors', false), ...readThrottle(o.throttle) }
  if (auth !== 'jwt') {
    if (o.issuer !== undefined || o.audience !== undefined)
      throw usage('http', 'auth: jwt beside issuer and audience', `auth: ${auth}`)
    return common
  }
  const issuer = text(o.issuer, 'http.issuer', /^https:\/\//, 'https://ISSUER')
  const audience = o.audience === undefined ? [] : strings([o.audience].flat(), 'http.audience')
  if (issuer === undefined || audience.length === 0)
    throw usage('http', 'issuer and audience beside auth: jwt', 'neither, or one')
  return { ...common, issuer, audience }
}

function readThrottle(raw: unknown): Pick<HttpOptions, 'throttle'> {
  if (raw === undefined) return {}
  const o = object(raw, 'http.throttle', ['rate', 'burst'])
  const rate = integer(o.rate, 'http.throttle.rate', 1, 10_000)
  return { throttle: { rate, burst: integer(o.burst, 'http.throttle.burst', 1, 5000, Math.min(rate, 5000)) } }
}

function readBatch(raw: unknown): BatchOptions {
  const o = object(raw, 'batch', ['input', 'output', 'timeout', 'memory', 'onRemove', 'options', 'map'])
  const [input, output] = [place(o.input, 'batch.input'), place(o.output, 'batch.output')]
  const inside = (a: S3Place, b: S3Place) => a.bucket === b.bucket && a.prefix.startsWith(b.prefix)
  if (inside(input, output) || inside(output, input))
    throw usage(
      'batch',
      'input and output that do not overlap: results would be read as new input',
      'one inside the other',
    )
  return {
    input,
    output,
    timeout: integer(o.timeout, 'batch.timeout', 30, 900, 900),
    memory: o.memory === undefined ? undefined : integer(o.memory, 'batch.memory', 128, 10_240),
    onRemove: choice(o.onRemove, 'batch.onRemove', ['keep', 'delete'], 'keep'),
    // a pause is a receive, and so is each attempt at finding a record that ends the process
    options: { maxReceives: 10, ...readJobOptions(JSON.stringify(object(o.options ?? {}, 'batch.options'))) },
    map: readMap(o.map),
  }
}

/** What a run chooses for itself by its input, as a dry run measures it; these hold where it does not. */
function readMap(raw: unknown): MapOptions | undefined {
  if (raw === undefined || raw === false) return undefined
  const o = object(raw === true ? {} : raw, 'batch.map', ['concurrency', 'tolerated', 'items', 'logs'])
  return {
    concurrency: integer(o.concurrency, 'batch.map.concurrency', 1, 10_000, 900),
    tolerated: integer(o.tolerated, 'batch.map.tolerated', 0, 100, 5),
    items: integer(o.items, 'batch.map.items', 1, 10_000, 100),
    logs: flag(o.logs, 'batch.map.logs', false),
  }
}

function readConcurrency(raw: unknown): DeployOptions['concurrency'] {
  const o: Raw = object(raw ?? {}, 'concurrency', ['reserved', 'provisioned'])
  const read = (key: string) =>
    o[key] === undefined ? {} : { [key]: integer(o[key], `concurrency.${key}`, 1, 10_000) }
  return { ...read('reserved'), ...read('provisioned') }
}

function readVpc(raw: unknown): DeployOptions['vpc'] {
  const o = object(raw, 'vpc', ['securityGroups', 'subnets'])
  return {
    securityGroups: strings(o.securityGroups, 'vpc.securityGroups'),
    subnets: strings(o.subnets, 'vpc.subnets'),
  }
}

function readLogDays(v: unknown): number {
  if (v === undefined) return 30
  if (LOG_DAYS.some((d) => d === v)) return v as number
  throw usage('logDays', LOG_DAYS.join(', '), shown(v))
}

function readTags(raw: unknown): DeployOptions['tags'] {
  const tags = object(raw ?? {}, 'tags')
  for (const [key, value] of Object.entries(tags))
    if (typeof value !== 'string') throw usage(`tags.${key}`, 'a text', typeof value)
  return tags as Record<string, string>
}

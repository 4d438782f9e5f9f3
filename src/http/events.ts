import type { HttpRequest, HttpResponse } from '../types.ts'

/** What all fronts have in common; every field may be absent, since anyone may invoke a function with anything. */
interface Event {
  readonly version?: string
  readonly httpMethod?: string
  readonly path?: string
  readonly resource?: string
  readonly rawPath?: string
  readonly rawQueryString?: string
  readonly cookies?: readonly string[]
  readonly headers?: Multi<string>
  readonly multiValueHeaders?: Multi<readonly string[]>
  readonly queryStringParameters?: Multi<string>
  readonly multiValueQueryStringParameters?: Multi<readonly string[]>
  readonly pathParameters?: Multi<string>
  readonly requestContext?: {
    readonly requestId?: string
    readonly stage?: string
    readonly domainName?: string
    readonly elb?: object
    readonly http?: { readonly method?: string; readonly path?: string }
  }
  readonly body?: string | null
  readonly isBase64Encoded?: boolean
}
type Multi<T> = Readonly<Record<string, T | undefined>> | null

/** The answer in the words of a front: only what that front reads. */
export interface Result {
  readonly statusCode: number
  readonly statusDescription?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[]>>
  readonly body: string
  readonly isBase64Encoded: boolean
}

interface Front {
  readonly match: (e: Event) => boolean
  readonly method: (e: Event) => string | undefined
  readonly path: (e: Event) => string | undefined
  readonly query: (e: Event) => string
  readonly headers: (e: Event) => Record<string, string>
  readonly respond: (r: HttpResponse) => Result
  /** after how many milliseconds the front itself has given up on us */
  readonly patience: number
}

const v2 = {
  method: (e) => e.requestContext?.http?.method,
  query: (e) => e.rawQueryString ?? '',
  headers: (e) => ({ ...single(e.headers), ...(e.cookies?.length ? { cookie: e.cookies.join('; ') } : {}) }),
  respond: (r) => ({ statusCode: r.status, headers: r.headers, ...encoded(r.body) }),
} satisfies Partial<Front>

const alb = {
  method: (e) => e.httpMethod,
  path: (e) => e.path,
  // unlike API Gateway, a load balancer hands parameters over as they came
  query: (e) => pairs(e, (text) => text),
  patience: Number.POSITIVE_INFINITY,
} satisfies Partial<Front>

/** One row per front. The first that matches reads the event and writes the result. */
export const FRONTS = {
  functionUrl: {
    ...v2,
    match: (e) => isV2(e) && /\.lambda-url\./.test(e.requestContext?.domainName ?? ''),
    path: (e) => e.rawPath,
    patience: Number.POSITIVE_INFINITY,
  },
  httpApi: {
    ...v2,
    match: isV2,
    path: (e) => withoutStage(e.rawPath, e.requestContext?.stage),
    patience: 30_000,
  },
  albMultiValue: {
    ...alb,
    match: (e) => isAlb(e) && !!e.multiValueHeaders,
    headers: (e) => joined(e.multiValueHeaders),
    respond: (r) => ({ ...statusOf(r), multiValueHeaders: listed(r.headers), ...encoded(r.body) }),
  },
  alb: {
    ...alb,
    match: isAlb,
    headers: (e) => single(e.headers),
    respond: (r) => ({ ...statusOf(r), headers: r.headers, ...encoded(r.body) }),
  },
  restApi: {
    match: (e) => typeof e.httpMethod === 'string' && typeof e.path === 'string',
    method: (e) => e.httpMethod,
    path: withoutBasePath,
    query: (e) => pairs(e, encodeURIComponent),
    headers: (e) => ({ ...single(e.headers), ...joined(e.multiValueHeaders) }),
    respond: v2.respond,
    patience: 29_000,
  },
} as const satisfies Record<string, Front>

export type FrontName = keyof typeof FRONTS

/** Bytes of a result's body: Lambda's 6 MB and a load balancer's 1 MB, less room for the rest of the result; 200 MB of a streamed one. */
export const LIMITS = {
  functionUrl: 6_200_000,
  httpApi: 6_200_000,
  restApi: 6_200_000,
  alb: 1_000_000,
  albMultiValue: 1_000_000,
  streamed: 200 * 2 ** 20,
} as const satisfies Record<FrontName | 'streamed', number>

/** Who sent this event; undefined: nobody who speaks HTTP. */
export function frontOf(event: unknown): FrontName | undefined {
  if (typeof event !== 'object' || event === null) return undefined
  return (Object.keys(FRONTS) as FrontName[]).find((name) => FRONTS[name].match(event))
}

/** Bodies are decoded to bytes, never through a string: tensors do not survive UTF-8. */
export function toRequest(
  name: FrontName,
  event: object,
  invoke: { requestId: string; deadline?: number },
): HttpRequest {
  const front: Front = FRONTS[name]
  const e: Event = event
  const deadline = Math.min(invoke.deadline ?? Number.POSITIVE_INFINITY, Date.now() + front.patience)
  return {
    method: (front.method(e) ?? 'GET').toUpperCase(),
    path: front.path(e) || '/',
    query: front.query(e),
    headers: front.headers(e),
    body: Buffer.from(typeof e.body === 'string' ? e.body : '', e.isBase64Encoded === true ? 'base64' : 'utf8'),
    requestId: e.requestContext?.requestId || invoke.requestId,
    functionRequestId: invoke.requestId,
    deadline: Number.isFinite(deadline) ? deadline : undefined,
  }
}

export function toResult(name: FrontName, response: HttpResponse): Result {
  return FRONTS[name].respond(response)
}

function isV2(e: Event): boolean {
  return e.version === '2.0' && typeof e.rawPath === 'string' && e.requestContext?.http !== undefined
}

function isAlb(e: Event): boolean {
  return typeof e.path === 'string' && e.requestContext?.elb !== undefined
}

function encoded(body: string | Uint8Array): { body: string; isBase64Encoded: boolean } {
  if (typeof body === 'string') return { body, isBase64Encoded: false }
  return {
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64'),
    isBase64Encoded: true,
  }
}

function statusOf({ status }: HttpResponse) {
  return { statusCode: status, statusDescription: `${status} ${STATUS_TEXT[status] ?? 'Status'}` }
}

/** A load balancer answers 502 to a result without one. */
const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

/** A named stage of an HTTP API is part of the path. */
function withoutStage(path: string | undefined, stage: string | undefined): string | undefined {
  if (!stage || stage === '$default' || !path?.startsWith(`/${stage}`)) return path
  const rest = path.slice(stage.length + 1)
  return rest === '' || rest.startsWith('/') ? rest : path
}

/**
 * A REST API's path has no stage, but the base path mapping of a custom domain. What the resource `/{proxy+}` or
 * `/v1/infers/{model}` stands for is the end of the path, and ours.
 */
function withoutBasePath(e: Event): string | undefined {
  const { path, resource, pathParameters } = e
  if (!path || typeof resource !== 'string') return path
  if (resource === '/') return '/'
  const own = resource.replace(/\{([^}+]+)\+?\}/g, (_, name: string) => pathParameters?.[name] ?? '')
  return path.endsWith(own) ? own : path
}

function single(headers: Event['headers']): Record<string, string> {
  const out: Record<string, string> = Object.create(null)
  for (const [name, value] of Object.entries(headers ?? {})) if (value != null) out[name.toLowerCase()] = String(value)
  return out
}

function joined(headers: Event['multiValueHeaders']): Record<string, string> {
  const out: Record<string, string> = Object.create(null)
  for (const [name, values] of Object.entries(headers ?? {}))
    if (Array.isArray(values)) out[name.toLowerCase()] = values.join(', ')
  return out
}

function listed(headers: Readonly<Record<string, string>>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]))
}

function pairs(e: Event, encode: (text: string) => string): string {
  const all = Object.entries(e.multiValueQueryStringParameters ?? e.queryStringParameters ?? {})
  return all
    .flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value ?? '']).map((v) => `${encode(name)}=${encode(`${v}`)}`),
    )
    .join('&')
}

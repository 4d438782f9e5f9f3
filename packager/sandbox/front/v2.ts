import { splitPrelude } from '../../../src/http/prelude.ts'
import type { Arrival, Pair, Reply } from './arrival.ts'
import { headerOf } from './arrival.ts'
import { API_ID, type Context, clfTime, decoded, forwarded, grouped, mediaType, queryPairs } from './context.ts'

/** An HTTP API hands the path over decoded; what follows a question mark that was encoded is lost on the way. */
export function httpApiEvent(a: Arrival, c: Context): object {
  const rawPath = decoded(a.path).split('?')[0] || '/'
  const routeKey = rawPath === '/' ? 'ANY /' : 'ANY /{proxy+}'
  const domain = `${API_ID}.execute-api.${c.region}.amazonaws.com`
  const proxy = rawPath === '/' ? {} : { pathParameters: { proxy: rawPath.slice(1) } }
  return { ...v2Event(a, c, { rawPath, routeKey, domain }), ...proxy }
}

/** A function URL leaves the path as it is. */
export function functionUrlEvent(a: Arrival, c: Context): object {
  const domain = `${API_ID}.lambda-url.${c.region}.on.aws`
  return v2Event(a, c, { rawPath: a.path, routeKey: '$default', domain })
}

/**
 * Observed of HTTP APIs; documented is only "binary". Forms are bytes, and so is a body without a type. Nobody says what
 * happens to compressed text; bytes are what survives.
 */
const TEXT = /^(text\/.*|application\/(json|xml|javascript))$/

function isText(a: Arrival): boolean {
  return TEXT.test(mediaType(a)) && /^(identity)?$/i.test(headerOf(a, 'content-encoding') ?? '')
}

interface Names {
  readonly rawPath: string
  readonly routeKey: string
  readonly domain: string
}

function v2Event(a: Arrival, c: Context, { rawPath, routeKey, domain }: Names): object {
  const own = forwarded(a, domain).map(([name, value]): Pair => [name.toLowerCase(), value])
  const cookies = own.filter(([name]) => name === 'cookie').flatMap(([, value]) => value.split(/;\s*/))
  const headers = grouped(own.filter(([name]) => name !== 'cookie'))
  const query = grouped(queryPairs(a.query))
  const text = isText(a)
  const { iam, jwt } = c.identity
  const authorizer = {
    ...(jwt && { jwt }),
    ...(iam && {
      iam: {
        accessKey: iam.accessKey,
        accountId: c.accountId,
        callerId: iam.accessKey,
        cognitoIdentity: null,
        principalOrgId: null,
        userArn: iam.userArn,
        userId: iam.accessKey,
      },
    }),
  }
  return {
    version: '2.0',
    routeKey,
    rawPath,
    rawQueryString: a.query,
    ...(cookies.length > 0 && { cookies }),
    headers: joined(headers),
    ...(query.size > 0 && { queryStringParameters: joined(query) }),
    requestContext: {
      accountId: c.accountId,
      apiId: API_ID,
      ...((jwt || iam) && { authorizer }),
      domainName: domain,
      domainPrefix: API_ID,
      http: {
        method: a.method,
        path: rawPath,
        protocol: 'HTTP/1.1',
        sourceIp: a.sourceIp,
        userAgent: headerOf(a, 'user-agent') ?? '',
      },
      requestId: a.id,
      routeKey,
      stage: '$default',
      time: clfTime(a.at),
      timeEpoch: a.at,
    },
    ...(a.body.length > 0 && { body: a.body.toString(text ? 'utf8' : 'base64') }),
    isBase64Encoded: a.body.length > 0 && !text,
  }
}

/** A result without a status code is the body of a 200; undefined where it cannot be an answer. */
export function v2Reply(result: unknown): Reply | undefined {
  const r = result as V2Result | null
  if (typeof r !== 'object' || r === null || !('statusCode' in r))
    return { status: 200, headers: [['content-type', 'application/json']], body: textOf(result) }
  const status = Number(r.statusCode)
  if (!Number.isInteger(status) || status < 100 || status > 599) return undefined
  const headers = Object.entries(r.headers ?? {})
    .filter(([name]) => name.toLowerCase() !== 'content-length')
    .map(([name, value]): Pair => [name.toLowerCase(), String(value)])
  if (!headers.some(([name]) => name === 'content-type')) headers.push(['content-type', 'text/plain;charset=UTF-8'])
  for (const cookie of r.cookies ?? []) headers.push(['set-cookie', cookie])
  const body = r.isBase64Encoded === true ? Buffer.from(String(r.body ?? ''), 'base64') : textOf(r.body ?? '')
  return { status, headers, body }
}

/** A streamed answer, which each front passes on as it is; undefined where it is none. */
export function streamedReply(payload: Uint8Array | undefined): Reply | undefined {
  const streamed = payload && splitPrelude(payload)
  const reply = streamed && v2Reply(streamed.prelude)
  return reply && { ...reply, body: Buffer.from(streamed.body) }
}

interface V2Result {
  readonly statusCode?: unknown
  readonly headers?: Readonly<Record<string, unknown>>
  readonly cookies?: readonly string[]
  readonly body?: unknown
  readonly isBase64Encoded?: unknown
}

const textOf = (v: unknown): string => (typeof v === 'string' ? v : (JSON.stringify(v) ?? ''))

const joined = (all: Map<string, string[]>): Record<string, string> =>
  Object.fromEntries([...all].map(([name, values]) => [name, values.join(',')]))

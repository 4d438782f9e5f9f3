import type { Arrival, Pair, Reply } from './arrival.ts'
import { headerOf } from './arrival.ts'
import { API_ID, type Context, clfTime, forwarded, grouped, mediaType, queryPairs } from './context.ts'

/** The event of a REST API: the path as the client wrote it, without the stage; headers in the client's spelling. */
export function restEvent(a: Arrival, c: Context): object {
  const domainName = `${API_ID}.execute-api.${c.region}.amazonaws.com`
  const path = a.path.slice(`/${c.stage}`.length) || '/'
  const resource = path === '/' ? '/' : '/{proxy+}'
  const headers = spelledOnce(forwarded(a, domainName))
  const query = grouped(queryPairs(a.query))
  const binary = matches(c.binaryMediaTypes, mediaType(a))
  const { iam, apiKey } = c.identity
  return {
    resource,
    path,
    httpMethod: a.method,
    headers: lastOf(headers),
    multiValueHeaders: Object.fromEntries(headers),
    queryStringParameters: query.size > 0 ? lastOf(query) : null,
    multiValueQueryStringParameters: query.size > 0 ? Object.fromEntries(query) : null,
    pathParameters: path === '/' ? null : { proxy: path.slice(1) },
    stageVariables: null,
    requestContext: {
      resourceId: API_ID,
      resourcePath: resource,
      httpMethod: a.method,
      extendedRequestId: a.id,
      requestTime: clfTime(a.at),
      path: a.path,
      accountId: c.accountId,
      protocol: 'HTTP/1.1',
      stage: c.stage,
      domainPrefix: API_ID,
      requestTimeEpoch: a.at,
      requestId: a.id,
      identity: {
        cognitoIdentityPoolId: null,
        cognitoIdentityId: null,
        cognitoAuthenticationType: null,
        cognitoAuthenticationProvider: null,
        principalOrgId: null,
        accountId: iam ? c.accountId : null,
        accessKey: iam?.accessKey ?? null,
        caller: iam?.accessKey ?? null,
        user: iam?.accessKey ?? null,
        userArn: iam?.userArn ?? null,
        ...(apiKey && { apiKey: apiKey.key, apiKeyId: apiKey.id }),
        sourceIp: a.sourceIp,
        userAgent: headerOf(a, 'user-agent') ?? null,
      },
      domainName,
      deploymentId: API_ID,
      apiId: API_ID,
    },
    body: a.body.length === 0 ? null : a.body.toString(binary ? 'base64' : 'utf8'),
    isBase64Encoded: binary && a.body.length > 0,
  }
}

/** What a client may not hear from a function under these names. */
const REMAPPED = new Set(['connection', 'content-length', 'date', 'host', 'server', 'www-authenticate'])

/** Undefined where API Gateway says "malformed Lambda proxy response". */
export function restReply(result: unknown, a: Arrival, c: Context): Reply | undefined {
  const r = result as RestResult | null
  const status = Number(r?.statusCode)
  if (typeof r !== 'object' || r === null || !Number.isInteger(status) || status < 100 || status > 599) return undefined
  if (r.body !== undefined && r.body !== null && typeof r.body !== 'string') return undefined
  const headers: Pair[] = [
    ...Object.entries(r.headers ?? {}).filter(([n]) => r.multiValueHeaders?.[n] === undefined),
    ...Object.entries(r.multiValueHeaders ?? {}).flatMap(([n, all]) => all.map((v): Pair => [n, v])),
  ].map(([n, v]) => [REMAPPED.has(n.toLowerCase()) ? `x-amzn-Remapped-${n}` : n, String(v)])
  if (!headers.some(([n]) => n.toLowerCase() === 'content-type')) headers.push(['Content-Type', 'application/json'])
  const text = r.body ?? ''
  // only the first type that the client accepts counts; nothing accepted is everything
  const accepted = (headerOf(a, 'accept') ?? '*/*').split(/[,;]/)[0]!.trim()
  const binary = r.isBase64Encoded === true && matches(c.binaryMediaTypes, accepted)
  return { status, headers, body: binary ? Buffer.from(text, 'base64') : text }
}

interface RestResult {
  readonly statusCode?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[]>>
  readonly body?: unknown
  readonly isBase64Encoded?: unknown
}

function matches(types: readonly string[], type: string): boolean {
  return types.some((t) => t === '*/*' || t === type || (t.endsWith('/*') && type.startsWith(t.slice(0, -1))))
}

/** A name that comes again in another spelling is the same name. */
function spelledOnce(pairs: readonly Pair[]): Map<string, string[]> {
  const spelling = new Map<string, string>()
  for (const [name] of pairs) if (!spelling.has(name.toLowerCase())) spelling.set(name.toLowerCase(), name)
  return grouped(pairs.map(([name, value]) => [spelling.get(name.toLowerCase())!, value]))
}

const lastOf = (all: Map<string, string[]>): Record<string, string> =>
  Object.fromEntries([...all].map(([name, values]) => [name, values.at(-1)!]))

import type { HttpOptions } from '../../deploy/options.ts'
import { type Arrival, headerOf, type Pair, type Reply } from './arrival.ts'

/** What `cors: true` deploys for each kind; a test compares it with the template. */
const COMMON = 'Content-Type,X-Amz-Date,Authorization,X-Api-Key,X-Amz-Security-Token'
const ALLOWED = {
  rest: { headers: `${COMMON},X-Amz-User-Agent,X-Amzn-Trace-Id`, methods: 'OPTIONS,DELETE,GET,HEAD,PATCH,POST,PUT' },
  http: { headers: `${COMMON},X-Amz-User-Agent,X-Amzn-Trace-Id`, methods: 'OPTIONS,GET,POST,PUT,PATCH,HEAD,DELETE' },
  url: { headers: `${COMMON},X-Amzn-Trace-Id`, methods: '*' },
} as const satisfies Record<HttpOptions['api'], { headers: string; methods: string }>

export const corsOf = (api: HttpOptions['api']) => ALLOWED[api]

/** The front answers a browser's question itself, before any authorisation: a REST API every OPTIONS, the others a true preflight. */
export function preflight(a: Arrival, api: HttpOptions['api']): Reply | undefined {
  if (a.method !== 'OPTIONS') return undefined
  const asked = headerOf(a, 'origin') !== undefined && headerOf(a, 'access-control-request-method') !== undefined
  if (api !== 'rest' && !asked) return undefined
  const { headers, methods } = ALLOWED[api]
  const pairs: Pair[] = [
    ['access-control-allow-origin', '*'],
    ['access-control-allow-headers', headers.toLowerCase()],
    ['access-control-allow-methods', methods],
  ]
  if (api === 'rest') pairs.push(['content-type', 'application/json'])
  return { status: api === 'http' ? 204 : 200, headers: pairs, body: '' }
}

/** HTTP APIs and function URLs put their own headers over those of the function; a REST API leaves them to it. */
export function withCors(reply: Reply, a: Arrival, api: HttpOptions['api']): Reply {
  if (api === 'rest') return reply
  const others = reply.headers.filter(([name]) => !name.toLowerCase().startsWith('access-control-'))
  if (headerOf(a, 'origin') === undefined) return { ...reply, headers: others }
  return { ...reply, headers: [...others, ['access-control-allow-origin', '*']] }
}

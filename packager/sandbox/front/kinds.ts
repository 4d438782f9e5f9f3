import type { HttpOptions } from '../../deploy/options.ts'
import type { Arrival, Pair, Reply } from './arrival.ts'
import type { Context } from './context.ts'
import { restEvent, restReply } from './v1.ts'
import { functionUrlEvent, httpApiEvent, v2Reply } from './v2.ts'

/** Why a front answers by itself. */
export type Refusal =
  /** the body is longer than the front takes */
  | 'tooLarge'
  /** the event is longer than Lambda takes */
  | 'payload'
  | 'headers'
  /** the front has waited long enough */
  | 'timeout'
  /** the function threw, crashed or ran out of time */
  | 'failed'
  /** every environment is in use that may be */
  | 'busy'
  | 'throttled'
  | 'quota'
  | 'noSignature'
  | 'unknownKey'
  | 'badSignature'
  | 'noToken'
  | 'badToken'
  | 'forbidden'

interface Said {
  readonly status: number
  readonly text: string
  /** the header x-amzn-ErrorType */
  readonly type?: string
}

export interface Kind {
  /** bytes of a request's body */
  readonly body: number
  /** bytes of its request line and headers */
  readonly headers?: number
  /** milliseconds until the front gives up on the function; a function URL waits as long as the function may run */
  readonly patience?: number
  readonly event: (a: Arrival, c: Context) => object
  /** undefined: the result is no answer */
  readonly reply: (result: unknown, a: Arrival, c: Context) => Reply | undefined
  /** the id of the request, as this front tells it */
  readonly stamp: (a: Arrival) => Pair[]
  readonly says: Readonly<Partial<Record<Refusal, Said>>> & { readonly forbidden: Said; readonly failed: Said }
}

const MB = 1024 * 1024
const message = (status: number, text: string, type?: string): Said => ({
  status,
  text: JSON.stringify({ message: text }),
  type,
})
/** Lambda itself, unlike API Gateway, begins with a capital. */
const Message = (status: number, text: string, type?: string): Said => ({
  status,
  text: JSON.stringify({ Message: text }),
  type,
})

const MISMATCH =
  'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.'

export const KINDS = {
  rest: {
    body: 10 * MB,
    patience: 29_000,
    event: restEvent,
    reply: restReply,
    stamp: (a) => [
      ['x-amzn-RequestId', a.id],
      ['x-amz-apigw-id', a.id],
    ],
    says: {
      tooLarge: message(413, 'Request Too Long', 'RequestTooLargeException'),
      payload: message(413, 'Request Too Long', 'RequestTooLargeException'),
      timeout: message(504, 'Endpoint request timed out', 'InternalServerErrorException'),
      failed: message(502, 'Internal server error', 'InternalServerErrorException'),
      // not 429: what Lambda refuses, a proxied REST API tells as its own failure
      busy: message(500, 'Internal server error', 'InternalServerErrorException'),
      throttled: message(429, 'Too Many Requests', 'TooManyRequestsException'),
      quota: message(429, 'Limit Exceeded', 'LimitExceededException'),
      noSignature: message(403, 'Missing Authentication Token', 'MissingAuthenticationTokenException'),
      unknownKey: message(403, 'The security token included in the request is invalid.', 'UnrecognizedClientException'),
      badSignature: message(403, MISMATCH, 'InvalidSignatureException'),
      forbidden: message(403, 'Forbidden', 'ForbiddenException'),
    },
  },
  http: {
    body: 10 * MB,
    headers: 10_240,
    patience: 30_000,
    event: httpApiEvent,
    reply: v2Reply,
    stamp: (a) => [['apigw-requestid', a.id]],
    says: {
      tooLarge: message(413, 'Request Entity Too Large'),
      payload: message(413, 'Request Entity Too Large'),
      headers: message(431, 'Request Header Fields Too Large'),
      timeout: message(503, 'Service Unavailable'),
      failed: message(500, 'Internal Server Error'),
      busy: message(503, 'Service Unavailable'),
      throttled: message(429, 'Too Many Requests'),
      noToken: message(401, 'Unauthorized'),
      badToken: message(401, 'Unauthorized'),
      forbidden: message(403, 'Forbidden'),
    },
  },
  url: {
    body: 6 * MB,
    event: functionUrlEvent,
    reply: v2Reply,
    stamp: (a) => [['x-amzn-RequestId', a.id]],
    says: {
      payload: Message(413, 'Exceeded maximum allowed payload size (6291456 bytes).', 'RequestEntityTooLargeException'),
      failed: { status: 502, text: 'Internal Server Error' },
      busy: {
        status: 429,
        text: '{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}',
        type: 'TooManyRequestsException',
      },
      badSignature: message(403, MISMATCH, 'InvalidSignatureException'),
      unknownKey: message(403, 'The security token included in the request is invalid.', 'UnrecognizedClientException'),
      forbidden: Message(403, 'Forbidden', 'AccessDeniedException'),
    },
  },
} as const satisfies Record<HttpOptions['api'], Kind>

/** Where a kind has no words of its own for it. */
const INSTEAD: Partial<Record<Refusal, Refusal>> = { tooLarge: 'payload', timeout: 'failed', headers: 'payload' }

export function say(kind: Kind, refusal: Refusal, more: readonly Pair[] = []): Reply {
  const said = kind.says[refusal] ?? kind.says[INSTEAD[refusal] ?? 'forbidden'] ?? kind.says.forbidden
  const type: Pair[] = said.type ? [['x-amzn-ErrorType', said.type]] : []
  const content = said.text.startsWith('{') ? 'application/json' : 'text/plain'
  return { status: said.status, headers: [['content-type', content], ...type, ...more], body: said.text }
}

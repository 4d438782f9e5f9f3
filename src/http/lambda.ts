import { AppError, isAppError } from '../errors.ts'
import type { HttpRequest, HttpResponse } from '../types.ts'
import type { App } from './app.ts'
import { type FrontName, frontOf, LIMITS, type Result, toRequest, toResult } from './events.ts'

export interface Invoke {
  readonly requestId: string
  /** milliseconds since the epoch at which Lambda ends the process */
  readonly deadline?: number
}

/** What became of an event, and of which front it is. */
export interface Responded {
  readonly front: FrontName
  readonly req: HttpRequest
  readonly response: HttpResponse
}

/** An event of any front, answered in its words. What no front has sent is answered too: a throw would only be retried. */
export async function answer(app: App, event: unknown, invoke: Invoke): Promise<Result> {
  const { front, req, response } = await respond(app, event, invoke)
  const result = toResult(front, response)
  const size = Buffer.byteLength(result.body)
  return size <= LIMITS[front] ? result : toResult(front, app.refuse(req, tooLarge(front, size)))
}

export async function respond(app: App, event: unknown, invoke: Invoke): Promise<Responded> {
  const front = frontOf(event)
  const { requestId: functionRequestId } = invoke
  const body = new Uint8Array()
  const empty: HttpRequest = { method: 'POST', path: '/', query: '', headers: {}, body, functionRequestId, ...invoke }
  if (front === undefined) return { front: 'functionUrl', req: empty, response: app.refuse(empty, notHttp()) }
  let req: HttpRequest
  try {
    req = toRequest(front, event as object, invoke)
  } catch (cause) {
    return { front, req: empty, response: app.refuse(empty, isAppError(cause) ? cause : notHttp(cause)) }
  }
  return { front, req, response: await app.handle(req) }
}

function notHttp(cause?: unknown): AppError {
  return new AppError('BAD_REQUEST', {
    where: 'the event',
    expected: 'an HTTP request of API Gateway, a function URL or a load balancer',
    got: 'something else',
    cause,
  })
}

/** Lambda would answer 502 without a word about why. */
export function tooLarge(front: FrontName, size: number, limit: keyof typeof LIMITS = front): AppError {
  return new AppError('ANSWER_TOO_LARGE', { where: front, expected: `at most ${LIMITS[limit]} bytes`, got: `${size}` })
}

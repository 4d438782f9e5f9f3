import { AppError } from '../errors.ts'
import type { HttpRequest, HttpResponse } from '../types.ts'

/** What TensorFlow Serving adds with --rest_api_enable_cors_support. */
export const CORS_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'POST, GET',
  'access-control-allow-headers': 'Content-Type',
} as const

/** A browser asks before it sends JSON to another origin, and names its own. */
export function preflight(req: HttpRequest): HttpResponse {
  if (/https?:\/\//.test(req.headers.origin ?? '')) return { status: 200, headers: {}, body: '' }
  const reply = 'Origin header is missing in CORS preflight'
  throw new AppError('BAD_REQUEST', {
    where: 'the header Origin',
    expected: 'an http or https origin',
    got: 'none',
    reply,
  })
}

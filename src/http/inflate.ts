import { promisify } from 'node:util'
import { AppError } from '../errors.ts'
import type { HttpRequest } from '../types.ts'

/** A few kilobytes can inflate to gigabytes; nothing that a model takes is larger than this. */
export const MAX_INFLATED = 64 * 2 ** 20

/** The request with its content-encoding undone. */
export async function inflate(req: HttpRequest): Promise<HttpRequest> {
  const encoding = req.headers['content-encoding']?.trim().toLowerCase() || 'identity'
  if (encoding === 'identity') return req
  if (encoding !== 'gzip' && encoding !== 'x-gzip')
    throw new AppError('UNSUPPORTED_MEDIA', { where: 'content-encoding', expected: 'gzip', got: encoding.slice(0, 40) })
  const { gunzip } = await import('node:zlib')
  try {
    return { ...req, body: await promisify(gunzip)(req.body, { maxOutputLength: MAX_INFLATED }) }
  } catch (cause) {
    if (cause instanceof RangeError)
      throw new AppError('BODY_TOO_LARGE', { expected: `at most ${MAX_INFLATED} bytes once inflated`, got: 'more' })
    throw new AppError('BAD_REQUEST', {
      where: 'the body',
      expected: 'gzip, as content-encoding says',
      got: 'other bytes',
      cause,
    })
  }
}

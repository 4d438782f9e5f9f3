import { AppError } from '../errors.ts'

/** A name in a path. @throws {AppError} BAD_REQUEST */
export function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch (cause) {
    throw new AppError('BAD_REQUEST', {
      where: 'the path',
      expected: 'percent-encoded UTF-8',
      got: 'something else',
      cause,
    })
  }
}

import { AppError } from '../../errors.ts'
import type { Named, ReadContext } from '../types.ts'

const MAX_RECORD = 64 * 2 ** 20

export function maxOf({ options }: Pick<ReadContext, 'options'>): number {
  return options.maxRecordBytes ?? MAX_RECORD
}

/** A record that is passed over instead of held. */
export function tooLarge(where: string): Named['input'] {
  const { code, message } = new AppError('BODY_TOO_LARGE', { where })
  return { kind: 'bad', code, reason: message }
}

export function badRecord(where: string, expected: string, got: string): Named['input'] {
  const { code, message } = new AppError('BAD_INPUT', { where, expected, got })
  return { kind: 'bad', code, reason: message }
}

/** Of the file: it cannot be read from here on. */
export function broken(where: string, expected: string, got: string, cause?: unknown): AppError {
  return new AppError('BAD_INPUT', { where, expected, got, cause })
}

/** Bytes from a start to an end of a stream that cannot seek. */
export async function* between(
  chunks: AsyncIterable<Uint8Array>,
  start = 0,
  end = Number.POSITIVE_INFINITY,
): AsyncGenerator<Uint8Array> {
  let at = 0
  for await (const chunk of chunks) {
    const [from, to] = [Math.max(start - at, 0), Math.min(end - at, chunk.length)]
    if (from < to) yield chunk.subarray(from, to)
    at += chunk.length
    if (at >= end) return
  }
}

import { unzipSync } from 'fflate'
import { AppError, isAppError } from '../../src/errors.ts'

/** Keras stores its archives uncompressed; anything that grows more than this is no model. */
const MOST_GROWTH = 20
const ALWAYS_ALLOWED = 64 * 1024 * 1024

export function isZip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4
}

/**
 * The files of a zip by name, as far as `wanted`. What they claim to unpack to is bounded by the size of the archive.
 * @throws {AppError} BAD_MODEL_FILE
 */
export function openArchive(
  bytes: Uint8Array,
  where: string,
  wanted: (name: string) => boolean,
): Map<string, Uint8Array> {
  if (!isZip(bytes))
    throw new AppError('BAD_MODEL_FILE', {
      where,
      expected: 'a zip archive',
      got: bytes.length === 0 ? 'an empty file' : 'a file of another kind',
    })
  const limit = Math.max(ALWAYS_ALLOWED, bytes.length * MOST_GROWTH)
  let total = 0
  try {
    const files = unzipSync(bytes, {
      filter: (f) => {
        if (!wanted(f.name)) return false
        total += f.originalSize
        if (total <= limit) return true
        throw new AppError('BAD_MODEL_FILE', { where, expected: `at most ${limit} bytes inside`, got: 'more' })
      },
    })
    return new Map(Object.entries(files))
  } catch (e) {
    if (isAppError(e)) throw e
    throw new AppError('BAD_MODEL_FILE', {
      where,
      expected: 'a zip archive',
      got: e instanceof Error ? e.message : String(e),
      cause: e,
    })
  }
}

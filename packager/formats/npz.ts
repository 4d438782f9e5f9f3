import { unzipSync } from 'fflate'
import { AppError, isAppError } from '../../src/errors.ts'

/** Bytes of one array after unpacking. */
const MAX_BYTES = 2 ** 31

/** A .npz file: a zip with a .npy file for each array. @throws {AppError} BAD_REQUEST */
export function openNpz(
  file: Uint8Array,
  where: string,
): { names: string[]; read(name: string): Uint8Array | undefined } {
  const names: string[] = []
  unzip(file, where, (name) => {
    if (name.endsWith('.npy')) names.push(name.slice(0, -4))
    return false
  })
  return {
    names,
    read: (name) => unzip(file, where, (entry, size) => entry === `${name}.npy` && checked(size, where))[`${name}.npy`],
  }
}

function checked(size: number, where: string): true {
  if (size <= MAX_BYTES) return true
  throw new AppError('BAD_REQUEST', { where, expected: `at most ${MAX_BYTES} bytes`, got: `${size}` })
}

function unzip(
  file: Uint8Array,
  where: string,
  want: (name: string, size: number) => boolean,
): Record<string, Uint8Array> {
  try {
    return unzipSync(file, { filter: (f) => want(f.name, f.originalSize) })
  } catch (cause) {
    if (isAppError(cause)) throw cause
    throw new AppError('BAD_REQUEST', { where, expected: 'a .npz file', got: 'a zip that cannot be read', cause })
  }
}

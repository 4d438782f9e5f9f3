import { AppError } from '../errors.ts'
import { readBmp } from './bmp.ts'
import { upright } from './exif.ts'
import { readNative } from './native.ts'
import type { Pixels, SizeGuard } from './pixels.ts'
import { readPng } from './png.ts'
import { sniff } from './sniff.ts'

export interface DecodeOptions {
  /** the most pixels (width × height) an image may have; default 50,000,000 */
  limit?: number
  /** turn the picture as its EXIF orientation says; Pillow does not, so the default is false */
  exif?: boolean
}

const LIMIT = 50_000_000

/** @throws {AppError} BAD_IMAGE, IMAGE_TOO_LARGE, UNSUPPORTED_IMAGE; LOAD_FAILED where sharp is needed and missing */
export async function decode(
  bytes: Uint8Array,
  { limit = LIMIT, exif = false }: DecodeOptions,
): Promise<{ format: string; pixels: Pixels }> {
  const { name: format, reader } = sniff(bytes)
  if (reader === 'none')
    throw new AppError('BAD_IMAGE', {
      expected: 'an image (PNG, JPEG, WebP, GIF, TIFF, AVIF, SVG or BMP)',
      got: bytes.length === 0 ? format : `${format} (${bytes.length} bytes)`,
    })
  if (reader === 'refused')
    throw new AppError('UNSUPPORTED_IMAGE', {
      expected: 'PNG, JPEG, WebP, GIF, TIFF, AVIF, SVG or BMP',
      got: format,
      fix: 'Send PNG or JPEG.',
    })
  const guard: SizeGuard = (width, height) => {
    if (!(width > 0 && height > 0)) throw new AppError('BAD_IMAGE', { got: `${format} of ${width} x ${height} pixels` })
    if (width * height > limit)
      throw new AppError('IMAGE_TOO_LARGE', {
        expected: `at most ${limit} pixels`,
        got: `${format} of ${width} x ${height}`,
        fix: 'Send a smaller image.',
      })
  }
  const pixels =
    reader === 'png'
      ? readPng(bytes, guard)
      : reader === 'bmp'
        ? readBmp(bytes, guard)
        : await readNative(format, bytes, limit, guard)
  return { format, pixels: exif ? upright(pixels) : pixels }
}

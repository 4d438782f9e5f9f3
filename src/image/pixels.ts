import { AppError } from '../errors.ts'

/** Pillow's modes, with the bands of a pixel and the dtype that `np.array(image)` has. */
export const MODES = {
  '1': { bands: 1, dtype: 'bool' },
  L: { bands: 1, dtype: 'uint8' },
  P: { bands: 1, dtype: 'uint8' },
  LA: { bands: 2, dtype: 'uint8' },
  RGB: { bands: 3, dtype: 'uint8' },
  RGBA: { bands: 4, dtype: 'uint8' },
  CMYK: { bands: 4, dtype: 'uint8' },
  'I;16': { bands: 1, dtype: 'uint16' },
} as const

export type Mode = keyof typeof MODES

/** A decoded picture, row by row, bands interleaved. Mode `1` holds 0 and 1; `I;16` alone is a Uint16Array. */
export interface Pixels {
  readonly mode: Mode
  readonly width: number
  readonly height: number
  readonly data: Uint8Array | Uint16Array
  /** mode P: 256 RGBA entries; those that the file left out are black, as in Pillow */
  readonly palette?: Uint8Array
  /** the one colour a PNG declares transparent, applied by a conversion to LA or RGBA */
  readonly transparent?: readonly number[]
  /** EXIF orientation 2..8 where the file has one */
  readonly orientation?: number
}

/** Called with the header's dimensions before anything of that size is allocated. */
export type SizeGuard = (width: number, height: number) => void

/** 256 opaque entries, black until they are set. */
export function blackPalette(): Uint8Array {
  const palette = new Uint8Array(1024)
  for (let i = 3; i < 1024; i += 4) palette[i] = 255
  return palette
}

/** @param what completes "a PNG file that …" */
export function badImage(format: string, what: string, cause?: unknown): AppError {
  return new AppError('BAD_IMAGE', { expected: 'a whole image', got: `a ${format} file that ${what}`, cause })
}

/** For arguments that a hook passed and TypeScript would have refused. */
export function misuse(where: string, expected: string, got: unknown): AppError {
  return new AppError('HOOK_FAILED', { where, expected, got: typeof got === 'string' ? got : JSON.stringify(got) })
}

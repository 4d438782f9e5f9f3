import { constants, inflateSync } from 'node:zlib'
import { AppError } from '../errors.ts'
import { badImage, MODES, type Mode } from './pixels.ts'

/* The pixel data of a PNG: inflated within bounds, unfiltered, unpacked, and put in place pass by pass. */

export interface Kind {
  readonly mode: Mode
  /** spreads low-depth grey to 0..255 */
  readonly times?: number
  /** the file's channel for each band, where they differ */
  readonly take?: readonly number[]
}

/** first column, first row, step between columns, step between rows */
type Pass = readonly [number, number, number, number]

export interface Header {
  readonly width: number
  readonly height: number
  readonly depth: number
  readonly channels: number
  readonly kind: Kind
  readonly passes: readonly Pass[]
}

export const WHOLE: readonly Pass[] = [[0, 0, 1, 1]]
export const ADAM7: readonly Pass[] = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
]
/** libpng and Pillow ignore some bytes after the last row; more than this is a bomb */
const SLACK = 65536

const size = (h: Header, [x0, y0, dx, dy]: Pass) => {
  const columns = Math.ceil((h.width - x0) / dx)
  const rows = columns > 0 ? Math.ceil((h.height - y0) / dy) : 0
  return { columns, rows, rowBytes: Math.ceil((columns * h.channels * h.depth) / 8) }
}

export function inflate(idat: readonly Uint8Array[], header: Header): Uint8Array {
  let expected = 0
  for (const pass of header.passes) {
    const { rows, rowBytes } = size(header, pass)
    if (rows > 0) expected += rows * (1 + rowBytes)
  }
  const packed = idat.length === 1 ? idat[0]! : Buffer.concat(idat)
  let raw: Uint8Array
  try {
    raw = inflateSync(packed, {
      maxOutputLength: expected + SLACK,
      chunkSize: Math.min(Math.max(expected, 64), 1 << 20),
      finishFlush: constants.Z_SYNC_FLUSH,
    })
  } catch (e) {
    if (e instanceof RangeError)
      throw new AppError('IMAGE_TOO_LARGE', {
        expected: `${expected} bytes of pixels, as the PNG header says`,
        got: 'compressed data that inflates to more',
        cause: e,
      })
    throw badImage('PNG', 'has damaged pixel data', e)
  }
  if (raw.length < expected) throw badImage('PNG', `breaks off after ${raw.length} of ${expected} bytes of pixels`)
  return raw
}

/** Undoes the filters and puts every sample where it belongs. */
export function place(header: Header, raw: Uint8Array): Uint8Array | Uint16Array {
  const { width, height, depth, channels, kind } = header
  const bands = MODES[kind.mode].bands
  const out = kind.mode === 'I;16' ? new Uint16Array(width * height) : new Uint8Array(width * height * bands)
  const sample = sampler(depth, kind)
  const take = kind.take ?? Array.from({ length: bands }, (_, i) => i)
  const straight = depth === 8 && header.passes === WHOLE
  let at = 0
  for (const pass of header.passes) {
    const { columns, rows, rowBytes } = size(header, pass)
    const [x0, y0, dx, dy] = pass
    let before: Uint8Array = new Uint8Array(rowBytes)
    for (let y = 0; y < rows; y++) {
      const row = raw.subarray(at + 1, at + 1 + rowBytes)
      unfilter(raw[at]!, row, before, Math.max(1, (channels * depth) >> 3))
      at += 1 + rowBytes
      before = row
      if (straight) out.set(row, y * rowBytes)
      else
        for (let x = 0; x < columns; x++) {
          const o = ((y0 + y * dy) * width + x0 + x * dx) * bands
          for (let k = 0; k < bands; k++) out[o + k] = sample(row, x * channels + take[k]!)
        }
    }
  }
  return out
}

/** The i-th sample of a row as Pillow unpacks it: 16 bits whole for grey, their high byte for colours. */
function sampler(depth: number, { mode, times = 1 }: Kind): (row: Uint8Array, i: number) => number {
  if (mode === 'I;16') return (row, i) => (row[i * 2]! << 8) | row[i * 2 + 1]!
  if (depth === 16) return (row, i) => row[i * 2]!
  if (depth === 8) return (row, i) => row[i]!
  const mask = (1 << depth) - 1
  return (row, i) => ((row[(i * depth) >> 3]! >> (8 - depth - ((i * depth) & 7))) & mask) * times
}

/** https://www.w3.org/TR/png-3/#9Filters; `before` is the row above, unfiltered, of zeros for the first. */
function unfilter(type: number, row: Uint8Array, before: Uint8Array, bpp: number): void {
  const n = row.length
  if (type === 1) for (let i = bpp; i < n; i++) row[i] = row[i]! + row[i - bpp]!
  else if (type === 2) for (let i = 0; i < n; i++) row[i] = row[i]! + before[i]!
  else if (type === 3) {
    for (let i = 0; i < n; i++) row[i] = row[i]! + (((i < bpp ? 0 : row[i - bpp]!) + before[i]!) >> 1)
  } else if (type === 4) {
    for (let i = 0; i < n; i++) {
      const left = i < bpp ? 0 : row[i - bpp]!
      const up = before[i]!
      const corner = i < bpp ? 0 : before[i - bpp]!
      const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)]
      row[i] = row[i]! + (a <= b && a <= c ? left : b <= c ? up : corner)
    }
  } else if (type !== 0) throw badImage('PNG', `has a row with filter ${type}, which PNG does not know`)
}

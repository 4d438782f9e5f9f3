import { constants, crc32, inflateSync } from 'node:zlib'
import { AppError } from '../errors.ts'
import { orientationOf } from './exif.ts'
import { badImage, blackPalette, MODES, type Mode, type Pixels, type SizeGuard } from './pixels.ts'

/*
 * A PNG decoder over node:zlib with Pillow's idea of what each colour type becomes. A decoder of our own because the
 * common JavaScript ones inflate without bound, expand or refuse the low bit depths, and a 28x28 digit must not load sharp.
 */

/** colour type and bit depth → Pillow's mode; `times` spreads grey to 0..255, `take` picks the file's channel for each band */
const KINDS: Readonly<Record<string, { mode: Mode; times?: number; take?: readonly number[] }>> = {
  '0/1': { mode: '1' },
  '0/2': { mode: 'L', times: 0x55 },
  '0/4': { mode: 'L', times: 0x11 },
  '0/8': { mode: 'L' },
  '0/16': { mode: 'I;16' },
  '2/8': { mode: 'RGB' },
  '2/16': { mode: 'RGB' },
  '3/1': { mode: 'P' },
  '3/2': { mode: 'P' },
  '3/4': { mode: 'P' },
  '3/8': { mode: 'P' },
  '4/8': { mode: 'LA' },
  // Pillow has no 16-bit LA and unpacks it to RGBA
  '4/16': { mode: 'RGBA', take: [0, 0, 0, 1] },
  '6/8': { mode: 'RGBA' },
  '6/16': { mode: 'RGBA' },
}
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }
const WHOLE = [[0, 0, 1, 1]] as const
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const
/** libpng and Pillow ignore some bytes after the last row; more than this is a bomb */
const SLACK = 65536

interface Header {
  readonly width: number
  readonly height: number
  readonly depth: number
  readonly channels: number
  readonly kind: { mode: Mode; times?: number; take?: readonly number[] }
  readonly passes: readonly (readonly [number, number, number, number])[]
}

interface Chunks {
  header?: Header
  palette?: Uint8Array
  trns?: Uint8Array
  orientation?: number
  readonly idat: Uint8Array[]
}

export function readPng(bytes: Uint8Array, guard: SizeGuard): Pixels {
  const { header, palette, trns, orientation, idat } = readChunks(bytes, guard)
  if (!header) throw badImage('PNG', 'has no header')
  if (idat.length === 0) throw badImage('PNG', 'has no pixel data')
  const { mode } = header.kind
  if (mode === 'P' && !palette) throw badImage('PNG', 'has palette indexes but no palette')
  const data = place(header, inflate(idat, header))
  const { width, height } = header
  if (mode !== 'P') return { mode, width, height, data, orientation, transparent: transparentColour(mode, trns) }
  if (trns) for (let i = 0; i < Math.min(trns.length, 256); i++) palette![i * 4 + 3] = trns[i]!
  return { mode, width, height, data, orientation, palette }
}

function readChunks(bytes: Uint8Array, guard: SizeGuard): Chunks {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const found: Chunks = { idat: [] }
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at)
    const type = String.fromCharCode(bytes[at + 4]!, bytes[at + 5]!, bytes[at + 6]!, bytes[at + 7]!)
    const body = bytes.subarray(at + 8, at + 8 + length)
    // a cut IDAT is kept: the pixel count says whether enough of it is there
    if (type === 'IDAT') found.idat.push(body)
    if (type === 'IEND' || body.length < length) break
    if (type === 'IHDR' || type === 'PLTE' || type === 'tRNS') {
      const end = at + 8 + length
      if (end + 4 > bytes.length || crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end))
        throw badImage('PNG', `has a damaged ${type} chunk`)
      if (type === 'IHDR') found.header ??= readHeader(body, guard)
      else if (type === 'tRNS') found.trns = body
      else if (length > 768 || length % 3 !== 0) throw badImage('PNG', 'has a palette of a wrong size')
      else found.palette = readPalette(body)
    }
    if (type === 'eXIf') found.orientation = orientationOf(body)
    at += 12 + length
  }
  return found
}

function readHeader(b: Uint8Array, guard: SizeGuard): Header {
  if (b.length !== 13) throw badImage('PNG', 'has a header of a wrong size')
  const view = new DataView(b.buffer, b.byteOffset, b.byteLength)
  const [width, height, depth, colour] = [view.getUint32(0), view.getUint32(4), b[8]!, b[9]!]
  const kind = KINDS[`${colour}/${depth}`]
  if (!kind) throw badImage('PNG', `has colour type ${colour} with ${depth} bits, which PNG does not know`)
  if (b[10] !== 0 || b[11] !== 0 || b[12]! > 1)
    throw badImage('PNG', 'has an unknown compression, filter or interlace method')
  guard(width, height)
  return { width, height, depth, channels: CHANNELS[colour]!, kind, passes: b[12] ? ADAM7 : WHOLE }
}

function readPalette(rgb: Uint8Array): Uint8Array {
  const palette = blackPalette()
  for (let i = 0, o = 0; i < rgb.length; i += 3, o += 4) palette.set(rgb.subarray(i, i + 3), o)
  return palette
}

/** Pillow compares the low byte of the declared colour with the unpacked bands, whatever the file's depth. */
function transparentColour(mode: Mode, trns?: Uint8Array): readonly number[] | undefined {
  const bands = MODES[mode].bands
  if (!trns || mode === 'LA' || mode === 'RGBA') return undefined
  if (trns.length < bands * 2) throw badImage('PNG', 'has a tRNS chunk of a wrong size')
  if (mode === '1') return [trns[0]! | trns[1]! ? 1 : 0]
  if (mode === 'I;16') return [(trns[0]! << 8) | trns[1]!]
  return Array.from({ length: bands }, (_, i) => trns[i * 2 + 1]!)
}

const size = (h: Header, [x0, y0, dx, dy]: readonly [number, number, number, number]) => {
  const columns = Math.ceil((h.width - x0) / dx)
  const rows = columns > 0 ? Math.ceil((h.height - y0) / dy) : 0
  return { columns, rows, rowBytes: Math.ceil((columns * h.channels * h.depth) / 8) }
}

function inflate(idat: readonly Uint8Array[], header: Header): Uint8Array {
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
function place(header: Header, raw: Uint8Array): Uint8Array | Uint16Array {
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
function sampler(depth: number, { mode, times = 1 }: Header['kind']): (row: Uint8Array, i: number) => number {
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

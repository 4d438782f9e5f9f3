import { AppError } from '../errors.ts'
import { badImage, blackPalette, MODES, type Mode, type Pixels, type SizeGuard } from './pixels.ts'

/*
 * Windows and OS/2 bitmaps, which sharp does not read: 1, 4, 8, 16, 24 and 32 bits, bit fields, RLE4 and RLE8,
 * with the modes that Pillow gives them (a palette that is a grey ramp is dropped).
 */

interface Header {
  readonly width: number
  readonly height: number
  readonly topDown: boolean
  readonly bits: number
  readonly compression: number
  readonly masks: readonly number[]
  readonly colours: number
  /** where the palette starts, and the bytes of an entry */
  readonly palette: number
  readonly entry: 3 | 4
  readonly pixels: number
}

const [RAW, RLE8, RLE4, BITFIELDS] = [0, 1, 2, 3]
const COMPRESSIONS = ['none', 'RLE8', 'RLE4', 'BITFIELDS', 'JPEG', 'PNG']

/** masks of red, green, blue and alpha → for each band of the result the byte it is read from */
const LAYOUTS: Readonly<Record<string, readonly number[]>> = {
  'ff0000,ff00,ff,0': [2, 1, 0],
  'ff000000,ff0000,ff00,0': [3, 2, 1],
  'ff000000,ff00,ff,0': [3, 1, 0],
  'ff000000,ff0000,ff00,ff': [3, 2, 1, 0],
  'ff,ff00,ff0000,ff000000': [0, 1, 2, 3],
  'ff0000,ff00,ff,ff000000': [2, 1, 0, 3],
  'ff000000,ff00,ff,ff0000': [3, 1, 0, 2],
  '0,0,0,0': [2, 1, 0, 3],
}

export function readBmp(bytes: Uint8Array, guard: SizeGuard): Pixels {
  const header = readHeader(bytes)
  const { width, height, bits, compression } = header
  guard(width, height)
  const base = { width, height }
  if (bits > 8) {
    if (compression !== RAW && compression !== BITFIELDS) throw unsupported(header)
    return { ...base, ...(bits === 16 ? readPacked(bytes, header) : readBytes(bytes, header)) }
  }
  const { mode, palette } = readPalette(bytes, header)
  if (compression === RAW) return { ...base, mode, palette, data: readIndexes(bytes, header, mode) }
  if (compression !== RLE8 && compression !== RLE4) throw unsupported(header)
  return { ...base, mode, palette, data: readRuns(bytes, header) }
}

function unsupported(h: Header): AppError {
  const what = COMPRESSIONS[h.compression] ?? `number ${h.compression}`
  return new AppError('UNSUPPORTED_IMAGE', {
    got: `BMP with ${h.bits} bits and compression ${what}`,
    fix: 'Send PNG or JPEG.',
  })
}

function readHeader(bytes: Uint8Array): Header {
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const size = v.getUint32(14, true)
  if (bytes.length < Math.max(14 + size, size === 12 ? 26 : 54)) throw badImage('BMP', 'breaks off in its header')
  const pixels = v.getUint32(10, true)
  if (size === 12) {
    const bits = v.getUint16(24, true)
    const [width, height] = [v.getUint16(18, true), v.getUint16(20, true)]
    const table = { palette: 26, entry: 3, colours: bits > 8 ? 0 : 1 << bits } as const
    return { width, height, topDown: false, bits, compression: RAW!, masks: [], ...table, pixels }
  }
  const [width, height] = [v.getInt32(18, true), v.getInt32(22, true)]
  if (width < 0) throw badImage('BMP', 'claims a negative width')
  const bits = v.getUint16(28, true)
  const compression = v.getUint32(30, true)
  const fields = compression === BITFIELDS
  // a 40-byte header is followed by three masks, longer ones hold them
  if (fields && size === 40 && bytes.length < 66) throw badImage('BMP', 'breaks off in its header')
  const masks = fields ? [54, 58, 62, ...(size >= 56 ? [66] : [])].map((at) => v.getUint32(at, true)) : []
  const colours = bits > 8 ? 0 : Math.min(v.getUint32(46, true) || 1 << bits, 256)
  const palette = 14 + size
  return {
    width,
    height: Math.abs(height),
    topDown: height < 0,
    bits,
    compression,
    masks,
    colours,
    palette,
    entry: 4,
    pixels,
  }
}

function readPalette(bytes: Uint8Array, h: Header): { mode: Mode; palette?: Uint8Array } {
  if (h.bits !== 1 && h.bits !== 4 && h.bits !== 8) throw unsupported(h)
  if (bytes.length < h.palette + h.colours * h.entry) throw badImage('BMP', 'breaks off in its palette')
  const palette = blackPalette()
  let grey = true
  for (let i = 0; i < h.colours; i++) {
    const at = h.palette + i * h.entry
    for (let k = 0; k < 3; k++) {
      palette[i * 4 + k] = bytes[at + 2 - k]!
      if (bytes[at + k] !== (h.colours === 2 ? i * 255 : i)) grey = false
    }
  }
  return grey ? { mode: h.colours <= 2 ? '1' : 'L' } : { mode: 'P', palette }
}

/** Where row y of the picture starts in the file. @throws when the file ends before it does */
function rowStarts(bytes: Uint8Array, h: Header): (y: number) => number {
  const stride = ((h.width * h.bits + 31) >> 5) * 4
  if (bytes.length < h.pixels + stride * (h.height - 1) + Math.ceil((h.width * h.bits) / 8))
    throw badImage('BMP', 'breaks off before its last row')
  return (y) => h.pixels + (h.topDown ? y : h.height - 1 - y) * stride
}

function readIndexes(bytes: Uint8Array, h: Header, mode: Mode): Uint8Array {
  const start = rowStarts(bytes, h)
  const data = new Uint8Array(h.width * h.height)
  // Pillow unpacks a mode 1 file as one bit a pixel and a mode L file as one byte, whatever the header says
  const bits = mode === '1' ? 1 : mode === 'L' ? 8 : h.bits
  const mask = (1 << bits) - 1
  for (let y = 0, o = 0; y < h.height; y++)
    for (let x = 0, at = start(y); x < h.width; x++)
      data[o++] = (bytes[at + ((x * bits) >> 3)]! >> (8 - bits - ((x * bits) & 7))) & mask
  return data
}

function readBytes(bytes: Uint8Array, h: Header): { mode: Mode; data: Uint8Array } {
  const step = h.bits / 8
  const key = [0, 1, 2, 3].map((i) => (h.masks[i] ?? 0).toString(16)).join()
  const plain = h.compression === RAW
  const order = plain ? LAYOUTS['ff0000,ff00,ff,0'] : LAYOUTS[key]
  if (!order || (h.bits !== 24 && h.bits !== 32)) throw unsupported(h)
  const mode = order.length === 4 ? 'RGBA' : 'RGB'
  const start = rowStarts(bytes, h)
  const data = new Uint8Array(h.width * h.height * MODES[mode].bands)
  for (let y = 0, o = 0; y < h.height; y++)
    for (let x = 0, at = start(y); x < h.width; x++, at += step) for (const k of order) data[o++] = bytes[at + k]!
  return { mode, data }
}

/** 16 bits: 5-5-5, or 5-6-5 where the masks say so; channels are scaled as Pillow does, by integer division. */
function readPacked(bytes: Uint8Array, h: Header): { mode: Mode; data: Uint8Array } {
  const masks = h.masks.slice(0, 3).join()
  const wide = masks === [0xf800, 0x7e0, 0x1f].join()
  if (masks !== '' && !wide && masks !== [0x7c00, 0x3e0, 0x1f].join()) throw unsupported(h)
  const start = rowStarts(bytes, h)
  const data = new Uint8Array(h.width * h.height * 3)
  for (let y = 0, o = 0; y < h.height; y++)
    for (let x = 0, at = start(y); x < h.width; x++, at += 2) {
      const word = bytes[at]! | (bytes[at + 1]! << 8)
      data[o++] = (((word >> (wide ? 11 : 10)) & 31) * 255) / 31
      data[o++] = wide ? (((word >> 5) & 63) * 255) / 63 : (((word >> 5) & 31) * 255) / 31
      data[o++] = ((word & 31) * 255) / 31
    }
  return { mode: 'RGB', data }
}

/** https://learn.microsoft.com/windows/win32/gdi/bitmap-compression; pixels that a delta jumps over are 0. */
function readRuns(bytes: Uint8Array, h: Header): Uint8Array {
  const { width, height } = h
  const data = new Uint8Array(width * height)
  const half = h.compression === RLE4
  const row = (y: number): number => (h.topDown ? y : height - 1 - y) * width
  const nibble = (byte: number, i: number): number => (half ? (i & 1 ? byte & 15 : byte >> 4) : byte)
  let [x, y] = [0, 0]
  for (let at = h.pixels; y < height; ) {
    if (at + 2 > bytes.length) throw badImage('BMP', 'breaks off in its run-length data')
    const [count, value] = [bytes[at]!, bytes[at + 1]!]
    at += 2
    if (count > 0) {
      for (let i = 0; i < count && x < width; i++) data[row(y) + x++] = nibble(value, i)
    } else if (value === 0) {
      x = 0
      y++
    } else if (value === 1) break
    else if (value === 2) {
      x = Math.min(width, x + (bytes[at] ?? 0))
      y += bytes[at + 1] ?? 0
      at += 2
    } else {
      for (let i = 0; i < value; i++)
        if (x < width) data[row(y) + x++] = nibble(bytes[at + (half ? i >> 1 : i)] ?? 0, i)
      const used = half ? (value + 1) >> 1 : value
      at += used + (used & 1)
    }
  }
  return data
}

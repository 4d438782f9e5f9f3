import { crc32 } from 'node:zlib'
import { orientationOf } from './exif.ts'
import { badImage, blackPalette, MODES, type Mode, type Pixels, type SizeGuard } from './pixels.ts'
import { ADAM7, type Header, inflate, type Kind, place, WHOLE } from './pngrows.ts'

/*
 * A PNG decoder over node:zlib with Pillow's idea of what each colour type becomes. A decoder of our own because the
 * common JavaScript ones inflate without bound, expand or refuse the low bit depths, and a 28x28 digit must not load sharp.
 */

/** colour type and bit depth → Pillow's mode */
const KINDS: Readonly<Record<string, Kind>> = {
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

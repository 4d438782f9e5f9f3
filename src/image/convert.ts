import { blackPalette, MODES, type Mode, misuse, type Pixels } from './pixels.ts'

export type TargetMode = '1' | 'L' | 'LA' | 'RGB' | 'RGBA'

export interface ConvertOptions {
  /** for mode 1: Floyd-Steinberg error diffusion, Pillow's default; false is a threshold at 128 */
  dither?: boolean
}

/** ITU-R 601 luma in Pillow's fixed point */
const luma = (r: number, g: number, b: number): number => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16
/** the other luma Pillow has, for mode 1 only, in thousandths */
const luma1000 = (r: number, g: number, b: number): number => r * 299 + g * 587 + b * 114

const TARGETS: ReadonlySet<string> = new Set<TargetMode>(['1', 'L', 'LA', 'RGB', 'RGBA'])

/**
 * Image.convert: the same integers as Pillow's. Alpha is dropped, not blended; `I;16` is clipped to 255, not scaled;
 * CMYK goes through RGB without a profile. One case differs: a palette's transparent entry is not remembered after a
 * conversion to RGB.
 */
export function convert(p: Pixels, to: TargetMode, { dither = true }: ConvertOptions = {}): Pixels {
  if (!TARGETS.has(to)) throw misuse('image.convert', `one of ${[...TARGETS].join(', ')}`, to)
  if (p.mode === to) return p
  if (p.mode === 'CMYK') return convert(withData(p, 'RGB', fromCmyk(p)), to, { dither })
  if (to === '1') return withData(p, '1', bilevel(p, dither && p.mode !== 'P'))
  if (MODES[p.mode].bands === 1) return lookup(p, to)
  return bands(p, to)
}

function withData(p: Pixels, mode: Mode, data: Uint8Array, transparent?: readonly number[]): Pixels {
  return { mode, width: p.width, height: p.height, data, transparent, orientation: p.orientation }
}

/** The 256 colours of a mode with one band: its palette, the grey ramp, or black and white. */
function coloursOf(p: Pixels): Uint8Array {
  if (p.palette) return p.palette
  const colours = blackPalette()
  const white = p.mode === '1' ? 255 : 1
  for (let i = 0; i < 256; i++) colours.fill(i * white, i * 4, i * 4 + 3)
  // I;16 is compared before it is clipped, see lookup
  if (p.transparent && p.mode !== 'I;16') colours[p.transparent[0]! * 4 + 3] = 0
  return colours
}

function lookup(p: Pixels, to: TargetMode): Pixels {
  const colours = coloursOf(p)
  const { bands: n } = MODES[to]
  const table = new Uint8Array(256 * n)
  for (let i = 0; i < 256; i++) {
    const rgba = colours.subarray(i * 4, i * 4 + 4)
    const grey = luma(rgba[0]!, rgba[1]!, rgba[2]!)
    table.set(to === 'L' ? [grey] : to === 'LA' ? [grey, rgba[3]!] : rgba.subarray(0, n), i * n)
  }
  const { data } = p
  const out = new Uint8Array(data.length * n)
  for (let i = 0, o = 0; i < data.length; i++) {
    const at = Math.min(data[i]!, 255) * n
    for (let k = 0; k < n; k++) out[o++] = table[at + k]!
  }
  const grey = p.transparent?.[0]
  return withData(p, to, out, grey === undefined || p.mode !== 'L' || to !== 'RGB' ? undefined : [grey, grey, grey])
}

/** Between the modes with several bands. */
function bands(p: Pixels, to: TargetMode): Pixels {
  const { data, transparent: key } = p
  const from = MODES[p.mode].bands
  const n = MODES[to].bands
  const colour = from >= 3
  const alpha = from === 2 || from === 4 ? from - 1 : -1
  const out = new Uint8Array(p.width * p.height * n)
  for (let i = 0, o = 0; i < data.length; i += from) {
    const r = data[i]!
    const g = colour ? data[i + 1]! : r
    const b = colour ? data[i + 2]! : r
    const clear = key !== undefined && r === key[0] && g === key[1] && b === key[2]
    if (n < 3) {
      // Pillow leaves red, not luma, under a pixel it makes transparent
      out[o++] = colour && !(clear && n === 2) ? luma(r, g, b) : r
    } else {
      out[o++] = r
      out[o++] = g
      out[o++] = b
    }
    if (n === 2 || n === 4) out[o++] = alpha >= 0 ? data[i + alpha]! : clear ? 0 : 255
  }
  return withData(p, to, out, key && to === 'L' ? [luma(key[0]!, key[1]!, key[2]!)] : undefined)
}

function fromCmyk({ data }: Pixels): Uint8Array {
  const out = new Uint8Array((data.length / 4) * 3)
  for (let i = 0, o = 0; i < data.length; i += 4) {
    const white = 255 - data[i + 3]!
    for (let k = 0; k < 3; k++) {
      const t = data[i + k]! * white + 128
      out[o++] = Math.max(0, white - (((t >> 8) + t) >> 8))
    }
  }
  return out
}

/** Grey of every pixel as Pillow's conversions to mode 1 see it: in thousandths, because RGB's is not rounded. */
function thousandths(p: Pixels): Float64Array {
  const { data, mode } = p
  const out = new Float64Array(p.width * p.height)
  const n = MODES[mode].bands
  for (let i = 0; i < out.length; i++) {
    const at = i * n
    if (n >= 3) out[i] = luma1000(data[at]!, data[at + 1]!, data[at + 2]!)
    else if (mode === 'P') {
      const c = data[at]! * 4
      out[i] = luma1000(p.palette![c]!, p.palette![c + 1]!, p.palette![c + 2]!)
    } else out[i] = Math.min(data[at]!, 255) * 1000
  }
  return out
}

function bilevel(p: Pixels, dither: boolean): Uint8Array {
  const grey = thousandths(p)
  return dither ? diffuse(grey, p.width, p.height) : Uint8Array.from(grey, (v) => (v >= 128_000 ? 1 : 0))
}

/** Floyd-Steinberg with Pillow's integer arithmetic: errors in sixteenths, division towards zero, threshold above 128. */
function diffuse(grey: Float64Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(grey.length)
  const below = new Int32Array(width + 1)
  for (let y = 0, i = 0; y < height; y++) {
    let [carry, left, corner] = [0, 0, 0]
    for (let x = 0; x < width; x++, i++) {
      const sum = Math.trunc(grey[i]! / 1000) + Math.trunc((carry + below[x + 1]!) / 16)
      const value = Math.min(255, Math.max(0, sum))
      const white = value > 128
      out[i] = white ? 1 : 0
      const error = value - (white ? 255 : 0)
      below[x] = error * 3 + left
      left = error * 5 + corner
      corner = error
      carry = error * 7
    }
    below[width] = left
  }
  return out
}

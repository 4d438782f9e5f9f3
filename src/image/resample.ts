import { MODES, type Pixels } from './pixels.ts'

/*
 * Pillow's resampling: a filter that widens with the reduction (antialiasing), rows first, then columns, rounded to
 * whole levels between the two. Bytes are weighted in fixed point, 16-bit grey in floating point.
 */

/** left, upper, right, lower, in pixels; may be fractions */
export type Box = readonly [number, number, number, number]

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI))

/** Half width and weight of each filter at distance x ≥ 0, in source pixels of an enlargement. Cubic with a = -0.5. */
export const KERNELS = {
  // half open, so that a source pixel on the edge belongs to one result only
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: { support: 1, at: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI))) },
  bicubic: {
    support: 2,
    at: (v) => {
      const x = Math.abs(v)
      return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0
    },
  },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
} as const satisfies Record<string, { support: number; at: (x: number) => number }>

export type Kernel = keyof typeof KERNELS

/** Bits after the point of a weight: 32 less 8 of the pixel less 2 for overshoot and sign. */
const PRECISION = 32 - 8 - 2
/** For each result the first source pixel and its weights, `taps` of them. */
interface Weights {
  readonly taps: number
  readonly first: Int32Array
  readonly count: Int32Array
  readonly weight: Float64Array
}

export function resample(p: Pixels, width: number, height: number, filter: Kernel, box: Box): Pixels {
  const [l, t, r, b] = box
  const down = weights(p.height, t, b, height, filter)
  const top = down.first[0]!
  const bottom = down.first[height - 1]! + down.count[height - 1]!
  let out = p
  if (width !== p.width || l !== 0 || r !== width)
    out = across(p, weights(p.width, l, r, width, filter), width, top, bottom)
  if (height === p.height && t === 0 && b === height) return out
  // across() kept only the rows that down reads
  if (out !== p) for (let i = 0; i < height; i++) down.first[i]! -= top
  return along(out, down, height)
}

function weights(length: number, from: number, to: number, n: number, filter: Kernel): Weights {
  const { support, at } = KERNELS[filter]
  const scale = (to - from) / n
  const widening = Math.max(scale, 1)
  const reach = support * widening
  const taps = Math.ceil(reach) * 2 + 1
  const out = { taps, first: new Int32Array(n), count: new Int32Array(n), weight: new Float64Array(n * taps) }
  for (let i = 0; i < n; i++) {
    const center = from + (i + 0.5) * scale
    const first = Math.max(0, Math.trunc(center - reach + 0.5))
    const count = Math.min(length, Math.trunc(center + reach + 0.5)) - first
    let sum = 0
    for (let k = 0; k < count; k++) sum += out.weight[i * taps + k] = at((k + first - center + 0.5) * (1 / widening))
    if (sum !== 0) for (let k = 0; k < count; k++) out.weight[i * taps + k]! /= sum
    out.first[i] = first
    out.count[i] = count
  }
  return out
}

/** Weights as fixed point, rounded half away from zero. */
const fixed = (w: Float64Array): Int32Array =>
  Int32Array.from(w, (v) => Math.trunc(v * 2 ** PRECISION + (v < 0 ? -0.5 : 0.5)))
const half = 1 << (PRECISION - 1)
const clip8 = (v: number): number => Math.min(255, Math.max(0, v))
const clip16 = (v: number): number => Math.min(65535, Math.max(0, Math.trunc(v + (v >= 0 ? 0.5 : -0.5))))

/** One row of `width` results from each row between `top` and `bottom`. */
function across(
  p: Pixels,
  { taps, first, count, weight }: Weights,
  width: number,
  top: number,
  bottom: number,
): Pixels {
  const bands = MODES[p.mode].bands
  const { data: source } = p
  const height = bottom - top
  const data = source instanceof Uint16Array ? new Uint16Array(width * height) : new Uint8Array(width * height * bands)
  const k8 = fixed(weight)
  for (let y = top, o = 0; y < bottom; y++)
    for (let x = 0; x < width; x++) {
      const end = x * taps + count[x]!
      for (let c = 0; c < bands; c++) {
        let at = (y * p.width + first[x]!) * bands + c
        if (source instanceof Uint16Array) {
          let sum = 0
          for (let k = x * taps; k < end; k++) sum += source[at++]! * weight[k]!
          data[o++] = clip16(sum)
        } else {
          let sum = half
          for (let k = x * taps; k < end; k++, at += bands) sum = (sum + Math.imul(source[at]!, k8[k]!)) | 0
          data[o++] = clip8(sum >> PRECISION)
        }
      }
    }
  return { ...p, width, height, data }
}

/** Whole rows are weighted and added, which reads memory in order. */
function along(p: Pixels, { taps, first, count, weight }: Weights, height: number): Pixels {
  const stride = p.width * MODES[p.mode].bands
  const { data: source } = p
  const wide = source instanceof Uint16Array
  const data = wide ? new Uint16Array(stride * height) : new Uint8Array(stride * height)
  const sums = wide ? new Float64Array(stride) : new Int32Array(stride)
  const k8 = fixed(weight)
  for (let y = 0; y < height; y++) {
    sums.fill(wide ? 0 : half)
    for (let k = 0; k < count[y]!; k++) {
      const w = wide ? weight[y * taps + k]! : k8[y * taps + k]!
      for (let i = 0, at = (first[y]! + k) * stride; i < stride; i++) sums[i]! += source[at + i]! * w
    }
    for (let i = 0; i < stride; i++) data[y * stride + i] = wide ? clip16(sums[i]!) : clip8(sums[i]! >> PRECISION)
  }
  return { ...p, height, data }
}

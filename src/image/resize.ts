import { MODES, misuse, type Pixels } from './pixels.ts'
import { type Box, KERNELS, type Kernel, resample } from './resample.ts'

export type { Box } from './resample.ts'
export type Filter = Kernel | 'nearest'

/** no output is larger; a mistaken size must not ask for gigabytes */
const MOST = 2 ** 28

/**
 * Image.resize: stretches to exactly width × height. Modes 1 and P are always resized nearest, as in Pillow; alpha is
 * premultiplied around every other filter.
 */
export function resize(p: Pixels, size: readonly [number, number], filter: Filter, box?: Box): Pixels {
  const [width, height] = size
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0 && width * height <= MOST))
    throw misuse('image.resize', `a size [width, height] of at most ${MOST} pixels`, size)
  if (filter !== 'nearest' && !Object.hasOwn(KERNELS, filter))
    throw misuse('image.resize', `one of nearest, ${Object.keys(KERNELS).join(', ')}`, filter)
  const area = box ?? ([0, 0, p.width, p.height] as const)
  const [l, t, r, b] = area
  if (!(l >= 0 && t >= 0 && r > l && b > t && r <= p.width && b <= p.height))
    throw misuse('image.resize', `a box within ${p.width} x ${p.height}`, area)
  const whole = l === 0 && t === 0 && r === p.width && b === p.height
  if (whole && width === p.width && height === p.height) return p
  if (filter === 'nearest' || p.mode === '1' || p.mode === 'P') return nearest(p, width, height, area)
  const blend = p.mode === 'LA' || p.mode === 'RGBA'
  const out = resample(blend ? premultiplied(p) : p, width, height, filter, area)
  return blend ? straight(out) : out
}

function nearest(p: Pixels, width: number, height: number, [l, t, r, b]: Box): Pixels {
  const bands = MODES[p.mode].bands
  // positions are added up, not multiplied: the rounding of the sum is part of Pillow's result
  const walk = (n: number, from: number, to: number, limit: number): Int32Array => {
    const step = (to - from) / n
    const at = new Int32Array(n)
    for (let i = 0, v = from + step * 0.5; i < n; i++, v += step) at[i] = Math.min(v, limit - 1)
    return at
  }
  const columns = walk(width, l, r, p.width)
  const rows = walk(height, t, b, p.height)
  const size = width * height * bands
  const data = p.data instanceof Uint16Array ? new Uint16Array(size) : new Uint8Array(size)
  let o = 0
  for (const y of rows)
    for (const x of columns) for (let k = 0, at = (y * p.width + x) * bands; k < bands; k++) data[o++] = p.data[at + k]!
  return { ...p, width, height, data }
}

function premultiplied(p: Pixels): Pixels {
  const bands = MODES[p.mode].bands
  const data = p.data.slice()
  for (let i = 0; i < data.length; i += bands) {
    const alpha = data[i + bands - 1]!
    for (let k = 0; k < bands - 1; k++) {
      const t = data[i + k]! * alpha + 128
      data[i + k] = ((t >> 8) + t) >> 8
    }
  }
  return { ...p, data }
}

function straight(p: Pixels): Pixels {
  const bands = MODES[p.mode].bands
  const { data } = p
  for (let i = 0; i < data.length; i += bands) {
    const alpha = data[i + bands - 1]!
    if (alpha !== 0 && alpha !== 255)
      for (let k = 0; k < bands - 1; k++) data[i + k] = Math.min(255, Math.trunc((255 * data[i + k]!) / alpha))
  }
  return p
}

/** Image.crop: whole pixels; what lies outside the picture is 0. */
export function crop(p: Pixels, box: Box): Pixels {
  const [l, t, r, b] = box
  if (!box.every(Number.isInteger) || r <= l || b <= t || (r - l) * (b - t) > MOST)
    throw misuse('image.crop', 'whole numbers [left, upper, right, lower]', box)
  const bands = MODES[p.mode].bands
  const [width, height] = [r - l, b - t]
  const size = width * height * bands
  const data = p.data instanceof Uint16Array ? new Uint16Array(size) : new Uint8Array(size)
  const [from, to] = [Math.max(l, 0), Math.min(r, p.width)]
  for (let y = Math.max(t, 0); y < Math.min(b, p.height) && from < to; y++)
    data.set(
      p.data.subarray((y * p.width + from) * bands, (y * p.width + to) * bands),
      ((y - t) * width + from - l) * bands,
    )
  return { ...p, width, height, data }
}

import { toBfloat, toHalf } from '../half.ts'
import { DTYPES, type NumericArray, sizeOf, type Tensor } from '../tensor.ts'
import { convert } from './convert.ts'
import { MODES, misuse, type Pixels } from './pixels.ts'

export type PixelDType = (typeof PLAIN)[number] | 'int64' | 'float16' | 'bfloat16'
export type Layout = 'NHWC' | 'NCHW' | 'HWC' | 'CHW' | 'flat'

export interface TensorOptions {
  /** NHWC (default), NCHW and flat have a batch dimension of 1: [1,H,W,C], [1,C,H,W], [1,H*W*C] */
  layout?: Layout
  /** default float32; integer types cut and wrap as numpy's astype */
  dtype?: PixelDType
  /** convert first; BGR is RGB in reverse order. Default: the bands the image has */
  channels?: 'L' | 'RGB' | 'RGBA' | 'BGR'
  /** (pixel * scale - mean) / std, mean and std one number or one per channel */
  scale?: number
  mean?: number | readonly number[]
  std?: number | readonly number[]
}

const SHAPES: Readonly<Record<Layout, (h: number, w: number, c: number) => number[]>> = {
  NHWC: (h, w, c) => [1, h, w, c],
  NCHW: (h, w, c) => [1, c, h, w],
  HWC: (h, w, c) => [h, w, c],
  CHW: (h, w, c) => [c, h, w],
  flat: (h, w, c) => [1, h * w * c],
}
/** dtypes whose arrays hold something else than the number itself */
const ENCODE: Readonly<Record<string, (v: number) => number | bigint>> = {
  int64: (v) => BigInt(Math.trunc(v)),
  float16: toHalf,
  bfloat16: toBfloat,
}
const PLAIN = ['float32', 'float64', 'uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32'] as const
const DTYPE_NAMES: ReadonlySet<string> = new Set([...PLAIN, ...Object.keys(ENCODE)])

/** What `np.array(image)` is: no batch dimension, no channel dimension for one band, bool for mode 1. */
export function toArray(p: Pixels): Tensor {
  const { bands, dtype } = MODES[p.mode]
  return { dtype, shape: bands === 1 ? [p.height, p.width] : [p.height, p.width, bands], data: p.data.slice() }
}

export function toTensor(image: Pixels, options: TensorOptions = {}): Tensor {
  const { layout = 'NHWC', dtype = 'float32', channels } = options
  if (!Object.hasOwn(SHAPES, layout))
    throw misuse('image.tensor layout', `one of ${Object.keys(SHAPES).join(', ')}`, layout)
  if (!DTYPE_NAMES.has(dtype)) throw misuse('image.tensor dtype', `one of ${[...DTYPE_NAMES].join(', ')}`, dtype)
  const p = channels ? convert(image, channels === 'BGR' ? 'RGB' : channels) : image
  const bands = MODES[p.mode].bands
  const shape = SHAPES[layout](p.height, p.width, bands)
  const plain = options.scale === undefined && options.mean === undefined && options.std === undefined
  const interleaved = layout !== 'NCHW' && layout !== 'CHW'
  // the constructor converts a whole array faster than any loop here could
  if (plain && !ENCODE[dtype] && channels !== 'BGR' && (interleaved || bands === 1))
    return { dtype, shape, data: new DTYPES[dtype as (typeof PLAIN)[number]].array(p.data) }
  const data = new DTYPES[dtype].array(sizeOf(shape))
  // one table for all bands: the bands need no telling apart
  if (interleaved && channels !== 'BGR' && !Array.isArray(options.mean) && !Array.isArray(options.std)) {
    fill(data, 0, 1, p.data, 0, 1, tableFor(p, dtype, 0, options))
    return { dtype, shape, data }
  }
  const [step, plane] = interleaved ? [bands, 1] : [1, p.width * p.height]
  for (let c = 0; c < bands; c++) {
    const table = tableFor(p, dtype, c, options)
    const from = channels === 'BGR' ? 2 - c : c
    fill(data, c * plane, step, p.data, from, bands, table)
  }
  return { dtype, shape, data }
}

/** Every level of channel c in the wanted dtype: one look-up a pixel instead of arithmetic and conversion. */
function tableFor(
  p: Pixels,
  dtype: PixelDType,
  c: number,
  { scale = 1, mean = 0, std = 1 }: TensorOptions,
): NumericArray {
  const [m, s] = [channel('mean', mean, c, p), channel('std', std, c, p)]
  const levels = p.mode === 'I;16' ? 65536 : 256
  const table = new DTYPES[dtype].array(levels)
  const encode = ENCODE[dtype]
  for (let v = 0; v < levels; v++) {
    const value = (v * scale - m) / s
    table[v] = encode ? encode(value) : value
  }
  return table
}

function channel(name: 'mean' | 'std', v: number | readonly number[], c: number, p: Pixels): number {
  const value = typeof v === 'number' ? v : v.length === MODES[p.mode].bands ? v[c] : undefined
  if (typeof value !== 'number' || !Number.isFinite(value) || (name === 'std' && value === 0))
    throw misuse(`image.tensor ${name}`, `a number or one for each of ${MODES[p.mode].bands} channels`, v)
  return value
}

function fill(
  to: NumericArray,
  at: number,
  step: number,
  source: Uint8Array | Uint16Array,
  from: number,
  bands: number,
  table: NumericArray,
): void {
  for (let i = from, o = at; i < source.length; i += bands, o += step) to[o] = table[source[i]!]!
}

import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { type Call, formatOf, type LayerRow, type LayerTable, unsupported } from './layer.ts'
import { tfOp } from './tf.ts'

export interface ResizeOptions {
  readonly how: string
  readonly antialias: boolean
  readonly format: 'NHWC' | 'NCHW'
}

const SAMPLED: Readonly<Record<string, string>> = {
  lanczos3: 'lanczos3',
  lanczos5: 'lanczos5',
  gaussian: 'gaussian',
  mitchellcubic: 'mitchellcubic',
}
const SMOOTHED: Readonly<Record<string, string>> = { ...SAMPLED, bilinear: 'triangle', bicubic: 'keyscubic' }
const PLAIN: Readonly<Record<string, string>> = {
  bilinear: 'ResizeBilinear',
  bicubic: 'ResizeBicubic',
  nearest: 'ResizeNearestNeighbor',
}

/** tf.image.resize; without a batch dimension one is added for the time being. */
export function resized(n: Call, input: Value, size: Value, o: ResizeOptions, b: Builder): Value {
  const single = b.rank(input) === 3
  const batch = single ? b.unsqueeze(input, [0]) : input
  const x = o.format === 'NCHW' ? b.transpose(batch, [0, 2, 3, 1]) : batch
  const y = interpolated(n, x, b.cast(size, 'int32'), o, b)
  const back = o.format === 'NCHW' ? b.transpose(y, [0, 3, 1, 2]) : y
  return single ? b.squeeze(back, [0]) : back
}

function interpolated(n: Call, x: Value, size: Value, o: ResizeOptions, b: Builder): Value {
  const kernel = (o.antialias ? SMOOTHED : SAMPLED)[o.how]
  if (kernel) {
    const own = b.cast(b.slice(b.shapeOf(x), [1], [3], [0]), 'float32')
    const scale = b.op('Div', [b.cast(size, 'float32'), own])
    const none = b.filled('float32', [2], [0, 0])
    const y = tfOp(
      n,
      'ScaleAndTranslate',
      [b.cast(x, 'float32'), size, scale, none],
      { kernel_type: kernel, antialias: o.antialias },
      b,
    )
    return y
  }
  if (o.how === 'area') return tfOp(n, 'ResizeArea', [x, size], {}, b)
  const op = PLAIN[o.how]
  if (!op)
    throw unsupported(
      n,
      `an interpolation among ${Object.keys({ ...PLAIN, ...SAMPLED, area: '' }).join(', ')}`,
      `'${o.how}'`,
    )
  return tfOp(n, op, [x, size], { half_pixel_centers: true }, b)
}

interface Sides {
  readonly height: Value
  readonly width: Value
}

/** Index of height in the layer's format; images may come without a batch. */
function heightAxis(n: Call, b: Builder): number {
  return b.rank(n.x) - (formatOf(n.config) === 'NHWC' ? 3 : 2)
}

function sides(n: Call, b: Builder): Sides {
  const axis = heightAxis(n, b)
  return { height: b.dim(n.x, axis), width: b.dim(n.x, axis + 1) }
}

const int = (v: Value, b: Builder): Value => b.cast(v, 'int64')
const float = (v: Value, b: Builder): Value => b.cast(v, 'float32')
const half = (v: Value, b: Builder): Value => int(b.op('Div', [float(v, b), b.scalar('float32', 2)]), b)

/** `length * wanted / other` as TensorFlow rounds it: in float32, cut off. */
function proportion(length: Value, wanted: number, other: number, b: Builder): Value {
  const product = float(b.op('Mul', [length, b.ints([wanted])]), b)
  return int(b.op('Div', [product, b.scalar('float32', other)]), b)
}

/** The largest part in the middle that has the target's proportions. */
function croppedToAspect(n: Call, height: number, width: number, b: Builder): Value {
  const own = sides(n, b)
  const bounded = (v: Value, most: Value): Value => b.op('Max', [b.op('Min', [most, v]), b.ints([1])])
  const cropHeight = bounded(proportion(own.width, height, width, b), own.height)
  const cropWidth = bounded(proportion(own.height, width, height, b), own.width)
  const top = half(b.op('Sub', [own.height, cropHeight]), b)
  const left = half(b.op('Sub', [own.width, cropWidth]), b)
  const starts = b.concat([top, left], 0)
  const ends = b.op('Add', [starts, b.concat([cropHeight, cropWidth], 0)])
  const axis = heightAxis(n, b)
  return b.op('Slice', [n.x, starts, ends, b.ints([axis, axis + 1])])
}

function paddedToAspect(n: Call, height: number, width: number, fill: number, b: Builder): Value {
  const own = sides(n, b)
  const excess = (wanted: Value, have: Value): Value => half(b.op('Sub', [b.op('Max', [have, wanted]), have]), b)
  const top = excess(proportion(own.width, height, width, b), own.height)
  const left = excess(proportion(own.height, width, height, b), own.width)
  const axis = heightAxis(n, b)
  const zeros = (count: number): Value[] => (count > 0 ? [b.ints(Array<number>(count).fill(0))] : [])
  const side = [...zeros(axis), top, left, ...zeros(b.rank(n.x) - axis - 2)]
  const y = b.op('Pad', [n.x, b.concat([...side, ...side], 0), b.scalar(n.x.dtype, fill)])
  return y
}

const LIMITS: Readonly<Record<string, readonly [number, number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
  int32: [-2147483648, 2147483520],
}

/** Images of integers stay what they are: rounded and kept within their dtype. */
function backTo(dtype: Value['dtype'], y: Value, n: Call, b: Builder): Value {
  if (y.dtype === dtype || dtype === 'float32') return y
  const limits = LIMITS[dtype]
  if (!limits) {
    if (dtype === 'float64') return b.cast(y, 'float64')
    throw unsupported(n, `images of float32, float64, ${Object.keys(LIMITS).join(', ')}`, dtype)
  }
  const rounded = b.op('Clip', [b.op('Round', [y]), b.scalar('float32', limits[0]), b.scalar('float32', limits[1])])
  return b.cast(rounded, dtype as 'uint8')
}

const resizing: LayerRow = {
  emit: (n, b) => {
    const [height, width] = [n.config.int('height'), n.config.int('width')]
    const x = n.config.bool('crop_to_aspect_ratio')
      ? croppedToAspect(n, height, width, b)
      : n.config.bool('pad_to_aspect_ratio')
        ? paddedToAspect(n, height, width, n.config.num('fill_value', 0), b)
        : n.x
    const how = n.config.str('interpolation', 'bilinear').toLowerCase()
    const options = { how, antialias: n.config.bool('antialias'), format: formatOf(n.config) }
    return backTo(n.x.dtype, resized(n, x, b.ints([height, width]), options, b), n, b)
  },
}

/** The middle of a larger image; a smaller one is cut to the target's proportions and enlarged. */
const centerCrop: LayerRow = {
  emit: (n, b) => {
    const target = [n.config.int('height'), n.config.int('width')] as const
    const axis = heightAxis(n, b)
    const own = [n.x.shape![axis], n.x.shape![axis + 1]] as const
    const inner = { ...n, x: asFloat(n, b) }
    if (own.some((d, i) => typeof d === 'number' && d < target[i]!)) return smart(inner, target, b)
    const two = b.ints([2])
    const starts = b.op('Div', [b.op('Sub', [b.slice(b.shapeOf(n.x), [axis], [axis + 2], [0]), b.ints(target)]), two])
    return b.as(b.op('Slice', [inner.x, starts, b.op('Add', [starts, b.ints(target)]), b.ints([axis, axis + 1])]), {
      shape: n.x.shape!.map((d, i) => (i === axis ? target[0] : i === axis + 1 ? target[1] : d)),
    })
  },
}

function smart(n: Call, target: readonly [number, number], b: Builder): Value {
  const x = croppedToAspect(n, target[0], target[1], b)
  return resized(n, x, b.ints(target), { how: 'bilinear', antialias: false, format: formatOf(n.config) }, b)
}

/** Augmentation happens in training only; what is left of some of these layers is a cast. */
const untouched: LayerRow = { emit: (n) => n.x }
const cast: LayerRow = { emit: (n, b) => asFloat(n, b) }

function asFloat(n: Call, b: Builder): Value {
  return n.x.dtype.startsWith('float') ? n.x : b.cast(n.x, n.layer.dtype === 'float64' ? 'float64' : 'float32')
}

const UNTOUCHED = [
  'MixUp',
  'RandomBrightness',
  'RandomColorDegeneration',
  'RandomColorJitter',
  'RandomContrast',
  'RandomGrayscale',
  'RandomHeight',
  'RandomHue',
  'RandomInvert',
  'RandomPosterization',
  'RandomSaturation',
  'RandomShear',
  'RandomWidth',
]
const CAST = [
  'AugMix',
  'CutMix',
  'RandAugment',
  'RandomElasticTransform',
  'RandomErasing',
  'RandomFlip',
  'RandomGaussianBlur',
  'RandomPerspective',
  'RandomRotation',
  'RandomSharpness',
  'RandomTranslation',
  'RandomZoom',
  'Solarization',
]

/** Each channel of each image stretched over the whole range; one without contrast stays as it is. */
const autoContrast: LayerRow = {
  emit: (n, b) => {
    const x = asFloat(n, b)
    const [from, to] = (n.config.array('value_range')?.values ?? [0, 255]) as [number, number]
    const number = (v: number): Value => b.scalar(x.dtype, v)
    const mapped = (v: Value, a: readonly [number, number], z: readonly [number, number]): Value => {
      if (a[0] === z[0] && a[1] === z[1]) return v
      const share = b.op('Div', [b.op('Sub', [v, number(a[0])]), number(a[1] - a[0])])
      return b.op('Add', [b.op('Mul', [share, number(z[1] - z[0])]), number(z[0])])
    }
    const bytes = mapped(x, [from, to], [0, 255])
    const low = b.op('ReduceMin', [bytes, b.ints([1, 2])], { keepdims: 1 })
    const high = b.op('ReduceMax', [bytes, b.ints([1, 2])], { keepdims: 1 })
    const scale = b.op('Div', [number(255), b.op('Sub', [high, low])])
    const spread = b.op('Add', [b.op('Mul', [bytes, scale]), b.op('Mul', [b.op('Neg', [low]), scale])])
    const y = mapped(b.op('Min', [b.op('Max', [spread, number(0)]), number(255)]), [0, 255], [from, to])
    return b.op('Where', [b.op('IsNaN', [y]), x, y])
  },
}

export const IMAGE_LAYERS: LayerTable = {
  Resizing: resizing,
  CenterCrop: centerCrop,
  // Keras 2 still resized outside of training
  RandomCrop: {
    emit: (n, b) => (n.keras < 3 ? smart(n, [n.config.int('height'), n.config.int('width')], b) : n.x),
  },
  AutoContrast: autoContrast,
  ...Object.fromEntries(UNTOUCHED.map((name) => [name, untouched])),
  ...Object.fromEntries(CAST.map((name) => [name, cast])),
}

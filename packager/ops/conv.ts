import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { channelsBack, channelsFirst, explicitPads, padded, samePads, spatial } from './layout.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

type Spatial = 2 | 3
const formats = (dims: Spatial) => (dims === 2 ? (['NHWC', 'NCHW'] as const) : (['NDHWC', 'NCDHW'] as const))
const ones = (dims: Spatial) => Array<number>(dims + 2).fill(1)
const windowAttrs = <D extends Spatial>(dims: D) =>
  ({
    strides: 'ints',
    padding: ['VALID', 'SAME', 'EXPLICIT'],
    explicit_paddings: [] as readonly number[],
    data_format: formats(dims),
    dilations: ones(dims),
  }) as const

export interface ConvAttrs {
  readonly strides: readonly number[]
  readonly padding: string
  readonly explicit_paddings: readonly number[]
  readonly data_format: string
  readonly dilations: readonly number[]
}

/** TensorFlow keeps filters as spatial, in, out; ONNX as out, in, spatial. */
const filterFirst = (w: Value, dims: Spatial, b: Builder): Value =>
  b.transpose(w, dims === 2 ? [3, 2, 0, 1] : [4, 3, 0, 1, 2])

/** [h, w, in, multiplier] as [in * multiplier, 1, h, w]: one group a channel. */
const depthwiseFilter = (w: Value, b: Builder): Value => {
  const turned = b.transpose(w, [2, 3, 0, 1])
  const [channels, multiplier, ...rest] = turned.shape ?? []
  const count = typeof channels === 'number' && typeof multiplier === 'number' ? channels * multiplier : b.fresh()
  return b.as(b.reshape(turned, [-1, 1, 0, 0]), { shape: [count, 1, ...rest] })
}

export function convolution(n: AnyNode, input: Value, w: Value, group: number, a: ConvAttrs, b: Builder): Value {
  const strides = spatial(a.strides, a.data_format)
  const dilations = spatial(a.dilations, a.data_format)
  const kernel = w.shape?.slice(2) ?? strides.map(() => undefined)
  if (dilations.some((d) => d > 1) && a.padding === 'SAME' && kernel.some((k) => typeof k !== 'number'))
    throw unsupported(n, 'a dilated filter of known size', 'an unknown one')
  const { x, attrs } = padded(
    channelsFirst(input, a.data_format, b),
    { padding: a.padding, explicit: a.explicit_paddings, format: a.data_format, kernel, strides, dilations },
    b,
  )
  return channelsBack(b.op('Conv', [x, w], { strides, dilations, group, ...attrs }), a.data_format, b)
}

/** A grouped convolution is recognised by a filter with fewer input channels than the data. */
export function plainConv(n: AnyNode, x: Value, filter: Value, dims: Spatial, a: ConvAttrs, b: Builder): Value {
  const channels = x.shape?.at(a.data_format.startsWith('NC') ? 1 : -1)
  const own = filter.shape?.[dims]
  const group = typeof channels === 'number' && typeof own === 'number' ? channels / own : 1
  return convolution(n, x, filterFirst(filter, dims, b), group, a, b)
}

export function depthwise(n: AnyNode, x: Value, filter: Value, a: ConvAttrs, b: Builder): Value {
  const channels = filter.shape?.[2] ?? x.shape?.at(a.data_format.startsWith('NC') ? 1 : -1)
  if (typeof channels !== 'number') throw unsupported(n, 'a known number of channels', 'an unknown one')
  return convolution(n, x, depthwiseFilter(filter, b), channels, a, b)
}

const conv = (dims: Spatial): OpRow =>
  op({
    in: ['input', 'filter'],
    attrs: windowAttrs(dims),
    emit: (n, b) => plainConv(n, n.in.input, n.in.filter, dims, n.attrs, b),
  })

/**
 * The gradient of a convolution by its input. The full transposed convolution is (out - 1) * stride + extent long; TensorFlow keeps `sizes` of it,
 * from where the forward convolution's padding begins, and has zeros behind it where the forward convolution left a remainder.
 */
function transposed(
  sizes: Value,
  w: Value,
  grad: Value,
  group: number,
  a: ConvAttrs,
  dims: Spatial,
  b: Builder,
): Value {
  const format = a.data_format
  const strides = spatial(a.strides, format)
  const dilations = spatial(a.dilations, format)
  const x = channelsFirst(grad, format, b)
  // all sizes or the spatial ones alone; a vector of unknown length has them all
  const given = sizes.shape?.[0]
  const count = typeof given === 'number' ? given : dims + 2
  const first = count === dims || format.startsWith('NC') ? count - dims : 1
  const wanted = b.slice(int64(sizes, b), [first], [first + dims], [0])
  const known = { want: wanted.part, out: x.shape?.slice(2), kernel: w.shape?.slice(2) }
  const begins = a.padding === 'EXPLICIT' ? explicitPads(a.explicit_paddings, format, 0) : undefined

  const fixed = strides.map((stride, i) => {
    const [want, out, k] = [known.want?.[i], known.out?.[i], known.kernel?.[i]]
    if (typeof want !== 'number' || typeof out !== 'number' || typeof k !== 'number') return undefined
    const full = (out - 1) * stride + (k - 1) * dilations[i]! + 1
    const begin = begins?.[i] ?? (a.padding === 'SAME' ? Math.floor(Math.max(0, full - want) / 2) : 0)
    return { begin, end: full - begin - want }
  })
  const shape = (spatialDims: readonly (number | string)[]) => {
    const channels = w.shape?.[1]
    return [x.shape?.[0] ?? b.fresh(), typeof channels === 'number' ? channels * group : b.fresh(), ...spatialDims]
  }
  const type = (spatialDims: readonly (number | string)[]) => ({ dtype: x.dtype, shape: shape(spatialDims) })
  const attrs = { strides, dilations, group }
  if (fixed.every((f) => f !== undefined)) {
    const pads = [...fixed.map((f) => f.begin), ...fixed.map((f) => Math.max(0, f.end))]
    const extra = fixed.map((f) => Math.max(0, -f.end))
    const out = type(known.want as number[])
    return channelsBack(b.op('ConvTranspose', [x, w], { ...attrs, pads, output_padding: extra }, out), format, b)
  }
  // a remainder is less than a stride: that many zeros are always appended, and the wanted part is cut out
  const output_padding = strides.map((s) => s - 1)
  const long = b.op('ConvTranspose', [x, w], { ...attrs, output_padding }, type(b.freshShape(dims)))
  const full = b.op('Sub', [b.slice(b.shapeOf(long), [2], [2 + dims], [0]), b.ints(output_padding)])
  const surplus = b.op('Max', [b.op('Sub', [full, wanted]), b.ints([0])])
  const begin = begins
    ? b.ints(begins)
    : a.padding === 'SAME'
      ? b.op('Div', [surplus, b.ints([2])])
      : b.ints(strides.map(() => 0))
  const axes = b.ints(strides.map((_, i) => i + 2))
  const cut = b.op('Slice', [long, begin, b.op('Add', [begin, wanted]), axes])
  return channelsBack(wanted.part ? b.as(cut, { shape: shape(wanted.part) }) : cut, format, b)
}

const backpropInput = (dims: Spatial): OpRow =>
  op({
    in: ['input_sizes', 'filter', 'out_backprop'],
    attrs: windowAttrs(dims),
    note: 'transposed convolution; sizes may be computed',
    emit: (n, b) => {
      const channels = n.in.input_sizes.part?.at(n.attrs.data_format.startsWith('NC') ? 1 : -1)
      const own = n.in.filter.shape?.[dims]
      const whole = n.in.input_sizes.shape?.[0] !== dims
      const group = whole && typeof channels === 'number' && typeof own === 'number' ? channels / own : 1
      const w = filterFirst(n.in.filter, dims, b)
      return transposed(n.in.input_sizes, w, n.in.out_backprop, group, n.attrs, dims, b)
    },
  })

export const CONV = {
  Conv2D: conv(2),
  Conv3D: conv(3),
  Conv: op({
    in: ['input', 'filter'],
    attrs: {
      strides: 'ints',
      padding: ['VALID', 'SAME', 'EXPLICIT'],
      explicit_paddings: [],
      data_format: ['CHANNELS_LAST', 'CHANNELS_FIRST'],
      dilations: [],
      batch_dims: 1,
      groups: 1,
    },
    emit: (n, b) => {
      const rank = b.rank(n.in.input)
      if (rank !== 4 && rank !== 5) throw unsupported(n, 'rank 4 or 5', String(rank))
      if (n.attrs.batch_dims !== 1) throw unsupported(n, 'batch_dims 1', String(n.attrs.batch_dims))
      const dilations = n.attrs.dilations.length > 0 ? n.attrs.dilations : Array<number>(rank).fill(1)
      const data_format = n.attrs.data_format === 'CHANNELS_FIRST' ? 'NCHW' : 'NHWC'
      return plainConv(n, n.in.input, n.in.filter, rank === 5 ? 3 : 2, { ...n.attrs, data_format, dilations }, b)
    },
  }),
  DepthwiseConv2dNative: op({
    in: ['input', 'filter'],
    attrs: windowAttrs(2),
    emit: (n, b) => depthwise(n, n.in.input, n.in.filter, n.attrs, b),
  }),
  Conv2DBackpropInput: backpropInput(2),
  Conv3DBackpropInputV2: backpropInput(3),
  DepthwiseConv2dNativeBackpropInput: op({
    in: ['input_sizes', 'filter', 'out_backprop'],
    attrs: windowAttrs(2),
    emit: (n, b) => {
      const channels = n.in.filter.shape?.[2]
      if (typeof channels !== 'number') throw unsupported(n, 'a known number of channels', 'an unknown one')
      const w = depthwiseFilter(n.in.filter, b)
      return transposed(n.in.input_sizes, w, n.in.out_backprop, channels, n.attrs, 2, b)
    },
  }),
  Dilation2D: op({
    in: ['input', 'filter'],
    attrs: { strides: 'ints', rates: 'ints', padding: ['VALID', 'SAME'] },
    note: 'with a filter of known size',
    emit: (n, b) => {
      const kernel = n.in.filter.shape?.slice(0, 2)
      if (!kernel?.every((k) => typeof k === 'number')) throw unsupported(n, 'a filter of known size', 'an unknown one')
      const [strides, rates] = [n.attrs.strides.slice(1, 3), n.attrs.rates.slice(1, 3)]
      return dilation(n.in.input, n.in.filter, kernel, strides, rates, n.attrs.padding === 'SAME', b)
    },
  }),
} satisfies OpTable

/** Greyscale dilation: the maximum over the window of input + filter, one shifted view for each filter element. */
function dilation(
  input: Value,
  filter: Value,
  kernel: readonly number[],
  strides: readonly number[],
  rates: readonly number[],
  same: boolean,
  b: Builder,
): Value {
  const extents = kernel.map((k, i) => (k - 1) * rates[i]! + 1)
  let x = input
  if (same) {
    const needed = samePads(b.slice(b.shapeOf(input), [1], [3], [0]), extents, strides, b)
    const before = b.op('Div', [needed, b.ints([2])])
    const pads = b.concat([b.ints([0]), before, b.ints([0, 0]), b.op('Sub', [needed, before]), b.ints([0])], 0)
    x = b.op('Pad', [input, pads, b.scalar(input.dtype, LOWEST[input.dtype] ?? Number.NEGATIVE_INFINITY)])
  }
  const size = b.slice(b.shapeOf(x), [1], [3], [0])
  const span = b.op('Mul', [b.op('Div', [b.op('Sub', [size, b.ints(extents)]), b.ints(strides)]), b.ints(strides)])
  let best: Value | undefined
  for (let i = 0; i < kernel[0]!; i++)
    for (let j = 0; j < kernel[1]!; j++) {
      const start = [i * rates[0]!, j * rates[1]!]
      const end = b.op('Add', [span, b.ints(start.map((s) => s + 1))])
      const view = b.op('Slice', [x, b.ints(start), end, b.ints([1, 2]), b.ints(strides)])
      const element = b.reshape(b.slice(filter, [i, j], [i + 1, j + 1], [0, 1]), [-1])
      const sum = b.op('Add', [view, element])
      best = best ? b.op('Max', [best, sum]) : sum
    }
  return best!
}

const LOWEST: Readonly<Record<string, number>> = {
  int8: -(2 ** 7),
  int16: -(2 ** 15),
  int32: -(2 ** 31),
  int64: -(2 ** 53),
  uint8: 0,
  uint16: 0,
}

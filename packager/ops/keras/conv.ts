import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { channelsBack, channelsFirst, padded } from '../layout.ts'
import { activate } from './activations.ts'
import { type Call, formatOf, type LayerRow, type LayerTable, unsupported } from './layer.ts'

export interface Convolution {
  readonly strides: readonly number[]
  readonly dilations: readonly number[]
  readonly padding: string
  readonly group: number
}

/** A convolution of NC… data with a filter as ONNX has it: out, in / group, spatial. */
export function convolve(x: Value, w: Value, bias: Value | undefined, c: Convolution, b: Builder): Value {
  const kernel = w.shape!.slice(2) as number[]
  const attrs = { strides: c.strides, dilations: c.dilations, group: c.group, kernel_shape: kernel }
  if (c.padding === 'causal') {
    const before = kernel.map((k, i) => (k - 1) * c.dilations[i]!)
    return b.op('Conv', [x, w, bias], { ...attrs, pads: [...before, ...before.map(() => 0)] })
  }
  const at = padded(
    x,
    {
      padding: c.padding.toUpperCase(),
      explicit: [],
      format: 'NCHW',
      kernel,
      strides: c.strides,
      dilations: c.dilations,
    },
    b,
  )
  return b.op('Conv', [at.x, w, bias], { ...attrs, ...at.attrs })
}

/** Keras keeps filters as spatial, in, out. */
export function filterOf(kernel: Value, b: Builder): Value {
  const rank = b.rank(kernel)
  return b.transpose(kernel, [rank - 1, rank - 2, ...Array.from({ length: rank - 2 }, (_, i) => i)])
}

function settings(n: Call, rank: number): Omit<Convolution, 'group'> {
  return {
    strides: n.config.ints('strides', rank, 1),
    dilations: n.config.ints('dilation_rate', rank, 1),
    padding: n.config.word('padding', ['valid', 'same', 'causal'], 'valid'),
  }
}

const biased = (c: { bool(name: string, fallback?: boolean): boolean }, ...names: string[]): string[] =>
  c.bool('use_bias', true) ? [...names, 'bias'] : names

/** Runs in NC… and gives the data back in the layer's own format, activated. */
function inLayout(n: Call, b: Builder, f: (x: Value) => Value): Value {
  const format = formatOf(n.config)
  return activate(channelsBack(f(channelsFirst(n.x, format, b)), format, b), n.config.get('activation'), n, b)
}

const conv = (rank: number): LayerRow => ({
  vars: (c) => biased(c, 'kernel'),
  fits: (c) => ({ kernel: [...c.ints('kernel_size', rank), null, c.int('filters')], bias: [c.int('filters')] }),
  emit: (n, b) =>
    inLayout(n, b, (x) =>
      convolve(
        x,
        filterOf(n.w('kernel'), b),
        n.maybe('bias'),
        { ...settings(n, rank), group: n.config.int('groups', 1) },
        b,
      ),
    ),
})

/** A filter spatial, in, multiplier as one group for each input channel. */
function depthwiseFilter(kernel: Value, b: Builder): Value {
  const rank = b.rank(kernel)
  const [channels, multiplier] = kernel.shape!.slice(-2) as number[]
  const turned = b.transpose(kernel, [rank - 2, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i)])
  return b.reshape(turned, [channels! * multiplier!, 1, ...(kernel.shape!.slice(0, -2) as number[])])
}

const depthwise = (rank: number): LayerRow => ({
  vars: (c) => biased(c, 'kernel'),
  fits: (c) => ({ kernel: [...c.ints('kernel_size', rank), null, c.int('depth_multiplier', 1)] }),
  emit: (n, b) =>
    inLayout(n, b, (x) => {
      const w = n.w('kernel')
      const group = w.shape!.at(-2) as number
      return convolve(x, depthwiseFilter(w, b), n.maybe('bias'), { ...settings(n, rank), group }, b)
    }),
})

const separable = (rank: number): LayerRow => ({
  vars: (c) => biased(c, 'depthwise_kernel', 'pointwise_kernel'),
  fits: (c) => ({
    depthwise_kernel: [...c.ints('kernel_size', rank), null, c.int('depth_multiplier', 1)],
    pointwise_kernel: [...Array<number>(rank).fill(1), null, c.int('filters')],
  }),
  emit: (n, b) =>
    inLayout(n, b, (x) => {
      const w = n.w('depthwise_kernel')
      const ones = Array<number>(rank).fill(1)
      const deep = convolve(
        x,
        depthwiseFilter(w, b),
        undefined,
        { ...settings(n, rank), group: w.shape!.at(-2) as number },
        b,
      )
      const point = { strides: ones, dilations: ones, padding: 'valid', group: 1 }
      return convolve(deep, filterOf(n.w('pointwise_kernel'), b), n.maybe('bias'), point, b)
    }),
})

/**
 * The gradient of a convolution: its output has the size that convolved gives the input. SAME cuts what lies outside that size, the
 * smaller half in front; where the size reaches past the last window ONNX's output_padding fills it.
 */
const transposed = (rank: number): LayerRow => ({
  vars: (c) => biased(c, 'kernel'),
  fits: (c) => ({ kernel: [...c.ints('kernel_size', rank), c.int('filters'), null], bias: [c.int('filters')] }),
  emit: (n, b) =>
    inLayout(n, b, (x) => {
      const c = settings(n, rank)
      const given = n.config.get('output_padding') === undefined ? undefined : n.config.ints('output_padding', rank)
      // Keras: spatial, out, in; ONNX: in, out, spatial
      const w = filterOf(n.w('kernel'), b)
      const extents = (w.shape!.slice(2) as number[]).map((k, i) => (k - 1) * c.dilations[i]! + 1)
      const sides = extents.map((k, i) => {
        const stride = c.strides[i]!
        // output size minus (input - 1) * stride
        const size =
          c.padding === 'valid' ? k + (given?.[i] ?? Math.max(k, stride) - k) : given ? (k % 2) + given[i]! : stride
        const before = c.padding === 'valid' ? 0 : Math.floor(Math.max(0, k - size) / 2)
        return { before, after: k - size - before }
      })
      if (c.padding === 'causal') throw unsupported(n, "padding 'valid' or 'same'", "'causal'")
      const pads = [...sides.map((s) => s.before), ...sides.map((s) => Math.max(0, s.after))]
      const output_padding = sides.map((s) => Math.max(0, -s.after))
      const group = n.config.int('groups', 1)
      const shape = x.shape && [
        x.shape[0]!,
        (w.shape![1] as number) * group,
        ...x.shape.slice(2).map((d, i) => {
          const { before, after } = sides[i]!
          return typeof d === 'number' ? (d - 1) * c.strides[i]! + extents[i]! - before - after : b.fresh()
        }),
      ]
      const attrs = { strides: c.strides, dilations: c.dilations, pads, output_padding, group }
      return b.op('ConvTranspose', [x, w, n.maybe('bias')], attrs, { dtype: x.dtype, shape })
    }),
})

export const CONV_LAYERS: LayerTable = {
  Conv1D: conv(1),
  Conv2D: conv(2),
  Conv3D: conv(3),
  Conv1DTranspose: transposed(1),
  Conv2DTranspose: transposed(2),
  Conv3DTranspose: transposed(3),
  DepthwiseConv1D: depthwise(1),
  DepthwiseConv2D: depthwise(2),
  SeparableConv1D: separable(1),
  SeparableConv2D: separable(2),
}

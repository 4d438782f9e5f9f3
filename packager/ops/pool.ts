import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { channelsBack, channelsFirst, padded, spatial } from './layout.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

interface PoolAttrs {
  readonly ksize: readonly number[]
  readonly strides: readonly number[]
  readonly padding: string
  readonly explicit_paddings?: readonly number[]
  readonly data_format: string
}
type Kind = 'MaxPool' | 'AveragePool'

function pooled(n: AnyNode, type: Kind, input: Value, a: PoolAttrs, b: Builder): Value {
  const outer = a.data_format.startsWith('NC')
    ? [a.ksize[0], a.ksize[1], a.strides[0], a.strides[1]]
    : [a.ksize[0], a.ksize.at(-1), a.strides[0], a.strides.at(-1)]
  if (outer.some((k) => k !== 1)) return overDepth(n, type, input, a, b)
  const [kernel, strides] = [spatial(a.ksize, a.data_format), spatial(a.strides, a.data_format)]
  const dilations = kernel.map(() => 1)
  const { x, attrs } = padded(
    channelsFirst(input, a.data_format, b),
    { padding: a.padding, explicit: a.explicit_paddings ?? [], format: a.data_format, kernel, strides, dilations },
    b,
  )
  return channelsBack(b.op(type, [x], { kernel_shape: kernel, strides, ...attrs }), a.data_format, b)
}

/** Windows over channels: NHWC data is what ONNX would call NC with W and C as spatial dimensions, so no transposition is needed. */
function overDepth(n: AnyNode, type: Kind, input: Value, a: PoolAttrs, b: Builder): Value {
  const plain = a.data_format === 'NHWC' && [0, 1].every((i) => a.ksize[i] === 1 && a.strides[i] === 1)
  if (!plain) throw unsupported(n, 'windows over space or over NHWC channels', `ksize [${a.ksize}] in ${a.data_format}`)
  const auto_pad = a.padding === 'SAME' ? 'SAME_UPPER' : 'VALID'
  return b.op(type, [input], { kernel_shape: a.ksize.slice(2), strides: a.strides.slice(2), auto_pad })
}

const pool = (type: Kind, dims: 2 | 3): OpRow =>
  op({
    in: ['input'],
    attrs: {
      ksize: 'ints',
      strides: 'ints',
      padding: ['VALID', 'SAME', 'EXPLICIT'],
      explicit_paddings: [],
      data_format: dims === 2 ? ['NHWC', 'NCHW'] : ['NDHWC', 'NCDHW'],
    },
    emit: (n, b) => pooled(n, type, n.in.input, n.attrs, b),
  })

/** TensorFlow counts (row * width + column) * channels + channel; ONNX ((batch * channels + channel) * height + row) * width + column. */
function argmaxIndices(raw: Value, x: Value, perImage: boolean, b: Builder): Value {
  const size = b.slice(b.shapeOf(x), [2], [4], [0])
  const plane = b.op('ReduceProd', [size], { keepdims: 1 })
  const channels = b.dim(x, 1)
  const range = (count: Value) => b.op('Range', [b.int(0), b.reshape(count, []), b.int(1)])
  const at = b.op('Add', [
    b.op('Mul', [b.op('Mod', [raw, plane]), channels]),
    b.reshape(range(channels), [1, -1, 1, 1]),
  ])
  if (perImage) return at
  const image = b.op('Mul', [range(b.dim(x, 0)), b.op('Mul', [plane, channels])])
  return b.op('Add', [at, b.reshape(image, [-1, 1, 1, 1])])
}

export const POOL = {
  MaxPool: pool('MaxPool', 2),
  MaxPool3D: pool('MaxPool', 3),
  AvgPool: pool('AveragePool', 2),
  AvgPool3D: pool('AveragePool', 3),
  MaxPoolV2: op({
    in: ['input', 'ksize', 'strides'],
    attrs: { padding: ['VALID', 'SAME'], data_format: ['NHWC', 'NCHW'] },
    note: 'with constant windows',
    emit: (n, b) => {
      const [ksize, strides] = [constNumbers(n.in.ksize), constNumbers(n.in.strides)]
      if (!ksize || !strides) throw unsupported(n, 'constant ksize and strides', 'computed ones')
      return pooled(n, 'MaxPool', n.in.input, { ...n.attrs, ksize, strides }, b)
    },
  }),
  MaxPoolWithArgmax: op({
    in: ['input'],
    out: ['output', 'argmax'],
    attrs: {
      ksize: 'ints',
      strides: 'ints',
      Targmax: null,
      padding: ['VALID', 'SAME'],
      include_batch_in_index: false,
    },
    emit: (n, b) => {
      const [kernel_shape, strides] = [spatial(n.attrs.ksize, 'NHWC'), spatial(n.attrs.strides, 'NHWC')]
      const x = channelsFirst(n.in.input, 'NHWC', b)
      const auto_pad = n.attrs.padding === 'SAME' ? 'SAME_UPPER' : 'VALID'
      const [y, raw] = b.ops('MaxPool', [x], { kernel_shape, strides, auto_pad }, 2)
      const at = channelsBack(argmaxIndices(raw!, x, !n.attrs.include_batch_in_index, b), 'NHWC', b)
      return [channelsBack(y!, 'NHWC', b), n.attrs.Targmax === 'int32' ? b.cast(at, 'int32') : at]
    },
  }),
} satisfies OpTable

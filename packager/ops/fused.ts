import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type ConvAttrs, depthwise, plainConv } from './conv.ts'
import { adjoint } from './matmul.ts'
import { ACTIVATIONS, addBias } from './nn.ts'
import { BATCH_NORM_ATTRS, batchNorm } from './norm.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

interface Tail {
  readonly fused_ops: readonly string[]
  readonly epsilon: number
  readonly leakyrelu_alpha: number
}
const TAIL = { fused_ops: 'strings', epsilon: 0.0001, leakyrelu_alpha: 0.2 } as const

/** What TensorFlow's optimiser appended to an operator: bias, batch normalisation, a summand, activations; `args` are used up in order. */
function tail(n: AnyNode, y: Value, args: readonly Value[], a: Tail, format: string, b: Builder): Value {
  const rest = [...args]
  const next = (): Value => {
    const v = rest.shift()
    if (!v) throw unsupported(n, `arguments for ${a.fused_ops.join(', ')}`, `${args.length}`)
    return v
  }
  return a.fused_ops.reduce((x, name) => {
    if (name === 'BiasAdd') return addBias(x, next(), format, b)
    if (name === 'Add') return b.op('Add', [x, next()])
    if (name === 'FusedBatchNorm') {
      const [scale, offset, mean, variance] = [next(), next(), next(), next()]
      const attrs = { epsilon: a.epsilon, data_format: format, is_training: false, exponential_avg_factor: 1 }
      return batchNorm({ x, scale, offset, mean, variance }, attrs, b)[0]!
    }
    const activation = ACTIVATIONS[name]
    if (!activation) throw unsupported(n, `fused ops among BiasAdd, Add, FusedBatchNorm and activations`, name)
    return activation(x, b, a.leakyrelu_alpha)
  }, y)
}

const CONV = {
  strides: 'ints',
  padding: ['VALID', 'SAME', 'EXPLICIT'],
  explicit_paddings: [] as readonly number[],
  data_format: ['NHWC', 'NCHW', 'NDHWC', 'NCDHW'],
  dilations: [1, 1, 1, 1] as readonly number[],
  ...TAIL,
} as const

const fusedConv = (emit: (n: AnyNode, x: Value, filter: Value, a: ConvAttrs, b: Builder) => Value): OpRow =>
  op({
    in: ['input', 'filter', 'args*'],
    attrs: CONV,
    emit: (n, b) => tail(n, emit(n, n.in.input, n.in.filter, n.attrs, b), n.in.args, n.attrs, n.attrs.data_format, b),
  })

/** Operators that only occur in graphs TensorFlow's own optimiser has been over. */
export const FUSED = {
  _FusedConv2D: fusedConv((n, x, w, a, b) => plainConv(n, x, w, 2, a, b)),
  _FusedConv3D: fusedConv((n, x, w, a, b) => plainConv(n, x, w, 3, { ...a, dilations: five(a.dilations) }, b)),
  _FusedDepthwiseConv2dNative: fusedConv(depthwise),
  _FusedMatMul: op({
    in: ['a', 'b', 'args*'],
    attrs: { transpose_a: false, transpose_b: false, ...TAIL },
    emit: (n, b) => {
      const { transpose_a, transpose_b } = n.attrs
      const y = b.op('MatMul', [transpose_a ? adjoint(n.in.a, b) : n.in.a, transpose_b ? adjoint(n.in.b, b) : n.in.b])
      return tail(n, y, n.in.args, n.attrs, 'NHWC', b)
    },
  }),
  _FusedBatchNormEx: op({
    in: ['x', 'scale', 'offset', 'mean', 'variance', 'side_input*'],
    out: ['y', 'batch_mean', 'batch_variance', 'reserve_space_1', 'reserve_space_2', 'reserve_space_3'],
    attrs: { ...BATCH_NORM_ATTRS, activation_mode: ['Identity', 'Relu'] },
    emit: (n, b) => {
      const [y, ...rest] = batchNorm(n.in, n.attrs, b)
      const sum = n.in.side_input.reduce((x, side) => b.op('Add', [x, side]), y!)
      const out = n.attrs.activation_mode === 'Relu' ? b.op('Relu', [sum]) : sum
      return [out, ...rest, b.scalar(n.in.scale.dtype, 0)]
    },
  }),
} satisfies OpTable

const five = (dilations: readonly number[]): readonly number[] => (dilations.length === 5 ? dilations : [1, 1, 1, 1, 1])

import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { channelsBack, channelsFirst } from './layout.ts'
import { type OpRow, type OpTable, op } from './op.ts'

export interface BatchNorm {
  readonly x: Value
  readonly scale: Value
  readonly offset: Value
  readonly mean: Value
  readonly variance: Value
}
export interface BatchNormAttrs {
  readonly epsilon: number
  readonly data_format: string
  readonly is_training: boolean
  readonly exponential_avg_factor: number
}

/** y, batch_mean, batch_variance, mean and variance as used; half precision data is normalised in float32, as TensorFlow does. */
export function batchNorm(v: BatchNorm, a: BatchNormAttrs, b: Builder): Value[] {
  const wide = b.cast(v.x, v.scale.dtype as DType)
  const x = channelsFirst(wide, a.data_format, b)
  const used = a.is_training ? momentsOf(x, b) : { mean: v.mean, variance: v.variance }
  const y = b.op('BatchNormalization', [x, v.scale, v.offset, used.mean, used.variance], { epsilon: a.epsilon })
  const back = b.cast(channelsBack(y, a.data_format, b), v.x.dtype as DType)
  if (!a.is_training) return [back, v.mean, v.variance, v.mean, v.variance]
  const count = b.cast(b.op('Div', [b.op('Size', [x]), b.reshape(b.dim(x, 1), [])]), used.mean.dtype as DType)
  const one = b.scalar(used.mean.dtype, 1)
  const bessel = b.op('Div', [count, b.op('Max', [b.op('Sub', [count, one]), one])])
  const unbiased = b.op('Mul', [used.variance, bessel])
  return [
    back,
    blended(v.mean, used.mean, a.exponential_avg_factor, b),
    blended(v.variance, unbiased, a.exponential_avg_factor, b),
    used.mean,
    used.variance,
  ]
}

function momentsOf(x: Value, b: Builder): { mean: Value; variance: Value } {
  const axes = b.ints([0, ...Array.from({ length: b.rank(x) - 2 }, (_, i) => i + 2)])
  const mean = b.op('ReduceMean', [x, axes], { keepdims: 1 })
  const centred = b.op('Sub', [x, mean])
  const variance = b.op('ReduceMean', [b.op('Mul', [centred, centred]), axes], { keepdims: 0 })
  return { mean: b.reshape(mean, [-1]), variance }
}

function blended(old: Value, now: Value, factor: number, b: Builder): Value {
  if (factor === 1) return now
  return b.op('Add', [
    b.op('Mul', [old, b.scalar(old.dtype, 1 - factor)]),
    b.op('Mul', [now, b.scalar(now.dtype, factor)]),
  ])
}

export const BATCH_NORM_ATTRS = {
  epsilon: 0.0001,
  exponential_avg_factor: 1,
  data_format: ['NHWC', 'NCHW', 'NDHWC', 'NCDHW'],
  is_training: true,
} as const

const fusedBatchNorm = (reserves: 2 | 3): OpRow =>
  op({
    in: ['x', 'scale', 'offset', 'mean', 'variance'],
    out: [
      'y',
      'batch_mean',
      'batch_variance',
      'reserve_space_1',
      'reserve_space_2',
      ...(reserves === 3 ? ['reserve_space_3'] : []),
    ],
    attrs: BATCH_NORM_ATTRS,
    emit: (n, b) => {
      const outs = batchNorm(n.in, n.attrs, b)
      return reserves === 3 ? [...outs, b.scalar(n.in.scale.dtype, 0)] : outs
    },
  })

/** Normalisation over batches and channels. */
export const NORM = {
  FusedBatchNorm: fusedBatchNorm(2),
  FusedBatchNormV2: fusedBatchNorm(2),
  FusedBatchNormV3: fusedBatchNorm(3),
  LRN: op({
    in: ['input'],
    attrs: { depth_radius: 5, bias: 1, alpha: 1, beta: 0.5 },
    emit: (n, b) => {
      // ONNX divides alpha by the window size, TensorFlow does not
      const size = 2 * n.attrs.depth_radius + 1
      const { bias, alpha, beta } = n.attrs
      const y = b.op('LRN', [channelsFirst(n.in.input, 'NHWC', b)], { size, alpha: alpha * size, beta, bias })
      return channelsBack(y, 'NHWC', b)
    },
  }),
} satisfies OpTable

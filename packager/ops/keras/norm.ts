import { AppError } from '../../../src/errors.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { batchNorm } from '../norm.ts'
import type { Config } from './config.ts'
import { axisOf, type Call, type LayerRow, type LayerTable, unsupported } from './layer.ts'
import { unitLength } from './merge.ts'

const scaled = (c: Config): string[] => [
  ...(c.bool('scale', true) ? ['gamma'] : []),
  ...(c.bool('center', true) ? ['beta'] : []),
]

function inverseRoot(x: Value, epsilon: number, b: Builder): Value {
  return b.op('Reciprocal', [b.op('Sqrt', [b.op('Add', [x, b.scalar(x.dtype, epsilon)])])])
}

/** A vector over one axis, shaped so that it broadcasts. */
function along(v: Value, axis: number, rank: number, b: Builder): Value {
  return axis === rank - 1 ? v : b.reshape(v, [-1, ...Array<number>(rank - 1 - axis).fill(1)])
}

const batch: LayerRow = {
  exact: true,
  mask: 'keep',
  vars: (c) => [
    ...scaled(c),
    '~moving_mean',
    '~moving_variance',
    ...(c.bool('renorm') ? ['~moving_stddev', '~renorm_mean', '~renorm_stddev'] : []),
  ],
  emit: (n, b) => {
    const rank = b.rank(n.x)
    const [given] = n.config.list('axis', -1)
    const axis = axisOf(given!, rank)
    const epsilon = n.config.num('epsilon', 0.001)
    const [mean, variance] = [n.w('moving_mean'), n.w('moving_variance')]
    const size = mean.shape![0] as number
    const fill = (v: number): Value => b.filled(mean.dtype, [size], Array<number>(size).fill(v))
    const [scale, offset] = [n.maybe('gamma') ?? fill(1), n.maybe('beta') ?? fill(0)]
    if (rank > 2 && (axis === rank - 1 || axis === 1)) {
      const data_format = axis === 1 ? 'NCHW' : 'NHWC'
      const attrs = { epsilon, data_format, is_training: false, exponential_avg_factor: 1 }
      return batchNorm({ x: n.x, scale, offset, mean, variance }, attrs, b)[0]!
    }
    const factor = b.op('Mul', [inverseRoot(variance, epsilon, b), scale])
    const shift = b.op('Sub', [offset, b.op('Mul', [mean, factor])])
    return b.op('Add', [b.op('Mul', [n.x, along(factor, axis, rank, b)]), along(shift, axis, rank, b)])
  },
}

function moments(x: Value, axes: readonly number[], b: Builder): { centred: Value; variance: Value } {
  const centred = b.op('Sub', [x, b.op('ReduceMean', [x, b.ints(axes)], { keepdims: 1 })])
  return { centred, variance: b.op('ReduceMean', [b.op('Mul', [centred, centred]), b.ints(axes)], { keepdims: 1 }) }
}

const layerNorm: LayerRow = {
  exact: true,
  mask: 'keep',
  vars: (c) => (c.bool('rms_scaling') ? ['gamma'] : scaled(c)),
  emit: (n, b) => {
    const rank = b.rank(n.x)
    const axes = n.config
      .list('axis', -1)
      .sort((p, q) => p - q)
      .map((a) => axisOf(a, rank))
    const epsilon = n.config.num('epsilon', 0.001)
    const [gamma, beta] = [n.maybe('gamma'), n.maybe('beta')]
    const shape = Array.from({ length: rank }, (_, i) => (axes.includes(i) ? (n.x.shape![i] as number) : 1))
    const spread = (v: Value): Value => b.reshape(v, shape)
    if (n.config.bool('rms_scaling')) {
      const { variance } = moments(n.x, axes, b)
      return b.op('Mul', [b.op('Mul', [n.x, inverseRoot(variance, epsilon, b)]), spread(gamma!)])
    }
    const sizes = axes.map((a) => n.x.shape![a])
    const trailing = axes.every((a, i) => a === rank - axes.length + i)
    if (trailing && sizes.every((d) => typeof d === 'number')) {
      const ones = (): Value => {
        const count = sizes.reduce<number>((p, d) => p * (d as number), 1)
        return b.filled(n.x.dtype, sizes as number[], Array<number>(count).fill(1))
      }
      return b.op('LayerNormalization', [n.x, gamma ?? ones(), beta], { axis: -axes.length, epsilon })
    }
    const { centred, variance } = moments(n.x, axes, b)
    let y = b.op('Mul', [centred, inverseRoot(variance, epsilon, b)])
    if (gamma) y = b.op('Mul', [y, spread(gamma)])
    return beta ? b.op('Add', [y, spread(beta)]) : y
  },
}

const group: LayerRow = {
  exact: true,
  mask: 'keep',
  vars: scaled,
  emit: (n, b) => {
    const rank = b.rank(n.x)
    const axis = axisOf(n.config.int('axis', -1), rank)
    const channels = n.x.shape![axis]
    if (typeof channels !== 'number') throw unsupported(n, 'a known number of channels', 'an unknown one')
    const groups = n.config.int('groups', 32) === -1 ? channels : n.config.int('groups', 32)
    if (groups < 1 || channels % groups !== 0)
      throw new AppError('BAD_MODEL_FILE', {
        where: n.config.where,
        expected: `groups that divide ${channels}`,
        got: `${groups}`,
      })
    // channels last, then the groups apart from what is inside them
    const others = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis)
    const turned = b.transpose(n.x, [...others, axis])
    const zeros = Array<number>(rank - 1).fill(0)
    const parts = b.reshape(turned, [...zeros, groups, channels / groups])
    const axes = Array.from({ length: rank }, (_, i) => i + 1).filter((i) => i !== rank - 1)
    const { centred, variance } = moments(parts, axes, b)
    let y = b.op('Mul', [centred, inverseRoot(variance, n.config.num('epsilon', 0.001), b)])
    y = b.reshape(y, [...zeros, channels])
    const [gamma, beta] = [n.maybe('gamma'), n.maybe('beta')]
    if (gamma) y = b.op('Mul', [y, gamma])
    if (beta) y = b.op('Add', [y, beta])
    const back = Array.from({ length: rank }, (_, i) => (i < axis ? i : i === axis ? rank - 1 : i - 1))
    return b.transpose(y, back)
  },
}

const rms: LayerRow = {
  vars: () => ['scale'],
  emit: (n, b) => {
    const rank = b.rank(n.x)
    const axes = n.config.list('axis', -1).map((a) => axisOf(a, rank))
    const squares = b.op('ReduceMean', [b.op('Mul', [n.x, n.x]), b.ints(axes)], { keepdims: 1 })
    const y = b.op('Mul', [n.x, inverseRoot(squares, n.config.num('epsilon', 1e-6), b)])
    return b.op('Mul', [y, along(n.w('scale'), axes.at(-1)!, rank, b)])
  },
}

/** Mean and variance given in the config, or learnt by adapt(). */
const normalization: LayerRow = {
  mask: 'keep',
  vars: (c) => (c.get('mean') === undefined ? ['~mean', '~variance', '~count'] : []),
  emit: (n, b) => {
    const x = b.cast(n.x, n.layer.dtype === 'float64' ? 'float64' : 'float32')
    const rank = b.rank(x)
    const kept = (n.config.get('axis') === undefined ? [] : n.config.list('axis'))
      .map((a) => axisOf(a, rank))
      .sort((p, q) => p - q)
    const moment = (name: 'mean' | 'variance'): Value => {
      const given = n.config.array(name)
      const value = given ? b.filled(x.dtype, given.shape, given.values) : b.cast(n.w(name), x.dtype as 'float32')
      const sizes = value.shape as readonly number[]
      if (sizes.length === 0) return value
      // aligned from the last kept axis on
      const shape = Array<number>(rank).fill(1)
      for (let i = 1; i <= Math.min(sizes.length, kept.length); i++) shape[kept.at(-i)!] = sizes.at(-i)!
      return b.reshape(value, shape)
    }
    const deviation = b.op('Max', [b.op('Sqrt', [moment('variance')]), b.scalar(x.dtype, 1e-7)])
    if (n.config.bool('invert')) return b.op('Add', [moment('mean'), b.op('Mul', [x, deviation])])
    return b.op('Div', [b.op('Sub', [x, moment('mean')]), deviation])
  },
}

const rescaling: LayerRow = {
  mask: 'keep',
  emit: (n, b) => {
    const x = b.cast(n.x, n.layer.dtype === 'float64' ? 'float64' : 'float32')
    const factor = (name: string, fallback: number): Value => {
      const given = n.config.array(name) ?? { shape: [], values: [fallback] }
      return b.filled(x.dtype, given.shape, given.values)
    }
    return b.op('Add', [b.op('Mul', [x, factor('scale', 1)]), factor('offset', 0)])
  },
}

function unit(n: Call, b: Builder): Value {
  const rank = b.rank(n.x)
  return unitLength(
    n.x,
    n.config.list('axis', -1).map((a) => axisOf(a, rank)),
    1e-12,
    b,
  )
}

export const NORM_LAYERS: LayerTable = {
  BatchNormalization: batch,
  SyncBatchNormalization: batch,
  LayerNormalization: layerNorm,
  GroupNormalization: group,
  RMSNormalization: rms,
  UnitNormalization: { mask: 'keep', emit: unit },
  Normalization: normalization,
  Rescaling: rescaling,
}

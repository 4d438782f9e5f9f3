import { isObject, type Json } from '../../formats/jsonvalue.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { type Call, type LayerRow, type LayerTable, only, unsupported } from './layer.ts'

/** Parameters of an activation by name, where a model file or a layer gives them. */
type Params = Readonly<Record<string, number | boolean | undefined>>
type Activation = (x: Value, b: Builder, p: Params) => Value

const num = (p: Params, name: string, fallback: number): number => (typeof p[name] === 'number' ? p[name] : fallback)
const scalar = (b: Builder, x: Value, v: number): Value => b.scalar(x.dtype, v)
const plain =
  (type: string): Activation =>
  (x, b) =>
    b.op(type, [x])
const where = (b: Builder, c: Value, x: Value, y: Value): Value => b.op('Where', [c, x, y])

function clip(b: Builder, x: Value, low: number, high: number): Value {
  return b.op('Clip', [x, scalar(b, x, low), scalar(b, x, high)])
}

/** ReLU with all its options, in the order of Keras' own arithmetic. */
const relu: Activation = (x, b, p) => {
  const [slope, threshold] = [num(p, 'negative_slope', 0), num(p, 'threshold', 0)]
  const high = typeof p.max_value === 'number' ? p.max_value : undefined
  if (slope !== 0 && high === undefined && threshold === 0) return leaky(x, b, slope)
  const limit = scalar(b, x, threshold)
  const zero = scalar(b, x, 0)
  let y = threshold !== 0 ? where(b, b.op('Greater', [x, limit]), x, zero) : b.op('Relu', [x])
  if (high !== undefined) y = clip(b, y, 0, high)
  if (slope === 0) return y
  const negative = b.op('Relu', [b.op('Sub', [limit, x])])
  return b.op('Sub', [y, b.op('Mul', [scalar(b, x, slope), negative])])
}

function leaky(x: Value, b: Builder, alpha: number): Value {
  return b.op('LeakyRelu', [x], { alpha })
}

const softmax =
  (type: 'Softmax' | 'LogSoftmax'): Activation =>
  (x, b, p) =>
    b.op(type, [x], { axis: num(p, 'axis', -1) })

/** As Keras' TensorFlow backend computes it, which sums the cumulated values of the support and not the values. */
const sparsemax: Activation = (x, b, p) => {
  const axis = num(p, 'axis', -1)
  const size = b.dim(x, axis < 0 ? b.rank(x) + axis : axis)
  const [sorted] = b.ops('TopK', [x, size], { axis, largest: 1, sorted: 1 }, 2) as [Value]
  const one = scalar(b, x, 1)
  const cumulated = b.op('CumSum', [sorted, b.int(axis)])
  const ones = b.op('Expand', [one, b.shapeOf(x)])
  const share = b.op('Div', [b.op('Sub', [cumulated, one]), b.op('CumSum', [ones, b.int(axis)])])
  const inside = b.op('Greater', [b.op('Sub', [sorted, share]), scalar(b, x, 0)])
  const count = b.op('ReduceSum', [b.cast(inside, x.dtype as 'float32'), b.ints([axis])], { keepdims: 1 })
  const kept = where(b, inside, cumulated, scalar(b, x, 0))
  const sum = b.op('ReduceSum', [kept, b.ints([axis])], { keepdims: 1 })
  return b.op('Relu', [b.op('Sub', [x, b.op('Div', [b.op('Sub', [sum, one]), count])])])
}

const squarePlus: Activation = (x, b, p) =>
  b.op('Div', [
    b.op('Add', [x, b.op('Sqrt', [b.op('Add', [b.op('Mul', [x, x]), scalar(b, x, num(p, 'b', 4))])])]),
    scalar(b, x, 2),
  ])

const glu: Activation = (x, b, p) => {
  const [left, right] = b.ops('Split', [x], { axis: num(p, 'axis', -1), num_outputs: 2 }, 2)
  return b.op('Mul', [left, b.op('Sigmoid', [right!])])
}

const silu: Activation = (x, b) => b.op('Mul', [x, b.op('Sigmoid', [x])])
/** relu6(x + 3) / 6 */
const hardSigmoid: Activation = (x, b) => b.op('HardSigmoid', [x], { alpha: 1 / 6, beta: 0.5 })
const hardSilu: Activation = (x, b) => b.op('Mul', [x, hardSigmoid(x, b, {})])

export const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  linear: (x) => x,
  relu,
  relu6: (x, b) => clip(b, x, 0, 6),
  leaky_relu: (x, b, p) => leaky(x, b, num(p, 'negative_slope', 0.2)),
  elu: (x, b, p) => b.op('Elu', [x], { alpha: num(p, 'alpha', 1) }),
  selu: plain('Selu'),
  celu: (x, b, p) => b.op('Celu', [x], { alpha: num(p, 'alpha', 1) }),
  softplus: plain('Softplus'),
  softsign: plain('Softsign'),
  soft_shrink: (x, b, p) => {
    const t = num(p, 'threshold', 0.5)
    return b.op('Shrink', [x], { lambd: t, bias: t })
  },
  hard_shrink: (x, b, p) => b.op('Shrink', [x], { lambd: num(p, 'threshold', 0.5), bias: 0 }),
  tanh_shrink: (x, b) => b.op('Sub', [x, b.op('Tanh', [x])]),
  sparse_plus: (x, b) => {
    const [one, zero] = [scalar(b, x, 1), scalar(b, x, 0)]
    const plus = b.op('Add', [x, one])
    const curve = b.op('Mul', [scalar(b, x, 0.25), b.op('Mul', [plus, plus])])
    const low = b.op('LessOrEqual', [x, scalar(b, x, -1)])
    return where(b, low, zero, where(b, b.op('Less', [x, one]), curve, x))
  },
  sparse_sigmoid: (x, b) => clip(b, b.op('Mul', [scalar(b, x, 0.5), b.op('Add', [x, scalar(b, x, 1)])]), 0, 1),
  silu,
  swish: silu,
  squareplus: squarePlus,
  gelu: (x, b, p) => b.op('Gelu', [x], { approximate: p.approximate === true ? 'tanh' : 'none' }),
  glu,
  tanh: plain('Tanh'),
  hard_tanh: (x, b) => clip(b, x, -1, 1),
  sigmoid: plain('Sigmoid'),
  hard_sigmoid: hardSigmoid,
  log_sigmoid: (x, b) => b.op('Neg', [b.op('Softplus', [b.op('Neg', [x])])]),
  hard_silu: hardSilu,
  hard_swish: hardSilu,
  exponential: plain('Exp'),
  mish: (x, b) => b.op('Mul', [x, b.op('Tanh', [b.op('Softplus', [x])])]),
  softmax: softmax('Softmax'),
  log_softmax: softmax('LogSoftmax'),
  sparsemax,
  threshold: (x, b, p) =>
    where(b, b.op('Greater', [x, scalar(b, x, num(p, 'threshold', 0))]), x, scalar(b, x, num(p, 'default_value', 0))),
}

/** Keras 2 had hard_sigmoid as 0.2 x + 0.5. */
const KERAS2: Readonly<Record<string, Activation>> = {
  hard_sigmoid: (x, b) => b.op('HardSigmoid', [x], { alpha: 0.2, beta: 0.5 }),
}

/** Name of an activation in a config: a word, or the object that serialisation of functions writes. Undefined: an object of a layer class. */
export function activationName(given: Json | undefined): string | undefined {
  if (given === undefined || given === null) return 'linear'
  if (typeof given === 'string') return given
  if (isObject(given) && typeof given.config === 'string') return given.config
  if (isObject(given) && given.class_name === 'function' && typeof given.name === 'string') return given.name
  return undefined
}

/** Applies the activation that a config names. @throws {AppError} UNSUPPORTED_LAYER for functions of the author's own */
export function activate(x: Value, given: Json | undefined, n: Call, b: Builder): Value {
  const name = activationName(given)
  if (name !== undefined) {
    const f =
      (n.keras < 3 ? KERAS2[name] : undefined) ?? (Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined)
    if (f) return f(x, b, {})
    throw unsupported(
      n,
      'an activation of Keras',
      `the function '${name}'`,
      'Use built-in activations, or export the model as a SavedModel.',
    )
  }
  const type = isObject(given) && typeof given.class_name === 'string' ? given.class_name : ''
  const row = ACTIVATION_LAYERS[type]
  if (!row || !isObject(given) || row.vars)
    throw unsupported(
      n,
      'an activation of Keras',
      `an object of class '${type}'`,
      'Use built-in activations, or export the model as a SavedModel.',
    )
  return only(
    row.emit(
      {
        ...n,
        config: n.config.within(given.config, `activation ${type}`),
        x,
        mask: undefined,
        args: [{ value: x }],
        kwargs: {},
      },
      b,
    ),
  )
}

const shaped = (emit: LayerRow['emit']): LayerRow => ({ mask: 'keep', emit })
const slopeOf = (n: Call, fallback: number): number =>
  n.config.num(n.config.get('negative_slope') === undefined ? 'alpha' : 'negative_slope', fallback)

/** Masked entries cannot win: -1e9 before, zero after. */
const maskedSoftmax: LayerRow = {
  mask: 'keep',
  emit: (n, b) => {
    const axes = n.config.list('axis', -1)
    const mask = n.mask
    const x = mask ? where(b, mask, n.x, scalar(b, n.x, -1e9)) : n.x
    const y = softmaxOver(x, axes, b)
    return mask ? where(b, mask, y, scalar(b, y, 0)) : y
  },
}

/** Softmax over several axes at once: exp(x - logsumexp(x)). */
export function softmaxOver(x: Value, axes: readonly number[], b: Builder): Value {
  if (axes.length === 1) return b.op('Softmax', [x], { axis: axes[0]! })
  const exps = b.op('Exp', [b.op('Sub', [x, b.op('ReduceMax', [x, b.ints(axes)], { keepdims: 1 })])])
  return b.op('Div', [exps, b.op('ReduceSum', [exps, b.ints(axes)], { keepdims: 1 })])
}

export const ACTIVATION_LAYERS: LayerTable = {
  Activation: shaped((n, b) => activate(n.x, n.config.get('activation'), n, b)),
  ReLU: shaped((n, b) =>
    relu(n.x, b, {
      negative_slope: n.config.num('negative_slope', 0),
      threshold: n.config.num('threshold', 0),
      max_value: n.config.get('max_value') === undefined ? undefined : n.config.num('max_value'),
    }),
  ),
  LeakyReLU: shaped((n, b) => leaky(n.x, b, slopeOf(n, 0.3))),
  ELU: shaped((n, b) => b.op('Elu', [n.x], { alpha: n.config.num('alpha', 1) })),
  Softmax: maskedSoftmax,
  ThresholdedReLU: shaped((n, b) =>
    where(b, b.op('Greater', [n.x, scalar(b, n.x, n.config.num('theta', 1))]), n.x, scalar(b, n.x, 0)),
  ),
  PReLU: {
    mask: 'keep',
    vars: () => ['alpha'],
    emit: (n, b) => b.op('PRelu', [n.x, n.w('alpha')]),
  },
}

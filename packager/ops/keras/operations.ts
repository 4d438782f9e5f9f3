import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { ACTIVATIONS, softmaxOver } from './activations.ts'
import { type Arg, type Call, type LayerRow, type LayerTable, type Result, tensorsOf, unsupported } from './layer.ts'
import { unitLength } from './merge.ts'
import { axes, dtypeOf, operands, param, row, value } from './opargs.ts'
import { einsum, tfOp } from './tf.ts'

const unary = (type: string): LayerRow => row((n, b) => b.op(type, [n.x]))
const binary = (type: string): LayerRow => row((n, b) => b.op(type, operands(n, b)))
const tf = (op: string): LayerRow => row((n, b) => tfOp(n, op, operands(n, b), {}, b))
const tf1 = (op: string): LayerRow => row((n, b) => tfOp(n, op, [n.x], {}, b))
const differs = row((n, b) => b.op('Not', [b.op('Equal', operands(n, b))]))
const bools = (type: string): LayerRow =>
  row((n, b) =>
    b.op(
      type,
      operands(n, b).map((v) => b.cast(v, 'bool')),
    ),
  )

function reduced(type: string, n: Call, x: Value, b: Builder): Value {
  const over = axes(n) ?? Array.from({ length: b.rank(x) }, (_, i) => i)
  return b.op(type, [x, b.ints(over)], { keepdims: param(n, 'keepdims', 2) === true ? 1 : 0 })
}
const reduce = (type: string): LayerRow => row((n, b) => reduced(type, n, n.x, b))
const test = (type: string): LayerRow =>
  row((n, b) => b.cast(reduced(type, n, b.cast(b.cast(n.x, 'bool'), 'int32'), b), 'bool'))

function variance(n: Call, b: Builder): Value {
  const over = axes(n) ?? Array.from({ length: b.rank(n.x) }, (_, i) => i)
  const centred = b.op('Sub', [n.x, b.op('ReduceMean', [n.x, b.ints(over)], { keepdims: 1 })])
  return reduced('ReduceMean', n, b.op('Mul', [centred, centred]), b)
}

const arg = (type: string): LayerRow =>
  row((n, b) => {
    const [axis] = axes(n) ?? []
    const x = axis === undefined ? b.reshape(n.x, [-1]) : n.x
    const keepdims = param(n, 'keepdims', 2) === true ? 1 : 0
    return b.cast(b.op(type, [x], { axis: axis ?? 0, keepdims }), 'int32')
  })

/** Activations as operations, by class name: LeakyRelu, HardSigmoid, … */
const ACTIVATION_OPS: Readonly<Record<string, string>> = {
  Relu: 'relu',
  Relu6: 'relu6',
  Sigmoid: 'sigmoid',
  SparseSigmoid: 'sparse_sigmoid',
  Softplus: 'softplus',
  Softsign: 'softsign',
  SoftShrink: 'soft_shrink',
  SparsePlus: 'sparse_plus',
  Silu: 'silu',
  Squareplus: 'squareplus',
  LogSigmoid: 'log_sigmoid',
  LeakyRelu: 'leaky_relu',
  HardSigmoid: 'hard_sigmoid',
  HardSilu: 'hard_silu',
  Elu: 'elu',
  Selu: 'selu',
  Gelu: 'gelu',
  Celu: 'celu',
  Glu: 'glu',
  TanhShrink: 'tanh_shrink',
  HardTanh: 'hard_tanh',
  HardShrink: 'hard_shrink',
  Threshold: 'threshold',
  Tanh: 'tanh',
  LogSoftmax: 'log_softmax',
  Sparsemax: 'sparsemax',
  Mish: 'mish',
  ReLU: 'relu',
}
const PARAMS = ['negative_slope', 'alpha', 'approximate', 'axis', 'threshold', 'default_value', 'b', 'max_value']

const activation = (name: string): LayerRow =>
  row((n, b) => {
    const given = PARAMS.map((p) => [p, n.kwargs[p] ?? n.config.get(p)] as const)
    return ACTIVATIONS[name]!(
      n.x,
      b,
      Object.fromEntries(given.filter(([, v]) => typeof v === 'number' || typeof v === 'boolean')) as Record<
        string,
        number
      >,
    )
  })

/** Arithmetic of keras.ops: what works on numbers, wherever they stand. */
export const OPERATIONS: LayerTable = {
  Add: binary('Add'),
  Subtract: binary('Sub'),
  Multiply: binary('Mul'),
  Divide: row((n, b) => {
    const [x, y] = operands(n, b)
    return x.dtype.startsWith('float') ? b.op('Div', [x, y]) : b.op('Div', [b.cast(x, 'float32'), b.cast(y, 'float32')])
  }),
  TrueDivide: row((n, b) => {
    const [x, y] = operands(n, b)
    return x.dtype.startsWith('float') ? b.op('Div', [x, y]) : b.op('Div', [b.cast(x, 'float32'), b.cast(y, 'float32')])
  }),
  FloorDivide: tf('FloorDiv'),
  Mod: tf('FloorMod'),
  Power: tf('Pow'),
  Maximum: binary('Max'),
  Minimum: binary('Min'),
  Equal: binary('Equal'),
  NotEqual: differs,
  Less: binary('Less'),
  LessEqual: binary('LessOrEqual'),
  Greater: binary('Greater'),
  GreaterEqual: binary('GreaterOrEqual'),
  LogicalAnd: bools('And'),
  LogicalOr: bools('Or'),
  LogicalXor: bools('Xor'),
  LogicalNot: row((n, b) => b.op('Not', [b.cast(n.x, 'bool')])),
  Negative: unary('Neg'),
  Abs: unary('Abs'),
  Absolute: unary('Abs'),
  Exp: unary('Exp'),
  Exp2: row((n, b) => b.op('Pow', [b.scalar(n.x.dtype, 2), n.x])),
  Expm1: tf1('Expm1'),
  Log: unary('Log'),
  Log1p: tf1('Log1p'),
  Log2: row((n, b) => b.op('Div', [b.op('Log', [n.x]), b.scalar(n.x.dtype, Math.LN2)])),
  Log10: row((n, b) => b.op('Div', [b.op('Log', [n.x]), b.scalar(n.x.dtype, Math.LN10)])),
  Sqrt: unary('Sqrt'),
  Rsqrt: row((n, b) => b.op('Reciprocal', [b.op('Sqrt', [n.x])])),
  Square: row((n, b) => b.op('Mul', [n.x, n.x])),
  Reciprocal: unary('Reciprocal'),
  Sign: unary('Sign'),
  Sin: unary('Sin'),
  Cos: unary('Cos'),
  Tan: unary('Tan'),
  Arcsin: unary('Asin'),
  Arccos: unary('Acos'),
  Arctan: unary('Atan'),
  Sinh: unary('Sinh'),
  Cosh: unary('Cosh'),
  Erf: unary('Erf'),
  Floor: unary('Floor'),
  Ceil: unary('Ceil'),
  Round: unary('Round'),
  Isnan: row((n, b) => b.op('IsNaN', [n.x])),
  Isinf: row((n, b) => b.op('IsInf', [n.x])),
  Clip: row((n, b) => {
    const bound = (name: string, i: number): Value => value(n, param(n, name, i), n.x, b)
    return b.op('Min', [b.op('Max', [n.x, bound('x_min', 1)]), bound('x_max', 2)])
  }),
  Cast: row((n, b) => b.cast(n.x, dtypeOf(n, param(n, 'dtype', 1)))),
  Mean: reduce('ReduceMean'),
  Sum: reduce('ReduceSum'),
  Max: reduce('ReduceMax'),
  Amax: reduce('ReduceMax'),
  Min: reduce('ReduceMin'),
  Amin: reduce('ReduceMin'),
  Prod: reduce('ReduceProd'),
  Any: test('ReduceMax'),
  All: test('ReduceMin'),
  Logsumexp: reduce('ReduceLogSumExp'),
  Var: row(variance),
  Std: row((n, b) => b.op('Sqrt', [variance(n, b)])),
  Argmax: arg('ArgMax'),
  Argmin: arg('ArgMin'),
  Softmax: row((n, b) => softmaxOver(n.x, axes(n) ?? [-1], b)),
  Matmul: row((n, b) => b.op('MatMul', operands(n, b))),
  Einsum: row((n, b) => {
    const equation = String(n.config.get('subscripts') ?? n.args[0])
    return einsum(
      n,
      tensorsOf(n.args as Arg).map((t) => t.value),
      equation,
      b,
    )
  }),
  Cumsum: row((n, b) => {
    const [axis] = axes(n) ?? []
    return b.op('CumSum', [axis === undefined ? b.reshape(n.x, [-1]) : n.x, b.int(axis ?? 0)])
  }),
  Normalize: row((n, b) => {
    const order = Number(param(n, 'order', 2) ?? 2)
    if (order !== 2) throw unsupported(n, 'order 2', `${order}`)
    return unitLength(n.x, axes(n) ?? [-1], Number(param(n, 'epsilon', 3) ?? 1e-12), b)
  }),
  Identity: row((n) => n.x),
  StopGradient: row((n) => n.x),
  Copy: row((n) => n.x),
  ...Object.fromEntries(Object.entries(ACTIVATION_OPS).map(([type, name]) => [type, activation(name)])),

  Arctan2: tf('Atan2'),
  Isfinite: tf1('IsFinite'),
  NanToNum: row((n, b) => {
    const finite = (v: number): Value => b.scalar(n.x.dtype, v)
    const [top, low] = [
      Number(param(n, 'posinf', 2) ?? 3.4028234663852886e38),
      Number(param(n, 'neginf', 3) ?? -3.4028234663852886e38),
    ]
    const number = b.op('Where', [b.op('IsNaN', [n.x]), finite(Number(param(n, 'nan', 1) ?? 0)), n.x])
    return b.op('Min', [b.op('Max', [number, finite(low)]), finite(top)])
  }),
  Logaddexp: row((n, b) => {
    const [x, y] = operands(n, b)
    const top = b.op('Max', [x, y])
    const exps = [x, y].map((v) => b.op('Exp', [b.op('Sub', [v, top])]))
    return b.op('Add', [top, b.op('Log', [b.op('Add', exps)])])
  }),
  CountNonzero: row((n, b) => {
    const hits = b.cast(b.op('Not', [b.op('Equal', [n.x, b.scalar(n.x.dtype, 0)])]), 'int32')
    return reduced('ReduceSum', n, hits, b)
  }),
  Moments: row((n, b): Result => [reduced('ReduceMean', n, n.x, b), variance(n, b)]),
  Norm: row((n, b) => {
    const order = param(n, 'ord', 1)
    if (order !== null && order !== undefined && order !== 2 && order !== 'fro' && order !== 'euclidean')
      throw unsupported(n, 'the Euclidean norm', `ord=${String(order)}`)
    return b.op('Sqrt', [reduced('ReduceSum', n, b.op('Mul', [n.x, n.x]), b)])
  }),
  LayerNorm: row((n, b) => {
    const over = axes(n, 3) ?? [-1]
    const centred = b.op('Sub', [n.x, b.op('ReduceMean', [n.x, b.ints(over)], { keepdims: 1 })])
    const spread = b.op('ReduceMean', [b.op('Mul', [centred, centred]), b.ints(over)], { keepdims: 1 })
    const epsilon = b.scalar(n.x.dtype, Number(param(n, 'epsilon', 4) ?? 1e-7))
    if (tensorsOf(n.args as Arg).length > 1 || param(n, 'rms_scaling', 5) === true)
      throw unsupported(n, 'neither scale nor offset', 'one of them')
    return b.op('Div', [centred, b.op('Sqrt', [b.op('Add', [spread, epsilon])])])
  }),
}

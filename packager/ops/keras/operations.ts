import type { DType } from '../../../src/tensor.ts'
import { DTYPES } from '../../../src/tensor.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { ACTIVATIONS, softmaxOver } from './activations.ts'
import {
  type Arg,
  argument,
  axisOf,
  type Call,
  isKTensor,
  type LayerRow,
  type LayerTable,
  type Result,
  type Slice,
  tensorsOf,
  unsupported,
} from './layer.ts'
import { unitLength } from './merge.ts'
import { repeated } from './reshape.ts'
import { tfOp } from './tf.ts'

/** keras.ops on symbolic tensors are nodes of the model as layers are; parameters are in the config or among the arguments. */
function param(n: Call, name: string, index: number): Arg | undefined {
  const given = argument(n, name, index)
  return given ?? (n.config.get(name) as Arg | undefined)
}

function axes(n: Call, index = 1): number[] | undefined {
  const given = param(n, 'axis', index)
  if (given === undefined || given === null) return undefined
  const list = Array.isArray(given) ? given : [given]
  if (list.every((a) => Number.isSafeInteger(a))) return list as number[]
  throw unsupported(n, 'integers as axis', 'something else')
}

function int(n: Call, name: string, index: number, fallback?: number): number {
  const v = param(n, name, index) ?? fallback
  if (typeof v === 'number' && Number.isSafeInteger(v)) return v
  throw unsupported(n, `an integer as ${name}`, typeof v)
}

function ints(n: Call, name: string, index: number): number[] {
  const v = param(n, name, index)
  const list = Array.isArray(v) ? v : [v]
  if (list.every((d) => d === null || Number.isSafeInteger(d)))
    return list.map((d) => (d === null ? -1 : (d as number)))
  throw unsupported(n, `integers as ${name}`, 'tensors among them')
}

/** A tensor, or a literal in the dtype of the tensor it meets. */
function value(n: Call, a: Arg | undefined, like: Value, b: Builder): Value {
  if (isKTensor(a)) return a.value
  if (typeof a === 'number' || typeof a === 'boolean') {
    const fraction = typeof a === 'number' && !Number.isInteger(a) && !like.dtype.startsWith('float')
    return b.scalar(
      fraction ? 'float32' : like.dtype === 'bool' && typeof a === 'number' ? 'int32' : like.dtype,
      Number(a),
    )
  }
  const flat = [a].flat(16)
  if (Array.isArray(a) && flat.every((v) => typeof v === 'number')) {
    const shape: number[] = []
    for (let at: Arg | undefined = a; Array.isArray(at); at = at[0]) shape.push(at.length)
    return b.filled(like.dtype, shape, flat as number[])
  }
  throw unsupported(n, 'a tensor or a number', a === undefined ? 'nothing' : typeof a)
}

const RANK: Readonly<Record<string, number>> = {
  bool: 0,
  uint8: 1,
  int8: 2,
  int16: 3,
  int32: 4,
  int64: 5,
  float16: 6,
  bfloat16: 6,
  float32: 7,
  float64: 8,
}

/** Both operands in the wider of their dtypes. */
function operands(n: Call, b: Builder): [Value, Value] {
  const like = tensorsOf(n.args as Arg)[0]?.value ?? n.x
  const x = value(n, argument(n, 'x1', 0) ?? n.args[0], like, b)
  const y = value(n, argument(n, 'x2', 1) ?? n.args[1], like, b)
  return same(x, y, b)
}

function same(x: Value, y: Value, b: Builder): [Value, Value] {
  if (x.dtype === y.dtype) return [x, y]
  const dtype = ((RANK[x.dtype] ?? 0) >= (RANK[y.dtype] ?? 0) ? x.dtype : y.dtype) as DType
  // integers of 64 bits beside floats stay with the floats
  return [b.cast(x, dtype), b.cast(y, dtype)]
}

const row = (emit: LayerRow['emit']): LayerRow => ({ autocast: false, emit })
const unary = (type: string): LayerRow => row((n, b) => b.op(type, [n.x]))
const binary = (type: string): LayerRow => row((n, b) => b.op(type, operands(n, b)))
const tf = (op: string): LayerRow => row((n, b) => tfOp(op, operands(n, b), {}, b))
const tf1 = (op: string): LayerRow => row((n, b) => tfOp(op, [n.x], {}, b))
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

function isSlice(a: Arg | undefined): a is Slice {
  return typeof a === 'object' && a !== null && !Array.isArray(a) && 'slice' in a
}

/** x[…] with integers, slices, an ellipsis and new axes. */
function item(n: Call, b: Builder): Value {
  const key = n.args[1] ?? n.kwargs.key
  const parts = (Array.isArray(key) ? key : [key ?? null]) as readonly Arg[]
  const rank = b.rank(n.x)
  const dots = parts.findIndex((p) => p === 'Ellipsis' || (typeof p === 'object' && p !== null && 'ellipsis' in p))
  const used = parts.filter(
    (p) => p !== null && p !== 'Ellipsis' && !(typeof p === 'object' && p !== null && 'ellipsis' in p),
  ).length
  const [starts, ends, on, steps, gone, added] = [[], [], [], [], [], []] as number[][]
  let axis = 0
  let out = 0
  for (const [i, p] of parts.entries()) {
    if (i === dots) {
      axis += rank - used
      out += rank - used
    } else if (p === null) added!.push(out++)
    else if (typeof p === 'number') {
      starts!.push(p)
      ends!.push(p === -1 ? 2 ** 31 - 1 : p + 1)
      steps!.push(1)
      on!.push(axis)
      gone!.push(axis++)
    } else if (isSlice(p)) {
      const [from, to, by] = p.slice.map((v) => (typeof v === 'number' ? v : undefined))
      if (p.slice.some((v) => v !== null && typeof v !== 'number'))
        throw unsupported(n, 'constant slices', 'computed ones')
      const step = by ?? 1
      if (from !== undefined || to !== undefined || step !== 1) {
        starts!.push(from ?? (step > 0 ? 0 : 2 ** 31 - 1))
        ends!.push(to ?? (step > 0 ? 2 ** 31 - 1 : -(2 ** 31) + 1))
        steps!.push(step)
        on!.push(axis)
      }
      axis++
      out++
    } else throw unsupported(n, 'integers and slices between brackets', 'a tensor')
  }
  const cut = on!.length > 0 ? b.slice(n.x, starts!, ends!, on!, steps!) : n.x
  return b.unsqueeze(b.squeeze(cut, gone!), added!)
}

function reshaped(n: Call, b: Builder): Value {
  const given = param(n, 'newshape', 1) ?? param(n, 'shape', 1)
  const list = (Array.isArray(given) ? given : [given]) as readonly Arg[]
  if (list.every((d) => d === null || typeof d === 'number')) {
    const dims = list.map((d) => (d === null ? -1 : (d as number)))
    return b.reshape(n.x, dims)
  }
  const parts = list.map((d) => (isKTensor(d) ? b.reshape(b.cast(d.value, 'int64'), [1]) : b.ints([d as number])))
  return b.reshape(n.x, b.concat(parts, 0))
}

function matmul(n: Call, b: Builder): Value {
  return b.op('MatMul', operands(n, b))
}

function list(n: Call): Value[] {
  return n.all.map((t) => t.value)
}

function dtypeOf(n: Call, name: unknown): DType {
  const d = String(name)
  if (Object.hasOwn(DTYPES, d)) return d as DType
  throw unsupported(n, 'a dtype', d)
}

function split(n: Call, b: Builder): Result {
  const axis = axisOf(int(n, 'axis', 2, 0), b.rank(n.x))
  const how = param(n, 'indices_or_sections', 1)
  if (typeof how === 'number') return b.ops('Split', [n.x], { axis, num_outputs: how }, how)
  const at = ints(n, 'indices_or_sections', 1)
  const ends = [...at, 2 ** 31 - 1]
  return ends.map((end, i) => b.slice(n.x, [i === 0 ? 0 : at[i - 1]!], [end], [axis]))
}

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

function transposed(n: Call, b: Builder): Value {
  const given = param(n, 'axes', 1)
  const rank = b.rank(n.x)
  const perm =
    given === undefined || given === null ? Array.from({ length: rank }, (_, i) => rank - 1 - i) : ints(n, 'axes', 1)
  return b.transpose(
    n.x,
    perm.map((p) => axisOf(p, rank)),
  )
}

function moved(n: Call, from: readonly number[], to: readonly number[], b: Builder): Value {
  const rank = b.rank(n.x)
  const [source, target] = [from.map((a) => axisOf(a, rank)), to.map((a) => axisOf(a, rank))]
  const rest = Array.from({ length: rank }, (_, i) => i).filter((i) => !source.includes(i))
  const perm = Array.from({ length: rank }, (_, i) => (target.includes(i) ? source[target.indexOf(i)]! : rest.shift()!))
  return b.transpose(n.x, perm)
}

function swappedAxes(n: Call, b: Builder): Value {
  const rank = b.rank(n.x)
  const [p, q] = [axisOf(int(n, 'axis1', 1), rank), axisOf(int(n, 'axis2', 2), rank)]
  return b.transpose(
    n.x,
    Array.from({ length: rank }, (_, i) => (i === p ? q : i === q ? p : i)),
  )
}

function where(n: Call, b: Builder): Value {
  const like = tensorsOf([n.args[1] ?? null, n.args[2] ?? null])[0]?.value ?? b.scalar('float32', 0)
  const [x, y] = same(value(n, argument(n, 'x1', 1), like, b), value(n, argument(n, 'x2', 2), like, b), b)
  return b.op('Where', [b.cast(n.x, 'bool'), x, y])
}

const filledLike = (fill: (n: Call) => number): LayerRow =>
  row((n, b) =>
    b.op('Expand', [b.scalar(n.kwargs.dtype ? dtypeOf(n, n.kwargs.dtype) : n.x.dtype, fill(n)), b.shapeOf(n.x)]),
  )

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
  Reshape: row(reshaped),
  Transpose: row(transposed),
  Swapaxes: row(swappedAxes),
  Moveaxis: row((n, b) => moved(n, ints(n, 'source', 1), ints(n, 'destination', 2), b)),
  ExpandDims: row((n, b) => b.unsqueeze(n.x, axes(n)!)),
  Squeeze: row((n, b) => b.squeeze(n.x, axes(n) ?? n.x.shape!.flatMap((d, i) => (d === 1 ? [i] : [])))),
  Ravel: row((n, b) => b.reshape(n.x, [-1])),
  Concatenate: row((n, b) => {
    const values = list(n)
    const wide = values.slice(1).reduce((p, v) => same(p, v, b)[0], values[0]!).dtype as DType
    return b.concat(
      values.map((v) => b.cast(v, wide)),
      axisOf(int(n, 'axis', 1, 0), b.rank(values[0]!)),
    )
  }),
  Stack: row((n, b) => {
    const axis = axisOf(int(n, 'axis', 1, 0), b.rank(n.x) + 1)
    return b.concat(
      list(n).map((v) => b.unsqueeze(v, [axis])),
      axis,
    )
  }),
  Split: row(split),
  GetItem: row(item),
  Take: row((n, b) => {
    const [axis] = axes(n, 2) ?? []
    const indices = b.cast(value(n, argument(n, 'indices', 1), b.int(0), b), 'int64')
    return b.gather(
      axis === undefined ? b.reshape(n.x, [-1]) : n.x,
      indices,
      axis === undefined ? 0 : axisOf(axis, b.rank(n.x)),
    )
  }),
  Matmul: row(matmul),
  Einsum: row((n, b) => {
    const equation = String(n.config.get('subscripts') ?? n.args[0])
    return b.op(
      'Einsum',
      tensorsOf(n.args as Arg).map((t) => t.value),
      { equation },
    )
  }),
  Repeat: row((n, b) => {
    const [axis] = axes(n, 2) ?? []
    const x = axis === undefined ? b.reshape(n.x, [-1]) : n.x
    return repeated(x, int(n, 'repeats', 1), axis === undefined ? 0 : axisOf(axis, b.rank(x)), b)
  }),
  Tile: row((n, b) => {
    const times = ints(n, 'repeats', 1)
    const missing = Math.max(0, times.length - b.rank(n.x))
    const x = b.unsqueeze(
      n.x,
      Array.from({ length: missing }, (_, i) => i),
    )
    return b.op('Tile', [x, b.ints([...Array<number>(b.rank(x) - times.length).fill(1), ...times])])
  }),
  Flip: row((n, b) => {
    const over = axes(n) ?? Array.from({ length: b.rank(n.x) }, (_, i) => i)
    return b.slice(
      n.x,
      over.map(() => -1),
      over.map(() => -(2 ** 31) + 1),
      over,
      over.map(() => -1),
    )
  }),
  BroadcastTo: row((n, b) => b.op('Expand', [n.x, b.ints(ints(n, 'shape', 1))])),
  ZerosLike: filledLike(() => 0),
  OnesLike: filledLike(() => 1),
  FullLike: filledLike((n) => Number(argument(n, 'fill_value', 1))),
  Cumsum: row((n, b) => {
    const [axis] = axes(n) ?? []
    return b.op('CumSum', [axis === undefined ? b.reshape(n.x, [-1]) : n.x, b.int(axis ?? 0)])
  }),
  TopK: row((n, b) => {
    const k = b.ints([int(n, 'k', 1)])
    const [values, indices] = b.ops(
      'TopK',
      [n.x, k],
      { axis: -1, largest: 1, sorted: param(n, 'sorted', 2) === false ? 0 : 1 },
      2,
    )
    return [values!, b.cast(indices!, 'int32')]
  }),
  OneHot: row((n, b) => {
    const range = b.ints(Array.from({ length: int(n, 'num_classes', 1) }, (_, i) => i))
    const dtype = n.config.get('dtype') === undefined ? 'float32' : dtypeOf(n, n.config.get('dtype'))
    const hits = b.cast(b.op('Equal', [b.unsqueeze(b.cast(n.x, 'int64'), [-1]), range]), dtype)
    const axis = axisOf(int(n, 'axis', 2, -1), b.rank(hits))
    return moved({ ...n, x: hits }, [-1], [axis], b)
  }),
  Pad: row((n, b) => {
    const mode = String(param(n, 'mode', 2) ?? 'constant')
    const widths = param(n, 'pad_width', 1)
    const rank = b.rank(n.x)
    const flat = (Array.isArray(widths) ? widths : [widths]) as Arg[]
    const each = Array.from({ length: rank }, (_, i) => {
      const w = flat.length === rank ? flat[i] : Array.isArray(flat[0]) ? flat[0] : flat.length === 2 ? flat : flat[0]
      return Array.isArray(w) ? (w as number[]) : [w as number, w as number]
    })
    if (!['constant', 'reflect', 'edge'].includes(mode) && mode !== 'symmetric')
      throw unsupported(n, 'a mode of numpy.pad', mode)
    if (mode === 'symmetric') throw unsupported(n, 'mode constant or reflect', mode)
    const pads = b.ints([...each.map((w) => w[0]!), ...each.map((w) => w[1]!)])
    const fill = mode === 'constant' ? value(n, n.kwargs.constant_values ?? 0, n.x, b) : undefined
    return b.op('Pad', [n.x, pads, fill], { mode })
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
}

import type { DType } from '../../src/tensor.ts'
import { ONNX_FROM } from '../formats/proto/onnx.ts'
import { UNARY } from './elementwise.ts'
import {
  concat,
  expand,
  filledFromShape,
  gather,
  gatherNd,
  oneHot,
  pad,
  reshape,
  slice,
  split,
  squeeze,
  tile,
  topk,
  unsqueeze,
} from './inferlayout.ts'
import { globalPool, pool, windows } from './inferwindows.ts'
import { broadcast, list, norm, num, type Rule } from './shapes.ts'
import { constNumbers, type Dim, type OnnxAttr } from './value.ts'

const same: Rule = ([x]) => [{ dtype: x!.dtype, shape: x!.shape }]
const elementwise: Rule = (x, _a, names) => [
  {
    dtype: x[0]!.dtype,
    shape: broadcast(
      x.map((v) => v.shape),
      names,
    ),
  },
]
const logical: Rule = (x, _a, names) => [
  {
    dtype: 'bool',
    shape: broadcast(
      x.map((v) => v.shape),
      names,
    ),
  },
]
const test: Rule = ([x]) => [{ dtype: 'bool', shape: x!.shape }]

const reduce: Rule = ([x, axesInput], attrs, names) => {
  const keep = num(attrs.keepdims, 1) === 1
  const axes = axesInput ? constNumbers(axesInput) : list(attrs.axes)
  if (!x!.shape) return [{ dtype: x!.dtype, shape: !axesInput && !axes && !keep ? [] : undefined }]
  const rank = x!.shape.length
  if (axesInput && !axes) return [{ dtype: x!.dtype, shape: keep ? names.freshShape(rank) : undefined }]
  const all = !axes || (axes.length === 0 && num(attrs.noop_with_empty_axes, 0) === 0)
  const gone = new Set(all ? x!.shape.map((_, i) => i) : axes.map((a) => norm(a, rank)))
  const shape = keep ? x!.shape.map((d, i) => (gone.has(i) ? 1 : d)) : x!.shape.filter((_, i) => !gone.has(i))
  return [{ dtype: x!.dtype, shape }]
}

const arg: Rule = ([x], attrs) => {
  const keep = num(attrs.keepdims, 1) === 1
  const axis = x!.shape && norm(num(attrs.axis, 0), x!.shape.length)
  const shape = keep ? x!.shape?.map((d, i) => (i === axis ? 1 : d)) : x!.shape?.filter((_, i) => i !== axis)
  return [{ dtype: 'int64', shape }]
}

const matmul: Rule = ([a, b], _attrs, names) => {
  if (!a!.shape || !b!.shape || a!.shape.length === 0 || b!.shape.length === 0)
    return [{ dtype: a!.dtype, shape: undefined }]
  const [x, y] = [a!.shape, b!.shape]
  const left = x.length === 1 ? [] : [x.at(-2)!]
  const right = y.length === 1 ? [] : [y.at(-1)!]
  const batch = broadcast([x.slice(0, -2), y.slice(0, -2)], names)!
  return [{ dtype: a!.dtype, shape: [...batch, ...left, ...right] }]
}

const rows = (names: readonly string[], rule: Rule) => Object.fromEntries(names.map((n) => [n, rule]))
const typed = (a: OnnxAttr | undefined): DType => ONNX_FROM[num(a, 1)] ?? 'float32'

/** Output types of every ONNX op that rows emit without saying the type themselves. */
export const INFER: Readonly<Record<string, Rule>> = {
  ...rows(
    [
      ...UNARY,
      'Identity',
      'Softmax',
      'LogSoftmax',
      'Hardmax',
      'Clip',
      'CumSum',
      'BatchNormalization',
      'InstanceNormalization',
      'LpNormalization',
      'LRN',
      'Trilu',
      'ScatterND',
      'ScatterElements',
      'ReverseSequence',
      'Dropout',
      'MeanVarianceNormalization',
      'LayerNormalization',
      'GroupNormalization',
    ],
    same,
  ),
  ...rows(
    [
      'Add',
      'Sub',
      'Mul',
      'Div',
      'Mod',
      'Pow',
      'Min',
      'Max',
      'Sum',
      'Mean',
      'PRelu',
      'BitwiseAnd',
      'BitwiseOr',
      'BitwiseXor',
      'BitShift',
      'StringConcat',
    ],
    elementwise,
  ),
  ...rows(['Equal', 'Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual', 'And', 'Or', 'Xor'], logical),
  ...rows(['Not', 'IsNaN', 'IsInf', 'RegexFullMatch'], test),
  ...rows(
    [
      'ReduceSum',
      'ReduceMean',
      'ReduceMax',
      'ReduceMin',
      'ReduceProd',
      'ReduceL1',
      'ReduceL2',
      'ReduceLogSum',
      'ReduceLogSumExp',
      'ReduceSumSquare',
    ],
    reduce,
  ),
  ...rows(['ArgMax', 'ArgMin'], arg),
  ...rows(['MaxPool', 'AveragePool', 'LpPool'], pool),
  ...rows(['GlobalAveragePool', 'GlobalMaxPool'], globalPool),
  Where: ([c, a, b], _attrs, names) => [{ dtype: a!.dtype, shape: broadcast([c!.shape, a!.shape, b!.shape], names) }],
  Cast: ([x], attrs) => [{ dtype: typed(attrs.to), shape: x!.shape }],
  Shape: ([x], attrs) => {
    const [start, end] = [num(attrs.start, 0), num(attrs.end, 2 ** 31)]
    return [{ dtype: 'int64', shape: x!.shape ? [x!.shape.slice(start, end).length] : [`rank of ${x!.name}`] }]
  },
  Size: () => [{ dtype: 'int64', shape: [] }],
  Transpose: ([x], attrs) => {
    const perm = list(attrs.perm)
    return [
      {
        dtype: x!.dtype,
        shape: perm && x!.shape ? perm.map((p) => x!.shape![p]!) : x!.shape && [...x!.shape].reverse(),
      },
    ]
  },
  Reshape: reshape,
  MatMul: matmul,
  Gemm: ([a, b], attrs) => [
    {
      dtype: a!.dtype,
      shape: a!.shape && b!.shape && [a!.shape[num(attrs.transA, 0) ? 1 : 0]!, b!.shape[num(attrs.transB, 0) ? 0 : 1]!],
    },
  ],
  Conv: ([x, w], attrs, names) => {
    const kernel =
      list(attrs.kernel_shape) ??
      (w!.shape?.slice(2).every((d) => typeof d === 'number') ? (w!.shape.slice(2) as number[]) : undefined)
    return [{ dtype: x!.dtype, shape: windows(x!, w!.shape?.[0] ?? names.fresh(), kernel, attrs, names) }]
  },
  Gather: gather,
  GatherND: gatherNd,
  GatherElements: ([x, indices]) => [{ dtype: x!.dtype, shape: indices!.shape }],
  Slice: slice,
  Concat: concat,
  Split: split,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Expand: expand,
  Tile: tile,
  Pad: pad,
  ConstantOfShape: filledFromShape((attrs) =>
    typeof attrs.value === 'object' && 'dtype' in attrs.value ? (attrs.value.dtype as DType) : 'float32',
  ),
  RandomUniformLike: same,
  RandomNormalLike: same,
  Range: ([start], _attrs, names) => [{ dtype: start!.dtype, shape: [names.fresh()] }],
  NonZero: ([x], _attrs, names) => [{ dtype: 'int64', shape: [x!.shape?.length ?? names.fresh(), names.fresh()] }],
  TopK: topk,
  OneHot: oneHot,
  DepthToSpace: ([x], attrs, names) => {
    const s = num(attrs.blocksize, 1)
    return [
      {
        dtype: x!.dtype,
        shape: x!.shape?.map(
          (d, i): Dim => (i === 0 ? d : typeof d !== 'number' ? names.fresh() : i === 1 ? d / (s * s) : d * s),
        ),
      },
    ]
  },
  SpaceToDepth: ([x], attrs, names) => {
    const s = num(attrs.blocksize, 1)
    return [
      {
        dtype: x!.dtype,
        shape: x!.shape?.map(
          (d, i): Dim => (i === 0 ? d : typeof d !== 'number' ? names.fresh() : i === 1 ? d * s * s : d / s),
        ),
      },
    ]
  },
  Compress: ([x], attrs, names) => {
    const axis = typeof attrs.axis === 'number' && x!.shape ? norm(attrs.axis, x!.shape.length) : undefined
    return [
      {
        dtype: x!.dtype,
        shape: axis === undefined ? [names.fresh()] : x!.shape?.map((d, i) => (i === axis ? names.fresh() : d)),
      },
    ]
  },
  Unique: ([x], _attrs, names) => {
    const n = names.fresh()
    return [
      { dtype: x!.dtype, shape: [n] },
      { dtype: 'int64', shape: [n] },
      { dtype: 'int64', shape: [names.fresh()] },
      { dtype: 'int64', shape: [n] },
    ]
  },
  Det: ([x]) => [{ dtype: x!.dtype, shape: x!.shape?.slice(0, -2) }],
}

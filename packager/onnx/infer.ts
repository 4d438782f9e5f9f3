import type { DType } from '../../src/tensor.ts'
import { ONNX_FROM } from '../formats/proto/onnx.ts'
import { constNumbers, type Dim, type OnnxAttr, type Shape, type Value, type ValueDType } from './value.ts'

export interface Inferred {
  readonly dtype: ValueDType
  readonly shape: Shape | undefined
  readonly sequence?: boolean
}

interface Names {
  fresh(): string
  freshShape(rank: number): string[]
}

type Attrs = Readonly<Record<string, OnnxAttr>>
type Rule = (x: readonly Value[], attrs: Attrs, names: Names) => readonly Inferred[]

/** The shape that ONNX stores: complex values have a trailing pair. */
export function storageShape(dtype: ValueDType, shape: Shape | undefined): Shape | undefined {
  return shape && (dtype === 'complex64' || dtype === 'complex128') ? [...shape, 2] : shape
}

/** NumPy broadcasting over known and unknown dimensions. */
export function broadcast(shapes: readonly (Shape | undefined)[], names: Names): Shape | undefined {
  let rank = 0
  for (const s of shapes) {
    if (!s) return undefined
    rank = Math.max(rank, s.length)
  }
  return Array.from({ length: rank }, (_, i): Dim => {
    const dims = new Set<Dim>()
    for (const s of shapes) {
      const d = s![i - rank + s!.length]
      if (d !== undefined && d !== 1) dims.add(d)
    }
    if (dims.size === 0) return 1
    const known = [...dims].find((d) => typeof d === 'number')
    return known ?? (dims.size === 1 ? [...dims][0]! : names.fresh())
  })
}

const num = (a: OnnxAttr | undefined, fallback: number): number => (typeof a === 'number' ? a : fallback)
const list = (a: OnnxAttr | undefined): readonly number[] | undefined =>
  Array.isArray(a) ? (a as readonly number[]) : undefined
const norm = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

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

/** Spatial output size: floor or ceil of (size + pads - effective kernel) / stride + 1. */
function windowSize(
  d: Dim,
  kernel: number,
  stride: number,
  dilation: number,
  pads: number,
  auto: string,
  ceil: boolean,
  names: Names,
): Dim {
  if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER')
    return typeof d === 'number' ? Math.ceil(d / stride) : stride === 1 ? d : names.fresh()
  if (typeof d !== 'number') return stride === 1 && (kernel - 1) * dilation === pads ? d : names.fresh()
  const span = (kernel - 1) * dilation + 1
  const steps = (d + pads - span) / stride
  return Math.max(0, (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1)
}

function windows(
  x: Value,
  channels: Dim,
  kernel: readonly number[] | undefined,
  attrs: Attrs,
  names: Names,
): Shape | undefined {
  if (!x.shape) return undefined
  const n = x.shape.length - 2
  if (!kernel) return [x.shape[0]!, channels, ...names.freshShape(n)]
  const strides = list(attrs.strides) ?? Array<number>(n).fill(1)
  const dilations = list(attrs.dilations) ?? Array<number>(n).fill(1)
  const pads = list(attrs.pads) ?? Array<number>(2 * n).fill(0)
  const auto = typeof attrs.auto_pad === 'string' ? attrs.auto_pad : 'NOTSET'
  const ceil = num(attrs.ceil_mode, 0) === 1
  const spatial = Array.from({ length: n }, (_, i) =>
    windowSize(x.shape![i + 2]!, kernel[i]!, strides[i]!, dilations[i]!, pads[i]! + pads[i + n]!, auto, ceil, names),
  )
  return [x.shape[0]!, channels, ...spatial]
}

const pool: Rule = ([x], attrs, names) => {
  const shape = windows(x!, x!.shape?.[1] ?? names.fresh(), list(attrs.kernel_shape), attrs, names)
  return [
    { dtype: x!.dtype, shape },
    { dtype: 'int64', shape },
  ]
}

const globalPool: Rule = ([x]) => [{ dtype: x!.dtype, shape: x!.shape?.map((d, i) => (i < 2 ? d : 1)) }]

const matmul: Rule = ([a, b], _attrs, names) => {
  if (!a!.shape || !b!.shape || a!.shape.length === 0 || b!.shape.length === 0)
    return [{ dtype: a!.dtype, shape: undefined }]
  const [x, y] = [a!.shape, b!.shape]
  const left = x.length === 1 ? [] : [x.at(-2)!]
  const right = y.length === 1 ? [] : [y.at(-1)!]
  const batch = broadcast([x.slice(0, -2), y.slice(0, -2)], names)!
  return [{ dtype: a!.dtype, shape: [...batch, ...left, ...right] }]
}

const reshape: Rule = ([x, target], _attrs, names) => {
  const part = target!.part
  if (!part) {
    const n = target!.shape?.[0]
    return [{ dtype: x!.dtype, shape: typeof n === 'number' ? names.freshShape(n) : undefined }]
  }
  const dims = part.map((d, i) => (d === 0 ? (x!.shape?.[i] ?? names.fresh()) : d))
  const hole = dims.indexOf(-1)
  if (hole >= 0)
    dims[hole] =
      restDim(
        x!.shape,
        dims.filter((_, i) => i !== hole),
      ) ?? names.fresh()
  return [{ dtype: x!.dtype, shape: dims }]
}

/** What -1 stands for: the quotient of the element counts, with equal unknown dimensions cancelled. */
export function restDim(shape: Shape | undefined, others: readonly Dim[]): Dim | undefined {
  if (!shape) return undefined
  const from = [...shape]
  for (const d of others.filter((o) => typeof o === 'string')) {
    const i = from.indexOf(d)
    if (i < 0) return undefined
    from.splice(i, 1)
  }
  const symbols = from.filter((d) => typeof d === 'string')
  const count = product(from)
  const rest = product(others)
  if (rest === 0) return undefined
  if (symbols.length === 0) return count % rest === 0 ? count / rest : undefined
  return symbols.length === 1 && count === rest ? symbols[0] : undefined
}

function product(dims: readonly Dim[]): number {
  return dims.reduce<number>((n, d) => (typeof d === 'number' ? n * d : n), 1)
}

const gather: Rule = ([x, indices], attrs) => {
  if (!x!.shape || !indices!.shape) return [{ dtype: x!.dtype, shape: undefined }]
  const axis = norm(num(attrs.axis, 0), x!.shape.length)
  return [{ dtype: x!.dtype, shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)] }]
}

const slice: Rule = ([x, starts, ends, axesInput, stepsInput], _attrs, names) => {
  if (!x!.shape) return [{ dtype: x!.dtype, shape: undefined }]
  const [s, e] = [constNumbers(starts), constNumbers(ends)]
  const axes = (axesInput ? constNumbers(axesInput) : s?.map((_, i) => i))?.map((a) => norm(a, x!.shape!.length))
  const steps = stepsInput ? constNumbers(stepsInput) : axes?.map(() => 1)
  if (!axes || !steps) return [{ dtype: x!.dtype, shape: names.freshShape(x!.shape.length) }]
  const shape = [...x!.shape]
  for (const [i, axis] of axes.entries()) {
    const d = shape[axis]
    if (d === undefined) continue
    const [from, to, step] = [s?.[i], e?.[i], steps[i]!]
    shape[axis] =
      from === undefined || to === undefined ? names.fresh() : (sliceSize(d, from, to, step) ?? names.fresh())
  }
  return [{ dtype: x!.dtype, shape }]
}

function sliceSize(d: Dim, from: number, to: number, step: number): Dim | undefined {
  if (typeof d !== 'number') {
    if (from === 0 && step === 1 && to >= 2 ** 31 - 1) return d
    return undefined
  }
  const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + d : v, low), high)
  return step > 0
    ? Math.max(0, Math.ceil((clamp(to, 0, d) - clamp(from, 0, d)) / step))
    : Math.max(0, Math.ceil((clamp(from, -1, d - 1) - clamp(to, -1, d - 1)) / -step))
}

const concat: Rule = (xs, attrs, names) => {
  const known = xs.find((v) => v.shape)
  if (!known) return [{ dtype: xs[0]!.dtype, shape: undefined }]
  const rank = known.shape!.length
  const axis = norm(num(attrs.axis, 0), rank)
  const shape = known.shape!.map((_, i): Dim => {
    const dims = xs.map((v) => v.shape?.[i])
    if (i !== axis) return dims.find((d) => typeof d === 'number') ?? dims.find((d) => d !== undefined)!
    return dims.every((d) => typeof d === 'number')
      ? (dims as number[]).reduce((a, b) => a + b, 0)
      : dims.length === 1
        ? dims[0]!
        : names.fresh()
  })
  return [{ dtype: xs[0]!.dtype, shape }]
}

const split: Rule = ([x, sizes], attrs, names) => {
  const n = num(attrs.num_outputs, sizes?.shape && typeof sizes.shape[0] === 'number' ? sizes.shape[0] : 1)
  const parts = sizes ? constNumbers(sizes) : undefined
  const axis = x!.shape && norm(num(attrs.axis, 0), x!.shape.length)
  return Array.from({ length: n }, (_, i) => ({
    dtype: x!.dtype,
    shape: x!.shape?.map((d, k): Dim => {
      if (k !== axis) return d
      if (parts) return parts[i]!
      return typeof d === 'number' ? Math.max(0, Math.min(Math.ceil(d / n), d - i * Math.ceil(d / n))) : names.fresh()
    }),
  }))
}

const squeeze: Rule = ([x, axesInput], _attrs, _names) => {
  const axes = axesInput ? constNumbers(axesInput) : undefined
  if (!x!.shape || !axes) return [{ dtype: x!.dtype, shape: undefined }]
  const gone = new Set(axes.map((a) => norm(a, x!.shape!.length)))
  return [{ dtype: x!.dtype, shape: x!.shape.filter((_, i) => !gone.has(i)) }]
}

const unsqueeze: Rule = ([x, axesInput]) => {
  const axes = constNumbers(axesInput)
  if (!x!.shape || !axes) return [{ dtype: x!.dtype, shape: undefined }]
  const rank = x!.shape.length + axes.length
  const added = new Set(axes.map((a) => norm(a, rank)))
  let i = 0
  return [{ dtype: x!.dtype, shape: Array.from({ length: rank }, (_, k): Dim => (added.has(k) ? 1 : x!.shape![i++]!)) }]
}

const expand: Rule = ([x, target], _attrs, names) => {
  if (target!.part) return [{ dtype: x!.dtype, shape: broadcast([x!.shape, target!.part], names) }]
  const n = target!.shape?.[0]
  return [
    {
      dtype: x!.dtype,
      shape: typeof n === 'number' && x!.shape ? names.freshShape(Math.max(n, x!.shape.length)) : undefined,
    },
  ]
}

const tile: Rule = ([x, repeats], _attrs, names) => {
  const r = repeats!.part
  return [
    {
      dtype: x!.dtype,
      shape: x!.shape?.map(
        (d, i): Dim =>
          r?.[i] === 1
            ? d
            : typeof d === 'number' && typeof r?.[i] === 'number'
              ? d * (r[i] as number)
              : d === 1 && r
                ? r[i]!
                : names.fresh(),
      ),
    },
  ]
}

const pad: Rule = ([x, pads, , axesInput], _attrs, names) => {
  const p = constNumbers(pads)
  if (!x!.shape || axesInput) return [{ dtype: x!.dtype, shape: x!.shape && names.freshShape(x!.shape.length) }]
  const n = x!.shape.length
  return [
    {
      dtype: x!.dtype,
      shape: x!.shape.map(
        (d, i): Dim =>
          !p
            ? names.fresh()
            : p[i]! + p[i + n]! === 0
              ? d
              : typeof d === 'number'
                ? d + p[i]! + p[i + n]!
                : names.fresh(),
      ),
    },
  ]
}

const filledFromShape =
  (dtype: (attrs: Attrs) => ValueDType): Rule =>
  ([target], attrs, names) => {
    const n = target!.shape?.[0]
    return [{ dtype: dtype(attrs), shape: target!.part ?? (typeof n === 'number' ? names.freshShape(n) : undefined) }]
  }

const gatherNd: Rule = ([x, indices], attrs, names) => {
  const last = indices!.shape?.at(-1)
  if (!x!.shape || !indices!.shape || typeof last !== 'number') return [{ dtype: x!.dtype, shape: undefined }]
  return [
    {
      dtype: x!.dtype,
      shape: [...indices!.shape.slice(0, -1), ...x!.shape.slice(num(attrs.batch_dims, 0) + last)].map(
        (d) => d ?? names.fresh(),
      ),
    },
  ]
}

const topk: Rule = ([x, k], attrs, names) => {
  const n = k!.part?.[0] ?? names.fresh()
  const axis = x!.shape && norm(num(attrs.axis, -1), x!.shape.length)
  const shape = x!.shape?.map((d, i) => (i === axis ? n : d))
  return [
    { dtype: x!.dtype, shape },
    { dtype: 'int64', shape },
  ]
}

const oneHot: Rule = ([indices, depth, values], attrs, names) => {
  const n = depth!.part?.[0] ?? (depth!.data && Number(depth!.data.data[0])) ?? names.fresh()
  if (!indices!.shape) return [{ dtype: values!.dtype, shape: undefined }]
  const axis = norm(num(attrs.axis, -1), indices!.shape.length + 1)
  return [{ dtype: values!.dtype, shape: [...indices!.shape.slice(0, axis), n, ...indices!.shape.slice(axis)] }]
}

const rows = (names: readonly string[], rule: Rule) => Object.fromEntries(names.map((n) => [n, rule]))
const typed = (a: OnnxAttr | undefined): DType => ONNX_FROM[num(a, 1)] ?? 'float32'

/** Output types of every ONNX op that rows emit without saying the type themselves. */
export const INFER: Readonly<Record<string, Rule>> = {
  ...rows(
    [
      'Identity',
      'Abs',
      'Neg',
      'Sqrt',
      'Exp',
      'Log',
      'Sin',
      'Cos',
      'Tan',
      'Asin',
      'Acos',
      'Atan',
      'Sinh',
      'Cosh',
      'Tanh',
      'Asinh',
      'Acosh',
      'Atanh',
      'Erf',
      'Ceil',
      'Floor',
      'Round',
      'Sign',
      'Reciprocal',
      'Relu',
      'LeakyRelu',
      'Elu',
      'Selu',
      'Celu',
      'Gelu',
      'Sigmoid',
      'HardSigmoid',
      'HardSwish',
      'Softplus',
      'Softsign',
      'ThresholdedRelu',
      'Softmax',
      'LogSoftmax',
      'Hardmax',
      'Clip',
      'CumSum',
      'BitwiseNot',
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
      'Mish',
      'Shrink',
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

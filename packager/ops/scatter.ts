import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpRow, type OpTable, op, unsupported } from './op.ts'
import { MASKS, masksOf, stridedSlice } from './slice.ts'

type Reduction = 'none' | 'add' | 'mul' | 'max' | 'min'

const LIMITS: Readonly<Record<string, readonly [number, number]>> = {
  float16: [-65504, 65504],
  bfloat16: [-3.3895313892515355e38, 3.3895313892515355e38],
  float32: [-3.4028234663852886e38, 3.4028234663852886e38],
  float64: [-Number.MAX_VALUE, Number.MAX_VALUE],
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-2147483648, 2147483647],
  uint32: [0, 4294967295],
}
const WHOLE = {
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
} as const

/** The least (0) or greatest (1) number of a dtype as a scalar. */
export function limit(dtype: DType, which: 0 | 1, b: Builder): Value {
  if (dtype === 'int64') return b.const({ dtype, shape: [], data: BigInt64Array.of(WHOLE.int64[which]) })
  if (dtype === 'uint64') return b.const({ dtype, shape: [], data: BigUint64Array.of(WHOLE.uint64[which]) })
  return b.scalar(dtype, LIMITS[dtype]?.[which] ?? which)
}

/**
 * TensorFlow refuses negative indices, ONNX counts them from the end. Without its sign bit a negative index is far out of range,
 * which onnxruntime refuses as well. Constants and sizes of shapes are what they are.
 */
export function refuseNegative(indices: Value, b: Builder): Value {
  if (indices.part || constNumbers(indices)?.every((i) => i >= 0)) return indices
  const wide = indices.dtype === 'int32' || indices.dtype === 'int64' ? indices : int64(indices, b)
  return b.op('BitwiseAnd', [wide, limit(wide.dtype as DType, 1, b)])
}

/** ScatterND with a reduction, in a dtype that has one: half floats are summed in float32, bools count. */
export function scatter(base: Value, indices: Value, updates: Value, reduction: Reduction, b: Builder): Value {
  const narrow = base.dtype as DType
  const wide: DType =
    reduction === 'none'
      ? narrow
      : narrow === 'float16' || narrow === 'bfloat16'
        ? 'float32'
        : narrow === 'bool'
          ? 'int32'
          : narrow
  const out = b.op('ScatterND', [b.cast(base, wide), int64(indices, b), b.cast(updates, wide)], { reduction })
  return b.cast(out, narrow)
}

const scattered = (reduction: Reduction, negated = false): OpRow =>
  op({
    in: ['tensor', 'indices', 'updates'],
    attrs: { bad_indices_policy: ['', 'DEFAULT', 'ERROR'] },
    parts: reduction === 'none' || reduction === 'add',
    emit: (n, b) => {
      const updates = negated ? b.op('Neg', [n.in.updates]) : n.in.updates
      return scatter(n.in.tensor, refuseNegative(n.in.indices, b), updates, reduction, b)
    },
  })

const position = (v: Value, b: Builder): Value => b.op('Range', [b.int(0), b.reshape(b.op('Size', [v]), []), b.int(1)])

/** Later pieces overwrite earlier ones, so that each is scattered for itself. */
const stitch: OpRow = op({
  in: [],
  attrs: { N: 'int' },
  note: 'rows that no index names are 0',
  parts: true,
  emit: (n, b) => {
    const all = n.inputs as readonly Value[]
    const [indices, data] = [all.slice(0, n.attrs.N), all.slice(n.attrs.N)]
    const flat = indices.map((i) => b.reshape(int64(i, b), [-1]))
    const rank = b.rank(indices[0]!)
    const tail = b.slice(b.shapeOf(data[0]!), [rank], [2 ** 31 - 1], [0])
    const size = b.op('Add', [b.op('ReduceMax', [b.concat([...flat, b.ints([-1])], 0)], { keepdims: 1 }), b.ints([1])])
    const start = b.op('Expand', [b.scalar(data[0]!.dtype, 0), b.concat([size, tail], 0)])
    return flat.reduce<Value>((out, at, k) => {
      const rows = b.reshape(data[k]!, b.concat([b.shapeOf(at), tail], 0))
      return scatter(out, b.unsqueeze(refuseNegative(at, b), [1]), rows, 'none', b)
    }, start)
  },
})

export const SCATTER = {
  ScatterNd: op({
    in: ['indices', 'updates', 'shape'],
    attrs: { bad_indices_policy: ['', 'DEFAULT', 'ERROR'] },
    parts: true,
    emit: (n, b) => {
      const base = b.op('Expand', [b.scalar(n.in.updates.dtype, 0), int64(n.in.shape, b)])
      return scatter(base, refuseNegative(n.in.indices, b), n.in.updates, 'add', b)
    },
  }),
  ScatterNdNonAliasingAdd: scattered('add'),
  TensorScatterUpdate: scattered('none'),
  TensorScatterAdd: scattered('add'),
  TensorScatterSub: scattered('add', true),
  TensorScatterMax: scattered('max'),
  TensorScatterMin: scattered('min'),
  /** The slice is taken of the elements' numbers, which says where the new values go. */
  TensorStridedSliceUpdate: op({
    in: ['input', 'begin', 'end', 'strides', 'value'],
    attrs: MASKS,
    parts: true,
    emit: (n, b) => {
      const { input } = n.in
      const numbers = b.reshape(position(input, b), b.shapeOf(input))
      const taken = stridedSlice(
        b.as(numbers, { shape: input.shape }),
        n.in.begin,
        n.in.end,
        n.in.strides,
        masksOf(n.attrs),
        b,
      )
      const value = b.op('Expand', [n.in.value, b.shapeOf(taken)])
      const flat = b.op('ScatterElements', [b.reshape(input, [-1]), b.reshape(taken, [-1]), b.reshape(value, [-1])])
      return b.as(b.reshape(flat, b.shapeOf(input)), { shape: input.shape })
    },
  }),
  InvertPermutation: op({
    in: ['x'],
    emit: (n, b) => {
      const { x } = n.in
      const order = b.cast(position(x, b), x.dtype as DType)
      return b.op('ScatterElements', [x, refuseNegative(x, b), order])
    },
  }),
  /** The places of flat indices in a tensor of given dimensions: a row for each dimension. */
  UnravelIndex: op({
    in: ['indices', 'dims'],
    emit: (n, b) => {
      const rank = n.in.dims.shape?.[0]
      if (typeof rank !== 'number') throw unsupported(n, 'dimensions of known number', 'an unknown number')
      const [flat, dims] = [int64(n.in.indices, b), int64(n.in.dims, b)]
      const rows = Array.from({ length: rank }, (_, i) => {
        const behind = b.op('ReduceProd', [b.slice(dims, [i + 1], [rank], [0]), b.ints([0])], { keepdims: 0 })
        return b.op('Mod', [b.op('Div', [flat, behind]), b.gather(dims, b.int(i))])
      })
      return b.cast(
        b.concat(
          rows.map((r) => b.unsqueeze(r, [0])),
          0,
        ),
        n.in.indices.dtype as DType,
      )
    },
  }),
  DynamicStitch: stitch,
  ParallelDynamicStitch: stitch,
  DynamicPartition: op({
    in: ['data', 'partitions'],
    attrs: { num_partitions: 'int' },
    out: ['outputs*num_partitions'],
    parts: true,
    emit: (n, b) => {
      const rank = b.rank(n.in.partitions)
      const tail = b.slice(b.shapeOf(n.in.data), [rank], [2 ** 31 - 1], [0])
      const rows = rank === 1 ? n.in.data : b.reshape(n.in.data, b.concat([b.ints([-1]), tail], 0))
      // looking the numbers up refuses those outside the range
      const which = b.gather(
        b.filled(
          'int32',
          [n.attrs.num_partitions],
          Array.from({ length: n.attrs.num_partitions }, (_, i) => i),
        ),
        refuseNegative(b.reshape(n.in.partitions, [-1]), b),
      )
      return Array.from({ length: n.attrs.num_partitions }, (_, k) =>
        b.op('Compress', [rows, b.op('Equal', [which, b.scalar(which.dtype, k)])], { axis: 0 }),
      )
    },
  }),
} satisfies OpTable

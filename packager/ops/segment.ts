import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpRow, type OpTable, op } from './op.ts'
import { limit, refuseNegative, scatter } from './scatter.ts'

type Kind = 'sum' | 'mean' | 'sqrtn' | 'max' | 'min' | 'prod'
const REDUCTION = { sum: 'add', mean: 'add', sqrtn: 'add', max: 'max', min: 'min', prod: 'mul' } as const

interface Segments {
  readonly data: Value
  /** as many leading dimensions of `data` as it has itself are one list of rows */
  readonly ids: Value
  /** int64 scalar */
  readonly count: Value
  /** what a segment without rows holds */
  readonly empty: 'zero' | 'identity'
}

/**
 * Rows of equal id reduced into one. Negative ids drop their rows: they are sent to one row more, which is cut off; ids beyond the
 * count go past that row, so that onnxruntime refuses them as TensorFlow does.
 */
export function segments(kind: Kind, { data, ids, count, empty }: Segments, b: Builder): Value {
  const dtype = data.dtype as DType
  const rank = b.rank(ids)
  const tail = b.slice(b.shapeOf(data), [rank], [2 ** 31 - 1], [0])
  const flat = b.reshape(int64(ids, b), [-1])
  const rows = rank === 1 ? data : b.reshape(data, b.concat([b.shapeOf(flat), tail], 0))
  const one = b.reshape(count, [1])
  const past = b.op('Where', [b.op('GreaterOrEqual', [flat, one]), b.op('Add', [flat, b.ints([1])]), flat])
  const target = b.op('Where', [b.op('Less', [flat, b.ints([0])]), one, past])
  const size = b.op('Add', [one, b.ints([1])])
  const indices = b.unsqueeze(target, [1])
  const cut = (v: Value): Value => b.op('Slice', [v, b.ints([0]), one, b.ints([0])])
  const start =
    kind === 'max' ? limit(dtype, 0, b) : kind === 'min' ? limit(dtype, 1, b) : b.scalar(dtype, kind === 'prod' ? 1 : 0)
  const base = b.op('Expand', [start, b.concat([size, tail], 0)])
  const result = cut(scatter(base, indices, rows, REDUCTION[kind], b))
  if (kind === 'sum' || kind === 'prod' || (empty === 'identity' && kind !== 'mean' && kind !== 'sqrtn')) return result
  const zeros = b.op('Expand', [b.scalar('int64', 0), size])
  const members = cut(scatter(zeros, indices, b.op('Expand', [b.int(1), b.shapeOf(flat)]), 'add', b))
  const ofRows = b.op('Reshape', [members, b.concat([b.ints([-1]), b.op('Expand', [b.int(1), b.shapeOf(tail)])], 0)])
  const each = data.shape && b.as(ofRows, { shape: [b.fresh(), ...data.shape.slice(rank).map(() => 1)] })
  const counted = each ?? ofRows
  if (kind === 'max' || kind === 'min')
    return b.op('Where', [b.op('Greater', [counted, b.int(0)]), result, b.scalar(dtype, 0)])
  const divisor = b.cast(b.op('Max', [counted, b.int(1)]), dtype)
  return b.op('Div', [result, kind === 'mean' ? divisor : b.op('Sqrt', [divisor])])
}

/** Sorted ids: there are as many segments as the last id says. */
function counted(ids: Value, b: Builder): Value {
  const all = b.concat([int64(ids, b), b.ints([-1])], 0)
  return b.op('Add', [b.op('ReduceMax', [all], { keepdims: 0 }), b.int(1)])
}

const scalar = (v: Value, b: Builder): Value => b.reshape(int64(v, b), [])

const sorted = (kind: Kind): OpRow =>
  op({
    in: ['data', 'segment_ids'],
    parts: kind === 'sum' || kind === 'mean',
    emit: (n, b) =>
      segments(
        kind,
        {
          data: n.in.data,
          ids: refuseNegative(n.in.segment_ids, b),
          count: counted(n.in.segment_ids, b),
          empty: 'zero',
        },
        b,
      ),
  })

const unsorted = (kind: Kind): OpRow =>
  op({
    in: ['data', 'segment_ids', 'num_segments'],
    parts: kind === 'sum',
    emit: (n, b) =>
      segments(
        kind,
        { data: n.in.data, ids: n.in.segment_ids, count: scalar(n.in.num_segments, b), empty: 'identity' },
        b,
      ),
  })

const sparse = (kind: Kind): OpRow =>
  op({
    in: ['data', 'indices', 'segment_ids', 'num_segments?'],
    emit: (n, b) => {
      const count = n.in.num_segments ? scalar(n.in.num_segments, b) : counted(n.in.segment_ids, b)
      const data = b.gather(n.in.data, refuseNegative(n.in.indices, b))
      return segments(kind, { data, ids: n.in.segment_ids, count, empty: 'zero' }, b)
    },
  })

/** Counts (or sums of weights) of the values 0…size-1, one row of them per row of `values`; larger values are not counted. */
function bins(values: Value, size: Value, weights: Value, binary: boolean, b: Builder): Value {
  const dtype = weights.dtype as DType
  const flat = b.reshape(int64(values, b), [-1])
  const n = b.shapeOf(flat)
  const ones = b.op('Expand', [b.scalar(dtype, 1), n])
  // no weights at all mean a weight of one for each
  const weighed =
    weights.shape?.[0] === 0
      ? ones
      : b.op('Slice', [b.concat([b.reshape(weights, [-1]), ones], 0), b.ints([0]), n, b.ints([0])])
  const width = b.op('Add', [size, b.int(1)])
  // a negative value is refused: it goes where no slot is
  const nowhere = b.int(2 ** 48)
  const inside = b.op('Where', [b.op('Less', [flat, b.int(0)]), nowhere, b.op('Min', [flat, size])])
  const rows = b.rank(values) === 2 ? b.dim(values, 0) : b.ints([1])
  const perRow = b.op('Div', [n, b.op('Max', [rows, b.ints([1])])])
  const row = b.op('Div', [b.op('Range', [b.int(0), b.reshape(n, []), b.int(1)]), b.op('Max', [perRow, b.ints([1])])])
  const slots = b.op('Add', [b.op('Mul', [row, width]), inside])
  const total = b.op('Mul', [rows, width])
  const base = b.op('Expand', [b.scalar(dtype, 0), total])
  const update = binary ? ones : weighed
  const filled = scatter(base, b.unsqueeze(slots, [1]), update, binary ? 'max' : 'add', b)
  const table = b.reshape(filled, b.concat([rows, b.reshape(width, [1])], 0))
  const out = b.op('Slice', [table, b.ints([0]), b.reshape(size, [1]), b.ints([1])])
  return b.rank(values) === 2 ? out : b.reshape(out, [-1])
}

/** The value of every element's bin in `nbins` equal ones, outliers in the first and last (tensorflow/core/kernels/histogram_op.cc). */
function histogram(values: Value, range: Value, nbins: Value, dtype: DType, b: Builder): Value {
  const wide = (v: Value) => b.cast(v, 'float64')
  const [low, high] = [b.gather(range, b.int(0)), b.gather(range, b.int(1))]
  const step = b.op('Div', [wide(b.op('Sub', [high, low])), wide(nbins)])
  const shifted = wide(b.op('Sub', [b.op('Max', [values, low]), low]))
  const bin = int64(
    b.op('Min', [b.op('Div', [shifted, step]), wide(b.op('Sub', [nbins, b.scalar(nbins.dtype, 1)]))]),
    b,
  )
  const weights = b.filled(dtype, [0], [])
  return bins(b.reshape(bin, [-1]), scalar(nbins, b), weights, false, b)
}

export const SEGMENT = {
  SegmentSum: sorted('sum'),
  SegmentMean: sorted('mean'),
  SegmentMax: sorted('max'),
  SegmentMin: sorted('min'),
  SegmentProd: sorted('prod'),
  SegmentSumV2: unsorted('sum'),
  SegmentProdV2: unsorted('prod'),
  SegmentMaxV2: unsorted('max'),
  SegmentMinV2: unsorted('min'),
  UnsortedSegmentSum: unsorted('sum'),
  UnsortedSegmentProd: unsorted('prod'),
  UnsortedSegmentMax: unsorted('max'),
  UnsortedSegmentMin: unsorted('min'),
  SparseSegmentSum: sparse('sum'),
  SparseSegmentSumWithNumSegments: sparse('sum'),
  SparseSegmentMean: sparse('mean'),
  SparseSegmentMeanWithNumSegments: sparse('mean'),
  SparseSegmentSqrtN: sparse('sqrtn'),
  SparseSegmentSqrtNWithNumSegments: sparse('sqrtn'),
  Bincount: op({
    in: ['arr', 'size', 'weights'],
    emit: (n, b) => bins(b.reshape(n.in.arr, [-1]), scalar(n.in.size, b), n.in.weights, false, b),
  }),
  DenseBincount: op({
    in: ['input', 'size', 'weights'],
    attrs: { binary_output: false },
    emit: (n, b) => bins(n.in.input, scalar(n.in.size, b), n.in.weights, n.attrs.binary_output, b),
  }),
  HistogramFixedWidth: op({
    in: ['values', 'value_range', 'nbins'],
    attrs: { dtype: null },
    emit: (n, b) =>
      histogram(n.in.values, n.in.value_range, n.in.nbins, n.attrs.dtype === 'int64' ? 'int64' : 'int32', b),
  }),
} satisfies OpTable

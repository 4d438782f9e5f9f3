import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { indexType, int64 } from './cast.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

interface Distinct {
  readonly values: Value
  readonly first: Value
  readonly index: Value
  readonly counts: Value
}

/** Distinct elements in the order of their first appearance. */
function distinct(x: Value, axis: number | undefined, b: Builder): Distinct {
  const count = b.fresh()
  const list = { dtype: 'int64', shape: [count] } as const
  const shape = axis === undefined ? [count] : x.shape?.map((d, i) => (i === axis ? count : d))
  const all = axis === undefined ? undefined : x.shape?.[axis]
  const [values, first, index, counts] = b.ops('Unique', [x], { sorted: 0, ...(axis !== undefined && { axis }) }, 4, [
    { dtype: x.dtype, shape },
    list,
    { dtype: 'int64', shape: [all ?? b.fresh()] },
    list,
  ]) as [Value, Value, Value, Value]
  return { values, first, index, counts }
}

const unique = (counted: boolean, v2: boolean): OpRow =>
  op({
    in: ['x', 'axis?'],
    attrs: { out_idx: null },
    out: counted ? ['y', 'idx', 'count'] : ['y', 'idx'],
    emit: (n, b) => {
      const type = indexType(n.attrs.out_idx)
      const given = v2 ? n.in.axis?.data : undefined
      if (v2 && !given && n.in.axis?.shape?.[0] !== 0) throw unsupported(n, 'a constant axis', 'a computed one')
      const axis = given && given.data.length > 0 ? Number(given.data[0]) : undefined
      const one = n.in.x.shape?.length === 1
      const d = distinct(n.in.x, one || axis === undefined ? undefined : axis < 0 ? axis + b.rank(n.in.x) : axis, b)
      const outs = [d.values, b.cast(d.index, type), b.cast(d.counts, type)]
      return outs.slice(0, counted ? 3 : 2)
    },
  })

/** Equal values in the order of their index, as TensorFlow gives them. */
function topK(x: Value, k: Value, type: DType, b: Builder, largest = true): Value[] {
  const [values, indices] = b.ops('TopK', [x, b.reshape(int64(k, b), [1])], { axis: -1, largest: largest ? 1 : 0 }, 2)
  return [values!, b.cast(indices!, type)]
}

/** How many columns beat the target's: less than k, and all of them finite (tensorflow/core/kernels/in_topk_op.h). */
function inTopK(predictions: Value, targets: Value, k: Value, b: Builder): Value {
  const wide = int64(targets, b)
  const classes = b.dim(predictions, 1)
  const inside = b.op('And', [b.op('GreaterOrEqual', [wide, b.int(0)]), b.op('Less', [wide, classes])])
  const safe = b.op('Where', [inside, wide, b.int(0)])
  const score = b.op('GatherElements', [predictions, b.unsqueeze(safe, [1])], { axis: 1 })
  const better = b.cast(b.op('Greater', [predictions, score]), 'int64')
  const count = b.op('ReduceSum', [better, b.ints([1])], { keepdims: 0 })
  const odd = b.op('Or', [b.op('IsNaN', [predictions]), b.op('IsInf', [predictions])])
  const finite = b.op('Equal', [b.op('ReduceSum', [b.cast(odd, 'int64'), b.ints([1])], { keepdims: 0 }), b.int(0)])
  return b.op('And', [b.op('And', [inside, finite]), b.op('Less', [count, int64(k, b)])])
}

/** The number of boundaries for which the test holds, per element. */
function rankAmong(boundaries: Value, x: Value, test: (x: Value, y: Value) => Value, b: Builder): Value {
  const passed = b.cast(test(b.unsqueeze(x, [-1]), boundaries), 'int64')
  return b.op('ReduceSum', [passed, b.ints([-1])], { keepdims: 0 })
}

const bound = (type: 'Less' | 'LessOrEqual'): OpRow =>
  op({
    in: ['sorted_inputs', 'values'],
    attrs: { out_type: null },
    emit: (n, b) => {
      const table = b.unsqueeze(n.in.sorted_inputs, [-2])
      const found = rankAmong(table, n.in.values, (x, y) => b.op(type, [y, x]), b)
      return b.cast(found, indexType(n.attrs.out_type))
    },
  })

function listDiff(n: AnyNode, x: Value, y: Value, type: DType, b: Builder): Value[] {
  if (x.dtype === 'bool') throw unsupported(n, 'numbers or strings', 'bool')
  const same = b.cast(b.op('Equal', [b.unsqueeze(x, [1]), b.unsqueeze(y, [0])]), 'int32')
  const found = b.op('ReduceSum', [same, b.ints([1])], { keepdims: 0 })
  const kept = b.op('Equal', [found, b.scalar('int32', 0)])
  const index = b.reshape(b.op('NonZero', [kept]), [-1])
  return [b.gather(x, index), b.cast(index, type)]
}

const inTop: OpRow = op({
  in: ['predictions', 'targets', 'k?'],
  attrs: { k: 0 },
  emit: (n, b) => inTopK(n.in.predictions, n.in.targets, n.in.k ?? b.int(n.attrs.k), b),
})

/** What looks among elements: distinct ones, largest ones, places, differences. */
export const SETS = {
  Where: op({
    in: ['input'],
    emit: (n, b) => b.transpose(b.op('NonZero', [b.cast(n.in.input, 'bool')]), [1, 0]),
  }),
  Unique: unique(false, false),
  UniqueV2: unique(false, true),
  UniqueWithCounts: unique(true, false),
  UniqueWithCountsV2: unique(true, true),
  ListDiff: op({
    in: ['x', 'y'],
    attrs: { out_idx: null },
    out: ['out', 'idx'],
    emit: (n, b) => listDiff(n, n.in.x, n.in.y, indexType(n.attrs.out_idx), b),
  }),
  TopK: op({
    in: ['input'],
    attrs: { k: 'int' },
    out: ['values', 'indices'],
    emit: (n, b) => topK(n.in.input, b.int(n.attrs.k), 'int32', b),
  }),
  TopKV2: op({
    in: ['input', 'k'],
    attrs: { index_type: null },
    out: ['values', 'indices'],
    emit: (n, b) => topK(n.in.input, n.in.k, n.attrs.index_type === undefined ? 'int32' : n.dtype('index_type'), b),
  }),
  NthElement: op({
    in: ['input', 'n'],
    attrs: { reverse: false },
    emit: (n, b) => {
      const count = b.op('Add', [int64(n.in.n, b), b.int(1)])
      const [values] = topK(n.in.input, count, 'int64', b, n.attrs.reverse)
      return b.gather(values!, int64(n.in.n, b), -1)
    },
  }),
  InTopK: inTop,
  InTopKV2: inTop,
  Bucketize: op({
    in: ['input'],
    attrs: { boundaries: [] },
    emit: (n, b) => {
      const { input } = n.in
      const wide = input.dtype === 'float64' ? input : b.cast(input, 'float32')
      const list = b.filled(wide.dtype, [n.attrs.boundaries.length], n.attrs.boundaries.map(Math.fround))
      // NaN is below no boundary, and so in the last bucket
      return b.cast(
        rankAmong(list, wide, (x, y) => b.op('Not', [b.op('Less', [x, y])]), b),
        'int32',
      )
    },
  }),
  LowerBound: bound('Less'),
  UpperBound: bound('LessOrEqual'),
} satisfies OpTable

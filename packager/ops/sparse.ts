import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumber, constNumbers, type Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { column, counts, filled, linear, range, rankOfSparse, sortOrder, unravel, whereTrue } from './indices.ts'
import { adjoint } from './matmul.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

const TRIPLE = ['output_indices', 'output_values', 'output_shape']

interface Sparse {
  readonly indices: Value
  readonly values: Value
  readonly shape: Value
}

/** Entries picked by a vector of places. */
const pickEntries = (s: Sparse, at: Value, b: Builder): Sparse => ({
  ...s,
  indices: b.gather(s.indices, at),
  values: b.gather(s.values, at),
})
const list = (s: Sparse): Value[] => [s.indices, s.values, s.shape]

const reordered = (s: Sparse, b: Builder): Sparse => pickEntries(s, sortOrder(linear(s.indices, s.shape, b), b), b)

/** A negative index is an error in TensorFlow; ONNX would count it from the end, so it is moved past it. */
const strict = (indices: Value, b: Builder): Value =>
  b.op('Where', [b.op('Less', [indices, b.int(0)]), b.int(2 ** 53), indices])

/** Sums of values that fall on the same of `size` places. */
const summed = (values: Value, at: Value, size: Value, b: Builder): Value =>
  b.op('ScatterElements', [filled(size, b.scalar(values.dtype, 0), b), at, values], { axis: 0, reduction: 'add' })

function reduced(n: AnyNode, s: Sparse, axesInput: Value, keep: boolean, max: boolean, b: Builder): Value {
  const rank = rankOfSparse(n, s.indices, s.shape)
  const given = constNumbers(axesInput)
  if (!given) throw unsupported(n, 'constant axes', 'computed ones')
  const axes = new Set(
    given.length > 0 ? given.map((a) => (a < 0 ? a + rank : a)) : Array.from({ length: rank }, (_, i) => i),
  )
  const kept = Array.from({ length: rank }, (_, i) => i).filter((i) => !axes.has(i))
  const sizes = b.gather(s.shape, b.ints(kept))
  const at = linear(b.gather(s.indices, b.ints(kept), 1), sizes, b)
  const total = b.op('ReduceProd', [sizes, b.ints([0])], { keepdims: 1 })
  let flat: Value
  if (max) {
    const low = b.scalar(s.values.dtype, LOWEST[s.values.dtype] ?? Number.NEGATIVE_INFINITY)
    const best = b.op('ScatterElements', [filled(total, low, b), at, s.values], { axis: 0, reduction: 'max' })
    const none = b.op('Equal', [counts(at, total, b), b.int(0)])
    flat = b.op('Where', [none, b.scalar(s.values.dtype, 0), best])
  } else flat = summed(s.values, at, total, b)
  const one = (i: number) => (axes.has(i) ? b.ints([1]) : b.slice(s.shape, [i], [i + 1], [0]))
  const shape = keep
    ? b.concat(
        Array.from({ length: rank }, (_, i) => one(i)),
        0,
      )
    : sizes
  return b.op('Reshape', [flat, shape], { allowzero: 1 })
}
const LOWEST: Readonly<Record<string, number>> = { int32: -(2 ** 31), int64: -(2 ** 53) }

const reduceRow = (max: boolean): OpRow =>
  op({
    in: ['input_indices', 'input_values', 'input_shape', 'reduction_axes'],
    attrs: { keep_dims: false },
    emit: (n, b) => {
      const s = { indices: n.in.input_indices, values: n.in.input_values, shape: n.in.input_shape }
      return reduced(n, s, n.in.reduction_axes, n.attrs.keep_dims, max, b)
    },
  })

/** Values combined with the dense elements at their places; the dense side is broadcast. */
const cwise = (type: 'Add' | 'Mul' | 'Div'): OpRow =>
  op({
    in: ['sp_indices', 'sp_values', 'sp_shape', 'dense'],
    emit: (n, b) => {
      const whole = b.op('Expand', [n.in.dense, n.in.sp_shape])
      const dense = b.op('GatherND', [whole, n.in.sp_indices])
      return b.op(type, [n.in.sp_values, dense])
    },
  })

/** Sparse tensors are their triples of indices, values and shape. */
export const SPARSE = {
  SparseToDense: op({
    in: ['sparse_indices', 'output_shape', 'sparse_values', 'default_value'],
    emit: (n, b) => {
      const given = int64(n.in.sparse_indices, b)
      const rank = b.rank(given)
      const indices = strict(rank === 2 ? given : b.reshape(given, [-1, 1]), b)
      const dense = b.op('Expand', [n.in.default_value, int64(n.in.output_shape, b)])
      const values = b.op('Expand', [n.in.sparse_values, b.slice(b.shapeOf(indices), [0], [1], [0])])
      return b.op('ScatterND', [dense, indices, values])
    },
  }),
  SparseTensorDenseMatMul: op({
    in: ['a_indices', 'a_values', 'a_shape', 'b'],
    attrs: { adjoint_a: false, adjoint_b: false },
    emit: (n, b) => {
      const { adjoint_a, adjoint_b } = n.attrs
      const right = adjoint_b ? adjoint(n.in.b, b) : n.in.b
      const indices = strict(int64(n.in.a_indices, b), b)
      const [rows, columns] = [column(indices, adjoint_a ? 1 : 0, b), column(indices, adjoint_a ? 0 : 1, b)]
      const products = b.op('Mul', [b.unsqueeze(n.in.a_values, [1]), b.gather(right, columns)])
      const height = b.slice(n.in.a_shape, adjoint_a ? [1] : [0], adjoint_a ? [2] : [1], [0])
      const zero = b.scalar(right.dtype, 0)
      const start = b.op('Expand', [zero, b.concat([height, b.dim(right, 1)], 0)])
      return b.op('ScatterND', [start, b.unsqueeze(rows, [1]), products], { reduction: 'add' })
    },
  }),
  SparseReshape: op({
    in: ['input_indices', 'input_shape', 'new_shape'],
    out: ['output_indices', 'output_shape'],
    emit: (n, b) => {
      const { input_indices: indices, input_shape: from, new_shape } = n.in
      const hole = b.op('Equal', [new_shape, b.int(-1)])
      const others = b.op('ReduceProd', [b.op('Where', [hole, b.int(1), new_shape]), b.ints([0])], { keepdims: 1 })
      const total = b.op('ReduceProd', [from, b.ints([0])], { keepdims: 1 })
      const rest = b.op('Div', [total, b.op('Max', [others, b.ints([1])])])
      const shape = b.op('Where', [hole, rest, new_shape])
      return [unravel(linear(indices, from, b), shape, b), shape]
    },
  }),
  SparseReorder: op({
    in: ['input_indices', 'input_values', 'input_shape'],
    out: ['output_indices', 'output_values'],
    emit: (n, b) => {
      const s = { indices: n.in.input_indices, values: n.in.input_values, shape: n.in.input_shape }
      return list(reordered(s, b)).slice(0, 2)
    },
  }),
  SparseFillEmptyRows: op({
    in: ['indices', 'values', 'dense_shape', 'default_value'],
    out: ['output_indices', 'output_values', 'empty_row_indicator', 'reverse_index_map'],
    emit: (n, b) => {
      const { indices, values, dense_shape } = n.in
      const rank = rankOfSparse(n, indices, dense_shape)
      const height = b.slice(dense_shape, [0], [1], [0])
      const rows = column(strict(indices, b), 0, b)
      const empty = b.op('Equal', [counts(rows, height, b), b.int(0)])
      const added = whereTrue(empty, b)
      const zeros = b.op('Expand', [b.int(0), b.concat([b.shapeOf(added), b.ints([rank - 1])], 0)])
      const all = b.concat([indices, b.concat([b.unsqueeze(added, [1]), zeros], 1)], 0)
      const fill = b.op('Expand', [n.in.default_value, b.shapeOf(added)])
      const order = sortOrder(b.concat([rows, added], 0), b)
      const back = b.op('ScatterElements', [order, order, range(b.shapeOf(order), b)], { axis: 0 })
      const map = b.op('Slice', [back, b.ints([0]), b.shapeOf(rows), b.ints([0])])
      return [b.gather(all, order), b.gather(b.concat([values, fill], 0), order), empty, map]
    },
  }),
  SparseConcat: op({
    in: ['all*'],
    out: TRIPLE,
    attrs: { concat_dim: 'int', N: 'int' },
    emit: (n, b) => {
      const { N } = n.attrs
      const parts = Array.from({ length: N }, (_, i) => [n.in.all[i]!, n.in.all[N + i]!, n.in.all[2 * N + i]!] as const)
      const rank = rankOfSparse(n, parts[0]![0], parts[0]![2])
      const axis = n.attrs.concat_dim < 0 ? n.attrs.concat_dim + rank : n.attrs.concat_dim
      const hot = b.ints(Array.from({ length: rank }, (_, i) => Number(i === axis)))
      let size = b.ints([0])
      const moved = parts.map(([indices, , shape]) => {
        const out = b.op('Add', [indices, b.op('Mul', [hot, size])])
        size = b.op('Add', [size, b.slice(shape, [axis], [axis + 1], [0])])
        return out
      })
      const cold = b.ints(Array.from({ length: rank }, (_, i) => Number(i !== axis)))
      const shape = b.op('Add', [b.op('Mul', [parts[0]![2], cold]), b.op('Mul', [hot, size])])
      const whole = {
        indices: b.concat(moved, 0),
        values: b.concat(
          parts.map((p) => p[1]),
          0,
        ),
        shape,
      }
      return list(axis === 0 ? whole : reordered(whole, b))
    },
  }),
  SparseSlice: op({
    in: ['indices', 'values', 'shape', 'start', 'size'],
    out: TRIPLE,
    emit: (n, b) => {
      const { indices, values, shape, start, size } = n.in
      const end = b.op('Min', [b.op('Add', [start, size]), shape])
      const inside = b.op('And', [b.op('GreaterOrEqual', [indices, start]), b.op('Less', [indices, end])])
      const all = b.op('ReduceMin', [b.cast(inside, 'int32'), b.ints([1])], { keepdims: 0 })
      const kept = pickEntries({ indices, values, shape }, whereTrue(b.cast(all, 'bool'), b), b)
      return [b.op('Sub', [kept.indices, start]), kept.values, b.op('Max', [b.op('Sub', [end, start]), b.int(0)])]
    },
  }),
  SparseReduceSum: reduceRow(false),
  SparseReduceMax: reduceRow(true),
  SparseSoftmax: op({
    in: ['sp_indices', 'sp_values', 'sp_shape'],
    emit: (n, b) => {
      const { sp_indices: indices, sp_values: values, sp_shape: shape } = n.in
      const outer = rankOfSparse(n, indices, shape) - 1
      const sizes = b.slice(shape, [0], [outer], [0])
      const at = linear(b.slice(indices, [0], [outer], [1]), sizes, b)
      const total = b.op('ReduceProd', [sizes, b.ints([0])], { keepdims: 1 })
      const low = filled(total, b.scalar(values.dtype, Number.NEGATIVE_INFINITY), b)
      const best = b.op('ScatterElements', [low, at, values], { axis: 0, reduction: 'max' })
      const powers = b.op('Exp', [b.op('Sub', [values, b.gather(best, at)])])
      return b.op('Div', [powers, b.gather(summed(powers, at, total, b), at)])
    },
  }),
  SparseTensorDenseAdd: op({
    in: ['a_indices', 'a_values', 'a_shape', 'b'],
    emit: (n, b) =>
      b.op('ScatterND', [n.in.b, strict(int64(n.in.a_indices, b), b), n.in.a_values], { reduction: 'add' }),
  }),
  SparseAdd: op({
    in: ['a_indices', 'a_values', 'a_shape', 'b_indices', 'b_values', 'b_shape', 'thresh'],
    out: ['sum_indices', 'sum_values', 'sum_shape'],
    emit: (n, b) => {
      const keys = linear(b.concat([n.in.a_indices, n.in.b_indices], 0), n.in.a_shape, b)
      const [places, , which] = b.ops('Unique', [keys], { sorted: 1 }, 4) as [Value, Value, Value]
      const sums = summed(b.concat([n.in.a_values, n.in.b_values], 0), which, b.shapeOf(places), b)
      const size = b.op('Abs', [sums])
      // the threshold is for places that both have
      const single = b.op('Less', [counts(which, b.shapeOf(places), b), b.int(2)])
      const large = b.op('GreaterOrEqual', [size, b.cast(n.in.thresh, size.dtype as DType)])
      const kept = whereTrue(b.op('Or', [single, large]), b)
      return [unravel(b.gather(places, kept), n.in.a_shape, b), b.gather(sums, kept), n.in.a_shape]
    },
  }),
  SparseDenseCwiseAdd: cwise('Add'),
  SparseDenseCwiseMul: cwise('Mul'),
  SparseDenseCwiseDiv: cwise('Div'),
  SparseSplit: op({
    in: ['split_dim', 'indices', 'values', 'shape'],
    out: ['output_indices*num_split', 'output_values*num_split', 'output_shape*num_split'],
    attrs: { num_split: 'int' },
    emit: (n, b) => {
      const { indices, values, shape } = n.in
      const axis = constNumber(n.in.split_dim)
      if (axis === undefined) throw unsupported(n, 'a constant dimension', 'a computed one')
      const rank = rankOfSparse(n, indices, shape)
      const at = axis < 0 ? axis + rank : axis
      const hot = b.ints(Array.from({ length: rank }, (_, i) => Number(i === at)))
      const size = b.slice(shape, [at], [at + 1], [0])
      const count = b.ints([n.attrs.num_split])
      // the first ones take one more each where the size does not divide
      const [base, extra] = [b.op('Div', [size, count]), b.op('Mod', [size, count])]
      const begin = (i: number) => b.op('Add', [b.op('Mul', [base, b.ints([i])]), b.op('Min', [extra, b.ints([i])])])
      const own = column(indices, at, b)
      const parts = Array.from({ length: n.attrs.num_split }, (_, i) => {
        const [from, to] = [begin(i), begin(i + 1)]
        const inside = b.op('And', [b.op('GreaterOrEqual', [own, from]), b.op('Less', [own, to])])
        const kept = pickEntries({ indices, values, shape }, whereTrue(inside, b), b)
        const width = b.op('Sub', [b.op('Sub', [to, from]), size])
        return {
          indices: b.op('Sub', [kept.indices, b.op('Mul', [hot, from])]),
          values: kept.values,
          shape: b.op('Add', [shape, b.op('Mul', [hot, width])]),
        }
      })
      return [...parts.map((p) => p.indices), ...parts.map((p) => p.values), ...parts.map((p) => p.shape)]
    },
  }),
  SparseBincount: op({
    in: ['indices', 'values', 'dense_shape', 'size', 'weights'],
    attrs: { binary_output: false },
    emit: (n, b) => {
      const { indices, values, dense_shape, size, weights } = n.in
      const rank = rankOfSparse(n, indices, dense_shape)
      const width = b.reshape(int64(size, b), [1])
      if (rank === 1) return binned(values, undefined, b.ints([1]), width, weights, n.attrs.binary_output, b)
      const height = b.slice(dense_shape, [0], [1], [0])
      return binned(values, column(indices, 0, b), height, width, weights, n.attrs.binary_output, b)
    },
  }),
} satisfies OpTable

/** Counts, or sums of weights, of each value below `width` in each row; without rows the result is a vector. */
export function binned(
  values: Value,
  rows: Value | undefined,
  height: Value,
  width: Value,
  weights: Value,
  binary: boolean,
  b: Builder,
): Value {
  const bins = int64(values, b)
  const fits = whereTrue(b.op('Less', [bins, width]), b)
  const place = strict(b.gather(bins, fits), b)
  const at = rows ? b.op('Add', [b.op('Mul', [b.gather(rows, fits), width]), place]) : place
  const one = b.scalar(weights.dtype, 1)
  const plain = binary || weights.shape?.[0] === 0
  const amount = plain ? b.op('Expand', [one, b.shapeOf(at)]) : b.gather(weights, fits)
  const start = filled(b.op('Mul', [height, width]), b.scalar(weights.dtype, 0), b)
  const flat = b.op('ScatterElements', [start, at, amount], { axis: 0, ...(!binary && { reduction: 'add' }) })
  return rows ? b.op('Reshape', [flat, b.concat([height, width], 0)], { allowzero: 1 }) : flat
}

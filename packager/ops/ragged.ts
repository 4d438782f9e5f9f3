import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { lengthsOf, longest, range, rowIds, splitsOf, whereTrue } from './indices.ts'
import { type AnyNode, type OpTable, op, unsupported } from './op.ts'
import { binned } from './sparse.ts'

const OPEN = 2 ** 31 - 1
const count = (v: Value, b: Builder): Value => b.slice(b.shapeOf(v), [0], [1], [0])
const startOf = (splits: Value, rows: Value, b: Builder): Value => b.gather(splits, rows)

/** The numbers from each start on, one after the other: what rows of a ragged tensor cover. */
function spans(starts: Value, lengths: Value, b: Builder): { splits: Value; at: Value; row: Value; offset: Value } {
  const splits = splitsOf(lengths, b)
  const total = b.slice(splits, [-1], [OPEN], [0])
  const row = rowIds(splits, total, b)
  const offset = b.op('Sub', [range(total, b), startOf(splits, row, b)])
  return { splits, at: b.op('Add', [b.gather(starts, row), offset]), row, offset }
}

/** How many numbers a range has, as TensorFlow counts them. */
function rangeLengths(start: Value, limit: Value, delta: Value, b: Builder): Value {
  const zero = b.scalar(start.dtype, 0)
  const span = b.op('Sub', [limit, start])
  const back = b.op('Or', [
    b.op('And', [b.op('Greater', [delta, zero]), b.op('Less', [span, zero])]),
    b.op('And', [b.op('Less', [delta, zero]), b.op('Greater', [span, zero])]),
  ])
  let size: Value
  if (start.dtype.startsWith('int')) {
    const [whole, step] = [b.op('Abs', [span]), b.op('Abs', [delta])]
    const up = b.op('Sub', [b.op('Add', [whole, step]), b.scalar(start.dtype, 1)])
    size = int64(b.op('Div', [up, step]), b)
  } else size = int64(b.op('Ceil', [b.op('Abs', [b.op('Div', [span, delta])])]), b)
  return b.op('Where', [back, b.int(0), size])
}

interface Level {
  /** the row of each value of this level */
  readonly rows: Value
  readonly height: Value
  readonly starts: Value
  readonly lengths: Value
}

/** Partitions of all kinds as the row of each value. */
function levels(n: AnyNode, types: readonly string[], tensors: readonly Value[], values: Value, b: Builder): Level[] {
  const out: Level[] = []
  let height: Value | undefined
  for (const [i, type] of types.entries()) {
    const t = int64(tensors[i]!, b)
    if (type === 'FIRST_DIM_SIZE') height = b.reshape(t, [1])
    else if (type === 'ROW_SPLITS') {
      const last = i === types.length - 1
      const total = last ? count(values, b) : b.slice(t, [-1], [OPEN], [0])
      out.push({
        rows: rowIds(t, total, b),
        height: b.op('Sub', [count(t, b), b.ints([1])]),
        starts: t,
        lengths: lengthsOf(t, b),
      })
      height = total
    } else if (type === 'VALUE_ROWIDS' && height) {
      const ones = b.op('Expand', [b.int(1), b.shapeOf(t)])
      const none = b.op('Expand', [b.int(0), height])
      const lengths = b.op('ScatterElements', [none, t, ones], { axis: 0, reduction: 'add' })
      out.push({ rows: t, height, starts: splitsOf(lengths, b), lengths })
      height = count(t, b)
    } else throw unsupported(n, 'row partitions FIRST_DIM_SIZE, VALUE_ROWIDS and ROW_SPLITS', type)
  }
  return out
}

/** A ragged tensor in a dense one: rows cut off or filled up. */
function toDense(shape: Value, values: Value, fallback: Value, all: readonly Level[], b: Builder): Value {
  const given = shape.shape?.length === 1 ? int64(shape, b) : undefined
  const wanted = (axis: number, own: Value): Value => {
    if (!given) return own
    const w = b.slice(given, [axis], [axis + 1], [0])
    return b.op('Where', [b.op('Less', [w, b.ints([0])]), own, w])
  }
  const dims = [wanted(0, all[0]!.height), ...all.map((l, i) => wanted(i + 1, longest(l.lengths, b)))]
  // the row-major number of each value's place; -1 for what is cut off
  const first = range(all[0]!.height, b)
  let at = b.op('Where', [b.op('Less', [first, dims[0]!]), first, b.int(-1)])
  for (const [i, level] of all.entries()) {
    const width = dims[i + 1]!
    const position = b.op('Sub', [range(count(level.rows, b), b), startOf(level.starts, level.rows, b)])
    const parent = b.gather(at, level.rows)
    const inside = b.op('And', [b.op('GreaterOrEqual', [parent, b.int(0)]), b.op('Less', [position, width])])
    at = b.op('Where', [inside, b.op('Add', [b.op('Mul', [parent, width]), position]), b.int(-1)])
  }
  const kept = whereTrue(b.op('GreaterOrEqual', [at, b.int(0)]), b)
  const outer = b.concat(dims, 0)
  const total = b.op('ReduceProd', [outer, b.ints([0])], { keepdims: 1 })
  const inner = b.slice(b.shapeOf(values), [1], [OPEN], [0])
  const start = b.op('Expand', [fallback, b.concat([total, inner], 0)])
  const flat = b.op('ScatterND', [start, b.unsqueeze(b.gather(at, kept), [1]), b.gather(values, kept)])
  const dense = b.op('Reshape', [flat, b.concat([outer, inner], 0)], { allowzero: 1 })
  const known = values.shape && [...dims.map((d) => d.part?.[0] ?? b.fresh()), ...values.shape.slice(1)]
  return known && !dense.data ? b.as(dense, { shape: known }) : dense
}

const splitsAs = (v: Value, t: unknown, b: Builder): Value => b.cast(v, t === 'int32' ? 'int32' : 'int64')

/** Ragged tensors are their row splits and flat values. */
export const RAGGED = {
  RaggedRange: op({
    in: ['starts', 'limits', 'deltas'],
    out: ['rt_nested_splits', 'rt_dense_values'],
    attrs: { Tsplits: null },
    emit: (n, b) => {
      // scalars stand for every row
      const zero = b.op('Sub', [b.op('Add', [n.in.starts, b.op('Add', [n.in.limits, n.in.deltas])]), n.in.starts])
      const rows = b.shapeOf(zero)
      const shape = b.rank(zero) === 0 ? b.ints([1]) : rows
      const [start, limit, delta] = [n.in.starts, n.in.limits, n.in.deltas].map((v) => b.op('Expand', [v, shape])) as [
        Value,
        Value,
        Value,
      ]
      const { splits, row, offset } = spans(range(shape, b), rangeLengths(start, limit, delta, b), b)
      const steps = b.op('Mul', [b.cast(offset, start.dtype as DType), b.gather(delta, row)])
      return [splitsAs(splits, n.attrs.Tsplits, b), b.op('Add', [b.gather(start, row), steps])]
    },
  }),
  RaggedGather: op({
    in: ['all*'],
    out: ['output_nested_splits*OUTPUT_RAGGED_RANK', 'output_dense_values'],
    attrs: { PARAMS_RAGGED_RANK: 'int', OUTPUT_RAGGED_RANK: 'int' },
    emit: (n, b) => {
      const depth = n.attrs.PARAMS_RAGGED_RANK
      const nested = n.in.all.slice(0, depth)
      const [values, indices] = [n.in.all[depth]!, n.in.all[depth + 1]!]
      const type = nested[0]!.dtype
      const extra = b.rank(indices) - 1
      const out: Value[] = []
      // dimensions of the indices beyond the last have rows of equal length
      for (let i = 0; i < extra; i++) {
        const rows = b.op('ReduceProd', [b.slice(b.shapeOf(indices), [0], [i + 1], [0]), b.ints([0])], { keepdims: 1 })
        const steps = range(b.op('Add', [rows, b.ints([1])]), b)
        out.push(b.op('Mul', [steps, b.dim(indices, i + 1)]))
      }
      let at = b.reshape(int64(indices, b), [-1])
      // a row beyond the last is an error in TensorFlow, and so is one before the first
      at = b.op('Where', [b.op('Less', [at, b.int(0)]), b.int(2 ** 53), at])
      for (const splits of nested) {
        const wide = int64(splits, b)
        const next = spans(startOf(wide, at, b), b.gather(lengthsOf(wide, b), at), b)
        out.push(next.splits)
        at = next.at
      }
      return [...out.map((s) => splitsAs(s, type, b)), b.gather(values, at)]
    },
  }),
  RaggedTensorToTensor: op({
    in: ['shape', 'values', 'default_value', 'row_partition_tensors*'],
    attrs: { row_partition_types: 'strings' },
    emit: (n, b) => {
      const { shape, values, default_value, row_partition_tensors } = n.in
      const all = levels(n, n.attrs.row_partition_types, row_partition_tensors, values, b)
      return toDense(shape, values, default_value, all, b)
    },
  }),
  RaggedTensorToSparse: op({
    in: ['all*'],
    out: ['sparse_indices', 'sparse_values', 'sparse_dense_shape'],
    attrs: { RAGGED_RANK: 'int' },
    emit: (n, b) => {
      const nested = n.in.all.slice(0, n.attrs.RAGGED_RANK)
      const values = n.in.all[n.attrs.RAGGED_RANK]!
      const rank = b.rank(values)
      const all = levels(
        n,
        nested.map(() => 'ROW_SPLITS'),
        nested,
        values,
        b,
      )
      let columns: Value[] = [range(all[0]!.height, b)]
      for (const { rows, starts } of all) {
        const position = b.op('Sub', [range(count(rows, b), b), startOf(starts, rows, b)])
        columns = [...columns.map((c) => b.gather(c, rows)), position]
      }
      const widths = all.map((l) => longest(l.lengths, b))
      const inner = b.slice(b.shapeOf(values), [1], [OPEN], [0])
      const shape = b.concat([all[0]!.height, ...widths, inner], 0)
      const outer = b.concat(
        columns.map((c) => b.unsqueeze(c, [1])),
        1,
      )
      if (rank === 1) return [outer, values, shape]
      // uniform inner dimensions are indices, too
      const each = b.transpose(b.op('NonZero', [b.op('Expand', [b.scalar('bool', 1), b.shapeOf(values)])]), [1, 0])
      const which = b.squeeze(b.slice(each, [0], [1], [1]), [1])
      return [b.concat([b.gather(outer, which), b.slice(each, [1], [OPEN], [1])], 1), b.reshape(values, [-1]), shape]
    },
  }),
  RaggedBincount: op({
    in: ['splits', 'values', 'size', 'weights'],
    attrs: { binary_output: false },
    emit: (n, b) => {
      const splits = int64(n.in.splits, b)
      const rows = rowIds(splits, count(n.in.values, b), b)
      const height = b.op('Sub', [count(splits, b), b.ints([1])])
      const width = b.reshape(int64(n.in.size, b), [1])
      return binned(n.in.values, rows, height, width, n.in.weights, n.attrs.binary_output, b)
    },
  }),
} satisfies OpTable

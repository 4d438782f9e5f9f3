import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { filled, linear, longest, rankOfSparse, unravel } from './indices.ts'
import { type AnyNode, type OpTable, op } from './op.ts'

/** Sets in groups: the members, and the number of the group that each belongs to. */
interface Groups {
  readonly members: Value
  readonly group: Value
  /** sizes of the leading dimensions, which number the groups */
  readonly outer: Value
}

function fromDense(x: Value, b: Builder): Groups {
  const rank = b.rank(x) - 1
  const outer = b.slice(b.shapeOf(x), [0], [rank], [0])
  const total = b.op('ReduceProd', [outer, b.ints([0])], { keepdims: 1 })
  const ids = b.op('Range', [b.int(0), b.reshape(total, []), b.int(1)])
  const group = b.reshape(b.op('Expand', [b.unsqueeze(ids, [1]), b.concat([total, b.dim(x, -1)], 0)]), [-1])
  return { members: b.reshape(x, [-1]), group, outer }
}

function fromSparse(n: AnyNode, indices: Value, values: Value, shape: Value, b: Builder): Groups {
  const rank = rankOfSparse(n, indices, shape) - 1
  const outer = b.slice(shape, [0], [rank], [0])
  return { members: values, group: linear(b.slice(indices, [0], [rank], [1]), outer, b), outer }
}

/** Which members of `vocabulary` each group holds, [groups, vocabulary]. */
function presence(group: Value, member: Value, groups: Value, size: Value, b: Builder): Value {
  const at = b.op('Add', [b.op('Mul', [group, size]), member])
  const start = filled(b.op('Mul', [groups, size]), b.int(0), b)
  const marks = b.op('ScatterElements', [start, at, b.op('Expand', [b.int(1), b.shapeOf(at)])], { axis: 0 })
  return b.cast(b.op('Reshape', [marks, b.concat([groups, size], 0)], { allowzero: 1 }), 'bool')
}

type Combine = (p: Value, q: Value, b: Builder) => Value
const OPERATIONS: Readonly<Record<string, Combine>> = {
  'a-b': (p, q, b) => b.op('And', [p, b.op('Not', [q])]),
  'b-a': (p, q, b) => b.op('And', [q, b.op('Not', [p])]),
  intersection: (p, q, b) => b.op('And', [p, q]),
  union: (p, q, b) => b.op('Or', [p, q]),
}

/** A sparse tensor whose rows are the sorted results of an operation on the sets of each group. */
function combined(x: Groups, y: Groups, operation: string, b: Builder): Value[] {
  const all = b.concat([x.members, y.members], 0)
  const [vocabulary, , which] = b.ops('Unique', [all], { sorted: 1 }, 4) as [Value, Value, Value]
  const size = b.shapeOf(vocabulary)
  const groups = b.op('ReduceProd', [x.outer, b.ints([0])], { keepdims: 1 })
  const first = b.shapeOf(x.members)
  const own = b.op('Slice', [which, b.ints([0]), first, b.ints([0])])
  const other = b.op('Slice', [which, first, b.ints([2 ** 31 - 1]), b.ints([0])])
  const [p, q] = [presence(x.group, own, groups, size, b), presence(y.group, other, groups, size, b)]
  const hit = OPERATIONS[operation]!(p, q, b)
  const places = b.transpose(b.op('NonZero', [hit]), [1, 0])
  const column = (i: number) => b.squeeze(b.slice(places, [i], [i + 1], [1]), [1])
  const running = b.op('CumSum', [b.cast(hit, 'int64'), b.int(1)])
  const position = b.op('Sub', [b.op('GatherND', [running, places]), b.int(1)])
  const sizes = b.op('ReduceSum', [b.cast(hit, 'int64'), b.ints([1])], { keepdims: 0 })
  const leading = unravel(column(0), x.outer, b)
  return [
    b.concat([leading, b.unsqueeze(position, [1])], 1),
    b.gather(vocabulary, column(1)),
    b.concat([x.outer, longest(sizes, b)], 0),
  ]
}

const OUT = ['result_indices', 'result_values', 'result_shape']
const ATTRS = { set_operation: ['', 'a-b', 'b-a', 'intersection', 'union'], validate_indices: true } as const

export const SET_OPS = {
  DenseToDenseSetOperation: op({
    in: ['set1', 'set2'],
    out: OUT,
    attrs: ATTRS,
    emit: (n, b) => combined(fromDense(n.in.set1, b), fromDense(n.in.set2, b), n.attrs.set_operation, b),
  }),
  DenseToSparseSetOperation: op({
    in: ['set1', 'set2_indices', 'set2_values', 'set2_shape'],
    out: OUT,
    attrs: ATTRS,
    emit: (n, b) => {
      const other = fromSparse(n, n.in.set2_indices, n.in.set2_values, n.in.set2_shape, b)
      return combined(fromDense(n.in.set1, b), other, n.attrs.set_operation, b)
    },
  }),
  SparseToSparseSetOperation: op({
    in: ['set1_indices', 'set1_values', 'set1_shape', 'set2_indices', 'set2_values', 'set2_shape'],
    out: OUT,
    attrs: ATTRS,
    emit: (n, b) => {
      const first = fromSparse(n, n.in.set1_indices, n.in.set1_values, n.in.set1_shape, b)
      const other = fromSparse(n, n.in.set2_indices, n.in.set2_values, n.in.set2_shape, b)
      return combined(first, other, n.attrs.set_operation, b)
    },
  }),
  SetSize: op({
    in: ['set_indices', 'set_values', 'set_shape'],
    attrs: { validate_indices: true },
    emit: (n, b) => {
      const s = fromSparse(n, n.in.set_indices, n.in.set_values, n.in.set_shape, b)
      const [vocabulary, , which] = b.ops('Unique', [s.members], { sorted: 1 }, 4) as [Value, Value, Value]
      const groups = b.op('ReduceProd', [s.outer, b.ints([0])], { keepdims: 1 })
      const hit = presence(s.group, which, groups, b.shapeOf(vocabulary), b)
      const sizes = b.op('ReduceSum', [b.cast(hit, 'int32'), b.ints([1])], { keepdims: 0 })
      return b.op('Reshape', [sizes, s.outer], { allowzero: 1 })
    },
  }),
} satisfies OpTable

import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type OpRow, type OpTable, op } from './op.ts'

/** The last two dimensions swapped. */
export function adjoint(v: Value, b: Builder): Value {
  const rank = b.rank(v)
  const perm = Array.from({ length: rank }, (_, i) => i)
  return b.transpose(v, [...perm.slice(0, -2), rank - 1, rank - 2])
}

const batched: OpRow = op({
  in: ['x', 'y'],
  attrs: { adj_x: false, adj_y: false },
  emit: (n, b) =>
    b.op('MatMul', [n.attrs.adj_x ? adjoint(n.in.x, b) : n.in.x, n.attrs.adj_y ? adjoint(n.in.y, b) : n.in.y]),
})

export const MATMUL = {
  MatMul: op({
    in: ['a', 'b'],
    attrs: { transpose_a: false, transpose_b: false },
    emit: (n, b) =>
      b.op('MatMul', [
        n.attrs.transpose_a ? b.transpose(n.in.a, [1, 0]) : n.in.a,
        n.attrs.transpose_b ? b.transpose(n.in.b, [1, 0]) : n.in.b,
      ]),
  }),
  BatchMatMul: batched,
  BatchMatMulV2: batched,
  BatchMatMulV3: batched,
} satisfies OpTable

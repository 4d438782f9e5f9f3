import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { complexOf, imagOf, isComplex, realOf } from './complex.ts'
import { type OpRow, type OpTable, op } from './op.ts'

/** The last two dimensions swapped. */
export function adjoint(v: Value, b: Builder): Value {
  const rank = b.rank(v)
  const perm = Array.from({ length: rank }, (_, i) => i)
  return b.transpose(v, [...perm.slice(0, -2), rank - 1, rank - 2])
}

/** A bilinear product of complex numbers is one of its parts. */
export function bilinear(x: Value, y: Value, product: (x: Value, y: Value) => Value, b: Builder): Value {
  if (!isComplex(x) && !isComplex(y)) return product(x, y)
  const [a, c, p, q] = [realOf(x, b), imagOf(x, b), realOf(y, b), imagOf(y, b)]
  const re = b.op('Sub', [product(a, p), product(c, q)])
  return complexOf(re, b.op('Add', [product(a, q), product(c, p)]), b)
}

const conjugated = (v: Value, b: Builder): Value =>
  isComplex(v) ? complexOf(realOf(v, b), b.op('Neg', [imagOf(v, b)]), b) : v

interface Flips {
  readonly x: boolean
  readonly y: boolean
  /** whether a flip conjugates as well */
  readonly conjugate: boolean
}

export function matmul(x: Value, y: Value, flips: Flips, b: Builder): Value {
  const side = (v: Value, flip: boolean) => (flip && flips.conjugate ? conjugated(v, b) : v)
  const turned = (v: Value, flip: boolean) => (flip ? adjoint(v, b) : v)
  const product = (p: Value, q: Value) => b.op('MatMul', [turned(p, flips.x), turned(q, flips.y)])
  return bilinear(side(x, flips.x), side(y, flips.y), product, b)
}

const batched: OpRow = op({
  in: ['x', 'y'],
  attrs: { adj_x: false, adj_y: false },
  emit: (n, b) => matmul(n.in.x, n.in.y, { x: n.attrs.adj_x, y: n.attrs.adj_y, conjugate: true }, b),
})

export const MATMUL = {
  MatMul: op({
    in: ['a', 'b'],
    attrs: { transpose_a: false, transpose_b: false },
    emit: (n, b) => {
      const flips = { x: n.attrs.transpose_a, y: n.attrs.transpose_b, conjugate: false }
      return matmul(n.in.a, n.in.b, flips, b)
    },
  }),
  SparseMatMul: op({
    in: ['a', 'b'],
    attrs: { transpose_a: false, transpose_b: false },
    emit: (n, b) => {
      const flips = { x: n.attrs.transpose_a, y: n.attrs.transpose_b, conjugate: false }
      return matmul(b.cast(n.in.a, 'float32'), b.cast(n.in.b, 'float32'), flips, b)
    },
  }),
  BatchMatMul: batched,
  BatchMatMulV2: batched,
  /** A wider result is computed in its own dtype, so that nothing overflows. */
  BatchMatMulV3: op({
    in: ['x', 'y'],
    attrs: { Tout: 'type', adj_x: false, adj_y: false },
    emit: (n, b) => {
      const flips = { x: n.attrs.adj_x, y: n.attrs.adj_y, conjugate: true }
      const wide = (v: Value) => (isComplex(v) ? v : b.cast(v, n.dtype('Tout')))
      return matmul(wide(n.in.x), wide(n.in.y), flips, b)
    },
  }),
} satisfies OpTable

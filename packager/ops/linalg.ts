import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { isFloat } from './math.ts'
import { adjoint } from './matmul.ts'
import { type AnyNode, type OpTable, op, unsupported } from './op.ts'

/**
 * Gauss-Jordan elimination with partial pivoting, one column per turn of a Loop: solves a x = y for every matrix of the batch.
 * The determinant's sign and logarithm come along. Singular matrices give infinities and NaN.
 */
interface Eliminated {
  readonly x: Value
  /** of the determinant */
  readonly sign: Value
  readonly logarithm: Value
}

function eliminate(a: Value, y: Value, b: Builder): Eliminated {
  const dtype = a.dtype as DType
  const n = b.gather(b.shapeOf(a), b.int(-1))
  const batch = b.slice(b.shapeOf(a), [0], [-2], [0])
  const rows = b.op('Range', [b.int(0), n, b.int(1)])
  const shapes = { a: a.shape, y: y.shape, scalar: a.shape!.slice(0, -2) }
  const ones = b.op('Expand', [b.scalar(dtype, 1), batch])
  const zeros = b.op('Expand', [b.scalar(dtype, 0), batch])
  const body = b.subgraph('eliminate', (g) => {
    const i = g.bodyInput('i', 'int64', [])
    g.bodyInput('go', 'bool', [])
    const [m, r] = [g.bodyInput('a', dtype, shapes.a), g.bodyInput('y', dtype, shapes.y)]
    const [s, l] = [g.bodyInput('sign', dtype, shapes.scalar), g.bodyInput('log', dtype, shapes.scalar)]
    const column = g.gather(m, i, -1)
    const candidates = g.op('Where', [g.op('Less', [rows, i]), g.scalar(dtype, -1), g.op('Abs', [column])])
    const pivot = g.op('ArgMax', [candidates], { axis: -1, keepdims: 1 })
    // swapping rows i and pivot: a permutation by index
    const order = g.op('Where', [
      g.op('Equal', [rows, i]),
      pivot,
      g.op('Where', [g.op('Equal', [rows, pivot]), i, rows]),
    ])
    const swapped = (v: Value) =>
      g.op('GatherElements', [v, g.op('Expand', [g.unsqueeze(order, [-1]), g.shapeOf(v)])], { axis: -2 })
    const [p, q] = [swapped(m), swapped(r)]
    const row = (v: Value) => g.unsqueeze(g.gather(v, i, -2), [-2])
    const head = g.gather(g.squeeze(row(p), [-2]), i, -1)
    const divisor = g.unsqueeze(head, [-1, -2])
    const factors = g.unsqueeze(g.gather(p, i, -1), [-1])
    const here = g.unsqueeze(g.op('Equal', [rows, i]), [-1])
    const step = (v: Value) => {
      const scaled = g.op('Div', [row(v), divisor])
      return g.op('Where', [here, scaled, g.op('Sub', [v, g.op('Mul', [factors, scaled])])])
    }
    const kept = g.op('Equal', [g.squeeze(pivot, [-1]), i])
    const turned = g.op('Where', [kept, g.op('Sign', [head]), g.op('Neg', [g.op('Sign', [head])])])
    const logarithm = g.op('Add', [l, g.op('Log', [g.op('Abs', [head])])])
    return [g.scalar('bool', 1), step(p), step(q), g.op('Mul', [s, turned]), logarithm]
  })
  const types = [shapes.a, shapes.y, shapes.scalar, shapes.scalar].map((shape) => ({ dtype, shape }))
  const [, x, sign, logarithm] = b.ops('Loop', [n, undefined, a, y, ones, zeros], { body }, 4, types) as [
    Value,
    Value,
    Value,
    Value,
  ]
  return { x, sign, logarithm }
}

/** Half floats are computed in float32, as TensorFlow has no kernel for them either. */
function real(n: AnyNode, v: Value): Value {
  if (isFloat(v)) return v
  throw unsupported(n, 'real matrices', v.dtype)
}

function identity(like: Value, b: Builder): Value {
  const n = b.gather(b.shapeOf(like), b.int(-1))
  const places = b.op('Range', [b.int(0), n, b.int(1)])
  const eye = b.cast(b.op('Equal', [b.unsqueeze(places, [0]), b.unsqueeze(places, [1])]), like.dtype as DType)
  return b.as(b.op('Expand', [eye, b.shapeOf(like)]), { shape: like.shape })
}

/** One triangle of a matrix, the other zero. */
function triangle(x: Value, lower: boolean, b: Builder): Value {
  return b.op('Trilu', [x], { upper: lower ? 0 : 1 })
}

/** The batches of both sides made equal. */
function spread(x: Value, y: Value, b: Builder): [Value, Value] {
  if (x.shape && y.shape && String(x.shape.slice(0, -2)) === String(y.shape.slice(0, -2))) return [x, y]
  const corner = (v: Value) => b.slice(v, [0, 0], [1, 1], [-2, -1])
  const batch = b.slice(b.shapeOf(b.op('Add', [corner(x), corner(y)])), [0], [-2], [0])
  const wide = (v: Value) => b.op('Expand', [v, b.concat([batch, b.slice(b.shapeOf(v), [-2], [2 ** 31 - 1], [0])], 0)])
  return [wide(x), wide(y)]
}

function solve(n: AnyNode, a: Value, y: Value, flipped: boolean, b: Builder): Value {
  const [left, right] = spread(flipped ? adjoint(real(n, a), b) : real(n, a), y, b)
  const { x } = eliminate(left, right, b)
  return right.shape ? b.as(x, { shape: right.shape }) : x
}

/** Column by column: what is below the diagonal follows from the columns before (Cholesky-Banachiewicz), as one Loop. */
function cholesky(x: Value, b: Builder): Value {
  const dtype = x.dtype as DType
  const n = b.gather(b.shapeOf(x), b.int(-1))
  const rows = b.op('Range', [b.int(0), n, b.int(1)])
  const start = b.op('Expand', [b.scalar(dtype, 0), b.shapeOf(x)])
  const body = b.subgraph('cholesky', (g) => {
    const j = g.bodyInput('j', 'int64', [])
    g.bodyInput('go', 'bool', [])
    const l = g.bodyInput('l', dtype, x.shape)
    const row = g.unsqueeze(g.gather(l, j, -2), [-1])
    const rest = g.op('Sub', [g.unsqueeze(g.gather(x, j, -1), [-1]), g.op('MatMul', [l, row])])
    const head = g.op('Sqrt', [g.unsqueeze(g.gather(rest, j, -2), [-2])])
    const below = g.unsqueeze(g.op('GreaterOrEqual', [rows, j]), [-1])
    const column = g.op('Where', [below, g.op('Div', [rest, head]), g.scalar(dtype, 0)])
    return [g.scalar('bool', 1), g.op('Where', [g.op('Equal', [rows, j]), column, l])]
  })
  return b.ops('Loop', [n, undefined, start], { body }, 1, [{ dtype, shape: x.shape }])[0]!
}

export const LINALG = {
  MatrixInverse: op({
    in: ['input'],
    attrs: { adjoint: false },
    emit: (n, b) => {
      const x = real(n, n.in.input)
      const inverse = eliminate(x, identity(x, b), b).x
      return n.attrs.adjoint ? adjoint(inverse, b) : inverse
    },
  }),
  MatrixDeterminant: op({
    in: ['input'],
    emit: (n, b) => {
      const x = real(n, n.in.input)
      const { sign, logarithm } = eliminate(x, x, b)
      const size = b.op('Mul', [sign, b.op('Exp', [logarithm])])
      // a singular matrix stops at a pivot of zero, and what follows is NaN
      return b.op('Where', [b.op('IsNaN', [logarithm]), b.scalar(x.dtype, 0), size])
    },
  }),
  LogMatrixDeterminant: op({
    in: ['input'],
    out: ['sign', 'log_abs_determinant'],
    emit: (n, b) => {
      const x = real(n, n.in.input)
      const { sign, logarithm } = eliminate(x, x, b)
      return [sign, logarithm]
    },
  }),
  MatrixSolve: op({
    in: ['matrix', 'rhs'],
    attrs: { adjoint: false },
    emit: (n, b) => solve(n, n.in.matrix, n.in.rhs, n.attrs.adjoint, b),
  }),
  MatrixTriangularSolve: op({
    in: ['matrix', 'rhs'],
    attrs: { lower: true, adjoint: false },
    emit: (n, b) => solve(n, triangle(real(n, n.in.matrix), n.attrs.lower, b), n.in.rhs, n.attrs.adjoint, b),
  }),
  Cholesky: op({ in: ['input'], emit: (n, b) => cholesky(real(n, n.in.input), b) }),
} satisfies OpTable

import type { Builder } from '../onnx/builder.ts'
import { isStatic, type Value } from '../onnx/value.ts'
import { imagOf, isComplex, realOf } from './complex.ts'
import { type OpRow, type OpTable, op } from './op.ts'

const ordered = (type: string): OpRow => op({ in: ['x', 'y'], emit: (n, b) => b.op(type, [n.in.x, n.in.y]) })

function equal(x: Value, y: Value, b: Builder): Value {
  if (!isComplex(x)) return b.op('Equal', [x, y])
  return b.op('And', [b.op('Equal', [realOf(x, b), realOf(y, b)]), b.op('Equal', [imagOf(x, b), imagOf(y, b)])])
}

/** With incompatible_shape_error=false tensors that do not broadcast are simply unequal: one bool. */
function incompatible(x: Value, y: Value): boolean {
  if (!isStatic(x.shape) || !isStatic(y.shape)) return false
  const [p, q] = [[...x.shape].reverse(), [...y.shape].reverse()]
  return p.some((d, i) => q[i] !== undefined && d !== q[i] && d !== 1 && q[i] !== 1)
}

const equality = (negated: boolean): OpRow =>
  op({
    in: ['x', 'y'],
    attrs: { incompatible_shape_error: true },
    emit: (n, b) => {
      if (!n.attrs.incompatible_shape_error && incompatible(n.in.x, n.in.y)) return b.scalar('bool', negated ? 1 : 0)
      const same = equal(n.in.x, n.in.y, b)
      return negated ? b.op('Not', [same]) : same
    },
  })

const finite = (x: Value, b: Builder): Value => b.op('Not', [b.op('Or', [b.op('IsInf', [x]), b.op('IsNaN', [x])])])

/** Comparisons, truth values and choices. */
export const COMPARE = {
  Less: ordered('Less'),
  LessEqual: ordered('LessOrEqual'),
  Greater: ordered('Greater'),
  GreaterEqual: ordered('GreaterOrEqual'),
  Equal: equality(false),
  NotEqual: equality(true),
  ApproximateEqual: op({
    in: ['x', 'y'],
    attrs: { tolerance: 1e-5 },
    emit: (n, b) => {
      const difference = b.op('Abs', [b.op('Sub', [n.in.x, n.in.y])])
      return b.op('Less', [difference, b.scalar(n.in.x.dtype, n.attrs.tolerance)])
    },
  }),
  LogicalAnd: ordered('And'),
  LogicalOr: ordered('Or'),
  LogicalNot: op({ in: ['x'], emit: (n, b) => b.op('Not', [n.in.x]) }),
  IsNan: op({ in: ['x'], emit: (n, b) => b.op('IsNaN', [n.in.x]) }),
  IsInf: op({ in: ['x'], emit: (n, b) => b.op('IsInf', [n.in.x]) }),
  IsFinite: op({ in: ['x'], emit: (n, b) => finite(n.in.x, b) }),
  SelectV2: op({
    in: ['condition', 't', 'e'],
    parts: true,
    emit: (n, b) => b.op('Where', [n.in.condition, n.in.t, n.in.e]),
  }),
  /** The first Select broadcasts nothing but a vector over rows, and a scalar. */
  Select: op({
    in: ['condition', 't', 'e'],
    parts: true,
    emit: (n, b) => {
      const rank = n.in.t.shape?.length ?? n.in.e.shape?.length
      const rows = n.in.condition.shape?.length === 1 && rank !== undefined && rank > 1
      const trailing = Array.from({ length: rows ? rank - 1 : 0 }, (_, i) => i + 1)
      return b.op('Where', [b.unsqueeze(n.in.condition, trailing), n.in.t, n.in.e])
    },
  }),
} satisfies OpTable

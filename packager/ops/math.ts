import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { complexAware } from './complexmath.ts'
import { geluOf } from './gelu.ts'
import { type OpRow, type OpTable, op, unsupported } from './op.ts'
import { acos, asin, atan, atan2, erf, expm1, log1p } from './special.ts'

type Unary = (x: Value, b: Builder) => Value
type Binary = (x: Value, y: Value, b: Builder) => Value

const unary = (f: string | Unary, parts = false): OpRow =>
  op({ in: ['x'], parts, emit: (n, b) => (typeof f === 'string' ? b.op(f, [n.in.x]) : f(n.in.x, b)) })
const binary = (f: string | Binary, parts = false): OpRow =>
  op({
    in: ['x', 'y'],
    parts,
    emit: (n, b) => (typeof f === 'string' ? b.op(f, [n.in.x, n.in.y]) : f(n.in.x, n.in.y, b)),
  })

export const isFloat = (v: Value): boolean =>
  v.dtype === 'float32' || v.dtype === 'float64' || v.dtype === 'float16' || v.dtype === 'bfloat16'
const UNSIGNED: ReadonlySet<string> = new Set(['uint8', 'uint16', 'uint32', 'uint64'])
const zero = (v: Value, b: Builder): Value => b.scalar(v.dtype, 0)
const isZero = (v: Value, b: Builder): Value => b.op('Equal', [v, zero(v, b)])

/** onnxruntime has no double kernel for some functions; the formula is then in terms of functions that have one. */
const doubles =
  (type: string, f: Unary): Unary =>
  (x, b) =>
    x.dtype === 'float64' ? f(x, b) : b.op(type, [x])

/** Rounding a whole number is the number. */
const rounding = (type: string): OpRow => unary((x, b) => (isFloat(x) ? b.op(type, [x]) : x))

const half = (v: Value, b: Builder): Value => b.op('Mul', [v, b.scalar(v.dtype, 0.5)])

/** Both terms have one sign, so that nothing cancels. */
const sinh: Unary = (x, b) => half(b.op('Sub', [expm1(x, b), expm1(b.op('Neg', [x]), b)]), b)
const cosh: Unary = (x, b) => half(b.op('Add', [b.op('Exp', [x]), b.op('Exp', [b.op('Neg', [x])])]), b)
const asinh: Unary = (x, b) => {
  const a = b.op('Abs', [x])
  const square = b.op('Mul', [a, a])
  const root = b.op('Add', [b.op('Sqrt', [b.op('Add', [square, b.scalar(x.dtype, 1)])]), b.scalar(x.dtype, 1)])
  const near = log1p(b.op('Add', [a, b.op('Div', [square, root])]), b)
  // log(2 |x|), before the square overflows
  const far = b.op('Add', [b.op('Log', [a]), b.scalar(x.dtype, Math.LN2)])
  const large = b.op('Greater', [a, b.scalar(x.dtype, 2 ** 30)])
  return b.op('Mul', [b.op('Sign', [x]), b.op('Where', [large, far, near])])
}
const acosh: Unary = (x, b) => {
  const t = b.op('Sub', [x, b.scalar(x.dtype, 1)])
  const root = b.op('Sqrt', [b.op('Mul', [t, b.op('Add', [t, b.scalar(x.dtype, 2)])])])
  return log1p(b.op('Add', [t, root]), b)
}
const atanh: Unary = (x, b) => {
  const ratio = b.op('Div', [b.op('Add', [x, x]), b.op('Sub', [b.scalar(x.dtype, 1), x])])
  return half(log1p(ratio, b), b)
}

/**
 * The least integer divided by -1 has no result, and the processor's answer to it ends the process. By -1 is by 1 of the negative,
 * which wraps. Constants and sizes of shapes need no such care.
 */
function division(type: 'Div' | 'Mod', x: Value, y: Value, b: Builder, attrs: Record<string, number> = {}): Value {
  const risky = (y.dtype === 'int32' || y.dtype === 'int64') && !y.part && !constNumbers(y)?.every((v) => v !== -1)
  if (!risky) return b.op(type, [x, y], attrs)
  const minus = b.op('Equal', [y, b.scalar(y.dtype, -1)])
  const divisor = b.op('Where', [minus, b.scalar(y.dtype, 1), y])
  return b.op(type, [b.op('Where', [minus, b.op('Neg', [x]), x]), divisor], attrs)
}

/** tensorflow/core/kernels/cwise_ops.h, google_floor_div: rounds towards minus infinity. */
const floorDiv: Binary = (x, y, b) => {
  const quotient = division('Div', x, y, b)
  if (isFloat(x)) return b.op('Floor', [quotient])
  if (UNSIGNED.has(x.dtype)) return quotient
  const rest = b.op('Sub', [x, b.op('Mul', [quotient, y])])
  const negative = (v: Value) => b.op('Less', [v, zero(v, b)])
  const below = b.op('And', [b.op('Not', [isZero(rest, b)]), b.op('Xor', [negative(rest), negative(y)])])
  return b.op('Sub', [quotient, b.cast(below, x.dtype as DType)])
}

/** The remainder has the sign of the divisor (google_floor_fmod). ONNX knows that form for integers alone. */
const floorMod: Binary = (x, y, b) => {
  if (!isFloat(x)) return division('Mod', x, y, b)
  const rest = b.op('Mod', [x, y], { fmod: 1 })
  const negative = (v: Value) => b.op('Less', [v, zero(v, b)])
  const other = b.op('And', [b.op('Not', [isZero(rest, b)]), b.op('Xor', [negative(rest), negative(y)])])
  return b.op('Where', [other, b.op('Add', [rest, y]), rest])
}

const truncateDiv: Binary = (x, y, b) => {
  const q = division('Div', x, y, b)
  return isFloat(x) ? b.op('Mul', [b.op('Sign', [q]), b.op('Floor', [b.op('Abs', [q])])]) : q
}

/** Zero wherever `where` is, whatever the other value would be. */
const zeroWhere =
  (f: (x: Value, y: Value, b: Builder) => Value, tested: 'x' | 'y'): Binary =>
  (x, y, b) => {
    const value = f(x, y, b)
    return b.op('Where', [isZero(tested === 'x' ? x : y, b), zero(value, b), value])
  }

const addN: OpRow = op({
  in: ['inputs*'],
  parts: true,
  emit: (n, b) => n.in.inputs.reduce((sum, v) => b.op('Add', [sum, v])),
})

const square: Unary = (x, b) => b.op('Mul', [x, x])

export const MATH = complexAware({
  Abs: unary('Abs'),
  Neg: unary('Neg', true),
  Sign: unary('Sign'),
  Sqrt: unary('Sqrt'),
  Rsqrt: unary((x, b) => b.op('Reciprocal', [b.op('Sqrt', [x])])),
  Square: unary(square),
  Exp: unary('Exp'),
  Expm1: unary(expm1),
  Log: unary('Log'),
  Log1p: unary(log1p),
  Sigmoid: unary('Sigmoid'),
  Sin: unary('Sin'),
  Cos: unary('Cos'),
  Tan: unary(doubles('Tan', (x, b) => b.op('Div', [b.op('Sin', [x]), b.op('Cos', [x])]))),
  Asin: unary(doubles('Asin', asin)),
  Acos: unary(doubles('Acos', acos)),
  Atan: unary(doubles('Atan', atan)),
  Sinh: unary(doubles('Sinh', sinh)),
  Cosh: unary(doubles('Cosh', cosh)),
  Tanh: unary('Tanh'),
  Asinh: unary(doubles('Asinh', asinh)),
  Acosh: unary(doubles('Acosh', acosh)),
  Atanh: unary(doubles('Atanh', atanh)),
  Erf: unary(doubles('Erf', erf)),
  Floor: rounding('Floor'),
  Ceil: rounding('Ceil'),
  Round: rounding('Round'),
  Rint: rounding('Round'),
  Reciprocal: unary((x, b) => b.op('Div', [b.scalar(x.dtype, 1), x])),
  Inv: unary((x, b) => b.op('Div', [b.scalar(x.dtype, 1), x])),
  Add: binary((x, y, b) => b.op(x.dtype === 'string' ? 'StringConcat' : 'Add', [x, y]), true),
  AddV2: binary('Add', true),
  AddN: addN,
  AccumulateNV2: addN,
  Sub: binary('Sub', true),
  Mul: binary((x, y, b) => geluOf(x, y, b) ?? b.op('Mul', [x, y])),
  Div: binary((x, y, b) => division('Div', x, y, b)),
  RealDiv: binary('Div'),
  FloorDiv: binary(floorDiv),
  TruncateDiv: binary(truncateDiv),
  FloorMod: binary(floorMod),
  Mod: binary((x, y, b) => division('Mod', x, y, b, { fmod: 1 })),
  TruncateMod: binary((x, y, b) => division('Mod', x, y, b, { fmod: 1 })),
  DivNoNan: binary(zeroWhere((x, y, b) => b.op('Div', [x, y]), 'y')),
  MulNoNan: binary(zeroWhere((x, y, b) => b.op('Mul', [x, y]), 'y')),
  Xdivy: binary(zeroWhere((x, y, b) => b.op('Div', [x, y]), 'x')),
  Xlogy: binary(zeroWhere((x, y, b) => b.op('Mul', [x, b.op('Log', [y])]), 'x')),
  Xlog1py: binary(zeroWhere((x, y, b) => b.op('Mul', [x, log1p(y, b)]), 'x')),
  Pow: binary('Pow'),
  SquaredDifference: binary((x, y, b) => square(b.op('Sub', [x, y]), b)),
  Maximum: binary('Max'),
  Minimum: binary('Min'),
  ClipByValue: op({
    in: ['t', 'clip_value_min', 'clip_value_max'],
    emit: (n, b) => b.op('Min', [b.op('Max', [n.in.t, n.in.clip_value_min]), n.in.clip_value_max]),
  }),
  L2Loss: unary((x, b) => half(b.op('ReduceSumSquare', [x], { keepdims: 0 }), b)),
  Atan2: binary((y, x, b) => atan2(y, x, b)),
  Cross: op({
    in: ['a', 'b'],
    emit: (n, b) => {
      if (n.in.a.shape?.at(-1) !== 3) throw unsupported(n, 'a last dimension of 3', 'another or an unknown one')
      const turned = (v: Value, by: number) => b.gather(v, b.ints([by % 3, (by + 1) % 3, (by + 2) % 3]), -1)
      const product = (p: number, q: number) => b.op('Mul', [turned(n.in.a, p), turned(n.in.b, q)])
      return b.op('Sub', [product(1, 2), product(2, 1)])
    },
  }),
} satisfies OpTable)

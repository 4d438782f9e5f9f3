import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'

/** Functions that ONNX lacks, or lacks in double precision, from functions that it has: accurate to the last digits of the dtype. */

const num = (like: Value, v: number, b: Builder): Value => b.scalar(like.dtype, v)

/** Coefficients from the highest power down. */
function polynomial(x: Value, coefficients: readonly number[], b: Builder): Value {
  return coefficients
    .slice(1)
    .reduce<Value>((sum, c) => b.op('Add', [b.op('Mul', [sum, x]), num(x, c, b)]), num(x, coefficients[0]!, b))
}

/** exp(x) - 1 without cancellation: near zero through tanh, which keeps its relative accuracy there. */
export function expm1(x: Value, b: Builder): Value {
  const t = b.op('Tanh', [b.op('Mul', [x, num(x, 0.5, b)])])
  const small = b.op('Div', [b.op('Add', [t, t]), b.op('Sub', [num(x, 1, b), t])])
  const near = b.op('Less', [b.op('Abs', [x]), num(x, 0.5, b)])
  return b.op('Where', [near, small, b.op('Sub', [b.op('Exp', [x]), num(x, 1, b)])])
}

/** log(1 + x): the rounding error of 1 + x is divided out again (Kahan). */
export function log1p(x: Value, b: Builder): Value {
  const u = b.op('Add', [x, num(x, 1, b)])
  const d = b.op('Sub', [u, num(x, 1, b)])
  const log = b.op('Log', [u])
  const mended = b.op('Where', [b.op('Equal', [d, x]), log, b.op('Div', [b.op('Mul', [log, x]), d])])
  return b.op('Where', [b.op('Equal', [d, num(x, 0, b)]), x, mended])
}

/**
 * The angle of the unit vector (c, s) in double precision: onnxruntime's float result, corrected by the sine of what it is off.
 * One step leaves the square of float's error, two leave rounding.
 */
function angle(start: Value, c: Value, s: Value, b: Builder): Value {
  let y = b.cast(start, 'float64')
  for (let i = 0; i < 2; i++) {
    const off = b.op('Sub', [b.op('Mul', [s, b.op('Cos', [y])]), b.op('Mul', [c, b.op('Sin', [y])])])
    y = b.op('Add', [y, off])
  }
  return y
}

/** sqrt(1 - x²) */
const leg = (x: Value, b: Builder): Value =>
  b.op('Sqrt', [b.op('Mul', [b.op('Sub', [num(x, 1, b), x]), b.op('Add', [num(x, 1, b), x])])])

export const asin = (x: Value, b: Builder): Value => angle(b.op('Asin', [b.cast(x, 'float32')]), leg(x, b), x, b)

export const acos = (x: Value, b: Builder): Value => angle(b.op('Acos', [b.cast(x, 'float32')]), x, leg(x, b), b)

export function atan(x: Value, b: Builder): Value {
  // beyond 2^27 the vector would lose its shorter leg to rounding, and the answer is ±π/2 - 1/x
  const far = b.op('Greater', [b.op('Abs', [x]), num(x, 2 ** 27, b)])
  const safe = b.op('Where', [far, num(x, 1, b), x])
  const h = b.op('Sqrt', [b.op('Add', [b.op('Mul', [safe, safe]), num(x, 1, b)])])
  const near = angle(b.op('Atan', [b.cast(safe, 'float32')]), b.op('Reciprocal', [h]), b.op('Div', [safe, h]), b)
  const limit = b.op('Sub', [b.op('Mul', [b.op('Sign', [x]), num(x, Math.PI / 2, b)]), b.op('Reciprocal', [x])])
  return b.op('Where', [far, limit, near])
}

/** W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969): 18 digits in three ranges. */
const ERF_NEAR = {
  p: [0.18577770618460315, 3.1611237438705655, 113.86415415105016, 377.485237685302, 3209.3775891384694],
  q: [1, 23.601290952344122, 244.02463793444417, 1282.6165260773723, 2844.236833439171],
}
const ERFC_MIDDLE = {
  p: [
    2.1531153547440383e-8, 0.5641884969886701, 8.883149794388375, 66.11919063714163, 298.6351381974001,
    881.952221241769, 1712.0476126340707, 2051.0783778260716, 1230.3393547979972,
  ],
  q: [
    1, 15.744926110709835, 117.6939508913125, 537.1811018620099, 1621.38957456669, 3290.79923573346, 4362.619090143247,
    3439.3676741437216, 1230.3393548037493,
  ],
}
const ERFC_FAR = {
  p: [
    0.016315387137302097, 0.30532663496123236, 0.36034489994980445, 0.12578172611122926, 0.01608378514874228,
    0.0006587491615298378,
  ],
  q: [1, 2.568520192289822, 1.8729528499234673, 0.5279051029514285, 0.06051834131244132, 0.0023352049762686918],
}

interface ErrorFunction {
  readonly near: Value
  readonly erf: Value
  /** of |x|, for |x| beyond 0.46875 */
  readonly erfc: Value
}

function errorFunction(x: Value, b: Builder): ErrorFunction {
  const a = b.op('Abs', [x])
  const ratio = (v: Value, { p, q }: { p: readonly number[]; q: readonly number[] }): Value =>
    b.op('Div', [polynomial(v, p, b), polynomial(v, q, b)])
  const erf = b.op('Mul', [x, ratio(b.op('Mul', [x, x]), ERF_NEAR)])
  // each form is fed only from its own range, so that none overflows
  const middle = ratio(b.op('Min', [a, num(x, 4, b)]), ERFC_MIDDLE)
  const far = b.op('Max', [a, num(x, 4, b)])
  const y = b.op('Reciprocal', [b.op('Mul', [far, far])])
  const tail = b.op('Div', [
    b.op('Sub', [num(x, 1 / Math.sqrt(Math.PI), b), b.op('Mul', [y, ratio(y, ERFC_FAR)])]),
    far,
  ])
  const scale = b.op('Exp', [b.op('Neg', [b.op('Mul', [a, a])])])
  const chosen = b.op('Where', [b.op('LessOrEqual', [a, num(x, 4, b)]), middle, tail])
  return { near: b.op('LessOrEqual', [a, num(x, 0.46875, b)]), erf, erfc: b.op('Mul', [scale, chosen]) }
}

/** For float64 values. */
export function erf(x: Value, b: Builder): Value {
  const f = errorFunction(x, b)
  const rest = b.op('Mul', [b.op('Sign', [x]), b.op('Sub', [num(x, 1, b), f.erfc])])
  return b.op('Where', [f.near, f.erf, rest])
}

/** For float64 values: 1 - erf(x) with full relative accuracy in the tail. */
export function erfc(x: Value, b: Builder): Value {
  const f = errorFunction(x, b)
  const flipped = b.op('Where', [b.op('Less', [x, num(x, 0, b)]), b.op('Sub', [num(x, 2, b), f.erfc]), f.erfc])
  return b.op('Where', [f.near, b.op('Sub', [num(x, 1, b), f.erf]), flipped])
}

/** For float64 values in (-1, 1): M. Giles' single precision start, then Newton steps on erf and, in the tails, on log erfc. */
export function erfinv(y: Value, b: Builder): Value {
  const a = b.op('Abs', [y])
  const one = num(y, 1, b)
  const tail = b.op('Sub', [one, a])
  const w = b.op('Neg', [b.op('Log', [b.op('Mul', [tail, b.op('Add', [one, a])])])])
  const central = polynomial(
    b.op('Sub', [w, num(y, 2.5, b)]),
    [
      2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 2.1858087e-4, -1.25372503e-3, -4.17768164e-3,
      2.46640727e-1, 1.50140941,
    ],
    b,
  )
  const outer = polynomial(
    b.op('Sub', [b.op('Sqrt', [b.op('Max', [w, num(y, 0, b)])]), num(y, 3, b)]),
    [
      -2.00214257e-4, 1.00950558e-4, 1.34934322e-3, -3.67342844e-3, 5.73950773e-3, -7.6224613e-3, 9.43887047e-3,
      1.00167406, 2.83297682,
    ],
    b,
  )
  const start = b.op('Mul', [a, b.op('Where', [b.op('Less', [w, num(y, 5, b)]), central, outer])])
  let x = start
  for (let i = 0; i < 3; i++) {
    // d/dx erfc(x) = -2/√π exp(-x²); the residual is taken on the side that does not cancel
    const residual = b.op('Where', [
      b.op('Less', [a, num(y, 0.5, b)]),
      b.op('Sub', [erf(x, b), a]),
      b.op('Sub', [tail, erfc(x, b)]),
    ])
    const slope = b.op('Mul', [num(y, 2 / Math.sqrt(Math.PI), b), b.op('Exp', [b.op('Neg', [b.op('Mul', [x, x])])])])
    const step = b.op('Div', [residual, slope])
    // Halley's correction: f''/f' = -2x
    x = b.op('Sub', [x, b.op('Div', [step, b.op('Add', [one, b.op('Mul', [x, step])])])])
  }
  const inside = b.op('Where', [b.op('Equal', [a, one]), num(y, Number.POSITIVE_INFINITY, b), x])
  return b.op('Mul', [b.op('Sign', [y]), inside])
}

/** The quadrant comes from the signs, that of zero included: atan2(-0, -1) is -π. The ratio of two infinities counts as 1. */
export function atan2(y: Value, x: Value, b: Builder): Value {
  const one = b.scalar(x.dtype, 1)
  const pi = b.scalar(x.dtype, Math.PI)
  const negative = (v: Value) =>
    b.op('Or', [
      b.op('Less', [v, num(v, 0, b)]),
      b.op('And', [b.op('Equal', [v, num(v, 0, b)]), b.op('Less', [b.op('Div', [one, v]), num(v, 0, b)])]),
    ])
  const [ay, ax] = [b.op('Abs', [y]), b.op('Abs', [x])]
  const undetermined = b.op('Or', [
    b.op('And', [b.op('IsInf', [x]), b.op('IsInf', [y])]),
    b.op('And', [b.op('Equal', [x, num(x, 0, b)]), b.op('Equal', [y, num(y, 0, b)])]),
  ])
  const special = b.op('Where', [b.op('IsInf', [x]), one, num(x, 0, b)])
  const ratio = b.op('Where', [undetermined, special, b.op('Div', [ay, ax])])
  const acute = x.dtype === 'float64' ? atan(ratio, b) : b.op('Atan', [ratio])
  const upper = b.op('Where', [negative(x), b.op('Sub', [pi, acute]), acute])
  return b.op('Where', [negative(y), b.op('Neg', [upper]), upper])
}

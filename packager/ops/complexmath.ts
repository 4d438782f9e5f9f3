import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { complexOf, imagOf, isComplex, pairOf, realOf } from './complex.ts'
import { type OpRow, type OpTable, op } from './op.ts'
import { atan2 } from './special.ts'

/** A complex number as two real tensors. */
type Z = readonly [re: Value, im: Value]

/** Arithmetic on pairs of real tensors, under the names of its formulas. */
class Complex {
  readonly b: Builder
  constructor(b: Builder) {
    this.b = b
  }
  real = (like: Value, v: number): Value => this.b.scalar(like.dtype, v)
  constant = ([re]: Z, v: number): Z => [this.real(re, v), this.real(re, 0)]
  f = (type: string, ...x: Value[]): Value => this.b.op(type, x)
  add = ([a, b]: Z, [c, d]: Z): Z => [this.f('Add', a, c), this.f('Add', b, d)]
  sub = ([a, b]: Z, [c, d]: Z): Z => [this.f('Sub', a, c), this.f('Sub', b, d)]
  neg = ([a, b]: Z): Z => [this.f('Neg', a), this.f('Neg', b)]
  mul = ([a, b]: Z, [c, d]: Z): Z => [
    this.f('Sub', this.f('Mul', a, c), this.f('Mul', b, d)),
    this.f('Add', this.f('Mul', a, d), this.f('Mul', b, c)),
  ]
  times = ([a, b]: Z, k: number): Z => [this.f('Mul', a, this.real(a, k)), this.f('Mul', b, this.real(a, k))]
  /** i z */
  turned = ([a, b]: Z): Z => [this.f('Neg', b), a]
  square = (z: Z): Z => this.mul(z, z)
  /** The divisor is scaled by its larger part first, so that its square neither overflows nor vanishes. */
  div = (z: Z, [c, d]: Z): Z => {
    const largest = this.f('Max', this.f('Abs', c), this.f('Abs', d))
    const scale = this.b.op('Where', [this.f('Equal', largest, this.real(c, 0)), this.real(c, 1), largest])
    const [p, q] = [this.f('Div', c, scale), this.f('Div', d, scale)]
    const norm = this.f('Mul', this.f('Add', this.f('Mul', p, p), this.f('Mul', q, q)), scale)
    const [re, im] = this.mul(z, [p, this.f('Neg', q)])
    return [this.f('Div', re, norm), this.f('Div', im, norm)]
  }
  abs = ([a, b]: Z): Value => {
    const pair = this.b.concat([this.b.unsqueeze(a, [-1]), this.b.unsqueeze(b, [-1])], -1)
    return this.b.op('ReduceL2', [pair, this.b.ints([-1])], { keepdims: 0 })
  }
  angle = ([a, b]: Z): Value => atan2(b, a, this.b)
  exp = ([a, b]: Z): Z => {
    const e = this.f('Exp', a)
    return [this.f('Mul', e, this.f('Cos', b)), this.f('Mul', e, this.f('Sin', b))]
  }
  log = (z: Z): Z => [this.f('Log', this.abs(z)), this.angle(z)]
  /** The root in the right half plane; the half that would cancel is found from the other one. */
  sqrt = (z: Z): Z => {
    const [a, b] = z
    const half = this.real(a, 0.5)
    const large = this.f('Sqrt', this.f('Mul', this.f('Add', this.abs(z), this.f('Abs', a)), half))
    const zero = this.f('Equal', large, this.real(a, 0))
    const safe = this.b.op('Where', [zero, this.real(a, 1), large])
    const small = this.f('Div', this.f('Mul', this.f('Abs', b), half), safe)
    const right = this.f('GreaterOrEqual', a, this.real(a, 0))
    const below = this.f('Less', b, this.real(a, 0))
    const im = this.b.op('Where', [right, small, large])
    return [this.b.op('Where', [right, large, small]), this.b.op('Where', [below, this.f('Neg', im), im])]
  }
  sinh = (z: Z): Z => this.times(this.sub(this.exp(z), this.exp(this.neg(z))), 0.5)
  cosh = (z: Z): Z => this.times(this.add(this.exp(z), this.exp(this.neg(z))), 0.5)
  tanh = (z: Z): Z => this.div(this.sinh(z), this.cosh(z))
  /** sin z = -i sinh(iz), and so on */
  sin = (z: Z): Z => this.neg(this.turned(this.sinh(this.turned(z))))
  cos = (z: Z): Z => this.cosh(this.turned(z))
  tan = (z: Z): Z => this.neg(this.turned(this.tanh(this.turned(z))))
  asinh = (z: Z): Z => this.log(this.add(z, this.sqrt(this.add(this.square(z), this.constant(z, 1)))))
  acosh = (z: Z): Z => {
    const one = this.constant(z, 1)
    return this.log(this.add(z, this.mul(this.sqrt(this.add(z, one)), this.sqrt(this.sub(z, one)))))
  }
  atanh = (z: Z): Z => {
    const one = this.constant(z, 1)
    return this.times(this.sub(this.log(this.add(one, z)), this.log(this.sub(one, z))), 0.5)
  }
  asin = (z: Z): Z => this.neg(this.turned(this.asinh(this.turned(z))))
  acos = (z: Z): Z => this.sub([this.real(z[0], Math.PI / 2), this.real(z[0], 0)], this.asin(z))
  atan = (z: Z): Z => this.neg(this.turned(this.atanh(this.turned(z))))
  reciprocal = (z: Z): Z => this.div(this.constant(z, 1), z)
  sigmoid = (z: Z): Z => this.reciprocal(this.add(this.constant(z, 1), this.exp(this.neg(z))))
  /** 0 to any power with a positive real part is 0, whatever its logarithm. */
  pow = (z: Z, w: Z): Z => {
    const power = this.exp(this.mul(w, this.log(z)))
    const zero = this.f('Equal', this.abs(z), this.real(z[0], 0))
    const none = this.f('Equal', this.abs(w), this.real(z[0], 0))
    const atZero = this.b.op('Where', [none, this.real(z[0], 1), this.real(z[0], 0)])
    return [this.b.op('Where', [zero, atZero, power[0]]), this.b.op('Where', [zero, this.real(z[0], 0), power[1]])]
  }
  /** z / |z| */
  sign = (z: Z): Z => {
    const size = this.abs(z)
    const safe = this.b.op('Where', [this.f('Equal', size, this.real(size, 0)), this.real(size, 1), size])
    return [this.f('Div', z[0], safe), this.f('Div', z[1], safe)]
  }
  /** `value`, but 0 where z is 0 */
  unless = (z: Z, value: Z): Z => {
    const zero = this.f('Equal', this.abs(z), this.real(z[0], 0))
    return [
      this.b.op('Where', [zero, this.real(z[0], 0), value[0]]),
      this.b.op('Where', [zero, this.real(z[0], 0), value[1]]),
    ]
  }
}

/** What the rows of the same names do with complex inputs. */
const FORMULAS: Readonly<Record<string, (c: Complex, x: Z, y: Z) => Z>> = {
  Square: (c, x) => c.square(x),
  Exp: (c, x) => c.exp(x),
  Expm1: (c, x) => c.sub(c.exp(x), c.constant(x, 1)),
  Log: (c, x) => c.log(x),
  Log1p: (c, x) => c.log(c.add(x, c.constant(x, 1))),
  Sqrt: (c, x) => c.sqrt(x),
  Rsqrt: (c, x) => c.reciprocal(c.sqrt(x)),
  Sin: (c, x) => c.sin(x),
  Cos: (c, x) => c.cos(x),
  Tan: (c, x) => c.tan(x),
  Sinh: (c, x) => c.sinh(x),
  Cosh: (c, x) => c.cosh(x),
  Tanh: (c, x) => c.tanh(x),
  Asin: (c, x) => c.asin(x),
  Acos: (c, x) => c.acos(x),
  Atan: (c, x) => c.atan(x),
  Asinh: (c, x) => c.asinh(x),
  Acosh: (c, x) => c.acosh(x),
  Atanh: (c, x) => c.atanh(x),
  Sigmoid: (c, x) => c.sigmoid(x),
  Sign: (c, x) => c.sign(x),
  Reciprocal: (c, x) => c.reciprocal(x),
  Inv: (c, x) => c.reciprocal(x),
  Mul: (c, x, y) => c.mul(x, y),
  Div: (c, x, y) => c.div(x, y),
  RealDiv: (c, x, y) => c.div(x, y),
  Pow: (c, x, y) => c.pow(x, y),
  SquaredDifference: (c, x, y) => {
    const d = c.sub(x, y)
    return c.mul(d, [d[0], c.f('Neg', d[1])])
  },
  DivNoNan: (c, x, y) => c.unless(y, c.div(x, y)),
  MulNoNan: (c, x, y) => c.unless(y, c.mul(x, y)),
  Xdivy: (c, x, y) => c.unless(x, c.div(x, y)),
  Xlogy: (c, x, y) => c.unless(x, c.mul(x, c.log(y))),
  Xlog1py: (c, x, y) => c.unless(x, c.mul(x, c.log(c.add(y, c.constant(y, 1))))),
}

const parts = (v: Value, b: Builder): Z => [realOf(v, b), imagOf(v, b)]

/** Gives rows their complex form. */
export function complexAware<T extends OpTable>(table: T): T {
  const rows = Object.entries(table).map(([name, row]): [string, OpRow] => {
    const formula = FORMULAS[name]
    if (!formula) return [name, row]
    const emit: OpRow['emit'] = (n, b) => {
      const values = n.inputs as readonly Value[]
      if (!values.some(isComplex)) return row.emit(n, b)
      const [x, y] = values.map((v) => parts(v, b))
      const [re, im] = formula(new Complex(b), x!, y ?? x!)
      return complexOf(re, im, b)
    }
    return [name, { ...row, emit }]
  })
  return Object.fromEntries(rows) as T
}

const one = (emit: (z: Value, b: Builder) => Value): OpRow => op({ in: ['input'], emit: (n, b) => emit(n.in.input, b) })

/** What makes complex numbers and takes them apart. */
export const COMPLEX = {
  Complex: op({
    in: ['real', 'imag'],
    emit: (n, b) => {
      const { real, imag } = n.in
      if (real.shape && String(real.shape) === String(imag.shape)) return complexOf(real, imag, b)
      const shape = b.shapeOf(b.op('Equal', [real, imag]))
      return complexOf(b.op('Expand', [real, shape]), b.op('Expand', [imag, shape]), b)
    },
  }),
  Real: one((z, b) => realOf(z, b)),
  Imag: one((z, b) => imagOf(z, b)),
  Conj: one((z, b) => (isComplex(z) ? complexOf(realOf(z, b), b.op('Neg', [imagOf(z, b)]), b) : z)),
  Angle: one((z, b) => atan2(imagOf(z, b), realOf(z, b), b)),
  ComplexAbs: op({
    in: ['x'],
    emit: (n, b) => b.op('ReduceL2', [pairOf(n.in.x), b.ints([-1])], { keepdims: 0 }),
  }),
} satisfies OpTable

import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { rememberErfc } from './gelu.ts'
import { type OpRow, type OpTable, op } from './op.ts'
import { erfc, erfinv } from './special.ts'

const num = (v: number, b: Builder): Value => b.scalar('float64', v)
const add = (x: Value, y: Value, b: Builder): Value => b.op('Add', [x, y])
const sub = (x: Value, y: Value, b: Builder): Value => b.op('Sub', [x, y])
const div = (x: Value, y: Value, b: Builder): Value => b.op('Div', [x, y])

/** C. Lanczos, A precision approximation of the gamma function (1964), with g = 7 and nine terms: 15 digits. */
const LANCZOS = [
  676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406, 12.507343278686905,
  -0.13857109526572012, 9.984369578019572e-6, 1.5056327351493116e-7,
]

/** log |Γ(x)|; the left half plane by reflection. */
function lgamma(x: Value, b: Builder): Value {
  const left = b.op('Less', [x, num(0.5, b)])
  const z = sub(b.op('Where', [left, sub(num(1, b), x, b), x]), num(1, b), b)
  const series = LANCZOS.reduce<Value>(
    (sum, c, i) => add(sum, div(num(c, b), add(z, num(i + 1, b), b), b), b),
    num(0.9999999999998099, b),
  )
  const t = add(z, num(7.5, b), b)
  const power = b.op('Mul', [add(z, num(0.5, b), b), b.op('Log', [t])])
  const right = add(add(sub(power, t, b), b.op('Log', [series]), b), num(0.5 * Math.log(2 * Math.PI), b), b)
  const fraction = sub(x, b.op('Floor', [x]), b)
  const sine = b.op('Sin', [b.op('Mul', [fraction, num(Math.PI, b)])])
  const reflected = sub(sub(num(Math.log(Math.PI), b), b.op('Log', [sine]), b), right, b)
  const value = b.op('Where', [left, reflected, right])
  return b.op('Where', [b.op('IsInf', [x]), b.op('Abs', [x]), value])
}

/** Bernoulli numbers over their index: the asymptotic series of the digamma function in 1/x². */
const DIGAMMA = [1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12]
const STEPS = 10

/** The recurrence carries x to where the asymptotic series has converged. */
function digamma(x: Value, b: Builder): Value {
  const left = b.op('Less', [x, num(0, b)])
  const start = b.op('Where', [left, sub(num(1, b), x, b), x])
  let steps = num(0, b)
  for (let i = 0; i < STEPS; i++) steps = add(steps, b.op('Reciprocal', [add(start, num(i, b), b)]), b)
  const far = add(start, num(STEPS, b), b)
  const square = b.op('Reciprocal', [b.op('Mul', [far, far])])
  const tail = [...DIGAMMA]
    .reverse()
    .reduce<Value>((sum, c) => b.op('Mul', [add(sum, num(c, b), b), square]), num(0, b))
  const half = b.op('Reciprocal', [add(far, far, b)])
  const right = sub(sub(sub(b.op('Log', [far]), half, b), tail, b), steps, b)
  const angle = b.op('Mul', [sub(x, b.op('Floor', [x]), b), num(Math.PI, b)])
  const cotangent = div(b.op('Cos', [angle]), b.op('Sin', [angle]), b)
  return b.op('Where', [left, sub(right, b.op('Mul', [cotangent, num(Math.PI, b)]), b), right])
}

/** Computed in double precision, whatever the dtype. */
const special = (f: (x: Value, b: Builder) => Value): OpRow =>
  op({ in: ['x'], emit: (n, b) => b.cast(f(b.cast(n.in.x, 'float64'), b), n.in.x.dtype as DType) })

/** The quantile of the normal distribution. */
export function ndtri(p: Value, b: Builder): Value {
  const centred = sub(add(p, p, b), num(1, b), b)
  return b.op('Mul', [erfinv(centred, b), num(Math.SQRT2, b)])
}

export const SPECIAL = {
  Erfc: op({
    in: ['x'],
    emit: (n, b) => rememberErfc(b.cast(erfc(b.cast(n.in.x, 'float64'), b), n.in.x.dtype as DType), n.in.x),
  }),
  Erfinv: special(erfinv),
  Ndtri: special(ndtri),
  Lgamma: special(lgamma),
  Digamma: special(digamma),
} satisfies OpTable

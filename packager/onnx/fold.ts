import { fromBfloat, fromHalf, toBfloat, toHalf } from '../../src/half.ts'
import type { DType } from '../../src/tensor.ts'
import { ONNX_FROM } from '../formats/proto/onnx.ts'
import {
  broadcastShape,
  cells,
  FOLD_LIMIT,
  ints,
  isBig,
  isHalf,
  make,
  norm,
  num,
  type Rule,
  type Scalar,
  stepsFor,
  strides,
  walk,
} from './cells.ts'
import { MOVES } from './foldmoves.ts'

/** Ops that only move or narrow weights: always worth doing once at import instead of at every start. */
export const FOLD_ANY_SIZE: ReadonlySet<string> = new Set([
  'Transpose',
  'Reshape',
  'Squeeze',
  'Unsqueeze',
  'Identity',
  'Cast',
  'Slice',
  'Split',
  'Concat',
  'Gather',
])

function binary(f: (a: never, b: never, dtype: DType) => Scalar | boolean | undefined, result?: DType): Rule {
  return ([x, y]) => {
    if (!x || !y || x.dtype !== y.dtype || isHalf(x.dtype)) return undefined
    if (x.dtype === 'string' && result !== 'bool') return undefined
    const shape = broadcastShape([x.shape, y.shape])
    if (!shape) return undefined
    const out = make(result ?? x.dtype, shape)
    const [a, b, o] = [cells(x), cells(y), cells(out)]
    let fine = true
    walk(shape, [stepsFor(x.shape, shape.length), stepsFor(y.shape, shape.length)], (i, at) => {
      const v = f(a[at[0]!] as never, b[at[1]!] as never, x.dtype)
      if (v === undefined) fine = false
      else o[i] = typeof v === 'boolean' ? Number(v) : v
    })
    return fine ? [out] : undefined
  }
}

function unary(f: (a: number) => number, only: readonly DType[] = ['float32', 'float64']): Rule {
  return ([x]) => {
    if (!x || !only.includes(x.dtype)) return undefined
    const out = make(x.dtype, x.shape)
    const [a, o] = [cells(x), cells(out)]
    if (isBig(x.dtype) && !Array.from(a as ArrayLike<Scalar>, Number).every(Number.isSafeInteger)) return undefined
    for (let i = 0; i < a.length; i++) o[i] = isBig(x.dtype) ? BigInt(f(Number(a[i]))) : f(a[i] as number)
    return [out]
  }
}

const isFloat = (d: DType) => d === 'float32' || d === 'float64'
const divide = (a: Scalar, b: Scalar, dtype: DType): Scalar | undefined => {
  if (typeof a === 'bigint') return b === 0n ? undefined : a / (b as bigint)
  if (isFloat(dtype)) return a / (b as number)
  return b === 0 ? undefined : Math.trunc(a / (b as number))
}

/** Bit operations are folded for 64-bit integers alone, whose arrays wrap on their own. */
const wide =
  (f: (a: bigint, b: bigint) => bigint) =>
  (a: Scalar, b: Scalar): bigint | undefined =>
    typeof a === 'bigint' && typeof b === 'bigint' ? f(a, b) : undefined

const reduce =
  (f: (a: never, b: never) => Scalar, start: (d: DType) => Scalar): Rule =>
  ([x, axesInput], attrs) => {
    if (!x || x.dtype === 'string' || x.dtype === 'bool' || isHalf(x.dtype)) return undefined
    const rank = x.shape.length
    const given = axesInput ? ints(axesInput) : undefined
    if (given?.length === 0 && num(attrs.noop_with_empty_axes, 0) === 1) return [x]
    const axes = new Set(given?.length ? given.map((a) => norm(a, rank)) : x.shape.map((_, i) => i))
    const kept = x.shape.map((d, i) => (axes.has(i) ? 1 : d))
    const out = make(x.dtype, kept)
    const [a, o] = [cells(x), cells(out)]
    for (let i = 0; i < o.length; i++) o[i] = start(x.dtype)
    const own = strides(kept)
    walk(x.shape, [x.shape.map((_, i) => (axes.has(i) ? 0 : own[i]!))], (i, at) => {
      o[at[0]!] = f(o[at[0]!] as never, a[i] as never)
    })
    return [num(attrs.keepdims, 1) === 1 ? out : { ...out, shape: x.shape.filter((_, i) => !axes.has(i)) }]
  }

const cast: Rule = ([x], attrs) => {
  const to = ONNX_FROM[num(attrs.to, 0)]
  if (!x || !to || x.dtype === 'string' || to === 'string') return undefined
  if (x.dtype === to) return [x]
  const out = make(to, x.shape)
  const [a, o] = [cells(x) as { [i: number]: Scalar; length: number }, cells(out)]
  const read = x.dtype === 'float16' ? fromHalf : x.dtype === 'bfloat16' ? fromBfloat : undefined
  for (let i = 0; i < a.length; i++) {
    const v = read ? read(a[i] as number) : a[i]!
    if (to === 'bool') o[i] = Number(v) === 0 ? 0 : 1
    else if (isBig(to)) {
      if (typeof v === 'number' && (!Number.isFinite(v) || Math.abs(v) >= 2 ** 63)) return undefined
      o[i] = typeof v === 'bigint' ? v : BigInt(Math.trunc(v))
    } else if (to === 'float16') o[i] = toHalf(Number(v))
    else if (to === 'bfloat16') o[i] = toBfloat(Number(v))
    else if (isFloat(to)) o[i] = Number(v)
    else if (typeof v === 'bigint') o[i] = Number(BigInt.asIntN(32, v))
    else if (!Number.isFinite(v)) return undefined
    else o[i] = Math.trunc(v)
  }
  return [out]
}

const range: Rule = ([a, b, c]) => {
  if (!a || !b || !c || isHalf(a.dtype)) return undefined
  const [start, limit, delta] = [a, b, c].map((t) => Number(t.data[0])) as [number, number, number]
  const n = Math.max(0, Math.ceil((limit - start) / delta))
  if (!(n <= FOLD_LIMIT)) return undefined
  const out = make(a.dtype, [n])
  const o = cells(out)
  for (let i = 0; i < n; i++) o[i] = isBig(a.dtype) ? BigInt(start + i * delta) : start + i * delta
  return [out]
}

/** What the builder computes at once instead of emitting. A rule may decline. */
export const FOLD: Readonly<Record<string, Rule>> = {
  ...MOVES,
  Cast: cast,
  Add: binary((a: number, b: number) => a + b),
  Sub: binary((a: number, b: number) => a - b),
  Mul: binary((a: number, b: number, d) => (d === 'int32' || d === 'uint32' ? Math.imul(a, b) : a * b)),
  Div: binary(divide),
  Min: binary((a: number, b: number) => (a < b || Number.isNaN(a) ? a : b)),
  Max: binary((a: number, b: number) => (a > b || Number.isNaN(a) ? a : b)),
  BitwiseAnd: binary(wide((a, b) => a & b)),
  BitwiseOr: binary(wide((a, b) => a | b)),
  BitwiseXor: binary(wide((a, b) => a ^ b)),
  BitShift: ([x, y], attrs, count) =>
    binary(wide((a, b) => (attrs.direction === 'LEFT' ? a << b : a >> b)))([x, y], attrs, count),
  Equal: binary((a: number, b: number) => a === b, 'bool'),
  Less: binary((a: number, b: number) => a < b, 'bool'),
  LessOrEqual: binary((a: number, b: number) => a <= b, 'bool'),
  Greater: binary((a: number, b: number) => a > b, 'bool'),
  GreaterOrEqual: binary((a: number, b: number) => a >= b, 'bool'),
  And: binary((a: number, b: number) => a !== 0 && b !== 0, 'bool'),
  Or: binary((a: number, b: number) => a !== 0 || b !== 0, 'bool'),
  Xor: binary((a: number, b: number) => a !== b, 'bool'),
  Not: unary((a) => (a ? 0 : 1), ['bool']),
  Neg: unary((a) => -a, ['float32', 'float64', 'int32', 'int64']),
  Abs: unary(Math.abs, ['float32', 'float64', 'int32', 'int64']),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((a) => 1 / a),
  Floor: unary(Math.floor),
  Round: unary((a) => {
    const low = Math.floor(a)
    const rest = a - low
    return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1
  }),
  Exp: unary(Math.exp),
  Sin: unary(Math.sin),
  Ceil: unary(Math.ceil),
  ReduceSum: reduce(
    (a: number, b: number) => a + b,
    (d) => (isBig(d) ? 0n : 0),
  ),
  ReduceMax: ([x, axes], attrs, count) =>
    x && isFloat(x.dtype)
      ? reduce(
          (a: number, b: number) => (a > b || Number.isNaN(a) ? a : b),
          () => Number.NEGATIVE_INFINITY,
        )([x, axes], attrs, count)
      : undefined,
  ReduceProd: reduce(
    (a: number, b: number) => a * b,
    (d) => (isBig(d) ? 1n : 1),
  ),
  Range: range,
}

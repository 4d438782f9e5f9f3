import { fromHalf, toHalf } from '../../src/half.ts'
import { sizeOf } from '../../src/tensor.ts'
import { ValueProblem } from './problem.ts'

/** numpy's dtypes that expressions can make; strings of bytes have one character a byte. */
export const DTYPES = {
  bool: { kind: 'b', bits: 8 },
  int8: { kind: 'i', bits: 8 },
  int16: { kind: 'i', bits: 16 },
  int32: { kind: 'i', bits: 32 },
  int64: { kind: 'i', bits: 64 },
  uint8: { kind: 'u', bits: 8 },
  uint16: { kind: 'u', bits: 16 },
  uint32: { kind: 'u', bits: 32 },
  uint64: { kind: 'u', bits: 64 },
  float16: { kind: 'f', bits: 16 },
  float32: { kind: 'f', bits: 32 },
  float64: { kind: 'f', bits: 64 },
  str: { kind: 's', bits: 0 },
  bytes: { kind: 's', bits: 0 },
} as const

export type Dt = keyof typeof DTYPES

/** What else numpy and Python call them. */
export const DTYPE_NAMES: Readonly<Record<string, Dt>> = {
  ...(Object.fromEntries(Object.keys(DTYPES).map((d) => [d, d])) as Record<Dt, Dt>),
  bool_: 'bool',
  int: 'int64',
  int_: 'int64',
  intc: 'int32',
  byte: 'int8',
  ubyte: 'uint8',
  short: 'int16',
  ushort: 'uint16',
  uintc: 'uint32',
  uint: 'uint64',
  longlong: 'int64',
  long: 'int64',
  float: 'float64',
  half: 'float16',
  single: 'float32',
  double: 'float64',
  str_: 'str',
  bytes_: 'bytes',
  object: 'str',
  object_: 'str',
}

export type Data = Float64Array | BigInt64Array | BigUint64Array | string[]
type Item = number | bigint | string

/** Row-major. 64-bit integers as bigints, all other numbers as doubles that are values of the dtype, booleans as 0 and 1. */
export interface NdArray {
  readonly dtype: Dt
  readonly shape: readonly number[]
  readonly data: Data
}

export const isBig = (d: Dt) => d === 'int64' || d === 'uint64'
export const isInteger = (d: Dt) => DTYPES[d].kind === 'i' || DTYPES[d].kind === 'u'
export const isFloat = (d: Dt) => DTYPES[d].kind === 'f'
export const isText = (d: Dt) => DTYPES[d].kind === 's'

export function allocate(dtype: Dt, n: number): Data {
  if (isText(dtype)) return new Array<string>(n).fill('')
  return dtype === 'int64' ? new BigInt64Array(n) : dtype === 'uint64' ? new BigUint64Array(n) : new Float64Array(n)
}

/** An array of the same dtype whose element i is `pick(i)` of the old one. */
export function gather(a: NdArray, shape: readonly number[], pick: (i: number) => number): NdArray {
  const data = allocate(a.dtype, sizeOf(shape))
  for (let i = 0; i < data.length; i++) set(data, i, a.data[pick(i)]!)
  return { dtype: a.dtype, shape, data }
}

export function set(data: Data, i: number, value: Item): void {
  ;(data as { [i: number]: Item })[i] = value
}

export function filled(dtype: Dt, shape: readonly number[], value: (i: number) => Item): NdArray {
  const data = allocate(dtype, sizeOf(shape))
  for (let i = 0; i < data.length; i++) set(data, i, value(i))
  return { dtype, shape, data }
}

/** A number as a value of the dtype; integers wrap around as in C. @throws {ValueProblem} for an integer from NaN or an infinity */
export function store(dtype: Dt, x: number | bigint): number | bigint {
  const { kind, bits } = DTYPES[dtype]
  if (kind === 'f') return rounded(dtype, Number(x))
  if (kind === 'b') return x ? 1 : 0
  if (typeof x === 'number' && !Number.isFinite(x)) throw new ValueProblem(`numbers that fit ${dtype}`, `${x}`)
  const whole = typeof x === 'bigint' ? x : BigInt(Math.trunc(x))
  const wrapped = kind === 'i' ? BigInt.asIntN(bits, whole) : BigInt.asUintN(bits, whole)
  return bits === 64 ? wrapped : Number(wrapped)
}

export function rounded(dtype: Dt, x: number): number {
  return dtype === 'float32' ? Math.fround(x) : dtype === 'float16' ? fromHalf(toHalf(x)) : x
}

/** Whether an integer is a value of the dtype. */
export function inRange(dtype: Dt, x: bigint): boolean {
  const { kind, bits } = DTYPES[dtype]
  return kind === 'i' ? BigInt.asIntN(bits, x) === x : kind === 'u' ? BigInt.asUintN(bits, x) === x : true
}

/** numpy.promote_types; undefined where there is none. */
export function promote(a: Dt, b: Dt): Dt | undefined {
  if (a === b) return a
  if (isText(a) || isText(b)) return undefined
  const [p, q] = [DTYPES[a], DTYPES[b]]
  if (p.kind === 'b') return b
  if (q.kind === 'b') return a
  if (p.kind === q.kind) return p.bits > q.bits ? a : b
  if (p.kind === 'f' || q.kind === 'f') {
    const [float, int] = p.kind === 'f' ? [p.bits, q.bits] : [q.bits, p.bits]
    // a float holds integers of half its width: int8 in float16, int16 in float32
    return FLOATS[Math.max(float, int >= 32 ? 64 : int * 2)]
  }
  const [signed, unsigned] = p.kind === 'i' ? [p.bits, q.bits] : [q.bits, p.bits]
  return signed > unsigned ? SIGNED[signed] : (SIGNED[unsigned * 2] ?? 'float64')
}

const FLOATS: Readonly<Record<number, Dt>> = { 16: 'float16', 32: 'float32', 64: 'float64' }
const SIGNED: Readonly<Record<number, Dt>> = { 16: 'int16', 32: 'int32', 64: 'int64' }

/** numpy's broadcasting; undefined where the shapes do not fit. */
export function broadcast(a: readonly number[], b: readonly number[]): number[] | undefined {
  const out: number[] = []
  for (let i = 1; i <= Math.max(a.length, b.length); i++) {
    const [m, n] = [a[a.length - i] ?? 1, b[b.length - i] ?? 1]
    if (m !== n && m !== 1 && n !== 1) return undefined
    out.unshift(m === 1 ? n : m)
  }
  return out
}

/** Where element i of the broadcast shape is read in an array of `from`. */
export function reader(from: readonly number[], to: readonly number[]): (i: number) => number {
  if (from.length === to.length && from.every((d, k) => d === to[k])) return (i) => i
  const strides = to.map((_, k) => {
    const own = k - (to.length - from.length)
    if (own < 0 || from[own] === 1) return 0
    return sizeOf(from.slice(own + 1))
  })
  return (i) => {
    let left = i
    let at = 0
    for (let k = to.length - 1; k >= 0; k--) {
      at += (left % to[k]!) * strides[k]!
      left = Math.floor(left / to[k]!)
    }
    return at
  }
}

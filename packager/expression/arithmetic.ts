import { sizeOf } from '../../src/tensor.ts'
import {
  allocate,
  broadcast,
  DTYPES,
  type Dt,
  inRange,
  isBig,
  isFloat,
  isInteger,
  isText,
  type NdArray,
  promote,
  reader,
  rounded,
  set,
  store,
} from './ndarray.ts'
import { ValueProblem } from './problem.ts'
import { array, type Budget, describeValue, toArray, type Value } from './value.ts'

interface Operator {
  readonly float: (a: number, b: number) => number
  readonly big: (a: bigint, b: bigint) => bigint
}

const floorMod = (a: number, b: number) => {
  const r = a % b
  // the sign of the divisor, also on zeros
  return r !== 0 ? (r < 0 !== b < 0 ? r + b : r) : b < 0 ? -0 : 0
}
/** numpy's floor_divide: from the remainder, so that 1 // 0.1 is 9. */
const floorDiv = (a: number, b: number) => {
  if (b === 0) return a / b
  const quotient = (a - floorMod(a, b)) / b
  const floor = Math.floor(quotient)
  return quotient - floor > 0.5 ? floor + 1 : floor
}
const bigDiv = (a: bigint, b: bigint) => (b === 0n ? 0n : a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n))

const OPERATORS: Readonly<Record<string, Operator>> = {
  '+': { float: (a, b) => a + b, big: (a, b) => a + b },
  '-': { float: (a, b) => a - b, big: (a, b) => a - b },
  '*': { float: (a, b) => a * b, big: (a, b) => a * b },
  // of integers numpy and Python make floats first
  '/': { float: (a, b) => a / b, big: (a) => a },
  '//': { float: floorDiv, big: bigDiv },
  '%': {
    float: (a, b) => (b === 0 ? Number.NaN : floorMod(a, b)),
    big: (a, b) => (b === 0n ? 0n : a - bigDiv(a, b) * b),
  },
  // IEEE pow, where JavaScript differs: 1 and -1 to any infinity
  '**': {
    float: (a, b) => (a === 1 || (a === -1 && !Number.isFinite(b) && !Number.isNaN(b)) ? 1 : a ** b),
    big: power,
  },
}

/** Bits of an integer of Python; more would only cost time. */
const MAX_BITS = 4096

function power(a: bigint, b: bigint): bigint {
  if (b < 0n) throw new ValueProblem('integers to powers that are not negative', 'a negative power')
  return a ** b
}

/** @throws {ValueProblem} */
export function binary(op: string, a: Value, b: Value, budget: Budget): Value {
  const lists = sequences(op, a, b, budget)
  if (lists) return lists
  if (a.kind === 'array' || b.kind === 'array') return array(arrays(op, a, b, budget))
  return scalars(op, a, b)
}

/** Python's own: lists and strings are joined by + and repeated by *. */
function sequences(op: string, a: Value, b: Value, budget: Budget): Value | undefined {
  if (op === '+') {
    if ((a.kind === 'list' || a.kind === 'tuple') && b.kind === a.kind) {
      budget.spend(a.items.length + b.items.length)
      return { kind: a.kind, items: [...a.items, ...b.items] }
    }
    if ((a.kind === 'str' || a.kind === 'bytes') && b.kind === a.kind) {
      budget.spend(a.value.length + b.value.length)
      return { kind: a.kind, value: a.value + b.value }
    }
  }
  if (op !== '*') return undefined
  const [times, whole] = a.kind === 'int' ? [a, b] : [b, a]
  if (times.kind !== 'int') return undefined
  const count = Number(times.value < 0n ? 0n : times.value)
  if (whole.kind === 'list' || whole.kind === 'tuple') {
    budget.spend(count * whole.items.length)
    return { kind: whole.kind, items: Array.from({ length: count }, () => whole.items).flat() }
  }
  if (whole.kind === 'str' || whole.kind === 'bytes') {
    budget.spend(count * whole.value.length)
    return { kind: whole.kind, value: whole.value.repeat(count) }
  }
  return undefined
}

function scalars(op: string, a: Value, b: Value): Value {
  const [x, y] = [plain(a, op), plain(b, op)]
  const row = OPERATORS[op]!
  if (typeof x === 'bigint' && typeof y === 'bigint' && op !== '/' && !(op === '**' && y < 0n)) {
    if ((op === '//' || op === '%') && y === 0n) throw new ValueProblem('a divisor other than zero', 'zero')
    const size = op === '**' ? BigInt(bits(x)) * y : BigInt(bits(x) + bits(y))
    if (size > MAX_BITS) throw new ValueProblem(`an integer of at most ${MAX_BITS} bits`, 'a larger one')
    return { kind: 'int', value: row.big(x, y) }
  }
  const [p, q] = [Number(x), Number(y)]
  if (q === 0 && ['/', '//', '%'].includes(op)) throw new ValueProblem('a divisor other than zero', 'zero')
  if (op === '**' && ((p === 0 && q < 0) || (p < 0 && !Number.isInteger(q))))
    throw new ValueProblem('a power that is a real number', 'one that is not')
  return { kind: 'float', value: row.float(p, q) }
}

const bits = (x: bigint) => (x < 0n ? -x : x).toString(2).length

function plain(v: Value, op: string): bigint | number {
  if (v.kind === 'int' || v.kind === 'float') return v.value
  if (v.kind === 'bool') return v.value ? 1n : 0n
  throw new ValueProblem(`numbers for ${op}`, describeValue(v))
}

/** Elementwise with broadcasting; the dtype by numpy's rules, in which a number of Python takes the side of the array. */
function arrays(op: string, a: Value, b: Value, budget: Budget): NdArray {
  const common = commonDtype(op, a, b, budget)
  const [x, y] = [toArray(a, budget), toArray(b, budget)]
  const shape = broadcast(x.shape, y.shape)
  if (!shape) throw new ValueProblem('shapes that broadcast together', `[${x.shape}] and [${y.shape}]`)
  const n = sizeOf(shape)
  budget.spend(n)
  const dtype = resultDtype(op, common)
  const [left, right] = [reader(x.shape, shape), reader(y.shape, shape)]
  const data = allocate(dtype, n)
  const row = OPERATORS[op]!
  if (isFloat(dtype)) {
    const float = (v: number | bigint | string | undefined) => rounded(dtype, Number(v))
    for (let i = 0; i < n; i++) set(data, i, rounded(dtype, row.float(float(x.data[left(i)]), float(y.data[right(i)]))))
    return { dtype, shape, data }
  }
  const wide = DTYPES[dtype].bits
  for (let i = 0; i < n; i++) {
    const [p, q] = [BigInt(x.data[left(i)]!), BigInt(y.data[right(i)]!)]
    const value = op === '**' ? modularPower(p, q, wide) : row.big(p, q)
    set(data, i, dtype === 'bool' ? (value ? 1 : 0) : store(dtype, value))
  }
  return { dtype, shape, data }
}

/** Of a power only as many bits as the dtype keeps are computed. */
function modularPower(base: bigint, exponent: bigint, width: number): bigint {
  if (exponent < 0n) return power(base, exponent)
  let [out, square] = [1n, BigInt.asIntN(width, base)]
  for (let e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) out = BigInt.asUintN(width, out * square)
    square = BigInt.asUintN(width, square * square)
  }
  return out
}

function commonDtype(op: string, a: Value, b: Value, budget: Budget): Dt {
  const [weak, strong] = a.kind === 'array' ? [b, a] : [a, b]
  const other = strong.kind === 'array' ? strong.value.dtype : 'float64'
  if (isText(other)) throw new ValueProblem(`numbers for ${op}`, `an array of ${other}`)
  if (weak.kind === 'float') return isFloat(other) ? other : 'float64'
  if (weak.kind === 'int') {
    if (other === 'bool') return 'int64'
    if (isInteger(other) && !inRange(other, weak.value))
      throw new ValueProblem(`a number that fits ${other}`, 'a larger one')
    return other
  }
  const own = toArray(weak, budget).dtype
  const both = promote(own, other)
  if (both === undefined) throw new ValueProblem(`numbers for ${op}`, `arrays of ${own} and ${other}`)
  return both
}

function resultDtype(op: string, common: Dt): Dt {
  if (op === '/' && !isFloat(common)) return 'float64'
  if (common !== 'bool') return common
  if (op === '-') throw new ValueProblem('numbers for -', 'booleans')
  return op === '+' || op === '*' ? 'bool' : 'int8'
}

/** @throws {ValueProblem} */
export function unary(op: string, v: Value, budget: Budget): Value {
  if (v.kind === 'float') return { kind: 'float', value: op === '-' ? -v.value : v.value }
  if (v.kind === 'int' || v.kind === 'bool') {
    const value = BigInt(v.value)
    return { kind: 'int', value: op === '-' ? -value : value }
  }
  if (v.kind !== 'array' || isText(v.value.dtype) || v.value.dtype === 'bool')
    throw new ValueProblem(`a number after ${op}`, describeValue(v))
  if (op === '+') return v
  // not 0 - x: the sign of zero
  const minus = isFloat(v.value.dtype) ? binary('*', v, { kind: 'int', value: -1n }, budget) : undefined
  return minus ?? array(negative(v.value))
}

function negative(a: NdArray): NdArray {
  const data = allocate(a.dtype, a.data.length)
  for (let i = 0; i < data.length; i++) {
    const x = a.data[i]!
    set(data, i, store(a.dtype, isBig(a.dtype) ? -BigInt(x) : -Number(x)))
  }
  return { ...a, data }
}

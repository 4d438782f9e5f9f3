import { AppError } from './errors.ts'
import { fromBfloat, fromHalf, toBfloat, toHalf } from './half.ts'
import {
  DTYPES,
  type DType,
  isTensor,
  type NumericArray,
  sizeOf,
  spell,
  type Tensor,
  type TensorData,
  tensor,
} from './tensor.ts'
import type { Nested } from './types.ts'

type Shape = readonly (number | null)[]
type Element = number | bigint | string

/** What one element of a dtype may be, and how it is stored: undefined refuses it. No conversion may lose anything but float digits. */
const ELEMENTS: Record<DType, (x: unknown) => Element | undefined> = {
  float32: (x) => (typeof x === 'number' && (Number.isFinite(Math.fround(x)) || !Number.isFinite(x)) ? x : undefined),
  float64: (x) => (typeof x === 'number' ? x : undefined),
  float16: (x) => (typeof x === 'number' && (Math.abs(x) < 65520 || !Number.isFinite(x)) ? toHalf(x) : undefined),
  bfloat16: (x) => (typeof x === 'number' ? toBfloat(x) : undefined),
  int8: integer(-(2 ** 7), 2 ** 7 - 1),
  int16: integer(-(2 ** 15), 2 ** 15 - 1),
  int32: integer(-(2 ** 31), 2 ** 31 - 1),
  int64: long((x) => BigInt.asIntN(64, x)),
  uint8: integer(0, 2 ** 8 - 1),
  uint16: integer(0, 2 ** 16 - 1),
  uint32: integer(0, 2 ** 32 - 1),
  uint64: long((x) => BigInt.asUintN(64, x)),
  bool: (x) => (typeof x === 'boolean' ? Number(x) : undefined),
  string: (x) => (typeof x === 'string' ? x : undefined),
}

function integer(low: number, high: number) {
  return (x: unknown) => {
    const n = typeof x === 'bigint' ? Number(x) : x
    return typeof n === 'number' && Number.isInteger(n) && n >= low && n <= high ? n : undefined
  }
}

/** A number past 2^53 may already have lost digits, so only a bigint is taken there. */
function long(wrap: (x: bigint) => bigint) {
  return (x: unknown) => {
    const n = typeof x === 'number' && Number.isSafeInteger(x) ? BigInt(x) : x
    return typeof n === 'bigint' && wrap(n) === n ? n : undefined
  }
}

/** Deeper nesting is a mistake or an attack. */
const MAX_RANK = 32

/**
 * The tensor that `value` spells: a tensor of exactly this dtype, nested arrays, or a flat typed array, which has no shape
 * of its own and so takes the declared one when at most one dimension is open.
 * @throws {AppError} WRONG_DTYPE, WRONG_SHAPE naming `where`
 */
export function toTensor(where: string, value: unknown, dtype: DType, declared: Shape | null): Tensor {
  const expected = spell(dtype, declared)
  if (isTensor(value)) {
    if (value.dtype !== dtype) throw wrongDtype(where, expected, spell(value.dtype, value.shape))
    return tensor(dtype, value.shape, value.data)
  }
  if (isTyped(value)) return convert(value, fit(where, value.length, dtype, declared), dtype, where, expected)
  return fill(value, measure(value, where, expected), dtype, where, expected)
}

/** Row-major nested arrays; bool as booleans, int64 as numbers and past 2^53 as bigints. A scalar tensor gives its element. */
export function toNested(t: Tensor): Nested {
  const read = READERS[t.dtype]
  let at = 0
  const level = (depth: number): Nested => {
    if (depth === t.shape.length) return read(t.data[at++]!)
    const out: Nested[] = []
    for (let i = 0; i < t.shape[depth]!; i++) out.push(level(depth + 1))
    return out
  }
  return level(0)
}

type Reader = (x: number | bigint | string) => Exclude<Nested, Nested[]>
const asIs: Reader = (x) => x
const safe: Reader = (x) =>
  typeof x === 'bigint' && BigInt(Number(x)) === x && Number.isSafeInteger(Number(x)) ? Number(x) : x
const READERS: Record<DType, Reader> = {
  float32: asIs,
  float64: asIs,
  float16: (x) => fromHalf(Number(x)),
  bfloat16: (x) => fromBfloat(Number(x)),
  int8: asIs,
  int16: asIs,
  int32: asIs,
  int64: safe,
  uint8: asIs,
  uint16: asIs,
  uint32: asIs,
  uint64: safe,
  bool: (x) => x !== 0,
  string: asIs,
}

/** A flat typed array, whole: no copy where it already is the storage of the dtype. */
function convert(value: NumericArray, shape: readonly number[], dtype: DType, where: string, expected: string): Tensor {
  if (value instanceof DTYPES[dtype].array && dtype !== 'bool') return { dtype, shape, data: value }
  const data = allocate(dtype, value.length)
  for (let i = 0; i < value.length; i++) {
    const x = ELEMENTS[dtype](value[i])
    if (x === undefined) throw wrongDtype(`${where}[${i}]`, expected, kindOf(value[i]))
    data[i] = x
  }
  return { dtype, shape, data: data as TensorData }
}

function fill(value: unknown, shape: readonly number[], dtype: DType, where: string, expected: string): Tensor {
  // where in `value` we are; indices become text only for an error
  const index: number[] = []
  const here = () => where + index.map((i) => `[${i}]`).join('')
  const rank = shape.length

  // All lengths before the first byte: a few megabytes of JSON whose first rows are long would claim terabytes.
  const check = (v: unknown, depth: number): void => {
    const n = shape[depth]!
    if (!isList(v) || v.length !== n) throw ragged(here(), `${n} elements`, isList(v) ? `${v.length}` : kindOf(v))
    if (depth === rank - 1) return
    for (let i = 0; i < n; i++) {
      index[depth] = i
      check(v[i], depth + 1)
    }
    index.length = depth
  }
  if (rank > 0) check(value, 0)

  const data = allocate(dtype, sizeOf(shape))
  const element = ELEMENTS[dtype]
  let at = 0
  const put = (v: unknown): void => {
    const x = element(v)
    if (x === undefined)
      throw isList(v) ? ragged(here(), 'one element', kindOf(v)) : wrongDtype(here(), expected, kindOf(v))
    data[at++] = x
  }
  const floats = dtype === 'float32' || dtype === 'float64'
  const level = (v: ArrayLike<unknown>, depth: number): void => {
    if (floats && depth === rank - 1 && copyFloats(v, data, at)) {
      at += v.length
      return
    }
    for (let i = 0; i < v.length; i++) {
      index[depth] = i
      if (depth === rank - 1) put(v[i])
      else level(v[i] as ArrayLike<unknown>, depth + 1)
    }
    index.length = depth
  }
  if (rank === 0) put(value)
  else level(value as ArrayLike<unknown>, 0)
  return { dtype, shape, data: data as TensorData }
}

/** Rows of numbers are most of what comes. False, with nothing promised about `to`, where an element needs a closer look. */
function copyFloats(from: ArrayLike<unknown>, to: { [index: number]: Element }, at: number): boolean {
  for (let i = 0; i < from.length; i++) {
    const x = from[i]
    if (typeof x !== 'number' || !(Math.abs(x) < 3.4e38)) return false
    to[at + i] = x
  }
  return true
}

function allocate(dtype: DType, size: number): { [index: number]: Element } {
  if (dtype === 'string') return new Array<string>(size)
  return new (DTYPES[dtype].array as new (n: number) => NumericArray)(size) as { [index: number]: Element }
}

/** The shape of nested arrays, by their first elements; `fill` finds whatever disagrees. */
function measure(value: unknown, where: string, expected: string): number[] {
  const shape: number[] = []
  for (let v = value; isList(v); v = v[0]) {
    if (shape.push(v.length) > MAX_RANK)
      throw new AppError('WRONG_SHAPE', { where, expected, got: `arrays nested deeper than ${MAX_RANK}` })
    if (isTyped(v) || v.length === 0) break
  }
  return shape
}

function fit(where: string, length: number, dtype: DType, declared: Shape | null): number[] {
  if (declared === null) return [length]
  const open = declared.filter((d) => d === null).length
  const known = declared.reduce<number>((n, d) => n * (d ?? 1), 1)
  if (open === 0 && known === length) return declared.map((d) => d ?? 0)
  if (open === 1 && known > 0 && length % known === 0) return declared.map((d) => d ?? length / known)
  throw new AppError('WRONG_SHAPE', {
    where,
    expected: spell(dtype, declared),
    got: `a flat array of ${length}`,
    fix: open > 1 ? 'Give its shape: tensor(dtype, shape, data).' : undefined,
  })
}

function ragged(where: string, expected: string, got: string): AppError {
  return new AppError('WRONG_SHAPE', {
    where,
    expected,
    got,
    fix: 'Nested arrays must have equal lengths at each level.',
  })
}

function wrongDtype(where: string, expected: string, got: string): AppError {
  return new AppError('WRONG_DTYPE', { where, expected, got })
}

function isTyped(v: unknown): v is NumericArray {
  return ArrayBuffer.isView(v) && !(v instanceof DataView)
}

function isList(v: unknown): v is ArrayLike<unknown> {
  return Array.isArray(v) || isTyped(v)
}

/** What a value is, in words, never the value itself. */
export function kindOf(v: unknown): string {
  if (v === null) return 'null'
  if (Array.isArray(v)) return `an array of ${v.length}`
  if (v instanceof Promise) return 'a Promise (is an await missing?)'
  if (isTensor(v)) return spell(v.dtype, v.shape)
  if (typeof v === 'number') {
    if (!Number.isFinite(v)) return Number.isNaN(v) ? 'NaN' : 'an infinity'
    return Number.isInteger(v) ? 'an integer' : 'a number with a fraction'
  }
  if (typeof v === 'object') return `an object (${v.constructor?.name ?? 'no prototype'})`
  return typeof v === 'undefined' ? 'undefined' : `a ${typeof v}`
}

import { NUMPY_CODES } from '../../src/npy.ts'
import { DTYPE_NAMES, type Dt, isBig, isFloat, isInteger, type NdArray } from './ndarray.ts'
import { ValueProblem } from './problem.ts'
import { type Args, type Budget, type Call, describeValue, toArray, type Value } from './value.ts'

/**
 * A row of a table of functions. `params` are the names in their order, `?` marks those that may be left out, `*` the one that takes
 * all that are left.
 */
export function fn(name: string, params: string, call: Call): Value {
  return { kind: 'function', name, params, call }
}

/** Arguments by name. @throws {ValueProblem} naming what the function takes */
export function bind(params: string, args: readonly Value[], named: ReadonlyMap<string, Value>): Args {
  const specs = params.split(' ').filter(Boolean)
  const name = (spec: string) => spec.replace(/[?*]$/, '')
  const out: Record<string, Value | undefined> = Object.create(null)
  const rest = specs.find((s) => s.endsWith('*'))
  if (rest) out[name(rest)] = { kind: 'tuple', items: args }
  else if (args.length > specs.length)
    throw new ValueProblem(`at most ${specs.length} arguments (${spell(specs)})`, `${args.length}`)
  else for (const [i, a] of args.entries()) out[name(specs[i]!)] = a
  for (const [key, value] of named) {
    const known = specs.some((s) => name(s) === key && s !== rest)
    if (!known || out[key] !== undefined)
      throw new ValueProblem(`arguments ${spell(specs)}`, known ? `'${key}' twice` : `'${key}'`)
    out[key] = value
  }
  const missing = specs.find((s) => !/[?*]$/.test(s) && out[s] === undefined)
  if (missing) throw new ValueProblem(`arguments ${spell(specs)}`, `no '${missing}'`)
  return out
}

const spell = (specs: readonly string[]) =>
  specs.map((s) => (s.endsWith('?') ? `${s.slice(0, -1)}=` : s.endsWith('*') ? `*${s.slice(0, -1)}` : s)).join(', ')

/** The one element of a number or of an array of one. */
function single(v: Value): bigint | number | undefined {
  if (v.kind === 'int' || v.kind === 'float') return v.value
  if (v.kind === 'bool') return v.value ? 1n : 0n
  const x = v.kind === 'array' && v.value.data.length === 1 && v.value.shape.length === 0 ? v.value.data[0] : undefined
  if (v.kind === 'array' && typeof x === 'number' && isInteger(v.value.dtype)) return BigInt(x)
  return typeof x === 'string' ? undefined : x
}

/** @throws {ValueProblem} */
export function integer(v: Value | undefined, what: string, fallback?: number): number {
  if (v === undefined || v.kind === 'none') {
    if (fallback !== undefined) return fallback
    throw new ValueProblem(`an integer for ${what}`, v ? 'None' : 'nothing')
  }
  const x = single(v)
  if (typeof x === 'bigint' && Number.isSafeInteger(Number(x))) return Number(x)
  throw new ValueProblem(`an integer for ${what}`, typeof x === 'bigint' ? 'one past 2^53' : describeValue(v))
}

/** @throws {ValueProblem} */
export function real(v: Value | undefined, what: string, fallback?: number): number {
  if (v === undefined && fallback !== undefined) return fallback
  const x = v && single(v)
  if (x !== undefined) return Number(x)
  throw new ValueProblem(`a number for ${what}`, v ? describeValue(v) : 'nothing')
}

/** An integer or a sequence of integers. @throws {ValueProblem} */
export function integers(v: Value | undefined, what: string): number[] {
  if (v?.kind === 'list' || v?.kind === 'tuple') return v.items.map((x) => integer(x, what))
  if (v?.kind === 'array' && v.value.shape.length === 1 && isInteger(v.value.dtype))
    return Array.from(v.value.data, Number)
  return [integer(v, what)]
}

/** Dimensions of a new array. @throws {ValueProblem} */
export function shapeArg(v: Value | undefined, what = 'shape'): number[] {
  const dims = integers(v, what)
  if (dims.length > 32) throw new ValueProblem('at most 32 dimensions', `${dims.length}`)
  const negative = dims.find((d) => d < 0)
  if (negative !== undefined) throw new ValueProblem('dimensions that are not negative', `${negative}`)
  return dims
}

/** `np.float32`, `'float32'`, `float`; undefined where none is given. @throws {ValueProblem} */
export function dtypeArg(v: Value | undefined): Dt | undefined {
  if (v === undefined || v.kind === 'none') return undefined
  if (v.kind === 'dtype') return v.value
  const short = v.kind === 'str' ? CODES[v.value.replace(/^[<=|]/, '')] : undefined
  const known = v.kind === 'str' && Object.hasOwn(DTYPE_NAMES, v.value) ? DTYPE_NAMES[v.value] : short
  if (known) return known
  throw new ValueProblem(
    `a dtype: ${Object.keys(DTYPE_NAMES).join(', ')}`,
    v.kind === 'str' ? `'${v.value}'` : describeValue(v),
  )
}

const CODES: Readonly<Record<string, Dt>> = { ...NUMPY_CODES, f: 'float32', d: 'float64', e: 'float16', '?': 'bool' }

/** Row-major, whatever lies in memory: Fortran's order would be another answer. @throws {ValueProblem} */
export function rowMajor(order: Value | undefined): void {
  if (order !== undefined && !(order.kind === 'str' && ['C', 'K', 'A'].includes(order.value)))
    throw new ValueProblem("order='C'", order.kind === 'str' ? `'${order.value.slice(0, 20)}'` : describeValue(order))
}

/** An axis counted from the front. @throws {ValueProblem} */
export function axisArg(v: Value | undefined, rank: number, fallback: number): number {
  const axis = integer(v, 'axis', fallback)
  if (axis < -rank || axis >= rank) throw new ValueProblem(`an axis from ${-rank} to ${rank - 1}`, `${axis}`)
  return axis < 0 ? axis + rank : axis
}

/** @throws {ValueProblem} */
export function numbers(v: Value | undefined, budget: Budget): NdArray {
  const a = toArray(v ?? { kind: 'none' }, budget)
  if (isFloat(a.dtype) || isInteger(a.dtype) || isBig(a.dtype) || a.dtype === 'bool') return a
  throw new ValueProblem('numbers', `an array of ${a.dtype}`)
}

import { sizeOf } from '../../src/tensor.ts'
import { allocate, type Dt, inRange, isText, type NdArray, promote, set, store } from './ndarray.ts'
import { ValueProblem } from './problem.ts'

/** What an expression can be. Numbers of Python are apart from arrays: they take the dtype of the array that they meet. */
export type Value =
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'none' }
  | { readonly kind: 'str' | 'bytes'; readonly value: string }
  | { readonly kind: 'list' | 'tuple'; readonly items: readonly Value[] }
  | { readonly kind: 'dict'; readonly entries: readonly (readonly [Value, Value])[] }
  | { readonly kind: 'array'; readonly value: NdArray }
  | { readonly kind: 'dtype'; readonly value: Dt }
  | { readonly kind: 'function'; readonly name: string; readonly params: string; readonly call: Call }
  | { readonly kind: 'module'; readonly name: string; readonly members: Readonly<Record<string, Value>> }

export type Call = (a: Args, b: Budget) => Value
/** Arguments by name; what was not given is not there. */
export type Args = Readonly<Record<string, Value | undefined>>

/** Elements that one expression may make, in one array and in all: the answer to `np.ones(10**12)`. */
const MAX_ELEMENTS = 2 ** 24
const MAX_TOTAL = 2 ** 26

export class Budget {
  #left = MAX_TOTAL
  /** @throws {ValueProblem} */
  spend(n: number): void {
    if (!(n <= MAX_ELEMENTS))
      throw new ValueProblem(`at most ${MAX_ELEMENTS.toLocaleString('en-US')} elements`, n.toLocaleString('en-US'))
    this.#left -= n
    if (this.#left < 0) throw new ValueProblem('fewer and smaller arrays in one expression', 'more')
  }
}

export const array = (value: NdArray): Value => ({ kind: 'array', value })

/** What a value is, in words. */
export function describeValue(v: Value): string {
  if (v.kind === 'array') return `an array of ${v.value.dtype} [${v.value.shape}]`
  if (v.kind === 'list' || v.kind === 'tuple') return `a ${v.kind} of ${v.items.length}`
  if (v.kind === 'function' || v.kind === 'module') return `the ${v.kind} ${v.name}`
  return {
    int: 'an int',
    float: 'a float',
    bool: 'a bool',
    none: 'None',
    str: 'a str',
    bytes: 'bytes',
    dict: 'a dict',
    dtype: 'a dtype',
  }[v.kind]
}

/** numpy.asarray: nested lists become an array of the dtype that holds all their elements. @throws {ValueProblem} */
export function toArray(v: Value, budget: Budget): NdArray {
  if (v.kind === 'array') return v.value
  const shape: number[] = []
  for (let x: Value | undefined = v; x; ) {
    if (x.kind === 'array') {
      shape.push(...x.value.shape)
      break
    }
    if (x.kind !== 'list' && x.kind !== 'tuple') break
    shape.push(x.items.length)
    x = x.items[0]
  }
  budget.spend(sizeOf(shape))
  const leaves: (Value | NdArray)[] = []
  let dtype: Dt | undefined
  const visit = (x: Value, depth: number): void => {
    const inner = x.kind === 'array' ? x.value.shape : x.kind === 'list' || x.kind === 'tuple' ? [x.items.length] : []
    const rest = shape.slice(depth)
    const fits = x.kind === 'array' ? String(inner) === String(rest) : inner[0] === rest[0]
    if (!fits)
      throw new ValueProblem(
        'nested lists of equal lengths',
        `${describeValue(x)} where ${rest[0] ?? 'an element'} fits`,
      )
    if (x.kind === 'list' || x.kind === 'tuple') {
      for (const item of x.items) visit(item, depth + 1)
      return
    }
    const own = dtypeOf(x)
    const both = dtype === undefined ? own : promote(dtype, own)
    if (both === undefined) throw new ValueProblem(`elements of one kind`, `${dtype} and ${own}`)
    dtype = both
    leaves.push(x.kind === 'array' ? x.value : x)
  }
  visit(v, 0)
  const type = dtype ?? 'float64'
  const data = allocate(type, sizeOf(shape))
  let at = 0
  for (const leaf of leaves) {
    if ('data' in leaf) for (const x of leaf.data) set(data, at++, isText(type) ? x : store(type, x as number | bigint))
    else set(data, at++, element(leaf, type))
  }
  return { dtype: type, shape, data }
}

/** The dtype that numpy gives a single value. @throws {ValueProblem} */
function dtypeOf(v: Value): Dt {
  if (v.kind === 'array') return v.value.dtype
  if (v.kind === 'int') {
    if (inRange('int64', v.value)) return 'int64'
    if (inRange('uint64', v.value)) return 'uint64'
    throw new ValueProblem('an integer of 64 bits', 'a larger one')
  }
  if (v.kind === 'float') return 'float64'
  if (v.kind === 'bool' || v.kind === 'str' || v.kind === 'bytes') return v.kind
  throw new ValueProblem('numbers, strings, lists or arrays', describeValue(v))
}

function element(v: Value, dtype: Dt): number | bigint | string {
  if (v.kind === 'str' || v.kind === 'bytes') return v.value
  if (v.kind === 'int' || v.kind === 'float') return store(dtype, v.value)
  return v.kind === 'bool' ? store(dtype, v.value ? 1 : 0) : 0
}

import { sizeOf } from '../../src/tensor.ts'
import { axisArg, integer, integers } from './args.ts'
import { type Dt, filled, gather, isFloat, isText, type NdArray, promote, store } from './ndarray.ts'
import { ValueProblem } from './problem.ts'
import { type Args, type Budget, toArray, type Value } from './value.ts'

/** Functions and methods that move elements and change none. Rows are called with the array first. */

/** numpy.ndarray.astype. Integers wrap around as in C; what C leaves undefined is refused. @throws {ValueProblem} */
export function astype(a: NdArray, dtype: Dt, budget: Budget): NdArray {
  if (dtype === a.dtype) return a
  if (isText(dtype) || isText(a.dtype)) throw new ValueProblem(`an array that can become ${dtype}`, `one of ${a.dtype}`)
  budget.spend(a.data.length)
  const toInteger = !isFloat(dtype) && dtype !== 'bool'
  return filled(dtype, a.shape, (i) => {
    const x = a.data[i] as number | bigint
    if (toInteger && typeof x === 'number' && !(Math.abs(x) < 2 ** 64))
      throw new ValueProblem(`numbers that fit ${dtype}`, Number.isNaN(x) ? 'NaN' : 'a larger one')
    return store(dtype, x)
  })
}

/** One dimension may be -1. @throws {ValueProblem} */
export function reshape(a: NdArray, wanted: readonly number[]): NdArray {
  const open = wanted.filter((d) => d < 0)
  const known = wanted.reduce((n, d) => (d < 0 ? n : n * d), 1)
  const size = a.data.length
  const missing = open.length === 1 && open[0] === -1 && known > 0 && size % known === 0 ? size / known : undefined
  const shape = wanted.map((d) => (d < 0 ? (missing ?? -1) : d))
  if (shape.includes(-1) || sizeOf(shape) !== size || open.length > 1)
    throw new ValueProblem(`a shape of ${size} elements`, `[${wanted}]`)
  return { ...a, shape }
}

/** @throws {ValueProblem} */
export function transpose(a: NdArray, axes?: readonly number[]): NdArray {
  const rank = a.shape.length
  const order = axes?.map((x) => (x < 0 ? x + rank : x)) ?? a.shape.map((_, k) => rank - 1 - k)
  if (order.length !== rank || new Set(order).size !== rank || order.some((x) => !(x >= 0 && x < rank)))
    throw new ValueProblem(`an order of ${rank} axes`, `[${axes}]`)
  const shape = order.map((k) => a.shape[k]!)
  const strides = order.map((k) => sizeOf(a.shape.slice(k + 1)))
  return gather(a, shape, (i) => {
    let [left, at] = [i, 0]
    for (let k = rank - 1; k >= 0; k--) {
      at += (left % shape[k]!) * strides[k]!
      left = Math.floor(left / shape[k]!)
    }
    return at
  })
}

export function expandDims(a: NdArray, axis: Value | undefined): NdArray {
  const at = axisArg(axis, a.shape.length + 1, 0)
  return { ...a, shape: [...a.shape.slice(0, at), 1, ...a.shape.slice(at)] }
}

/** @throws {ValueProblem} */
export function squeeze(a: NdArray, axis: Value | undefined): NdArray {
  const axes = axis ? integers(axis, 'axis').map((x) => (x < 0 ? x + a.shape.length : x)) : undefined
  const wrong = axes?.find((k) => a.shape[k] !== 1)
  if (wrong !== undefined) throw new ValueProblem('an axis of length 1', `${wrong} of [${a.shape}]`)
  return { ...a, shape: a.shape.filter((d, k) => (axes ? !axes.includes(k) : d !== 1)) }
}

/** @throws {ValueProblem} */
export function concatenate(v: Value | undefined, axis: Value | undefined, budget: Budget): NdArray {
  const parts = arraysOf(v, budget)
  const rank = parts[0]!.shape.length
  if (rank === 0) throw new ValueProblem('arrays with a dimension', 'scalars')
  const at = axisArg(axis, rank, 0)
  return joined(parts, at)
}

/** @throws {ValueProblem} */
export function stack(v: Value | undefined, axis: Value | undefined, budget: Budget): NdArray {
  const parts = arraysOf(v, budget)
  const at = axisArg(axis, parts[0]!.shape.length + 1, 0)
  return joined(
    parts.map((p) => ({ ...p, shape: [...p.shape.slice(0, at), 1, ...p.shape.slice(at)] })),
    at,
  )
}

function arraysOf(v: Value | undefined, budget: Budget): NdArray[] {
  const items = v?.kind === 'list' || v?.kind === 'tuple' ? v.items.map((x) => toArray(x, budget)) : []
  if (items.length === 0) throw new ValueProblem('a list of arrays', 'none')
  budget.spend(items.reduce((n, a) => n + a.data.length, 0))
  let dtype: Dt | undefined = items[0]!.dtype
  for (const a of items) dtype = dtype && promote(dtype, a.dtype)
  if (!dtype) throw new ValueProblem('arrays of one kind', items.map((a) => a.dtype).join(', '))
  return items.map((a) => (isText(a.dtype) ? a : astype(a, dtype, budget)))
}

function joined(parts: readonly NdArray[], axis: number): NdArray {
  const [first] = parts
  const other = parts.find(
    (p) => p.shape.length !== first!.shape.length || p.shape.some((d, k) => k !== axis && d !== first!.shape[k]),
  )
  if (other) throw new ValueProblem(`arrays that agree but for axis ${axis}`, `[${first!.shape}] and [${other.shape}]`)
  const shape = first!.shape.map((d, k) => (k === axis ? parts.reduce((n, p) => n + p.shape[k]!, 0) : d))
  // a row is what lies together along the axis and behind it
  const behind = sizeOf(shape.slice(axis + 1))
  const rows = parts.flatMap((p) => Array.from({ length: p.shape[axis]! }, (_, i) => ({ p, i })))
  return filled(first!.dtype, shape, (n) => {
    const [outer, inner] = [Math.floor(n / behind), n % behind]
    const { p, i } = rows[outer % rows.length]!
    return p.data[(Math.floor(outer / rows.length) * p.shape[axis]! + i) * behind + inner]!
  })
}

/** @throws {ValueProblem} */
export function tile(a: NdArray, reps: readonly number[], budget: Budget): NdArray {
  const rank = Math.max(reps.length, a.shape.length)
  const pad = (list: readonly number[]) => [...Array<number>(rank - list.length).fill(1), ...list]
  const [from, times] = [pad(a.shape), pad(reps)]
  const shape = from.map((d, k) => d * times[k]!)
  if (times.some((t) => t < 0)) throw new ValueProblem('repeats that are not negative', `[${reps}]`)
  budget.spend(sizeOf(shape))
  return gather(a, shape, (i) => {
    let [left, at, stride] = [i, 0, 1]
    for (let k = rank - 1; k >= 0; k--) {
      at += ((left % shape[k]!) % from[k]!) * stride
      left = Math.floor(left / shape[k]!)
      stride *= from[k]!
    }
    return at
  })
}

/** @throws {ValueProblem} */
export function repeat(a: NdArray, args: Args, budget: Budget): NdArray {
  const flat = args.axis ? a : reshape(a, [-1])
  const axis = axisArg(args.axis, flat.shape.length, 0)
  const times = integer(args.repeats, 'repeats')
  if (times < 0) throw new ValueProblem('repeats that are not negative', `${times}`)
  const shape = flat.shape.map((d, k) => (k === axis ? d * times : d))
  budget.spend(sizeOf(shape))
  const behind = sizeOf(shape.slice(axis + 1))
  const wide = shape[axis]!
  return gather(flat, shape, (n) => {
    const [outer, inner] = [Math.floor(n / behind), n % behind]
    return (Math.floor(outer / wide) * flat.shape[axis]! + Math.floor((outer % wide) / times)) * behind + inner
  })
}

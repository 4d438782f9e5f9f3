import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type AnyNode, unsupported } from './op.ts'

/** How many dimensions the indices of a sparse tensor have: known from the indices or from its shape vector. */
export function rankOfSparse(n: AnyNode, indices: Value | undefined, shape: Value): number {
  const rank = [indices?.shape?.[1], shape.shape?.[0]].find((d) => typeof d === 'number')
  if (typeof rank !== 'number') throw unsupported(n, 'a sparse tensor of known rank', 'unknown rank')
  return rank
}

export const range = (count: Value, b: Builder): Value => b.op('Range', [b.int(0), b.reshape(count, []), b.int(1)])

export const column = (indices: Value, i: number, b: Builder): Value =>
  b.squeeze(b.slice(indices, [i], [i + 1], [1]), [1])

/** How far apart neighbours along each dimension are; the rank may be unknown. */
function stridesOf(shape: Value, b: Builder): Value {
  const at = range(b.shapeOf(shape), b)
  const behind = b.op('Less', [b.unsqueeze(at, [1]), at])
  // an empty tensor has no positions, but its sizes may be zero
  const sizes = b.op('Max', [shape, b.ints([1])])
  return b.op('ReduceProd', [b.op('Where', [behind, sizes, b.int(1)]), b.ints([1])], { keepdims: 0 })
}

/** Row-major numbers of positions given as [n, rank]. */
export function linear(indices: Value, shape: Value, b: Builder): Value {
  return b.op('ReduceSum', [b.op('Mul', [indices, stridesOf(shape, b)]), b.ints([1])], { keepdims: 0 })
}

/** Positions as [n, rank] of row-major numbers. */
export function unravel(at: Value, shape: Value, b: Builder): Value {
  const whole = b.op('Div', [b.unsqueeze(at, [1]), stridesOf(shape, b)])
  return b.op('Mod', [whole, b.op('Max', [shape, b.ints([1])])])
}

/** The order that sorts int64 keys, equal ones as they come. */
export function sortOrder(keys: Value, b: Builder): Value {
  return b.ops('TopK', [keys, b.shapeOf(keys)], { axis: 0, largest: 0, sorted: 1 }, 2)[1]!
}

/** Indices of the true elements of a vector. */
export const whereTrue = (test: Value, b: Builder): Value => b.squeeze(b.op('NonZero', [test]), [0])

/** A vector of one number. */
export const filled = (count: Value, value: Value, b: Builder): Value => b.op('Expand', [value, count])

/** How often each of 0 to size - 1 occurs; `size` is an int64 vector of length 1. */
export function counts(ids: Value, size: Value, b: Builder): Value {
  const ones = b.op('Expand', [b.int(1), b.shapeOf(ids)])
  return b.op('ScatterElements', [filled(size, b.int(0), b), ids, ones], { axis: 0, reduction: 'add' })
}

/** 0 and the running totals of a vector. */
export const splitsOf = (sizes: Value, b: Builder): Value =>
  b.concat([b.ints([0]), b.op('CumSum', [sizes, b.int(0)])], 0)

/** The row of each value: how many rows end at or before it. */
export function rowIds(splits: Value, total: Value, b: Builder): Value {
  const ends = b.slice(splits, [1], [2 ** 31 - 1], [0])
  const marks = counts(ends, b.op('Add', [total, b.ints([1])]), b)
  return b.op('Slice', [b.op('CumSum', [marks, b.int(0)]), b.ints([0]), total, b.ints([0])])
}

export const lengthsOf = (splits: Value, b: Builder): Value =>
  b.op('Sub', [b.slice(splits, [1], [2 ** 31 - 1], [0]), b.slice(splits, [0], [-1], [0])])

/** The largest of a vector that may be empty, at least 0, as a vector of length 1. */
export const longest = (sizes: Value, b: Builder): Value =>
  b.op('ReduceMax', [b.concat([sizes, b.ints([0])], 0), b.ints([0])], { keepdims: 1 })

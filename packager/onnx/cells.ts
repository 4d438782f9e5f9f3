import { DTYPES, type DType, type NumericArray, sizeOf, type Tensor } from '../../src/tensor.ts'
import type { OnnxAttr } from './value.ts'

/** Constants larger than this (elements over all inputs) stay in the graph, unless folding only moves them. */
export const FOLD_LIMIT = 65_536

export type Attrs = Readonly<Record<string, OnnxAttr>>
/** Undefined: not folded after all (a dtype or form this rule leaves to onnxruntime). */
export type Rule = (x: readonly (Tensor | undefined)[], attrs: Attrs, count: number) => Tensor[] | undefined

export type Scalar = number | bigint
export const isBig = (d: DType) => d === 'int64' || d === 'uint64'
export const isHalf = (d: DType) => d === 'float16' || d === 'bfloat16'
export const ints = (t: Tensor): number[] => Array.from(t.data as ArrayLike<Scalar>, Number)
export const num = (a: OnnxAttr | undefined, fallback: number): number => (typeof a === 'number' ? a : fallback)
export const norm = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

export function make(dtype: DType, shape: readonly number[]): Tensor {
  const n = sizeOf(shape)
  return {
    dtype,
    shape,
    data: dtype === 'string' ? new Array<string>(n).fill('') : (new DTYPES[dtype].array(n) as NumericArray),
  }
}

export type Cells = { [i: number]: Scalar | string; length: number }
export const cells = (t: Tensor): Cells => t.data as Cells

export function strides(shape: readonly number[]): number[] {
  const out = new Array<number>(shape.length).fill(1)
  for (let i = shape.length - 2; i >= 0; i--) out[i] = out[i + 1]! * shape[i + 1]!
  return out
}

/** Walks `shape` in row-major order; gives the offsets into operands with the given strides. */
export function walk(
  shape: readonly number[],
  steps: readonly (readonly number[])[],
  visit: (i: number, at: readonly number[]) => void,
): void {
  const n = sizeOf(shape)
  const index = new Array<number>(shape.length).fill(0)
  const at = steps.map(() => 0)
  for (let i = 0; i < n; i++) {
    visit(i, at)
    for (let k = shape.length - 1; k >= 0; k--) {
      for (let s = 0; s < steps.length; s++) at[s]! += steps[s]![k]!
      if (++index[k]! < shape[k]!) break
      index[k] = 0
      for (let s = 0; s < steps.length; s++) at[s]! -= steps[s]![k]! * shape[k]!
    }
  }
}

export function broadcastShape(shapes: readonly (readonly number[])[]): number[] | undefined {
  const rank = Math.max(...shapes.map((s) => s.length))
  const out = new Array<number>(rank).fill(1)
  for (const s of shapes)
    for (const [i, d] of s.entries()) {
      const k = rank - s.length + i
      if (d !== 1 && out[k] !== 1 && out[k] !== d) return undefined
      if (d !== 1) out[k] = d
    }
  return out
}

export function stepsFor(shape: readonly number[], rank: number): number[] {
  const own = strides(shape)
  return Array.from({ length: rank }, (_, i) => {
    const k = i - rank + shape.length
    return k < 0 || shape[k] === 1 ? 0 : own[k]!
  })
}

import type { DType, Tensor } from '../../src/tensor.ts'

/** A dimension: its size, or the name of an unknown one. Two dimensions with the same name are equal. */
export type Dim = number | string
export type Shape = readonly Dim[]

/**
 * The dtypes a value can have while importing. Complex numbers live in ONNX as real tensors with a trailing dimension of 2;
 * `shape` leaves that dimension out, so that op rows think in TensorFlow's shapes.
 */
export type ValueDType = DType | 'complex64' | 'complex128'

/** What every emit helper takes and returns: a named ONNX value with all that is known of it. */
export interface Value {
  readonly kind: 'tensor'
  readonly name: string
  readonly dtype: ValueDType
  /** undefined: rank unknown */
  readonly shape: Shape | undefined
  /** the constant itself, where it is one */
  readonly data?: Tensor
  /** elements of an integer scalar or vector, as far as known: what Shape and its arithmetic yield */
  readonly part?: readonly Dim[]
  /** true for an ONNX sequence of tensors; dtype and shape then describe its elements */
  readonly sequence?: boolean
}

export type OnnxAttr = number | string | readonly number[] | readonly string[] | Tensor | OnnxGraph

export interface OnnxNode {
  readonly type: string
  readonly domain: string
  readonly name: string
  /** '' for an absent optional input */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attrs: Readonly<Record<string, OnnxAttr>>
}

export interface ValueInfo {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape | undefined
  readonly sequence?: boolean
}

export interface OnnxGraph {
  readonly name: string
  readonly nodes: readonly OnnxNode[]
  readonly inputs: readonly ValueInfo[]
  readonly outputs: readonly ValueInfo[]
  readonly initializers: ReadonlyMap<string, Tensor>
  /** what the builder knew of every value, by name; passes rely on it */
  readonly info: ReadonlyMap<string, ValueInfo>
}

export function isGraph(a: OnnxAttr): a is OnnxGraph {
  return typeof a === 'object' && 'nodes' in a
}

export function rankOf(v: Value): number | undefined {
  return v.shape?.length
}

/** All dimensions known? */
export function isStatic(shape: Shape | undefined): shape is readonly number[] {
  return shape?.every((d) => typeof d === 'number') ?? false
}

/** The constant's elements as plain numbers (int64 too), or undefined where the value is not constant. */
export function constNumbers(v: Value | undefined): number[] | undefined {
  if (!v?.data || v.data.dtype === 'string') return undefined
  return Array.from(v.data.data as ArrayLike<number | bigint>, Number)
}

export function constNumber(v: Value | undefined): number | undefined {
  const all = constNumbers(v)
  return all?.length === 1 ? all[0] : undefined
}

export function constStrings(v: Value | undefined): string[] | undefined {
  return v?.data?.dtype === 'string' ? (v.data.data as string[]) : undefined
}

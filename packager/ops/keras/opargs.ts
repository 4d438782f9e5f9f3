import type { DType } from '../../../src/tensor.ts'
import { DTYPES } from '../../../src/tensor.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { type Arg, argument, type Call, isKTensor, type LayerRow, tensorsOf, unsupported } from './layer.ts'

/** keras.ops on symbolic tensors are nodes of the model as layers are; parameters are in the config or among the arguments. */
export function param(n: Call, name: string, index: number): Arg | undefined {
  const given = argument(n, name, index)
  return given ?? (n.config.get(name) as Arg | undefined)
}

export function axes(n: Call, index = 1): number[] | undefined {
  const given = param(n, 'axis', index) ?? param(n, 'axes', index)
  if (given === undefined || given === null) return undefined
  const list = Array.isArray(given) ? given : [given]
  if (list.every((a) => Number.isSafeInteger(a))) return list as number[]
  throw unsupported(n, 'integers as axis', 'something else')
}

export function int(n: Call, name: string, index: number, fallback?: number): number {
  const v = param(n, name, index) ?? fallback
  if (typeof v === 'number' && Number.isSafeInteger(v)) return v
  throw unsupported(n, `an integer as ${name}`, typeof v)
}

export function ints(n: Call, name: string, index: number): number[] {
  const v = param(n, name, index)
  const list = Array.isArray(v) ? v : [v]
  if (list.every((d) => d === null || Number.isSafeInteger(d)))
    return list.map((d) => (d === null ? -1 : (d as number)))
  throw unsupported(n, `integers as ${name}`, 'tensors among them')
}

/** A tensor, or a literal in the dtype of the tensor it meets. */
export function value(n: Call, a: Arg | undefined, like: Value, b: Builder): Value {
  if (isKTensor(a)) return a.value
  if (typeof a === 'number' || typeof a === 'boolean') {
    const fraction = typeof a === 'number' && !Number.isInteger(a) && !like.dtype.startsWith('float')
    return b.scalar(
      fraction ? 'float32' : like.dtype === 'bool' && typeof a === 'number' ? 'int32' : like.dtype,
      Number(a),
    )
  }
  const flat = [a].flat(16)
  if (Array.isArray(a) && flat.every((v) => typeof v === 'number')) {
    const shape: number[] = []
    for (let at: Arg | undefined = a; Array.isArray(at); at = at[0]) shape.push(at.length)
    return b.filled(like.dtype, shape, flat as number[])
  }
  throw unsupported(n, 'a tensor or a number', a === undefined ? 'nothing' : typeof a)
}

export const RANK: Readonly<Record<string, number>> = {
  bool: 0,
  uint8: 1,
  int8: 2,
  int16: 3,
  int32: 4,
  int64: 5,
  float16: 6,
  bfloat16: 6,
  float32: 7,
  float64: 8,
}

/** Both operands in the wider of their dtypes. */
export function operands(n: Call, b: Builder): [Value, Value] {
  const like = tensorsOf(n.args as Arg)[0]?.value ?? n.x
  const x = value(n, argument(n, 'x1', 0) ?? n.args[0], like, b)
  const y = value(n, argument(n, 'x2', 1) ?? n.args[1], like, b)
  return same(x, y, b)
}

export function same(x: Value, y: Value, b: Builder): [Value, Value] {
  if (x.dtype === y.dtype) return [x, y]
  const dtype = ((RANK[x.dtype] ?? 0) >= (RANK[y.dtype] ?? 0) ? x.dtype : y.dtype) as DType
  // integers of 64 bits beside floats stay with the floats
  return [b.cast(x, dtype), b.cast(y, dtype)]
}

export const row = (emit: LayerRow['emit']): LayerRow => ({ autocast: false, emit })
export function list(n: Call): Value[] {
  return n.all.map((t) => t.value)
}

export function dtypeOf(n: Call, name: unknown): DType {
  const d = String(name)
  if (Object.hasOwn(DTYPES, d)) return d as DType
  throw unsupported(n, 'a dtype', d)
}

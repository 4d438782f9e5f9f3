import type { DType } from '../src/tensor.ts'
import type { Builder } from './onnx/builder.ts'
import type { Value } from './onnx/value.ts'

/** onnxruntime-node carries no bfloat16: clients send and get the same numbers as float32. */
export function carriedDType(dtype: DType): DType {
  return dtype === 'bfloat16' ? 'float32' : dtype
}

/** A value as an output of the graph. */
export function carried(v: Value, b: Builder): Value {
  return v.dtype === 'bfloat16' ? b.cast(v, 'float32') : v
}

import { DTYPES, type NumericArray, sizeOf, type Tensor } from '../tensor.ts'

/** What keeps a tensor from being stacked on another, in TensorFlow Serving's words. */
export function differs(t: Tensor, first: Tensor): string | undefined {
  if (t.data.length !== first.data.length)
    return `Expecting tensor size: ${first.data.length} but got: ${t.data.length}`
  if (t.shape.length === first.shape.length && t.shape.every((d, i) => d === first.shape[i])) return undefined
  return `Expecting shape [${first.shape}] but got: [${t.shape}]`
}

/** Tensors of one shape, one upon the other along a new first dimension. */
export function stack(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors as readonly [Tensor, ...Tensor[]]
  const shape = [tensors.length, ...first.shape]
  if (tensors.length === 1) return { dtype: first.dtype, shape, data: first.data }
  if (first.dtype === 'string') return { dtype: 'string', shape, data: tensors.flatMap((t) => t.data as string[]) }
  const data = new (DTYPES[first.dtype].array as new (n: number) => NumericArray)(sizeOf(shape))
  const size = first.data.length
  for (const [i, t] of tensors.entries()) (data as Uint8Array).set(t.data as Uint8Array, i * size)
  return { dtype: first.dtype, shape, data }
}

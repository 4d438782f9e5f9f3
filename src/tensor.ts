import { AppError } from './errors.ts'

/** Every dtype a tensor can have, with its storage. bfloat16 and float16 keep their bits in a Uint16Array, bool one byte each. */
export const DTYPES = {
  float32: { bytes: 4, array: Float32Array },
  float64: { bytes: 8, array: Float64Array },
  float16: { bytes: 2, array: Uint16Array },
  bfloat16: { bytes: 2, array: Uint16Array },
  int8: { bytes: 1, array: Int8Array },
  int16: { bytes: 2, array: Int16Array },
  int32: { bytes: 4, array: Int32Array },
  int64: { bytes: 8, array: BigInt64Array },
  uint8: { bytes: 1, array: Uint8Array },
  uint16: { bytes: 2, array: Uint16Array },
  uint32: { bytes: 4, array: Uint32Array },
  uint64: { bytes: 8, array: BigUint64Array },
  bool: { bytes: 1, array: Uint8Array },
  string: { bytes: 0, array: Array },
} as const

export type DType = keyof typeof DTYPES
export type NumericArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
export type TensorData = NumericArray | string[]

/**
 * A dense row-major tensor. `data.length` is the product of `shape`; a scalar has shape [].
 * Strings are text, or one character a byte where the spec of the tensor says `bytes`: see bytestring.ts.
 */
export interface Tensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: TensorData
}

export function sizeOf(shape: readonly number[]): number {
  let n = 1
  for (const d of shape) n *= d
  return n
}

/** @throws {AppError} WRONG_SHAPE when data and shape disagree, WRONG_DTYPE when the array is of another kind. */
export function tensor(dtype: DType, shape: readonly number[], data: TensorData): Tensor {
  if (data.length !== sizeOf(shape))
    throw new AppError('WRONG_SHAPE', { expected: `${sizeOf(shape)} elements for [${shape}]`, got: `${data.length}` })
  if (!(data instanceof DTYPES[dtype].array))
    throw new AppError('WRONG_DTYPE', {
      expected: `${DTYPES[dtype].array.name} for ${dtype}`,
      got: data.constructor.name,
    })
  return { dtype, shape, data }
}

export function isTensor(v: unknown): v is Tensor {
  return (
    typeof v === 'object' &&
    v !== null &&
    typeof (v as Tensor).dtype === 'string' &&
    Array.isArray((v as Tensor).shape) &&
    (v as Tensor).data !== undefined
  )
}

/** The little-endian bytes of a tensor that is not of strings; a view, not a copy. */
export function bytesOf(t: Tensor): Uint8Array {
  if (Array.isArray(t.data)) throw new AppError('WRONG_DTYPE', { expected: 'a dtype of fixed width', got: 'string' })
  return new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength)
}

/** The tensor over little-endian bytes. Copies only where the bytes are not aligned for the dtype. */
export function fromBytes(dtype: Exclude<DType, 'string'>, shape: readonly number[], bytes: Uint8Array): Tensor {
  const { bytes: width, array } = DTYPES[dtype]
  const n = sizeOf(shape)
  if (bytes.byteLength !== n * width)
    throw new AppError('WRONG_SHAPE', {
      expected: `${n * width} bytes for ${dtype} [${shape}]`,
      got: `${bytes.byteLength}`,
    })
  // not slice(): a Buffer's is a view
  const aligned = bytes.byteOffset % width === 0 ? bytes : Uint8Array.from(bytes)
  return { dtype, shape, data: new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, n) }
}

/** `float32 [?,784]`, the way shapes are written in every message. */
export function spell(dtype: string, shape: readonly (number | string | null)[] | null | undefined): string {
  return `${dtype} ${shape ? `[${shape.map((d) => (typeof d === 'number' && d >= 0 ? d : '?')).join(',')}]` : 'of any rank'}`
}

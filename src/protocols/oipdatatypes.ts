import { bytesFromString, bytesToString, textOf } from '../bytestring.ts'
import { AppError } from '../errors.ts'
import { bytesOf, DTYPES, type DType, fromBytes, sizeOf, spell, type Tensor } from '../tensor.ts'

/** Datatypes of the Open Inference Protocol. FP16 and BF16 have no JSON form. */
export const DATATYPES = {
  BOOL: 'bool',
  UINT8: 'uint8',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT8: 'int8',
  INT16: 'int16',
  INT32: 'int32',
  INT64: 'int64',
  FP16: 'float16',
  BF16: 'bfloat16',
  FP32: 'float32',
  FP64: 'float64',
  BYTES: 'string',
} as const satisfies Record<string, DType>

const NAMES = Object.fromEntries(Object.entries(DATATYPES).map(([name, dtype]) => [dtype, name])) as Readonly<
  Record<DType, string>
>

export const datatypeOf = (dtype: DType): string => NAMES[dtype]

export const BINARY_ONLY: ReadonlySet<DType> = new Set(['float16', 'bfloat16'])

/**
 * Little-endian, row-major; BOOL one byte; BYTES a 32-bit length and the bytes, each.
 * @param raw the strings of this tensor spell bytes (bytestring.ts), instead of text
 * @throws {AppError} WRONG_SHAPE naming `where`
 */
export function decodeBinary(
  dtype: DType,
  shape: readonly number[],
  blob: Uint8Array,
  raw: boolean,
  where: string,
): Tensor {
  const n = sizeOf(shape)
  if (dtype !== 'string') {
    if (blob.length !== n * DTYPES[dtype].bytes)
      throw wrongSize(where, `${n * DTYPES[dtype].bytes} bytes for ${spell(dtype, shape)}`, blob.length)
    return fromBytes(dtype, shape, blob)
  }
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength)
  const data: string[] = []
  let at = 0
  while (at + 4 <= blob.length) {
    const size = view.getUint32(at, true)
    if (at + 4 + size > blob.length) break
    const bytes = blob.subarray(at + 4, at + 4 + size)
    data.push(raw ? bytesToString(bytes) : textOf(bytes))
    at += 4 + size
  }
  if (at !== blob.length || data.length !== n)
    throw wrongSize(where, `${n} strings, each behind its length`, blob.length)
  return { dtype, shape, data }
}

export function encodeBinary(t: Tensor, raw: boolean): Uint8Array {
  if (t.dtype !== 'string') return bytesOf(t)
  const parts = (t.data as string[]).flatMap((s) => {
    const bytes = raw ? bytesFromString(s) : Buffer.from(s)
    const size = Buffer.alloc(4)
    size.writeUInt32LE(bytes.length)
    return [size, bytes]
  })
  return Buffer.concat(parts)
}

function wrongSize(where: string, expected: string, got: number): AppError {
  return new AppError('WRONG_SHAPE', { where, expected, got: `${got} bytes` })
}

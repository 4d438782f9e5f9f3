import { AppError } from '../../src/errors.ts'
import { DTYPES, type DType, fromBytes, sizeOf, type Tensor } from '../../src/tensor.ts'

const DTYPE: Readonly<Record<string, Exclude<DType, 'string'>>> = {
  f4: 'float32',
  f8: 'float64',
  f2: 'float16',
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
  b1: 'bool',
}

export interface NpyArray {
  /** numpy's code without the byte order, e.g. `f4`, `c8` */
  readonly code: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

/** The header and data of a .npy file (format 1 to 3, little endian, C order). @throws {AppError} BAD_REQUEST */
export function parseNpy(file: Uint8Array, where: string): NpyArray {
  const bad = (expected: string, got: string) => new AppError('BAD_REQUEST', { where, expected, got })
  const buf = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  if (buf.length < 10 || buf.toString('latin1', 0, 6) !== '\x93NUMPY') throw bad('a .npy file', 'another kind of file')
  const wide = buf[6]! >= 2
  const size = wide ? buf.readUInt32LE(8) : buf.readUInt16LE(8)
  const start = (wide ? 12 : 10) + size
  const header = buf.toString('latin1', wide ? 12 : 10, start)
  const descr = /'descr':\s*'([<>|=]?)([a-zA-Z]\d+)'/.exec(header)
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)
  if (!descr || !shape) throw bad('a header with descr and shape', 'another header')
  if (descr[1] === '>') throw bad('little-endian data', 'big-endian data')
  if (/'fortran_order':\s*True/.test(header)) throw bad('C order', 'Fortran order')
  return {
    code: descr[2]!,
    shape: shape[1]!
      .split(',')
      .map((s) => s.trim())
      .filter(Boolean)
      .map(Number),
    bytes: buf.subarray(start),
  }
}

/** @throws {AppError} BAD_REQUEST */
export function readNpy(file: Uint8Array, where = 'the .npy file'): Tensor {
  const { code, shape, bytes } = parseNpy(file, where)
  const dtype = DTYPE[code]
  const n = dtype && sizeOf(shape) * DTYPES[dtype].bytes
  if (!dtype || n === undefined || n > bytes.length)
    throw new AppError('BAD_REQUEST', {
      where,
      expected: 'numbers that fill the shape',
      got: dtype ? `${bytes.length} bytes` : `dtype ${code}`,
    })
  return fromBytes(dtype, shape, bytes.subarray(0, n))
}

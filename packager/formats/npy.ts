import { AppError } from '../../src/errors.ts'
import { bytesOf, DTYPES, type DType, fromBytes, sizeOf, type Tensor } from '../../src/tensor.ts'

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
const CODE = new Map(Object.entries(DTYPE).map(([code, dtype]) => [dtype as DType, code]))

export interface NpyArray {
  /** numpy's code without the byte order, e.g. `f4`, `c8` */
  readonly code: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
  readonly bigEndian: boolean
  readonly fortran: boolean
}

const MAGIC = '\x93NUMPY'
const MAX_RANK = 32

/** The header and data of a .npy file (format 1 to 3). @throws {AppError} BAD_REQUEST */
export function parseNpy(file: Uint8Array, where: string): NpyArray {
  const bad = (expected: string, got: string, fix?: string) =>
    new AppError('BAD_REQUEST', { where, expected, got, fix })
  const buf = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  if (buf.length < 12 || buf.toString('latin1', 0, 6) !== MAGIC) throw bad('a .npy file', 'another kind of file')
  const wide = buf[6]! >= 2
  const size = wide ? buf.readUInt32LE(8) : buf.readUInt16LE(8)
  const start = (wide ? 12 : 10) + size
  if (start > buf.length) throw bad(`a header of ${size} bytes`, `${buf.length} bytes in all`)
  const header = buf.toString('latin1', wide ? 12 : 10, start)
  const descr = /'descr':\s*'([<>|=]?)([a-zA-Z]\d*)'/.exec(header)
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)
  if (!descr || !shape) throw bad('a header with descr and shape', 'another header')
  if (descr[2]!.startsWith('O')) throw bad('numbers or strings', 'Python objects, which are pickled code', AS_STRINGS)
  const dims = shape[1]!
    .split(',')
    .map((s) => s.trim())
    .filter(Boolean)
    .map(Number)
  if (dims.length > MAX_RANK || !dims.every(Number.isSafeInteger))
    throw bad(`at most ${MAX_RANK} dimensions`, `[${shape[1]!.slice(0, 80)}]`)
  return {
    code: descr[2]!,
    shape: dims,
    bytes: buf.subarray(start),
    bigEndian: descr[1] === '>',
    fortran: /'fortran_order':\s*True/.test(header),
  }
}

const AS_STRINGS = "Save strings as bytes: np.save(file, array.astype('S'))."

/** Strings have one character a byte; numpy's text becomes UTF-8. @throws {AppError} BAD_REQUEST */
export function readNpy(file: Uint8Array, where = 'the .npy file'): Tensor {
  const { code, shape, bytes, bigEndian, fortran } = parseNpy(file, where)
  const dtype = DTYPE[code]
  const text = /^[SU](\d+)$/.exec(code)
  const width = dtype ? DTYPES[dtype].bytes : text ? Number(text[1]) * (code.startsWith('U') ? 4 : 1) : Number.NaN
  const n = sizeOf(shape)
  if (!(n * width <= bytes.length))
    throw new AppError('BAD_REQUEST', {
      where,
      expected: 'numbers or strings that fill the shape',
      got: Number.isNaN(width) ? `dtype ${code}` : `${bytes.length} bytes`,
    })
  const data = bytes.subarray(0, n * width)
  const read = dtype
    ? fromBytes(dtype, shape, bigEndian ? swapped(data, width) : data)
    : strings(data, shape, width, code.startsWith('U'), bigEndian)
  return fortran ? inRowOrder(read) : read
}

function swapped(bytes: Uint8Array, width: number): Uint8Array {
  const out = Buffer.from(bytes)
  if (width === 2) out.swap16()
  else if (width === 4) out.swap32()
  else if (width === 8) out.swap64()
  return out
}

/** Fixed width, padded with NUL. */
function strings(data: Uint8Array, shape: readonly number[], width: number, wide: boolean, bigEndian: boolean): Tensor {
  const buf = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const one = (i: number): string => {
    const item = buf.subarray(i * width, (i + 1) * width)
    if (!wide) return item.toString('latin1').replace(/\0+$/, '')
    let text = ''
    for (let k = 0; k + 4 <= item.length; k += 4) {
      const code = bigEndian ? item.readUInt32BE(k) : item.readUInt32LE(k)
      text += String.fromCodePoint(code <= 0x10ffff ? code : 0xfffd)
    }
    return Buffer.from(text.replace(/\0+$/, ''), 'utf8').toString('latin1')
  }
  return { dtype: 'string', shape, data: Array.from({ length: sizeOf(shape) }, (_, i) => one(i)) }
}

/** From Fortran's order, in which the first index runs fastest. */
function inRowOrder(t: Tensor): Tensor {
  const data = t.data.slice()
  const out = data as { [i: number]: number | bigint | string }
  const strides = t.shape.map((_, k) => sizeOf(t.shape.slice(0, k)))
  for (let i = 0; i < data.length; i++) {
    let [left, at] = [i, 0]
    for (let k = t.shape.length - 1; k >= 0; k--) {
      at += (left % t.shape[k]!) * strides[k]!
      left = Math.floor(left / t.shape[k]!)
    }
    out[i] = t.data[at]!
  }
  return { ...t, data }
}

/**
 * The bytes that numpy.save writes, except that strings (one character a byte) become `S` and no pickled objects.
 * @throws {AppError} WRONG_DTYPE for what numpy has no code for
 */
export function writeNpy(t: Tensor): Uint8Array {
  const width = Array.isArray(t.data) ? Math.max(1, ...t.data.map((s) => s.length)) : 0
  const code = width > 0 ? `|S${width}` : CODE.get(t.dtype)
  if (!code) throw new AppError('WRONG_DTYPE', { expected: 'a dtype that numpy has', got: t.dtype })
  if (Array.isArray(t.data) && t.data.some((s) => s.endsWith('\0')))
    throw new AppError('WRONG_DTYPE', {
      expected: 'strings that do not end with NUL, which numpy drops',
      got: 'one that does',
    })
  const order = width > 0 ? '' : DTYPES[t.dtype].bytes === 1 ? '|' : '<'
  const shape = `(${t.shape.join(', ')}${t.shape.length === 1 ? ',' : ''})`
  // numpy leaves room for the first dimension to grow in place
  const room = t.shape.length > 0 ? 21 - String(t.shape[0]).length : 0
  const dict = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': ${shape}, }${' '.repeat(room)}`
  const padding = 64 - ((10 + dict.length + 1) % 64)
  const header = Buffer.from(`${MAGIC}\x01\x00\0\0${dict}${' '.repeat(padding)}\n`, 'latin1')
  header.writeUInt16LE(header.length - 10, 8)
  const data = Array.isArray(t.data)
    ? Buffer.from(t.data.map((s) => s.padEnd(width, '\0')).join(''), 'latin1')
    : bytesOf(t)
  return Buffer.concat([header, data])
}

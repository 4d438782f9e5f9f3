import { AppError } from './errors.ts'
import { bytesOf, DTYPES, type DType, fromBytes, sizeOf, type Tensor } from './tensor.ts'

/** numpy's codes without the byte order. */
export const NUMPY_CODES: Readonly<Record<string, Exclude<DType, 'string'>>> = {
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
const CODE = new Map(Object.entries(NUMPY_CODES).map(([code, dtype]) => [dtype as DType, code]))

export interface NpyHeader {
  /** numpy's code without the byte order, e.g. `f4`, `c8` */
  readonly code: string
  readonly shape: readonly number[]
  readonly bigEndian: boolean
  readonly fortran: boolean
  /** of the header itself: where the data begin */
  readonly size: number
}

export interface NpyArray extends NpyHeader {
  readonly bytes: Uint8Array
}

const MAGIC = '\x93NUMPY'
const MAX_RANK = 32
/** as many bytes tell how long the header is */
export const NPY_START = 12

export const isNpy = (head: Uint8Array): boolean => Buffer.from(head.subarray(0, 6)).toString('latin1') === MAGIC

/** How long the header is (format 1 to 3), from the first bytes of a file. @throws {AppError} BAD_REQUEST */
export function npyHeaderSize(start: Buffer, where: string): number {
  if (start.length < NPY_START || !isNpy(start)) throw bad(where, 'a .npy file', 'another kind of file')
  return start[6]! >= 2 ? 12 + start.readUInt32LE(8) : 10 + start.readUInt16LE(8)
}

/** @throws {AppError} BAD_REQUEST */
export function parseNpyHeader(bytes: Buffer, where: string): NpyHeader {
  const size = npyHeaderSize(bytes, where)
  if (size > bytes.length) throw bad(where, `a header of ${size} bytes`, `${bytes.length} bytes in all`)
  const header = bytes.toString('latin1', bytes[6]! >= 2 ? 12 : 10, size)
  const descr = /'descr':\s*'([<>|=]?)([a-zA-Z]\d*)'/.exec(header)
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)
  if (!descr || !shape) throw bad(where, 'a header with descr and shape', 'another header')
  const code = descr[2]!
  if (code.startsWith('O')) throw bad(where, 'numbers or strings', 'Python objects, which are pickled code', AS_STRINGS)
  const dims = shape[1]!
    .split(',')
    .map((s) => s.trim())
    .filter(Boolean)
    .map(Number)
  if (dims.length > MAX_RANK || !dims.every(Number.isSafeInteger))
    throw bad(where, `at most ${MAX_RANK} dimensions`, `[${shape[1]!.slice(0, 80)}]`)
  const fortran = /'fortran_order':\s*True/.test(header)
  return { code, shape: dims, bigEndian: descr[1] === '>', fortran, size }
}

/** The header and data of a .npy file. @throws {AppError} BAD_REQUEST */
export function parseNpy(file: Uint8Array, where: string): NpyArray {
  const buf = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  const header = parseNpyHeader(buf, where)
  return { ...header, bytes: buf.subarray(header.size) }
}

function bad(where: string, expected: string, got: string, fix?: string): AppError {
  return new AppError('BAD_REQUEST', { where, expected, got, fix })
}

const AS_STRINGS = "Save strings as bytes: np.save(file, array.astype('S'))."

/** Strings have one character a byte; numpy's text becomes UTF-8. @throws {AppError} BAD_REQUEST */
export function readNpy(file: Uint8Array, where = 'the .npy file'): Tensor {
  const array = parseNpy(file, where)
  const size = sizeOf(array.shape) * npyWidth(array, where)
  if (size > array.bytes.length) throw bad(where, 'data that fill the shape', `${array.bytes.length} bytes`)
  const read = npyTensor(array, array.shape, array.bytes.subarray(0, size))
  return array.fortran ? inRowOrder(read) : read
}

/** Bytes an element. @throws {AppError} BAD_REQUEST for what no tensor can hold */
export function npyWidth({ code }: NpyHeader, where: string): number {
  const dtype = NUMPY_CODES[code]
  if (dtype) return DTYPES[dtype].bytes
  const text = /^[SU](\d+)$/.exec(code)
  if (!text) throw bad(where, 'numbers or strings', `dtype ${code}`)
  return Number(text[1]) * (code.startsWith('U') ? 4 : 1)
}

/** The elements that stand in exactly these bytes, in the order in which they stand. */
export function npyTensor({ code, bigEndian }: NpyHeader, shape: readonly number[], bytes: Uint8Array): Tensor {
  const dtype = NUMPY_CODES[code]
  if (dtype) return fromBytes(dtype, shape, bigEndian ? swapped(bytes, DTYPES[dtype].bytes) : bytes)
  return strings(bytes, shape, Number(code.slice(1)) * (code.startsWith('U') ? 4 : 1), code.startsWith('U'), bigEndian)
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
  const descr = width > 0 ? `|S${width}` : npyDescr(t.dtype)
  if (Array.isArray(t.data) && t.data.some((s) => s.endsWith('\0')))
    throw new AppError('WRONG_DTYPE', {
      expected: 'strings that do not end with NUL, which numpy drops',
      got: 'one that does',
    })
  const header = npyHeader(descr, t.shape)
  const data = Array.isArray(t.data)
    ? Buffer.from(t.data.map((s) => s.padEnd(width, '\0')).join(''), 'latin1')
    : bytesOf(t)
  return Buffer.concat([header, data])
}

/** The header that numpy.save writes; with a size, padded to that. */
export function npyHeader(descr: string, shape: readonly number[], size?: number): Buffer {
  const dims = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`
  // numpy leaves room for the first dimension to grow in place
  const room = shape.length > 0 ? 21 - String(shape[0]).length : 0
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${dims}, }${' '.repeat(room)}`
  const padding = size === undefined ? 64 - ((10 + dict.length + 1) % 64) : Math.max(0, size - 10 - dict.length - 1)
  const header = Buffer.from(`${MAGIC}\x01\x00\0\0${dict}${' '.repeat(padding)}\n`, 'latin1')
  header.writeUInt16LE(header.length - 10, 8)
  return header
}

/** numpy's spelling of a dtype of fixed width. @throws {AppError} WRONG_DTYPE */
export function npyDescr(dtype: DType): string {
  const code = CODE.get(dtype)
  if (!code) throw new AppError('WRONG_DTYPE', { expected: 'a dtype that numpy has', got: dtype })
  return `${DTYPES[dtype].bytes === 1 ? '|' : '<'}${code}`
}

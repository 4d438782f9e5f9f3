import { textOf } from '../../src/bytestring.ts'
import { AppError } from '../../src/errors.ts'
import { DTYPES, type DType, fromBytes, sizeOf } from '../../src/tensor.ts'
import type { TfShape, TfTensor } from '../graph.ts'
import { tfDType } from './proto/tensorflow.ts'
import { has, type Int64, toBigInt, toNumber } from './protobuf.ts'

export interface ShapeProto {
  dim?: { size?: Int64; name?: string }[]
  unknown_rank?: boolean
}

export interface TensorProto {
  dtype: number
  tensor_shape?: ShapeProto
  tensor_content?: Uint8Array
  string_val?: Uint8Array[]
  [field: string]: unknown
}

export function shapeOf(p: ShapeProto | null | undefined): TfShape {
  if (!p || p.unknown_rank) return undefined
  return (p.dim ?? []).map((d) => (toNumber(d.size) < 0 ? null : toNumber(d.size)))
}

/** Where each dtype keeps its values when they are not in tensor_content. */
const VALUE_FIELD: Readonly<Record<string, string>> = {
  float32: 'float_val',
  float64: 'double_val',
  int32: 'int_val',
  uint8: 'int_val',
  int16: 'int_val',
  int8: 'int_val',
  uint16: 'int_val',
  qint8: 'int_val',
  quint8: 'int_val',
  qint32: 'int_val',
  int64: 'int64_val',
  bool: 'bool_val',
  float16: 'half_val',
  bfloat16: 'half_val',
  uint32: 'uint32_val',
  uint64: 'uint64_val',
  complex64: 'scomplex_val',
  complex128: 'dcomplex_val',
}

/** Quantised dtypes are plain integers to us. */
const STORAGE: Readonly<Record<string, DType>> = {
  qint8: 'int8',
  quint8: 'uint8',
  qint32: 'int32',
  qint16: 'int16',
  quint16: 'uint16',
}

/**
 * TensorFlow's TensorProto. A list shorter than the shape repeats its last value, an empty one means zeros: the format says so.
 * @throws {AppError} BAD_MODEL_FILE
 */
export function tensorOf(p: TensorProto, where: string): TfTensor {
  const kind = tfDType(p.dtype)
  const shape = (shapeOf(p.tensor_shape) ?? []).map((d) => d ?? 0)
  const n = sizeOf(shape)
  if (n > 2 ** 31) throw bad(where, 'a tensor of at most 2^31 elements', `[${shape}]`)
  if (kind === 'string') {
    const values = (p.string_val ?? []).map(textOf)
    return { dtype: 'string', shape, data: stretch(values, n, where) }
  }
  const field = VALUE_FIELD[kind]
  if (!field) throw bad(where, 'a tensor of numbers or strings', `dtype ${kind}`)
  if (kind === 'complex64' || kind === 'complex128') return complexOf(p, kind, shape, where)
  const dtype = (STORAGE[kind] ?? kind) as Exclude<DType, 'string'>
  if (has(p, 'tensor_content') && p.tensor_content!.length > 0) {
    const bytes = p.tensor_content!
    if (bytes.length !== n * DTYPES[dtype].bytes)
      throw bad(where, `${n * DTYPES[dtype].bytes} bytes for ${dtype} [${shape}]`, `${bytes.length}`)
    return fromBytes(dtype, shape, bytes)
  }
  const raw = (p[field] as (number | Int64 | boolean)[] | undefined) ?? []
  checkCount(raw.length, n, where)
  const data = new DTYPES[dtype].array(n) as Float32Array
  const big = dtype === 'int64' || dtype === 'uint64'
  const put = data as { [i: number]: number | bigint; fill(v: number | bigint, from: number): unknown }
  for (const [i, v] of raw.entries()) put[i] = big ? toBigInt(v as Int64) : Number(v)
  if (raw.length > 0 && raw.length < n) put.fill(put[raw.length - 1]!, raw.length)
  return { dtype, shape, data }
}

function complexOf(p: TensorProto, kind: 'complex64' | 'complex128', shape: number[], where: string): TfTensor {
  const Arr = kind === 'complex64' ? Float32Array : Float64Array
  const n = sizeOf(shape) * 2
  if (has(p, 'tensor_content') && p.tensor_content!.length > 0) {
    if (p.tensor_content!.length !== n * Arr.BYTES_PER_ELEMENT)
      throw bad(where, `${n * Arr.BYTES_PER_ELEMENT} bytes`, `${p.tensor_content!.length}`)
    const flat = fromBytes(kind === 'complex64' ? 'float32' : 'float64', [n], p.tensor_content!)
    return { dtype: kind, shape, data: flat.data as Float32Array }
  }
  const raw = (p[VALUE_FIELD[kind]!] as number[] | undefined) ?? []
  checkCount(raw.length, n, where)
  const data = new Arr(n)
  for (let i = 0; i < n; i++) data[i] = raw.length === 0 ? 0 : (raw[i] ?? raw[raw.length - 2 + (i % 2)] ?? 0)
  return { dtype: kind, shape, data }
}

/** A repeated value may stand for more elements than the file has bytes, within reason: a damaged shape must not take all memory. */
const MAX_REPEATED = 2 ** 27

function checkCount(given: number, n: number, where: string): void {
  if (given > n) throw bad(where, `at most ${n} values`, `${given}`)
  if (n - given > MAX_REPEATED) throw bad(where, `at most ${MAX_REPEATED} repeated values`, `${n - given}`)
}

function stretch(values: string[], n: number, where: string): string[] {
  checkCount(values.length, n, where)
  const last = values.at(-1) ?? ''
  return values.length === n ? values : [...values, ...Array<string>(n - values.length).fill(last)]
}

function bad(where: string, expected: string, got: string): AppError {
  return new AppError('BAD_MODEL_FILE', { where, expected, got })
}

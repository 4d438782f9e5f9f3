import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { crc32c, maskedCrc32c } from '../../src/crc32c.ts'
import { AppError } from '../../src/errors.ts'
import { DTYPES, type DType, sizeOf, tensor } from '../../src/tensor.ts'
import type { TfTensor } from '../graph.ts'
import { tfDType } from './proto/tensorflow.ts'
import { decode, has, type Int64, toNumber } from './protobuf.ts'
import { Cursor, readTable } from './sstable.ts'
import { byteString, type ShapeProto, shapeOf } from './tftensor.ts'

interface EntryProto {
  dtype: number
  shape?: ShapeProto
  shard_id: number
  offset: Int64
  size: Int64
  crc32c: number
  slices?: SliceProto[]
}
interface SliceProto {
  extent?: { start?: Int64; length?: Int64 }[]
}

/** A TensorFlow checkpoint (`PREFIX.index` + `PREFIX.data-NNNNN-of-NNNNN`), read tensor by tensor. */
export interface Bundle {
  readonly keys: readonly string[]
  has(key: string): boolean
  /** dtype and shape without reading the data */
  describe(key: string): { dtype: string; shape: readonly number[] } | undefined
  /** @throws {AppError} BAD_MODEL_FILE for missing shards, wrong sizes and checksums; CHECKPOINT_MISMATCH for a key that is not there */
  read(key: string): TfTensor
  /** the bytes of a scalar string, e.g. of the object graph, which is no text */
  blob(key: string): Uint8Array
}

/** @param prefix path without `.index`. @throws {AppError} BAD_MODEL_FILE */
export function openBundle(prefix: string): Bundle {
  const name = basename(prefix)
  const index = `${prefix}.index`
  if (!existsSync(index)) throw damaged(`${name}.index`, 'a checkpoint index beside the model', 'no such file')
  const table = readTable(readFileSync(index), `${name}.index`)
  const headerBytes = table.get('')
  if (!headerBytes) throw damaged(`${name}.index`, 'a bundle header', 'none')
  const header = decode<{ num_shards: number; endianness: number }>(
    'tensorflow.BundleHeaderProto',
    headerBytes,
    `${name}.index`,
  )
  if (header.endianness !== 0) throw damaged(`${name}.index`, 'a little-endian checkpoint', 'a big-endian one')

  const entry = (key: string): EntryProto | undefined => {
    const bytes = table.get(key)
    return bytes && decode<EntryProto>('tensorflow.BundleEntryProto', bytes, `${name}.index, entry ${printable(key)}`)
  }
  const readBytes = (e: EntryProto, key: string): Buffer => {
    const suffix = `data-${pad(e.shard_id)}-of-${pad(header.num_shards)}`
    const file = `${prefix}.${suffix}`
    const where = `${name}.${suffix}`
    if (!existsSync(file)) throw damaged(where, 'this shard beside the index', 'no such file')
    const [offset, size] = [toNumber(e.offset), toNumber(e.size)]
    if (offset + size > statSync(file).size)
      throw damaged(where, `${offset + size} bytes at least`, `${statSync(file).size}`)
    const out = Buffer.allocUnsafeSlow(size)
    const fd = openSync(file, 'r')
    try {
      for (let n = 0; n < size; ) {
        const got = readSync(fd, out, n, size - n, offset + n)
        if (got === 0) throw damaged(where, `${size} bytes for ${printable(key)}`, `${n}`)
        n += got
      }
    } finally {
      closeSync(fd)
    }
    return out
  }
  const read = (key: string): TfTensor => {
    const e = entry(key)
    if (!e)
      throw new AppError('CHECKPOINT_MISMATCH', {
        where: `${name}.index`,
        expected: `a tensor '${printable(key)}'`,
        got: `${table.size - 1} others`,
      })
    const dtype = tfDType(e.dtype)
    const shape = (shapeOf(e.shape) ?? []).map((d) => d ?? 0)
    const where = `tensor ${printable(key)} in ${name}`
    if (has(e, 'slices') && e.slices!.length > 0)
      return joinSlices(e.slices!, dtype as DType, shape, (s) => read(sliceKey(key, s, shape.length)), where)
    const bytes = readBytes(e, key)
    if (dtype === 'string') return { dtype, shape, data: strings(bytes, shape, where).map(byteString) }
    if (has(e, 'crc32c') && maskedCrc32c(bytes) !== e.crc32c >>> 0)
      throw damaged(where, 'data with the right checksum', 'damaged data')
    const storage = (dtype === 'complex64' ? 'float32' : dtype === 'complex128' ? 'float64' : dtype) as Exclude<
      DType,
      'string'
    >
    if (!(storage in DTYPES)) throw damaged(where, 'a tensor of numbers or strings', `dtype ${dtype}`)
    const n = sizeOf(shape) * (storage === dtype ? 1 : 2)
    if (bytes.length !== n * DTYPES[storage].bytes)
      throw damaged(where, `${n * DTYPES[storage].bytes} bytes`, `${bytes.length}`)
    const data = new DTYPES[storage].array(bytes.buffer as ArrayBuffer, bytes.byteOffset, n)
    return { dtype, shape, data } as TfTensor
  }
  return {
    keys: [...table.keys()].filter((k) => k !== '' && !k.startsWith('\0')),
    has: (key) => table.has(key),
    describe: (key) => {
      const e = key === '' ? undefined : entry(key)
      return e && { dtype: tfDType(e.dtype), shape: (shapeOf(e.shape) ?? []).map((d) => d ?? 0) }
    },
    read,
    blob: (key) => {
      const e = entry(key)
      if (!e || tfDType(e.dtype) !== 'string')
        throw damaged(`${name}.index`, `a string '${printable(key)}'`, e ? tfDType(e.dtype) : 'none')
      return strings(readBytes(e, key), [], `${printable(key)} in ${name}`)[0]!
    },
  }
}

/** String tensors: a varint length each, a checksum of the lengths, then the bytes (tensor_bundle.cc, ReadStringTensor). */
function strings(bytes: Buffer, shape: readonly number[], where: string): Buffer[] {
  const n = sizeOf(shape)
  if (n > bytes.length) throw damaged(where, `${n} strings`, `${bytes.length} bytes`)
  const c = new Cursor(bytes, (expected, got) => damaged(where, expected, got))
  const lengths = Array.from({ length: n }, () => c.varint())
  const fixed = Buffer.alloc(4 * n)
  for (const [i, l] of lengths.entries()) fixed.writeUInt32LE(l >>> 0, 4 * i)
  const stored = c.take(4).readUInt32LE()
  const crc = crc32c(fixed)
  if (stored !== (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0)
    throw damaged(where, 'string lengths with the right checksum', 'damaged data')
  return lengths.map((l) => c.take(l))
}

/** A partitioned variable: each slice is stored under a key of its own and copied to its place here. */
function joinSlices(
  slices: SliceProto[],
  dtype: DType,
  shape: readonly number[],
  part: (s: SliceProto) => TfTensor,
  where: string,
): TfTensor {
  const array = DTYPES[dtype]?.array
  if (!array || dtype === 'string') throw damaged(where, 'slices of numbers', dtype)
  const out = new array(sizeOf(shape)) as Float32Array
  let copied = 0
  for (const s of slices) {
    const p = part(s)
    const start = shape.map((_, i) => toNumber(s.extent?.[i]?.start))
    if (p.shape.length !== shape.length || p.shape.some((d, i) => start[i]! + d > shape[i]!))
      throw damaged(where, `slices inside [${shape}]`, `[${p.shape}] at [${start}]`)
    copyBlock(out, shape, start, p.data as Float32Array, p.shape)
    copied += p.data.length
  }
  if (copied !== out.length) throw damaged(where, `slices that cover ${out.length} elements`, `${copied}`)
  return tensor(dtype, shape, out)
}

function copyBlock(
  out: Float32Array,
  shape: readonly number[],
  start: readonly number[],
  part: Float32Array,
  size: readonly number[],
): void {
  const rank = shape.length
  const row = rank === 0 ? 1 : size[rank - 1]!
  const at = new Array<number>(Math.max(0, rank - 1)).fill(0)
  for (let from = 0; from < part.length; from += row) {
    let to = 0
    for (let i = 0; i < rank; i++) to = to * shape[i]! + start[i]! + (i < rank - 1 ? at[i]! : 0)
    out.set(part.subarray(from, from + row), to)
    for (let i = rank - 2; i >= 0 && ++at[i]! === size[i]; i--) at[i] = 0
  }
}

/** The ordered-code key of a slice (tensorflow/core/util/saved_tensor_slice_util.cc). A length of -1 means the whole dimension. */
function sliceKey(name: string, s: SliceProto, rank: number): string {
  let key = `\0${name.replace(/\0/g, '\0\xff').replace(/\xff/g, '\xff\0')}\0\x01${unsigned(rank)}`
  for (const e of s.extent ?? []) {
    const whole = !has(e, 'length')
    key += signed(whole ? 0 : toNumber(e.start)) + signed(whole ? -1 : toNumber(e.length))
  }
  return key
}

function unsigned(n: number): string {
  let bytes = ''
  for (let v = n; v > 0; v = Math.floor(v / 256)) bytes = String.fromCharCode(v % 256) + bytes
  return String.fromCharCode(bytes.length) + bytes
}

const HEADER = [0, 0x80, 0xc0, 0xe0, 0xf0, 0xf8, 0xfc, 0xfe]

function signed(n: number): string {
  const magnitude = n < 0 ? -n - 1 : n
  const bits = magnitude === 0 ? 0 : Math.floor(Math.log2(magnitude)) + 1
  const length = Math.floor(bits / 7) + 1
  const bytes: number[] = []
  for (let i = 0, v = BigInt(n); i < length; i++, v >>= 8n) bytes.unshift(Number(v & 255n))
  bytes[0]! ^= HEADER[length] ?? 0xff
  return String.fromCharCode(...bytes)
}

function pad(n: number): string {
  return String(n).padStart(5, '0')
}

function printable(key: string): string {
  return key.replace(/[^\x20-\x7e]/g, '?')
}

function damaged(where: string, expected: string, got: string): AppError {
  return new AppError('BAD_MODEL_FILE', { where, expected, got, fix: 'Check that the model was copied whole.' })
}

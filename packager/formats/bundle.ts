import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { textOf } from '../../src/bytestring.ts'
import { crc32c, maskedCrc32c } from '../../src/crc32c.ts'
import { AppError } from '../../src/errors.ts'
import { DTYPES, type DType, type NumericArray, sizeOf, tensor } from '../../src/tensor.ts'
import type { TfTensor } from '../graph.ts'
import { tfDType } from './proto/tensorflow.ts'
import { decode, has, type Int64, toNumber } from './protobuf.ts'
import { assemble, type Block, blockOf, overlap, type SliceProto, same, sliceKey } from './slice.ts'
import { Cursor, readTable } from './sstable.ts'
import { type ShapeProto, shapeOf } from './tftensor.ts'

interface EntryProto {
  dtype: number
  shape?: ShapeProto
  shard_id: number
  offset: Int64
  size: Int64
  crc32c: number
  slices?: SliceProto[]
}
/** A TensorFlow checkpoint (`PREFIX.index` + `PREFIX.data-NNNNN-of-NNNNN`), read tensor by tensor. */
export interface Bundle {
  readonly keys: readonly string[]
  has(key: string): boolean
  /** dtype and shape without reading the data */
  describe(key: string): { dtype: string; shape: readonly number[] } | undefined
  /** @throws {AppError} BAD_MODEL_FILE for missing shards, wrong sizes and checksums; CHECKPOINT_MISMATCH for a key that is not there */
  read(key: string): TfTensor
  /** a block of a tensor; where the checkpoint holds it in slices, only those that the block touches are read */
  slice(key: string, start: readonly number[], size: readonly number[]): TfTensor
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
    if (offset < 0 || size < 0 || offset + size > statSync(file).size)
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
  const found = (key: string): EntryProto => {
    const e = entry(key)
    if (e) return e
    throw new AppError('CHECKPOINT_MISMATCH', {
      where: `${name}.index`,
      expected: `a tensor '${printable(key)}'`,
      got: `${table.size - 1} others`,
    })
  }
  const read = (key: string, wanted?: Block): TfTensor => {
    const e = found(key)
    const shape = dimensions(e)
    const whole = { start: shape.map(() => 0), size: shape }
    const where = `tensor ${printable(key)} in ${name}`
    const parts = (e.slices ?? []).map((s) => ({ block: blockOf(s, shape), key: sliceKey(key, s, shape.length) }))
    const block = wanted ?? whole
    if (parts.length === 0) {
      const all = value(e, key, where)
      return same(block, whole) ? all : joined(all.dtype, block, [{ block: whole, data: all.data }], where)
    }
    const exact = parts.find((p) => same(p.block, block))
    if (exact) return value(found(exact.key), exact.key, where)
    const pieces = parts
      .filter((p) => overlap(p.block, block))
      .map((p) => ({ block: p.block, data: value(found(p.key), p.key, where, p.block.size).data }))
    return joined(tfDType(e.dtype), block, pieces, where)
  }
  const value = (e: EntryProto, key: string, where: string, expected?: readonly number[]): TfTensor => {
    const dtype = tfDType(e.dtype)
    const shape = dimensions(e)
    if (expected && (shape.length !== expected.length || shape.some((d, i) => d !== expected[i])))
      throw damaged(where, `a slice of [${expected}]`, `[${shape}]`)
    const bytes = readBytes(e, key)
    if (dtype === 'string') return { dtype, shape, data: strings(bytes, shape, where).map(textOf) }
    if (has(e, 'crc32c') && maskedCrc32c(bytes) !== e.crc32c >>> 0)
      throw damaged(where, 'data with the right checksum', 'damaged data')
    const storage = (dtype === 'complex64' ? 'float32' : dtype === 'complex128' ? 'float64' : dtype) as Exclude<
      DType,
      'string'
    >
    if (!Object.hasOwn(DTYPES, storage)) throw damaged(where, 'a tensor of numbers or strings', `dtype ${dtype}`)
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
      return e && { dtype: tfDType(e.dtype), shape: dimensions(e) }
    },
    read: (key) => read(key),
    slice: (key, start, size) => read(key, { start, size }),
    blob: (key) => {
      const e = entry(key)
      if (!e || tfDType(e.dtype) !== 'string')
        throw damaged(`${name}.index`, `a string '${printable(key)}'`, e ? tfDType(e.dtype) : 'none')
      return strings(readBytes(e, key), [], `${printable(key)} in ${name}`)[0]!
    },
  }
}

const dimensions = (e: EntryProto): number[] => (shapeOf(e.shape) ?? []).map((d) => d ?? 0)

function joined(
  dtype: string,
  block: Block,
  pieces: readonly { block: Block; data: TfTensor['data'] }[],
  where: string,
): TfTensor {
  if (!Object.hasOwn(DTYPES, dtype) || dtype === 'string') throw damaged(where, 'slices of real numbers', dtype)
  const numeric = dtype as Exclude<DType, 'string'>
  const data = assemble(numeric, block, pieces as { block: Block; data: NumericArray }[])
  if (!data)
    throw damaged(where, `slices that cover [${block.size}] at [${block.start}]`, `${pieces.length} that do not`)
  return tensor(numeric, block.size, data)
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

function pad(n: number): string {
  return String(n).padStart(5, '0')
}

function printable(key: string): string {
  return key.replace(/[^\x20-\x7e]/g, '?')
}

function damaged(where: string, expected: string, got: string): AppError {
  return new AppError('BAD_MODEL_FILE', { where, expected, got, fix: 'Check that the model was copied whole.' })
}

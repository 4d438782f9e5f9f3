import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, join, normalize } from 'node:path'
import { textOf } from '../../src/bytestring.ts'
import { AppError } from '../../src/errors.ts'
import { fromHalf } from '../../src/half.ts'
import { DTYPES, fromBytes, sizeOf } from '../../src/tensor.ts'
import type { TfTensor } from '../graph.ts'

interface WeightEntry {
  name: string
  shape: number[]
  dtype: string
  quantization?: { dtype: string; min?: number; scale?: number }
}
interface WeightGroup {
  paths: string[]
  weights: WeightEntry[]
}

/** Dtypes of the format: TensorFlow.js has no others. */
const PLAIN = ['float32', 'int32', 'bool', 'uint8', 'uint16'] as const

/**
 * The `weightsManifest` of a TensorFlow.js model: each group is a list of files that are read as one, and the weights lie one after the
 * other in it. Quantised ones are widened again. @throws {AppError} BAD_MODEL_FILE
 */
export function readTfjsWeights(dir: string, manifest: unknown): Map<string, TfTensor> {
  const out = new Map<string, TfTensor>()
  if (!isManifest(manifest)) throw bad('weightsManifest', 'a list of groups with paths and weights', 'something else')
  for (const group of manifest) {
    const bytes = Buffer.concat(group.paths.map((path) => shard(dir, path)))
    let at = 0
    for (const w of group.weights) {
      const { value, size } = read(w, bytes, at)
      out.set(w.name, value)
      at += size
    }
    if (at !== bytes.length) throw bad(group.paths.join(', '), `${at} bytes, as the manifest says`, `${bytes.length}`)
  }
  return out
}

function isManifest(m: unknown): m is WeightGroup[] {
  return (
    Array.isArray(m) &&
    m.every(
      (g: Partial<WeightGroup>) =>
        Array.isArray(g?.paths) &&
        g.paths.every((p) => typeof p === 'string') &&
        Array.isArray(g.weights) &&
        g.weights.every(
          (w) =>
            typeof w?.name === 'string' &&
            typeof w.dtype === 'string' &&
            Array.isArray(w.shape) &&
            w.shape.every((d) => Number.isSafeInteger(d) && d >= 0),
        ),
    )
  )
}

function shard(dir: string, path: string): Buffer {
  const file = normalize(path)
  if (isAbsolute(file) || file.startsWith('..'))
    throw bad(path, 'a file beside model.json', 'a path that leaves the folder')
  if (!existsSync(join(dir, file))) throw bad(path, 'this file of weights beside model.json', 'no such file')
  return readFileSync(join(dir, file))
}

function read(w: WeightEntry, bytes: Buffer, at: number): { value: TfTensor; size: number } {
  const n = sizeOf(w.shape)
  const take = (size: number): Buffer => {
    if (at + size > bytes.length) throw bad(`weight ${w.name}`, `${size} bytes`, `${bytes.length - at}`)
    return bytes.subarray(at, at + size)
  }
  if (w.dtype === 'string') return strings(w, n, bytes, at)
  if (w.dtype === 'complex64') {
    const { data } = fromBytes('float32', [2 * n], take(8 * n))
    return { value: { dtype: 'complex64', shape: w.shape, data: data as Float32Array }, size: 8 * n }
  }
  const stored = w.quantization?.dtype ?? w.dtype
  if (stored === 'float16') {
    const halves = fromBytes('float16', [n], take(2 * n)).data as Uint16Array
    return { value: { dtype: 'float32', shape: w.shape, data: Float32Array.from(halves, fromHalf) }, size: 2 * n }
  }
  const plain = PLAIN.find((d) => d === stored)
  if (!plain)
    throw bad(`weight ${w.name}`, `one of ${PLAIN.join(', ')}, float16, complex64, string`, stored.slice(0, 20))
  const size = n * DTYPES[plain].bytes
  const t = fromBytes(plain, w.shape, take(size))
  if (!w.quantization) return { value: t, size }
  return { value: widened(w, w.quantization, t.data as Uint8Array), size }
}

function widened(w: WeightEntry, q: { min?: number; scale?: number }, data: Uint8Array): TfTensor {
  const { min = 0, scale = 1 } = q
  if (w.dtype === 'int32')
    return { dtype: 'int32', shape: w.shape, data: Int32Array.from(data, (v) => Math.round(v * scale + min)) }
  return { dtype: 'float32', shape: w.shape, data: Float32Array.from(data, (v) => v * scale + min) }
}

/** Each string is its length in four bytes, then its bytes. */
function strings(w: WeightEntry, n: number, bytes: Buffer, start: number): { value: TfTensor; size: number } {
  const data: string[] = []
  let at = start
  while (data.length < n) {
    const size = at + 4 <= bytes.length ? bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY
    if (at + 4 + size > bytes.length) throw bad(`weight ${w.name}`, `${n} strings`, `bytes for ${data.length}`)
    data.push(textOf(bytes.subarray(at + 4, at + 4 + size)))
    at += 4 + size
  }
  return { value: { dtype: 'string', shape: w.shape, data }, size: at - start }
}

function bad(where: string, expected: string, got: string): AppError {
  return new AppError('BAD_MODEL_FILE', { where, expected, got, fix: 'Check that the model was copied whole.' })
}

import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs'
import { isAbsolute, join, normalize, sep } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { DTYPES, sizeOf } from '../../src/tensor.ts'
import { ONNX_FROM } from './proto/onnx.ts'
import { type Int64, toNumber } from './protobuf.ts'

/** The part of ONNX's TensorProto that says where its bytes are. */
export interface OnnxTensor {
  name: string
  dims?: Int64[]
  data_type: number
  data_location?: number
  external_data?: { key: string; value: string }[]
  raw_data?: Uint8Array
}

export interface OnnxNodeTensors {
  attribute?: { t?: OnnxTensor; tensors?: OnnxTensor[]; g?: OnnxGraphTensors; graphs?: OnnxGraphTensors[] }[]
}

/** The part of ONNX's GraphProto that holds tensors. */
export interface OnnxGraphTensors {
  node?: OnnxNodeTensors[]
  initializer?: OnnxTensor[]
  sparse_initializer?: { values?: OnnxTensor; indices?: OnnxTensor }[]
}

/** Every tensor that may lie outside of the file, those of inner graphs included. */
export function* tensorsOf(graph: OnnxGraphTensors): Generator<OnnxTensor> {
  const graphs = [graph]
  for (let g = graphs.pop(); g; g = graphs.pop()) {
    yield* g.initializer ?? []
    for (const s of g.sparse_initializer ?? [])
      yield* [s.values, s.indices].filter((t): t is OnnxTensor => t !== undefined && t !== null)
    for (const n of g.node ?? [])
      for (const a of n.attribute ?? []) {
        if (a.t) yield a.t
        yield* a.tensors ?? []
        if (a.g) graphs.push(a.g)
        graphs.push(...(a.graphs ?? []))
      }
  }
}

const EXTERNAL = 1

/** The file of a tensor that lies beside the model, relative to it. @throws {AppError} BAD_MODEL_FILE for one outside of the folder */
export function externalFile(t: OnnxTensor, file: string): string | undefined {
  if (t.data_location !== EXTERNAL) return undefined
  const location = t.external_data?.find((e) => e.key === 'location')?.value
  const path = location && normalize(location)
  if (!path || isAbsolute(path) || path === '..' || path.startsWith(`..${sep}`))
    throw new AppError('BAD_MODEL_FILE', {
      where: `tensor ${t.name} in ${file}`,
      expected: 'weights in a file beside the model',
      got: location ? 'a path that leaves the folder' : 'no location',
    })
  return path
}

/** Takes the bytes of tensors beside a model into it. @param dir where the model was. @throws {AppError} BAD_MODEL_FILE */
export function takeInside(graph: OnnxGraphTensors, dir: string, file: string): void {
  const open = new Map<string, number>()
  try {
    for (const t of tensorsOf(graph)) {
      const path = externalFile(t, file)
      if (path === undefined) continue
      checkExternal(t, dir, file)
      const fd = open.get(path) ?? openSync(join(dir, path), 'r')
      open.set(path, fd)
      const { offset, length } = extent(t)
      t.raw_data = Buffer.allocUnsafeSlow(length)
      readSync(fd, t.raw_data, 0, length, offset)
      delete t.external_data
      delete t.data_location
    }
  } finally {
    for (const fd of open.values()) closeSync(fd)
  }
}

/** Without a length the tensor says how long it is. */
function extent(t: OnnxTensor): { offset: number; length: number; needed: number } {
  const number = (key: string) => Number(t.external_data?.find((e) => e.key === key)?.value ?? 0)
  const dtype = ONNX_FROM[t.data_type]
  const needed = dtype && dtype !== 'string' ? sizeOf((t.dims ?? []).map(toNumber)) * DTYPES[dtype].bytes : 0
  return { offset: number('offset'), length: number('length') || needed, needed }
}

/** onnxruntime would map the file and read past its end. @throws {AppError} BAD_MODEL_FILE */
export function checkExternal(t: OnnxTensor, dir: string, file: string): void {
  const path = externalFile(t, file)
  if (path === undefined) return
  const where = `tensor ${t.name} in ${path}`
  const fix = 'Copy the weights file that belongs to the model beside it.'
  if (!existsSync(join(dir, path)))
    throw new AppError('BAD_MODEL_FILE', {
      where,
      expected: 'the weights file beside the model',
      got: 'no such file',
      fix,
    })
  const { offset, length, needed } = extent(t)
  const end = offset + Math.max(length, needed)
  const size = statSync(join(dir, path)).size
  if (!(offset >= 0 && end <= size))
    throw new AppError('BAD_MODEL_FILE', { where, expected: `${end} bytes at least`, got: `${size}`, fix })
}

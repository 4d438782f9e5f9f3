import { existsSync, statSync } from 'node:fs'
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

/** onnxruntime would map the file and read past its end. @throws {AppError} BAD_MODEL_FILE */
export function checkExternal(t: OnnxTensor, dir: string, file: string): void {
  const path = externalFile(t, file)
  if (path === undefined) return
  const number = (key: string) => Number(t.external_data?.find((e) => e.key === key)?.value ?? 0)
  const where = `tensor ${t.name} in ${path}`
  const fix = 'Copy the weights file that belongs to the model beside it.'
  if (!existsSync(join(dir, path)))
    throw new AppError('BAD_MODEL_FILE', {
      where,
      expected: 'the weights file beside the model',
      got: 'no such file',
      fix,
    })
  const dtype = ONNX_FROM[t.data_type]
  const needed = dtype && dtype !== 'string' ? sizeOf((t.dims ?? []).map(toNumber)) * DTYPES[dtype].bytes : 0
  const end = number('offset') + Math.max(number('length'), needed)
  const size = statSync(join(dir, path)).size
  if (!(end <= size))
    throw new AppError('BAD_MODEL_FILE', { where, expected: `${end} bytes at least`, got: `${size}`, fix })
}

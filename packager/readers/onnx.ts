import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { Signature, TensorSpec } from '../../src/manifest.ts'
import { checkExternal, type OnnxGraphTensors, tensorsOf } from '../formats/onnxdata.ts'
import { signatureFrom } from '../formats/onnxmeta.ts'
import { ONNX_FROM } from '../formats/proto/onnx.ts'
import { decode, has, type Int64, toNumber } from '../formats/protobuf.ts'
import type { Reader } from './reader.ts'

interface TypeProto {
  tensor_type?: { elem_type: number; shape?: { dim?: { dim_value?: Int64; dim_param?: string }[] } }
  sequence_type?: object
  optional_type?: object
}
interface ValueInfo {
  name: string
  type?: TypeProto
}
interface GraphProto extends OnnxGraphTensors {
  input?: ValueInfo[]
  output?: ValueInfo[]
}
interface ModelProto {
  ir_version: Int64
  opset_import?: { domain: string; version: Int64 }[]
  graph?: GraphProto
  metadata_props?: { key: string; value: string }[]
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile()

/** Checked, not changed: onnxruntime runs every opset from 7 on, and writes an optimised file itself. */
export const ONNX: Reader = {
  name: 'ONNX',
  files: 'an .onnx file',
  match: (path) => /\.(onnx|ort)$/i.test(path) && isFile(path),
  open(path) {
    const file = basename(path)
    if (/\.ort$/i.test(path))
      throw new AppError('BAD_MODEL_FILE', {
        where: file,
        expected: 'an .onnx file',
        got: "onnxruntime's own .ort format, which is bound to the version that wrote it",
        fix: 'Give the .onnx file that it was made from.',
      })
    const model = decode<ModelProto>('onnx.ModelProto', readFileSync(path), file)
    const graph = model.graph
    if (!graph?.output?.length)
      throw new AppError('BAD_MODEL_FILE', {
        where: file,
        expected: 'an ONNX model with a graph and outputs',
        got: 'a message without them',
        fix: 'Check that the file was copied whole.',
      })
    checkOpset(model, file)
    for (const t of tensorsOf(graph)) checkExternal(t, dirname(path), file)
    return { kind: 'file', path, signature: signatureFrom(model.metadata_props) ?? signatureOf(graph, file) }
  },
}

function checkOpset(model: ModelProto, file: string): void {
  const opset = model.opset_import?.find((o) => o.domain === '' || o.domain === 'ai.onnx')
  const version = toNumber(opset?.version)
  const others = (model.opset_import ?? []).length > 0
  if (version >= 7 || (!opset && others)) return
  throw new AppError('BAD_MODEL_FILE', {
    where: file,
    expected: 'opset 7 or newer',
    got: opset ? `opset ${version}` : 'no opset at all',
    fix: 'Convert it with onnx.version_converter, or export the model again.',
  })
}

/**
 * Inputs that are initializers as well are constants to us: since IR version 4 they might be overridden, but exporters list all weights
 * there, and onnxruntime-node ignores what is fed for them.
 */
function signatureOf(graph: GraphProto, file: string): Omit<Signature, 'graph'> {
  const constants = new Set((graph.initializer ?? []).map((t) => t.name))
  const specs = (list: readonly ValueInfo[], what: string): Record<string, TensorSpec> =>
    Object.fromEntries(list.map((v) => [v.name, specOf(v, what, file)]))
  return {
    method: 'tensorflow/serving/predict',
    inputs: specs(
      (graph.input ?? []).filter((v) => !constants.has(v.name)),
      'input',
    ),
    outputs: specs(graph.output ?? [], 'output'),
  }
}

function specOf(v: ValueInfo, what: string, file: string): TensorSpec {
  const where = `${what} '${v.name}' of ${file}`
  const t = v.type?.tensor_type
  if (!t) {
    const got = v.type?.sequence_type ? 'a sequence' : v.type?.optional_type ? 'an optional value' : 'another type'
    throw new AppError('UNSUPPORTED_OPS', { where, expected: 'a tensor', got, fix: EXPORT_PLAIN })
  }
  const dtype = ONNX_FROM[t.elem_type]
  if (!dtype)
    throw new AppError('UNSUPPORTED_OPS', {
      where,
      expected: 'a tensor of real numbers, booleans or strings',
      got: `ONNX data type ${t.elem_type}`,
      fix: EXPORT_PLAIN,
    })
  const shape = has(t, 'shape')
    ? (t.shape!.dim ?? []).map((d) =>
        has(d, 'dim_value') && toNumber(d.dim_value) >= 0 ? toNumber(d.dim_value) : null,
      )
    : null
  return { name: v.name, source: v.name, dtype, shape }
}

const EXPORT_PLAIN =
  'Export the model with plain tensors as inputs and outputs; for classifiers of scikit-learn turn ZipMap off.'

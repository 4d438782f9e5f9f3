import { AppError } from '../../errors.ts'
import type { Signature, TensorSpec } from '../../manifest.ts'
import type { DType } from '../../tensor.ts'
import { versionNumber } from '../../version.ts'
import type { Catalogue, ModelRef } from '../protocol.ts'

/** All that is packaged can be asked, so every version is available. */
export function status({ model, version, label }: ModelRef, catalogue: Catalogue): string {
  const asked = version === undefined && label === undefined
  const versions = asked
    ? catalogue.manifests.filter((m) => m.model === model)
    : [catalogue.find({ model, version, label })]
  if (versions.length === 0) {
    const details = {
      expected: [...new Set(catalogue.manifests.map((m) => m.model))].join(', '),
      got: model?.slice(0, 80),
    }
    throw new AppError('UNKNOWN_MODEL', { ...details, reply: `Could not find any versions of model ${model}` })
  }
  const model_version_status = versions.map((m) => ({
    version: versionNumber(m.version),
    state: 'AVAILABLE',
    status: { error_code: 'OK', error_message: '' },
  }))
  return print({ model_version_status })
}

interface TensorInfo {
  readonly dtype: string
  readonly tensor_shape: { readonly dim: readonly { size: string; name: string }[]; readonly unknown_rank: boolean }
  readonly name: string
}

interface SignatureDef {
  readonly inputs: Readonly<Record<string, TensorInfo>>
  readonly outputs: Readonly<Record<string, TensorInfo>>
  readonly method_name: string
  readonly defaults: object
}

/** TensorFlow Serving's GetModelMetadataResponse, with its signature_def in signature_def. */
export function metadata(ref: ModelRef, catalogue: Catalogue): string {
  const manifest = catalogue.find(ref)
  const signature_def = Object.fromEntries(
    Object.entries(manifest.signatures).map(([name, signature]) => [name, signatureDef(signature)]),
  )
  if (manifest.initOp) signature_def[INIT_OP] = initOpDef(manifest.initOp)
  const model_spec = { name: manifest.model, signature_name: '', version: versionNumber(manifest.version) }
  return print({ model_spec, metadata: { signature_def: { signature_def } } })
}

function signatureDef({ inputs, outputs, method }: Signature): SignatureDef {
  return { inputs: infos(inputs), outputs: infos(outputs), method_name: method, defaults: {} }
}

const INIT_OP = '__saved_model_init_op'

/** TensorFlow 2 writes its initialiser as an output that is no tensor. */
function initOpDef(name: string): SignatureDef {
  const nothing = { dtype: 'DT_INVALID', tensor_shape: { dim: [], unknown_rank: true }, name }
  return { inputs: {}, outputs: { [INIT_OP]: nothing }, method_name: '', defaults: {} }
}

function infos(specs: Readonly<Record<string, TensorSpec>>): Record<string, TensorInfo> {
  return Object.fromEntries(
    Object.entries(specs).map(([alias, { dtype, shape, declared = shape, name, source }]) => [
      alias,
      {
        dtype: DTYPE_NAMES[dtype],
        tensor_shape: {
          dim: (declared ?? []).map((d) => ({ size: `${d ?? -1}`, name: '' })),
          unknown_rank: declared === null,
        },
        name: source ?? name,
      },
    ]),
  )
}

/** tensorflow.DataType */
const DTYPE_NAMES = {
  float32: 'DT_FLOAT',
  float64: 'DT_DOUBLE',
  float16: 'DT_HALF',
  bfloat16: 'DT_BFLOAT16',
  int8: 'DT_INT8',
  int16: 'DT_INT16',
  int32: 'DT_INT32',
  int64: 'DT_INT64',
  uint8: 'DT_UINT8',
  uint16: 'DT_UINT16',
  uint32: 'DT_UINT32',
  uint64: 'DT_UINT64',
  bool: 'DT_BOOL',
  string: 'DT_STRING',
} as const satisfies Record<DType, string>

/** protobuf prints with one space a level, and ends the line. */
function print(message: object): string {
  return `${JSON.stringify(message, null, 1)}\n`
}

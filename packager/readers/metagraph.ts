import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { GraphDef, NodeDef } from '../formats/graphdef.ts'
import { tfDType } from '../formats/proto/tensorflow.ts'
import { decode } from '../formats/protobuf.ts'
import { type ShapeProto, shapeOf, type TensorProto, tensorOf } from '../formats/tftensor.ts'
import type { SignatureTensor, TfSignature } from '../graph.ts'
import type { ObjectGraph } from './objectgraph.ts'

interface TensorInfo {
  name: string
  dtype: number
  tensor_shape?: ShapeProto
  coo_sparse?: { values_tensor_name: string; indices_tensor_name: string; dense_shape_tensor_name: string }
}
interface SignatureDef {
  inputs?: Record<string, TensorInfo>
  outputs?: Record<string, TensorInfo>
  method_name: string
  defaults?: Record<string, TensorProto>
}
interface AssetFileDef {
  tensor_info?: { name: string }
  filename: string
}
export interface MetaGraph {
  meta_info_def?: { tags?: string[]; tensorflow_version?: string }
  graph_def?: GraphDef
  signature_def?: Record<string, SignatureDef>
  asset_file_def?: AssetFileDef[]
  object_graph_def?: ObjectGraph
  collection_def?: Record<
    string,
    { bytes_list?: { value?: Uint8Array[] }; any_list?: { value?: { value: Uint8Array }[] } }
  >
}

/** What tf.estimator adds for training on a loaded model; no client calls it. */
const SUPERVISED = /^tensorflow\/supervised\/(training|eval)$/

export function signaturesOf(meta: MetaGraph): Record<string, TfSignature> {
  const out: Record<string, TfSignature> = {}
  for (const [key, s] of Object.entries(meta.signature_def ?? {})) {
    const outputs = Object.values(s.outputs ?? {})
    // The init op appears as a signature whose only output is no tensor.
    if (outputs.length === 0 || outputs.every((o) => tfDType(o.dtype) === 'invalid')) continue
    if (SUPERVISED.test(s.method_name)) continue
    out[key] = { method: s.method_name, inputs: infos(s.inputs, s.defaults), outputs: infos(s.outputs) }
  }
  return out
}

const INIT_OP = '__saved_model_init_op'

export function initOpOf(meta: MetaGraph): string | undefined {
  return meta.signature_def?.[INIT_OP]?.outputs?.[INIT_OP]?.name
}

function infos(
  map: Record<string, TensorInfo> | undefined,
  defaults: Record<string, TensorProto> = {},
): Record<string, SignatureTensor> {
  return Object.fromEntries(
    Object.entries(map ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([alias, t]) => parts(alias, t))
      .map(([alias, t]) => [
        alias,
        {
          tensor: t.name,
          dtype: tfDType(t.dtype),
          shape: shapeOf(t.tensor_shape ?? { unknown_rank: true }),
          ...(defaults[alias] && { default: tensorOf(defaults[alias], `default of ${alias}`) }),
        },
      ]),
  )
}

/** A sparse tensor is three tensors to a client, as it is to a session. */
function parts(alias: string, t: TensorInfo): [string, TensorInfo][] {
  const sparse = t.coo_sparse
  if (!sparse) return [[alias, t]]
  const part = (name: string, dtype: number, rank: number): TensorInfo => ({
    name,
    dtype,
    tensor_shape: { dim: Array.from({ length: rank }, () => ({ size: -1 })) },
  })
  return [
    [`${alias}/indices`, part(sparse.indices_tensor_name, 9, 2)],
    [`${alias}/shape`, part(sparse.dense_shape_tensor_name, 9, 1)],
    [`${alias}/values`, part(sparse.values_tensor_name, t.dtype, 1)],
  ]
}

/** TF2 lists its assets; TF1 keeps them in a collection of packed messages. */
export function assetFiles(meta: MetaGraph): AssetFileDef[] {
  const packed = meta.collection_def?.saved_model_assets?.any_list?.value ?? []
  const listed = meta.asset_file_def ?? []
  if (listed.length > 0) return listed
  return packed.map((a) => decode<AssetFileDef>('tensorflow.AssetFileDef', a.value, 'saved_model_assets'))
}

/** Texts of the assets by file name. A vocabulary that is not there is found missing by the table that wants it. */
export function assetsOf(dir: string, meta: MetaGraph): Map<string, string> {
  const out = new Map<string, string>()
  for (const { filename } of assetFiles(meta)) {
    const file = join(dir, 'assets', filename)
    if (!/(^|[\\/])\.\.([\\/]|$)/.test(filename) && existsSync(file)) out.set(filename, readFileSync(file, 'utf8'))
  }
  return out
}

/** As TensorFlow's loader does: the tensors that carry paths of assets get the paths of today, here the names of the files. */
export function withAssetNames(meta: MetaGraph): GraphDef {
  const def = meta.graph_def ?? {}
  const names = new Map(assetFiles(meta).map((a) => [a.tensor_info?.name.replace(/:0$/, ''), a.filename]))
  if (names.size === 0) return def
  const named = (n: NodeDef, filename: string): NodeDef => ({
    name: n.name,
    op: 'Const',
    attr: {
      dtype: { type: 7 },
      value: { tensor: { dtype: 7, tensor_shape: {}, string_val: [Buffer.from(filename, 'utf8')] } },
    },
  })
  return {
    ...def,
    versions: def.versions,
    node: (def.node ?? []).map((n) => {
      const filename = names.get(n.name)
      return filename === undefined ? n : named(n, filename)
    }),
    library: def.library,
  }
}

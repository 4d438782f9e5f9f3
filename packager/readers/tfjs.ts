import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { type GraphDef, graphOf, parseRef } from '../formats/graphdef.ts'
import { TF_DTYPE_ENUM, tfDType } from '../formats/proto/tensorflow.ts'
import { fromJson } from '../formats/protojson.ts'
import { readTfjsWeights } from '../formats/tfjsweights.ts'
import { type ShapeProto, shapeOf } from '../formats/tftensor.ts'
import type { SignatureTensor, TfGraph, TfModel, TfNode, TfSignature, TfTensor } from '../graph.ts'
import { graphSignature } from './endpoints.ts'
import type { Reader, ReadOptions } from './reader.ts'

interface InfoJson {
  name: string
  dtype?: string | number
  tensorShape?: unknown
  resourceId?: number
}
interface SignatureJson {
  inputs?: Record<string, InfoJson>
  outputs?: Record<string, InfoJson>
}
export interface ModelJson {
  format?: string
  modelTopology?: object
  weightsManifest?: unknown
  signature?: SignatureJson
  userDefinedMetadata?: { signature?: SignatureJson }
  modelInitializer?: object
  initializerSignature?: SignatureJson
}

/** The `model.json` that a path means, and what it holds; undefined where it is no TensorFlow.js model. @throws {AppError} BAD_MODEL_FILE */
export function openModelJson(path: string): { dir: string; json: ModelJson } | undefined {
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, 'model.json') : path
  if (!file.endsWith('.json') || !existsSync(file)) return undefined
  let json: unknown
  try {
    json = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new AppError('BAD_MODEL_FILE', { where: basename(file), expected: 'JSON', got: 'text that is none', cause })
  }
  return isModelJson(json) ? { dir: dirname(file), json } : undefined
}

function isModelJson(json: unknown): json is ModelJson {
  if (typeof json !== 'object' || json === null || !('modelTopology' in json)) return false
  return typeof json.modelTopology === 'object' && json.modelTopology !== null
}

const isGraphModel = (json: ModelJson): boolean =>
  json.format === 'graph-model' || (json.format === undefined && Object.hasOwn(json.modelTopology ?? {}, 'node'))

/** What tensorflowjs_converter writes of a SavedModel: a GraphDef in JSON whose constants lie in shards. */
export const TFJS_GRAPH: Reader = {
  name: 'TensorFlow.js graph model',
  files: 'a folder with the model.json of a TensorFlow.js model',
  match(path) {
    const found = openModelJson(path)
    return found !== undefined && isGraphModel(found.json)
  },
  open(path, options) {
    const { dir, json } = openModelJson(path)!
    return { kind: 'tensorflow', model: tfjsModel(dir, json, options) }
  },
}

function tfjsModel(dir: string, json: ModelJson, options: ReadOptions): TfModel {
  const weights = readTfjsWeights(dir, json.weightsManifest ?? [])
  const read = (topology: object | undefined, where: string): TfGraph =>
    topology
      ? withWeights(fromJson<GraphDef>('tensorflow.GraphDef', topology, `model.json, ${where}`), weights)
      : { nodes: new Map(), functions: new Map() }
  const main = read(json.modelTopology, 'modelTopology')
  const tables = read(json.modelInitializer, 'modelInitializer')
  const signature = json.signature ?? json.userDefinedMetadata?.signature
  const graph = merged(main, tables, resources(signature, json.initializerSignature))
  const asked = options.outputs?.length ? undefined : signatureOf(signature)
  return {
    graph,
    signatures: { serving_default: asked ?? graphSignature(graph, 'model.json', options.outputs) },
    variable: (node) => {
      throw new AppError('CHECKPOINT_MISMATCH', {
        where: `variable ${node.name} in model.json`,
        expected: 'weights as constants',
        got: 'a variable',
      })
    },
    assets: new Map(),
  }
}

/** The fields of a tensor without those that only say what it is. */
const VALUES = (t: object): string[] => Object.keys(t).filter((k) => k !== 'dtype' && k !== 'tensor_shape')

/**
 * Constants have their values in the shards, under the name of the node. One without a value of its own would mean zeros to TensorFlow,
 * but here that its weight was lost. @throws {AppError} BAD_MODEL_FILE
 */
function withWeights(def: GraphDef, weights: ReadonlyMap<string, TfTensor>): TfGraph {
  const graph = graphOf(def)
  const inline = new Set(
    (def.node ?? []).filter((n) => VALUES((n.attr?.value?.tensor ?? {}) as object).length > 0).map((n) => n.name),
  )
  const nodes = new Map<string, TfNode>()
  for (const [name, node] of graph.nodes) {
    const weight = node.op === 'Const' ? weights.get(name) : undefined
    if (node.op === 'Const' && !weight && !inline.has(name))
      throw new AppError('BAD_MODEL_FILE', {
        where: `constant ${name} in model.json`,
        expected: 'its value in weightsManifest',
        got: `${weights.size} other weights`,
      })
    nodes.set(name, weight ? { ...node, attrs: { value: { tensor: fitting(node, weight) } } } : node)
  }
  return { nodes, functions: graph.functions }
}

/** TensorFlow.js has no int64: such weights are stored in 32 bits, and the graph still says what they were. */
function fitting(node: TfNode, weight: TfTensor): TfTensor {
  const declared = node.attrs.dtype
  const dtype = typeof declared === 'object' && 'dtype' in declared ? declared.dtype : weight.dtype
  if (dtype === 'int64' && weight.dtype === 'int32')
    return { dtype, shape: weight.shape, data: BigInt64Array.from(weight.data as Int32Array, BigInt) }
  return weight
}

/** Placeholders of lookup tables by the tensor of the initialising graph that makes each. */
function resources(s: SignatureJson | undefined, init: SignatureJson | undefined): Map<string, string> {
  const made = new Map(named(init?.outputs).map(([, o]) => [o.resourceId, o.name]))
  const out = new Map<string, string>()
  for (const [, i] of named(s?.inputs)) {
    const tensor = i.resourceId === undefined ? undefined : made.get(i.resourceId)
    if (tensor !== undefined) out.set(parseRef(i.name).node, tensor)
  }
  return out
}

/** The tensors of a signature by alias, each with its name. @throws {AppError} BAD_MODEL_FILE */
function named(infos: Record<string, InfoJson> | null | undefined): [alias: string, info: InfoJson][] {
  const all = Object.entries(infos ?? {})
  for (const [alias, info] of all)
    if (typeof info?.name !== 'string')
      throw new AppError('BAD_MODEL_FILE', {
        where: `signature in model.json, '${alias}'`,
        expected: 'a tensor with a name',
        got: 'none',
      })
  return all
}

/** One graph of both: the initialising one under names of its own, its tables in the places of their placeholders. */
function merged(main: TfGraph, tables: TfGraph, places: ReadonlyMap<string, string>): TfGraph {
  const own = (name: string): string => `initializer/${name}`
  const nodes = new Map(main.nodes)
  for (const n of tables.nodes.values()) {
    const inputs = n.inputs.map((r) => ({ ...r, node: own(r.node) }))
    nodes.set(own(n.name), { ...n, name: own(n.name), inputs, control: n.control.map(own) })
  }
  for (const [name, tensor] of places) {
    const ref = parseRef(tensor)
    nodes.set(name, { name, op: 'Identity', inputs: [{ ...ref, node: own(ref.node) }], control: [], attrs: {} })
  }
  return { nodes, functions: new Map([...main.functions, ...tables.functions]) }
}

function signatureOf(s: SignatureJson | undefined): TfSignature | undefined {
  if (!s?.outputs || Object.keys(s.outputs).length === 0) return undefined
  return { method: 'tensorflow/serving/predict', inputs: infos(s.inputs), outputs: infos(s.outputs) }
}

function infos(map: Record<string, InfoJson> | null | undefined): Record<string, SignatureTensor> {
  return Object.fromEntries(
    named(map)
      .filter(([, t]) => t.resourceId === undefined)
      .map(([alias, t]) => {
        const code = typeof t.dtype === 'string' ? TF_DTYPE_ENUM[t.dtype] : t.dtype
        const dtype = tfDType(typeof code === 'number' ? code : 0)
        const shape = shapeOf(
          t.tensorShape === undefined
            ? { unknown_rank: true }
            : fromJson<ShapeProto>('tensorflow.TensorShapeProto', t.tensorShape, `model.json, signature ${alias}`),
        )
        return [alias, { tensor: t.name, dtype, shape }]
      }),
  )
}

import type { Bundle } from '../formats/bundle.ts'
import { decode } from '../formats/protobuf.ts'
import type { ShapeProto } from '../formats/tftensor.ts'
import type { TfGraph } from '../graph.ts'

interface Child {
  node_id: number
  local_name: string
}
export interface SavedObject {
  children?: Child[]
  variable?: { name: string; dtype: number; shape?: ShapeProto }
  function?: { concrete_functions?: string[] }
  bare_concrete_function?: { concrete_function_name: string }
  asset?: { asset_file_def_index: number }
  constant?: { operation: string }
  resource?: object
  captured_tensor?: { name: string; concrete_function: string }
}
export interface ObjectGraph {
  nodes?: SavedObject[]
  concrete_functions?: Record<
    string,
    { bound_inputs?: number[]; canonicalized_input_signature?: unknown; output_signature?: unknown }
  >
}
interface Trackable {
  children?: Child[]
  attributes?: { name: string; full_name: string; checkpoint_key: string }[]
}

const CHECKPOINT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'

/** Checkpoint keys by id of the saved object, found by walking both object graphs from the root by the names of their edges. */
export function checkpointKeys(objects: ObjectGraph, bundle: Bundle): Map<number, string> {
  const out = new Map<number, string>()
  if (!bundle.has(CHECKPOINT_GRAPH)) return out
  const tracked =
    decode<{ nodes?: Trackable[] }>(
      'tensorflow.TrackableObjectGraph',
      bundle.blob(CHECKPOINT_GRAPH),
      'the object graph of the checkpoint',
    ).nodes ?? []
  const saved = objects.nodes ?? []
  const pairs: [number, number][] = [[0, 0]]
  const seen = new Set<number>([0])
  for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
    const [id, t] = pair
    const value = tracked[t]?.attributes?.find((a) => a.name === 'VARIABLE_VALUE') ?? tracked[t]?.attributes?.[0]
    if (value && saved[id]?.variable) out.set(id, value.checkpoint_key)
    const byName = new Map((tracked[t]?.children ?? []).map((c) => [c.local_name, c.node_id]))
    for (const c of saved[id]?.children ?? []) {
      const match = byName.get(c.local_name)
      if (match === undefined || seen.has(c.node_id)) continue
      seen.add(c.node_id)
      pairs.push([c.node_id, match])
    }
  }
  return out
}

/**
 * Checkpoint keys by the name of the VarHandleOp node that stands for a captured variable. `tf.saved_model.save(keras_model)` writes a
 * restore op for copies of the variables, so only `bound_inputs` of the concrete function tells which value a captured handle has.
 */
export function objectGraphVariables(objects: ObjectGraph, graph: TfGraph, bundle: Bundle): Map<string, string> {
  const keys = checkpointKeys(objects, bundle)
  const out = new Map<string, string>()
  for (const [id, o] of (objects.nodes ?? []).entries()) {
    const key = keys.get(id)
    if (o.variable?.name && key) out.set(o.variable.name.replace(/:\d+$/, ''), key)
  }
  for (const node of graph.nodes.values()) {
    const f = node.attrs.f
    const name = typeof f === 'object' && 'func' in f ? f.func : node.op
    const bound = objects.concrete_functions?.[name]?.bound_inputs
    if (!bound) continue
    const first = node.inputs.length - bound.length
    for (const [i, id] of bound.entries()) {
      const handle = graph.nodes.get(node.inputs[first + i]?.node ?? '')
      const key = keys.get(id)
      if (handle && (handle.op === 'VarHandleOp' || handle.op === 'VariableV2') && key) out.set(handle.name, key)
    }
  }
  return out
}

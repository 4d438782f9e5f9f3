import type { Bundle } from '../formats/bundle.ts'
import { decode } from '../formats/protobuf.ts'
import type { ShapeProto } from '../formats/tftensor.ts'
import type { TfGraph } from '../graph.ts'
import type { StructuredValue } from './structured.ts'

interface Child {
  node_id: number
  local_name: string
}
export interface SavedObject {
  children?: Child[]
  variable?: {
    name: string
    dtype: number
    shape?: ShapeProto
    experimental_distributed_variable_components?: { name: string }[]
  }
  function?: { concrete_functions?: string[] }
  bare_concrete_function?: { concrete_function_name: string }
  asset?: { asset_file_def_index: number }
  constant?: { operation: string }
  resource?: object
  captured_tensor?: { name: string; concrete_function: string }
}
export interface ConcreteFunction {
  bound_inputs?: number[]
  canonicalized_input_signature?: StructuredValue
  output_signature?: StructuredValue
}
export interface ObjectGraph {
  nodes?: SavedObject[]
  concrete_functions?: Record<string, ConcreteFunction>
}
interface Trackable {
  children?: Child[]
  attributes?: { name: string; full_name: string; checkpoint_key: string }[]
}

/** The key under which an object checkpoint keeps the graph of its objects. */
export const CHECKPOINT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'

function trackables(bundle: Bundle): Trackable[] {
  return (
    decode<{ nodes?: Trackable[] }>(
      'tensorflow.TrackableObjectGraph',
      bundle.blob(CHECKPOINT_GRAPH),
      'the object graph of the checkpoint',
    ).nodes ?? []
  )
}

const keyOf = (t: Trackable | undefined): string | undefined =>
  (t?.attributes?.find((a) => a.name === 'VARIABLE_VALUE') ?? t?.attributes?.[0])?.checkpoint_key

/** Checkpoint keys by the path of the variable from the root; an object that several paths reach is listed under the first of them found. */
export function trackedKeys(bundle: Bundle): Map<string, string> {
  const nodes = trackables(bundle)
  const out = new Map<string, string>()
  const seen = new Set<number>([0])
  const queue: { id: number; path: string }[] = [{ id: 0, path: '' }]
  for (let item = queue.shift(); item; item = queue.shift()) {
    const { id, path } = item
    const key = keyOf(nodes[id])
    if (key !== undefined && bundle.has(key)) out.set(path, key)
    for (const c of nodes[id]?.children ?? []) {
      if (seen.has(c.node_id)) continue
      seen.add(c.node_id)
      queue.push({ id: c.node_id, path: path ? `${path}/${c.local_name}` : c.local_name })
    }
  }
  return out
}

/** Checkpoint keys by the name that the variable had, in the order of the object graph. */
export function trackedNames(bundle: Bundle): Map<string, string> {
  const out = new Map<string, string>()
  for (const node of trackables(bundle))
    for (const a of node.attributes ?? [])
      if (a.name === 'VARIABLE_VALUE' && a.full_name && bundle.has(a.checkpoint_key) && !out.has(a.full_name))
        out.set(a.full_name, a.checkpoint_key)
  return out
}

/** Checkpoint keys by id of the saved object, found by walking both object graphs from the root by the names of their edges. */
export function checkpointKeys(objects: ObjectGraph, bundle: Bundle): Map<number, string> {
  const out = new Map<number, string>()
  if (!bundle.has(CHECKPOINT_GRAPH)) return out
  const tracked = trackables(bundle)
  const saved = objects.nodes ?? []
  const pairs: [number, number][] = [[0, 0]]
  const seen = new Set<number>([0])
  for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
    const [id, t] = pair
    const key = keyOf(tracked[t])
    if (key !== undefined && saved[id]?.variable) out.set(id, key)
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
    if (!o.variable?.name || !key) continue
    // a distributed variable is one value; its copies on other devices have names of their own
    for (const { name } of [o.variable, ...(o.variable.experimental_distributed_variable_components ?? [])])
      out.set(name.replace(/:\d+$/, ''), key)
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

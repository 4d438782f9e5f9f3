import { tfDType } from '../formats/proto/tensorflow.ts'
import { shapeOf } from '../formats/tftensor.ts'
import type { Attr, Ref, SignatureTensor, TfFunction, TfGraph, TfNode, TfSignature } from '../graph.ts'
import type { ConcreteFunction, ObjectGraph, SavedObject } from './objectgraph.ts'
import { type Leaf, leaves, type StructuredValue } from './structured.ts'

/** Signatures made of functions, and the graph with the nodes that feed and call them. */
export interface Called {
  readonly graph: TfGraph
  readonly signatures: Readonly<Record<string, TfSignature>>
  /** ids of the objects that the new variable nodes stand for */
  readonly variables: ReadonlyMap<string, number>
}

/** What calling the object itself means to a client. */
const DEFAULT_NAMES: Readonly<Record<string, string>> = { __call__: 'serving_default' }
/** Kept by Keras beside the call itself; they answer losses as well, or cannot be told apart from it. */
const INTERNAL = /^(_|call_and_return|train_|test_)/

/**
 * A SavedModel without signatures offers the functions of its root object, as `tf.saved_model.load` does: each becomes a signature
 * named after it. Captures are resolved through the object graph, since no node of the graph stands for them.
 */
export function calledFunctions(objects: ObjectGraph, graph: TfGraph, assets: readonly string[]): Called {
  const nodes = new Map(graph.nodes)
  const variables = new Map<string, number>()
  const signatures: Record<string, TfSignature> = {}
  const scene: Scene = { objects, graph, assets, nodes, variables }
  for (const { local_name, node_id } of objects.nodes?.[0]?.children ?? []) {
    const name = DEFAULT_NAMES[local_name] ?? local_name
    if (name === local_name && INTERNAL.test(name)) continue
    const found = inference(objects, objects.nodes?.[node_id])
    const signature = found && signatureOf(name, found, scene)
    if (signature) signatures[name] = signature
  }
  return { graph: { ...graph, nodes }, signatures, variables }
}

interface Scene {
  readonly objects: ObjectGraph
  readonly graph: TfGraph
  readonly assets: readonly string[]
  readonly nodes: Map<string, TfNode>
  readonly variables: Map<string, number>
}

/** The trace of a function that is meant for inference: Keras traces once with training on, once without. */
function inference(objects: ObjectGraph, o: SavedObject | undefined): string | undefined {
  const names = o?.function?.concrete_functions ?? []
  const known = names.filter((n) => objects.concrete_functions?.[n])
  return known.find((n) => !holdsTrue(objects.concrete_functions![n]!.canonicalized_input_signature)) ?? known[0]
}

function holdsTrue(v: StructuredValue | undefined): boolean {
  if (!v) return false
  const inner = [
    ...((v.list_value ?? v.tuple_value)?.values ?? []),
    ...Object.values(v.dict_value?.fields ?? {}),
    ...(v.named_tuple_value?.values ?? []).map((p) => p.value),
  ]
  return v.bool_value === true || inner.some(holdsTrue)
}

function signatureOf(name: string, concrete: string, s: Scene): TfSignature | undefined {
  const f = s.graph.functions.get(concrete)
  const saved: ConcreteFunction | undefined = s.objects.concrete_functions?.[concrete]
  const args = leaves(saved?.canonicalized_input_signature)
  if (!f || !saved || !args || args.length + (saved.bound_inputs?.length ?? 0) !== f.args.length) return undefined
  const captured = captures(saved, s)
  if (!captured) return undefined
  const inputs: Record<string, SignatureTensor> = {}
  const fed = args.map((leaf, i): Ref => {
    const node = add(s, `${name}/${leaf.name || `args_${i}`}`, 'Placeholder', [], {
      dtype: { dtype: leaf.dtype },
      shape: { shape: leaf.shape },
    })
    inputs[free(inputs, leaf.name || `args_${i}`)] = { tensor: `${node}:0`, dtype: leaf.dtype, shape: leaf.shape }
    return { node, index: 0 }
  })
  const call = add(s, name, concrete, [...fed, ...captured], {})
  return { method: 'tensorflow/serving/predict', inputs, outputs: outputsOf(call, f, leaves(saved.output_signature)) }
}

function outputsOf(call: string, f: TfFunction, known: readonly Leaf[] | undefined): Record<string, SignatureTensor> {
  const out: Record<string, SignatureTensor> = {}
  for (const i of f.returns.keys()) {
    const leaf = known?.length === f.returns.length ? known[i] : undefined
    const key = leaf?.path.at(-1)
    const alias = key !== undefined && !/^\d+$/.test(key) ? key : `output_${i}`
    out[free(out, alias)] = { tensor: `${call}:${i}`, dtype: leaf?.dtype ?? 'invalid', shape: leaf?.shape }
  }
  return out
}

function free(taken: Readonly<Record<string, unknown>>, wanted: string): string {
  let name = wanted
  for (let i = 1; Object.hasOwn(taken, name); i++) name = `${wanted}_${i}`
  return name
}

function add(s: Scene, wanted: string, op: string, inputs: readonly Ref[], attrs: Record<string, Attr>): string {
  let name = wanted
  for (let i = 1; s.nodes.has(name); i++) name = `${wanted}_${i}`
  s.nodes.set(name, { name, op, inputs, control: [], attrs })
  return name
}

/** What a function reads besides its arguments, as nodes; undefined where something of it cannot be had outside of TensorFlow. */
function captures(f: ConcreteFunction, s: Scene): Ref[] | undefined {
  const out = (f.bound_inputs ?? []).map((id) => capture(id, s))
  return out.every((r) => r !== undefined) ? out : undefined
}

function capture(id: number, s: Scene): Ref | undefined {
  const o = s.objects.nodes?.[id]
  const name = `captured/${id}`
  if (s.nodes.has(name)) return { node: name, index: 0 }
  if (o?.variable) {
    const { dtype, shape } = o.variable
    const attrs = { dtype: { dtype: tfDType(dtype) }, shape: { shape: shapeOf(shape) } }
    s.variables.set(add(s, name, 'VarHandleOp', [], attrs), id)
    return { node: name, index: 0 }
  }
  if (o?.constant) return s.nodes.has(o.constant.operation) ? { node: o.constant.operation, index: 0 } : undefined
  if (o?.asset) {
    const file = s.assets[o.asset.asset_file_def_index]
    if (file === undefined) return undefined
    const value: Attr = { tensor: { dtype: 'string', shape: [], data: [file] } }
    return { node: add(s, name, 'Const', [], { value }), index: 0 }
  }
  return o?.resource ? resource(o, name, s) : undefined
}

/** A lookup table: the node that makes it is taken out of its creating function, and a call of its initialiser is set beside it. */
function resource(o: SavedObject, name: string, s: Scene): Ref | undefined {
  const child = (local: string): string | undefined => {
    const id = o.children?.find((c) => c.local_name === local)?.node_id
    return id === undefined ? undefined : s.objects.nodes?.[id]?.function?.concrete_functions?.[0]
  }
  const [create, initialise] = [child('_create_resource'), child('_initialize')]
  const body = create && s.graph.functions.get(create)
  const made = body && [...body.nodes.values()].find((n) => n.inputs.length === 0 && /Table/.test(n.op))
  if (!made) return undefined
  add(s, name, made.op, [], made.attrs)
  const init = initialise && s.objects.concrete_functions?.[initialise]
  const inputs = init && captures(init, s)
  if (inputs) add(s, `${name}/initialize`, initialise!, inputs, {})
  return { node: name, index: 0 }
}

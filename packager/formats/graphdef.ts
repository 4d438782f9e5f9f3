import { textOf } from '../../src/bytestring.ts'
import { AppError } from '../../src/errors.ts'
import type { Attr, Ref, TfFunction, TfGraph, TfNode } from '../graph.ts'
import { tfDType } from './proto/tensorflow.ts'
import { has, type Int64, toNumber } from './protobuf.ts'
import { type ShapeProto, shapeOf, type TensorProto, tensorOf } from './tftensor.ts'

export interface NodeDef {
  name: string
  op: string
  input?: string[]
  attr?: Record<string, AttrValue>
}
interface AttrValue {
  value?: string
  [field: string]: unknown
}
interface ArgDef {
  name: string
  type: number
  type_attr: string
  number_attr: string
  type_list_attr: string
}
interface FunctionDef {
  signature: { name: string; input_arg?: ArgDef[]; output_arg?: ArgDef[] }
  attr?: Record<string, AttrValue>
  node_def?: NodeDef[]
  ret?: Record<string, string>
}
export interface GraphDef {
  node?: NodeDef[]
  library?: { function?: FunctionDef[]; registered_gradients?: { gradient_func: string; registered_op_type: string }[] }
  versions?: { producer: number }
}

/** GraphDef message → {@link TfGraph}. @throws {AppError} BAD_MODEL_FILE for names that do not resolve */
export function graphOf(def: GraphDef): TfGraph {
  const nodes = new Map((def.node ?? []).map((n) => [n.name, nodeOf(n)] as const))
  const functions = new Map(
    (def.library?.function ?? []).map((f) => {
      if (!f.signature?.name)
        throw new AppError('BAD_MODEL_FILE', {
          where: 'the function library',
          expected: 'named functions',
          got: 'one without',
        })
      return [f.signature.name, functionOf(f)] as const
    }),
  )
  const known = new Set(nodes.keys())
  for (const n of nodes.values()) checkRefs(n, known, 'the graph')
  return { nodes, functions }
}

function functionOf(f: FunctionDef): TfFunction {
  const name = f.signature.name
  const args = (f.signature.input_arg ?? []).map((a) => ({
    name: a.name,
    dtype: tfDType(a.type || attrType(f, a.type_attr)),
  }))
  const nodes = new Map((f.node_def ?? []).map((n) => [n.name, nodeOf(n)] as const))
  const known = new Set([...nodes.keys(), ...args.map((a) => a.name)])
  for (const n of nodes.values()) checkRefs(n, known, `function ${name}`)
  const returns = (f.signature.output_arg ?? []).map((o) => {
    const text = f.ret?.[o.name]
    const ref = text === undefined ? undefined : parseRef(text)
    if (!ref || !known.has(ref.node))
      throw new AppError('BAD_MODEL_FILE', {
        where: `function ${name}`,
        expected: `a node for its output '${o.name}'`,
        got: text ?? 'none',
      })
    return { name: o.name, ref }
  })
  return { name, args, returns, nodes }
}

function attrType(f: FunctionDef, attr: string): number {
  const v = f.attr?.[attr]
  return typeof v?.type === 'number' ? v.type : 0
}

function nodeOf(n: NodeDef): TfNode {
  const inputs: Ref[] = []
  const control: string[] = []
  for (const i of n.input ?? []) {
    if (i.startsWith('^')) control.push(i.slice(1))
    else inputs.push(parseRef(i))
  }
  const attrs: Record<string, Attr> = {}
  // Attributes of constants can be large, so each is decoded when first read.
  for (const [key, value] of Object.entries(n.attr ?? {})) {
    let decoded: Attr | undefined
    Object.defineProperty(attrs, key, {
      enumerable: true,
      get: () => (decoded ??= attrOf(value, `attribute ${key} of node ${n.name}`)),
    })
  }
  return { name: n.name, op: n.op, inputs, control, attrs }
}

/** `name`, `name:2`, or in functions `name:arg:2`. */
export function parseRef(text: string): Ref {
  const parts = text.split(':')
  if (parts.length === 1) return { node: text, index: 0 }
  const index = Number(parts.at(-1))
  if (parts.length === 2) return { node: parts[0]!, index }
  return { node: parts[0]!, arg: parts[1]!, index }
}

function checkRefs(n: TfNode, known: ReadonlySet<string>, where: string): void {
  for (const r of n.inputs)
    if (!known.has(r.node) || !Number.isInteger(r.index))
      throw new AppError('BAD_MODEL_FILE', {
        where: `node ${n.name} in ${where}`,
        expected: 'inputs that exist',
        got: `'${r.node}'`,
      })
}

/** @throws {AppError} BAD_MODEL_FILE */
export function attrOf(a: AttrValue, where: string): Attr {
  const list = a.list as Record<string, unknown[]> | undefined
  if (has(a, 'list') && list) {
    for (const kind of ['s', 'i', 'f', 'b', 'type', 'shape', 'tensor', 'func'])
      if (Array.isArray(list[kind]) && list[kind].length > 0) return list[kind].map((v) => one(kind, v, where))
    return []
  }
  for (const kind of ['s', 'i', 'f', 'b', 'type', 'shape', 'tensor', 'func', 'placeholder'])
    if (has(a, kind)) return one(kind, a[kind], where)
  return 0
}

function one(kind: string, v: unknown, where: string): Attr {
  switch (kind) {
    case 's':
      return textOf(v as Uint8Array)
    case 'i': {
      const n = toNumber(v as Int64)
      return Number.isSafeInteger(n) ? n : BigInt(String(v))
    }
    case 'type':
      return { dtype: tfDType(v as number) }
    case 'shape':
      return { shape: shapeOf(v as ShapeProto) }
    case 'tensor':
      return { tensor: tensorOf(v as TensorProto, where) }
    case 'func': {
      const f = v as { name: string; attr?: Record<string, AttrValue> }
      return {
        func: f.name,
        attrs: Object.fromEntries(Object.entries(f.attr ?? {}).map(([k, x]) => [k, attrOf(x, where)])),
      }
    }
    default:
      return v as number | boolean | string
  }
}

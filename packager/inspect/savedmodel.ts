import { AppError } from '../../src/errors.ts'
import { nearest } from '../../src/nearest.ts'
import type { GraphDef, NodeDef } from '../formats/graphdef.ts'
import { TF_DTYPE_ENUM } from '../formats/proto/tensorflow.ts'
import { toNumber } from '../formats/protobuf.ts'
import type { MetaGraph } from '../readers/metagraph.ts'
import { concreteFunctions, order } from './functions.ts'
import { pyString } from './python.ts'

// What `saved_model_cli show` prints (tensorflow/python/tools/saved_model_cli.py), line by line. Each function gives whole lines.

const tagsOf = (g: MetaGraph) => g.meta_info_def?.tags ?? []
const byText = (a: readonly string[], b: readonly string[]) => {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return order(a[i]!, b[i]!)
  return a.length - b.length
}

export function tagSets(graphs: readonly MetaGraph[]): string {
  const sets = graphs.map(tagsOf).sort(byText)
  const lines = sets.map((s) => `${pyString([...s].sort(order).join(', '))}\n`)
  return `The given SavedModel contains the following tag-sets:\n${lines.join('')}`
}

export function everything(graphs: readonly MetaGraph[]): string {
  let out = ''
  for (const g of [...graphs].sort((a, b) => byText(tagsOf(a), tagsOf(b)))) {
    out += `\nMetaGraphDef with tag-set: '${tagsOf(g).join(', ')}' contains the following SignatureDefs:\n`
    for (const key of keysOf(g)) out += `\nsignature_def['${key}']:\n${signature(g, key, '  ')}`
    out += opsOf(g)
  }
  return out + concreteFunctions(graphs)
}

export function signatureKeys(g: MetaGraph): string {
  const lines = keysOf(g).map((key) => `SignatureDef key: "${key}"\n`)
  return `The given SavedModel MetaGraphDef contains SignatureDefs with the following keys:\n${lines.join('')}`
}

export const keysOf = (g: MetaGraph): string[] => Object.keys(g.signature_def ?? {}).sort(order)

/** @throws {AppError} UNKNOWN_SIGNATURE */
export function signature(g: MetaGraph, key: string, indent = ''): string {
  if (!Object.hasOwn(g.signature_def ?? {}, key)) {
    const meant = nearest(key, keysOf(g))
    throw new AppError('UNKNOWN_SIGNATURE', {
      got: `Could not find signature "${key}"`,
      fix: `Please choose from: ${keysOf(g).join(', ')}.${meant ? ` Did you mean ${meant}?` : ''}`,
    })
  }
  const s = g.signature_def![key]!
  return [
    'The given SavedModel SignatureDef contains the following input(s):',
    ...tensors('inputs', s.inputs ?? {}),
    'The given SavedModel SignatureDef contains the following output(s):',
    ...tensors('outputs', s.outputs ?? {}),
    `Method name is: ${s.method_name}`,
  ]
    .map((line) => `${indent}${line}\n`)
    .join('')
}

type Infos = NonNullable<NonNullable<MetaGraph['signature_def']>[string]['inputs']>

function tensors(kind: string, infos: Infos): string[] {
  return Object.keys(infos)
    .sort(order)
    .flatMap((key) => {
      const t = infos[key]!
      return [
        `  ${kind}['${key}'] tensor_info:`,
        `      dtype: ${dtypeName(t.dtype)}`,
        `      shape: ${t.tensor_shape?.unknown_rank ? 'unknown_rank' : `(${(t.tensor_shape?.dim ?? []).map((d) => toNumber(d.size)).join(', ')})`}`,
        `      name: ${t.name}`,
      ]
    })
}

const NAMES = new Map(Object.entries(TF_DTYPE_ENUM).map(([name, n]) => [n, name]))

/** A reference type is the number plus 100. */
function dtypeName(n: number): string {
  return n > 100 ? `${NAMES.get(n - 100) ?? n}_REF` : (NAMES.get(n) ?? String(n))
}

/** The tool prints a Python set, whose order changes from run to run; ours is sorted. */
export function opsOf(g: MetaGraph): string {
  const tags = tagsOf(g).map((t) => pyString(t))
  const ops = usedOps(g.graph_def ?? {}).map((op) => pyString(op))
  const set = ops.length > 0 ? `{${ops.join(', ')}}` : 'set()'
  return `The MetaGraph with tag set [${tags.join(', ')}] contains the following ops: ${set}\n`
}

/** Ops of the graph and of the functions that it calls by name or by PartitionedCall (ops_used_by_graph_def). */
export function usedOps(def: GraphDef): string[] {
  const functions = new Map((def.library?.function ?? []).map((f) => [f.signature.name, f]))
  const used = new Set<string>()
  const waiting: (readonly NodeDef[])[] = [def.node ?? []]
  const mark = (op: string) => {
    if (used.has(op)) return
    used.add(op)
    const body = functions.get(op)
    if (body) waiting.push(body.node_def ?? [])
  }
  for (let nodes = waiting.pop(); nodes; nodes = waiting.pop())
    for (const n of nodes) {
      mark(n.op)
      const called = n.attr?.f?.func as { name: string } | undefined
      if (called && (n.op === 'PartitionedCall' || n.op === 'StatefulPartitionedCall')) mark(called.name)
    }
  return [...used].filter((op) => !functions.has(op)).sort(order)
}

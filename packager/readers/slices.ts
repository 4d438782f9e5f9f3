import { decode, type Int64, toNumber } from '../formats/protobuf.ts'
import type { TfGraph, TfNode } from '../graph.ts'
import type { MetaGraph } from './metagraph.ts'

/** Where a part of a partitioned variable lies in the whole that the checkpoint holds. */
export interface Part {
  readonly key: string
  readonly start: readonly number[]
  readonly size: readonly number[]
}

interface VariableDef {
  variable_name: string
  save_slice_info_def?: { full_name: string; full_shape?: Int64[]; var_offset?: Int64[]; var_shape?: Int64[] }
}

/**
 * The parts of partitioned variables by the name of their node. `table/part_0` is stored as a slice of `table`: the restore op says
 * which, and so do the definitions in the collections of variables, which survive where the restore op was pruned.
 */
export function partitions(meta: MetaGraph, graph: TfGraph): Map<string, Part> {
  return new Map([...fromCollections(meta), ...fromRestore(graph)])
}

function* fromCollections(meta: MetaGraph): Generator<[string, Part]> {
  for (const name of ['variables', 'trainable_variables', 'model_variables', 'moving_average_variables'])
    for (const bytes of meta.collection_def?.[name]?.bytes_list?.value ?? []) {
      const v = decode<VariableDef>('tensorflow.VariableDef', bytes, `collection ${name}`)
      const info = v.save_slice_info_def
      if (!info?.full_name || !info.var_shape?.length) continue
      const size = info.var_shape.map(toNumber)
      const whole = (info.full_shape ?? []).map(toNumber)
      if (size.every((d, i) => d === whole[i])) continue
      const start = (info.var_offset ?? []).map(toNumber)
      yield [v.variable_name.replace(/:\d+$/, ''), { key: info.full_name, start, size }]
    }
}

/** RestoreV2 reads `key` with a spec like `10 4 0,5:-`: the whole shape, then start and length in each dimension. */
function* fromRestore(graph: TfGraph): Generator<[string, Part]> {
  for (const assign of graph.nodes.values()) {
    if (assign.op !== 'Assign' && assign.op !== 'AssignVariableOp') continue
    const [target, value] = assign.inputs
    let from = value
    let node = from && graph.nodes.get(from.node)
    while (node?.op === 'Identity') {
      from = node.inputs[0]
      node = from && graph.nodes.get(from.node)
    }
    if (node?.op !== 'RestoreV2' || !from || !target) continue
    const key = texts(graph.nodes.get(node.inputs[1]?.node ?? ''))[from.index]
    const spec = texts(graph.nodes.get(node.inputs[2]?.node ?? ''))[from.index]
    const part = key && spec ? parseSlice(key, spec) : undefined
    if (part) yield [target.node, part]
  }
}

function texts(node: TfNode | undefined): readonly string[] {
  const value = node?.attrs.value
  if (typeof value !== 'object' || !('tensor' in value) || value.tensor.dtype !== 'string') return []
  return value.tensor.data as string[]
}

function parseSlice(key: string, spec: string): Part | undefined {
  const words = spec.trim().split(/\s+/)
  const whole = words.slice(0, -1).map(Number)
  const extents = words.at(-1)!.split(':')
  if (extents.length !== whole.length || whole.some((d) => !Number.isSafeInteger(d) || d < 0)) return undefined
  const start: number[] = []
  const size: number[] = []
  for (const [i, extent] of extents.entries()) {
    const [s, n] = extent === '-' ? [0, whole[i]!] : extent.split(',').map(Number)
    if (!Number.isSafeInteger(s) || !Number.isSafeInteger(n)) return undefined
    start.push(s!)
    size.push(n!)
  }
  return { key, start, size }
}

import type { TfFunction, TfGraph, TfNode } from '../graph.ts'
import { structureConditionals } from './conditionals.ts'
import { checkInputs, ENTER, MERGE } from './edges.ts'
import { structureLoops } from './loops.ts'

/**
 * Control flow as functions: TensorFlow 1 writes loops as cycles and conditionals as values that may be missing, TensorFlow 2 as nodes with
 * functions. After this there is only the second kind, in the graph and in every function.
 */
export function structured(graph: TfGraph): TfGraph {
  const functions = new Map(graph.functions)
  const nodes = loopsOf(graph.nodes, functions)
  for (const f of graph.functions.values()) functions.set(f.name, { ...f, nodes: loopsOf(f.nodes, functions) })
  // loop bodies made just now hold conditionals too
  for (const f of [...functions.values()]) functions.set(f.name, { ...f, nodes: conditionalsOf(f.nodes, functions) })
  return { nodes: conditionalsOf(nodes, functions), functions }
}

type Nodes = ReadonlyMap<string, TfNode>

function rewritten(nodes: Nodes, ops: ReadonlySet<string>, rewrite: (nodes: Map<string, TfNode>) => void): Nodes {
  for (const n of nodes.values()) {
    if (!ops.has(n.op)) continue
    checkInputs(nodes.values())
    const copy = new Map(nodes)
    rewrite(copy)
    return copy
  }
  return nodes
}

const loopsOf = (nodes: Nodes, functions: Map<string, TfFunction>): Nodes =>
  rewritten(nodes, ENTER, (copy) => structureLoops(copy, functions))
const conditionalsOf = (nodes: Nodes, functions: Map<string, TfFunction>): Nodes =>
  rewritten(nodes, MERGE, (copy) => structureConditionals(copy, functions))

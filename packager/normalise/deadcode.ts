import type { OnnxGraph } from '../onnx/value.ts'
import { reads } from './edit.ts'

/** Drops nodes whose outputs nobody reads, and initializers that are not used; graph inputs stay, they are the interface. */
export function dropDead(g: OnnxGraph): OnnxGraph {
  const needed = new Set(g.outputs.map((o) => o.name))
  const nodes = []
  for (const n of [...g.nodes].reverse()) {
    if (!n.outputs.some((o) => needed.has(o))) continue
    for (const r of reads(n.inputs, n.attrs)) needed.add(r)
    nodes.push(n)
  }
  const inputs = new Set(g.inputs.map((i) => i.name))
  const initializers = new Map([...g.initializers].filter(([name]) => needed.has(name) || inputs.has(name)))
  return { ...g, nodes: nodes.reverse(), initializers }
}

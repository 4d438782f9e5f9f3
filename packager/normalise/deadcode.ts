import type { OnnxGraph } from '../onnx/value.ts'

/** Names that a node reads, those of its inner graphs included. */
export function reads(inputs: readonly string[], attrs: OnnxGraph['nodes'][number]['attrs']): string[] {
  const out = inputs.filter((i) => i !== '')
  for (const a of Object.values(attrs)) {
    if (typeof a !== 'object' || !('nodes' in a)) continue
    for (const n of a.nodes) out.push(...reads(n.inputs, n.attrs))
    for (const o of a.outputs) out.push(o.name)
  }
  return out
}

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

import { isGraph, type OnnxGraph, type OnnxNode } from '../onnx/value.ts'
import { reads } from './edit.ts'

/** Conditionals and loops without the results that nobody reads, and without what only those need. */
export function dropUnusedResults(g: OnnxGraph): OnnxGraph {
  const needed = new Set(g.outputs.map((o) => o.name))
  const nodes: OnnxNode[] = []
  for (const n of [...g.nodes].reverse()) {
    if (!n.outputs.some((o) => needed.has(o))) continue
    const slim = n.type === 'If' ? slimIf(n, needed) : n.type === 'Loop' ? slimLoop(n, needed) : n
    for (const r of reads(slim.inputs, slim.attrs)) needed.add(r)
    nodes.push(slim)
  }
  return { ...g, nodes: nodes.reverse() }
}

function slimIf(n: OnnxNode, needed: ReadonlySet<string>): OnnxNode {
  const kept = (_: unknown, i: number): boolean => needed.has(n.outputs[i]!)
  const attrs = Object.entries(n.attrs).map(([name, a]) =>
    isGraph(a) ? [name, dropUnusedResults({ ...a, outputs: a.outputs.filter(kept) })] : [name, a],
  )
  return { ...n, outputs: n.outputs.filter(kept), attrs: Object.fromEntries(attrs) }
}

/** Body inputs are the iteration, the condition and what is carried; its outputs the condition, what is carried, and what is stacked. */
function slimLoop(n: OnnxNode, needed: ReadonlySet<string>): OnnxNode {
  const { body } = n.attrs
  if (!body || !isGraph(body)) return n
  const carried = body.inputs.length - 2
  const keep = new Set(n.outputs.flatMap((o, i) => (needed.has(o) ? [i] : [])))
  for (;;) {
    const slim = dropUnusedResults({ ...body, outputs: body.outputs.filter((_, i) => i === 0 || keep.has(i - 1)) })
    const read = new Set([...slim.nodes.flatMap((x) => reads(x.inputs, x.attrs)), ...slim.outputs.map((o) => o.name)])
    const more = Array.from({ length: carried }, (_, i) => i).filter(
      (i) => !keep.has(i) && read.has(body.inputs[i + 2]!.name),
    )
    if (more.length === 0) {
      const stays = (_: unknown, i: number): boolean => i < 2 || keep.has(i - 2)
      return {
        ...n,
        inputs: n.inputs.filter(stays),
        outputs: n.outputs.filter((_, i) => keep.has(i)),
        attrs: { ...n.attrs, body: { ...slim, inputs: body.inputs.filter(stays) } },
      }
    }
    for (const i of more) keep.add(i)
  }
}

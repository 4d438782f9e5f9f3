import type { OnnxGraph } from '../onnx/value.ts'
import { Editor } from './edit.ts'

/** Ops that change nothing: Identity, and Cast, Reshape and Expand to what the value already is. */
export function dropIdentities(g: OnnxGraph): OnnxGraph {
  const e = new Editor(g)
  const inner = new Set(g.nodes.flatMap((n) => n.outputs))
  for (const [at, n] of g.nodes.entries()) {
    if (n.type !== 'Identity' || n.domain !== '') continue
    const [from, to] = [n.inputs[0]!, n.outputs[0]!]
    if (!e.isOutput(to)) {
      e.redirect(to, from)
      e.replace(at, undefined)
      continue
    }
    // The output of the graph takes the place of the inner value, when that is made here and has no name to keep.
    const maker = e.maker(from)
    if (!maker || e.isOutput(from) || !inner.has(from)) continue
    e.replace(at, undefined)
    e.redirect(from, to)
    const now = e.maker(from)
    if (now) e.replace(now.at, { ...now.node, outputs: now.node.outputs.map((o) => (o === from ? to : o)) })
    const info = e.info.get(from)
    if (info) e.info.set(to, { ...info, name: to })
  }
  return e.done()
}

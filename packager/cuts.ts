import type { CutSpec } from '../src/manifest.ts'
import { reads } from './normalise/edit.ts'
import type { Dim, OnnxGraph } from './onnx/value.ts'
import type { Cut } from './ops/op.ts'

export function specShape(shape: readonly Dim[] | undefined): (number | null)[] | null {
  return shape ? shape.map((d) => (typeof d === 'number' ? d : null)) : null
}

/** A cut as the manifest has it. */
export function cutSpec(c: Cut): CutSpec {
  const outputs = c.outputs.map((o) => ({ name: o.name, dtype: o.dtype, shape: specShape(o.shape) }))
  return { kind: c.kind, inputs: c.inputs.map((v) => v.name), outputs, spec: c.spec }
}

/** What only cuts read or make is no input of the graph: onnxruntime would want a value for it. */
export function withoutCutInputs(graph: OnnxGraph, cuts: readonly Cut[]): OnnxGraph {
  if (cuts.length === 0) return graph
  const cut = new Set(cuts.flatMap((c) => [...c.inputs, ...c.outputs].map((v) => v.name)))
  const read = new Set(graph.nodes.flatMap((n) => reads(n.inputs, n.attrs)))
  return { ...graph, inputs: graph.inputs.filter((i) => !cut.has(i.name) || read.has(i.name)) }
}

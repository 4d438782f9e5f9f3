import type { OnnxGraph } from '../onnx/value.ts'
import { dropDead } from './deadcode.ts'

/** A named graph → graph step. */
export interface Pass {
  readonly name: string
  readonly run: (g: OnnxGraph) => OnnxGraph
}

export interface PassReport {
  readonly pass: string
  /** nodes before and after, inner graphs included */
  readonly before: number
  readonly after: number
}

/** In this order, since each leaves work for the next; dead code goes last because every pass leaves some. */
const PASSES: readonly Pass[] = [{ name: 'drop dead nodes', run: dropDead }]

export function simplify(graph: OnnxGraph): { graph: OnnxGraph; passes: PassReport[] } {
  const passes: PassReport[] = []
  let g = graph
  for (const p of PASSES) {
    const before = countNodes(g)
    g = p.run(g)
    passes.push({ pass: p.name, before, after: countNodes(g) })
  }
  return { graph: g, passes }
}

export function countNodes(g: OnnxGraph): number {
  let n = 0
  for (const node of g.nodes) {
    n++
    for (const a of Object.values(node.attrs)) if (typeof a === 'object' && 'nodes' in a) n += countNodes(a)
  }
  return n
}

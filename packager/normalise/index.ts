import type { OnnxGraph } from '../onnx/value.ts'
import { foldIntoConvolutions } from './convolutions.ts'
import { dropDead } from './deadcode.ts'
import { mergeDuplicates } from './duplicates.ts'
import { recursively } from './edit.ts'
import { dropIdentities } from './identity.ts'
import { foldPatterns } from './patterns.ts'
import { dropUnusedResults } from './results.ts'
import { cancelTransposes } from './transposes.ts'

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

/**
 * In this order: what nobody reads needs no work; identities hide patterns from every other pass; patterns are whole before Transposes move into them; transposes cancel before biases and norms can reach their convolution;
 * what they leave unread would pass for a second reader, so it is dropped in between; duplicates are found when all forms are settled.
 */
const PASSES: readonly Pass[] = [
  { name: 'drop unused results', run: dropUnusedResults },
  { name: 'drop identities', run: (g) => recursively(g, dropIdentities) },
  { name: 'fold patterns', run: (g) => recursively(g, foldPatterns) },
  { name: 'cancel transposes', run: (g) => recursively(g, cancelTransposes) },
  { name: 'drop dead nodes', run: (g) => recursively(g, dropDead) },
  { name: 'fold into convolutions', run: foldIntoConvolutions },
  { name: 'merge duplicates', run: (g) => recursively(g, mergeDuplicates) },
  { name: 'drop dead nodes', run: (g) => recursively(g, dropDead) },
]

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

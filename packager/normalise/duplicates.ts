import type { Tensor } from '../../src/tensor.ts'
import type { OnnxAttr, OnnxGraph } from '../onnx/value.ts'
import { Editor } from './edit.ts'

/** Ops whose two runs differ. */
const RANDOM: ReadonlySet<string> = new Set([
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
  'Multinomial',
  'Bernoulli',
])

/** Nodes that compute the same from the same: one stays. */
export function mergeDuplicates(g: OnnxGraph): OnnxGraph {
  const e = new Editor(g)
  const seen = new Map<string, readonly string[]>()
  for (const at of g.nodes.keys()) {
    const n = e.nodes[at]
    if (!n || RANDOM.has(n.type) || Object.values(n.attrs).some((a) => typeof a === 'object' && 'nodes' in a)) continue
    const key = `${n.domain}|${n.type}|${n.inputs.join('\0')}|${n.outputs.length}|${Object.entries(n.attrs)
      .map(([k, a]) => `${k}=${spelled(a)}`)
      .sort()
      .join(';')}`
    const first = seen.get(key)
    if (!first) seen.set(key, n.outputs)
    else if (!n.outputs.some((o) => e.isOutput(o))) {
      for (const [i, o] of n.outputs.entries()) e.redirect(o, first[i]!)
      e.replace(at, undefined)
    }
  }
  return e.done()
}

function spelled(a: OnnxAttr): string {
  if (typeof a !== 'object' || Array.isArray(a)) return JSON.stringify(a)
  const t = a as Tensor
  return `${t.dtype}[${t.shape}]${Array.from(t.data as ArrayLike<unknown>, String).join(',')}`
}

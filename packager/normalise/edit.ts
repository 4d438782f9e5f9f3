import type { OnnxGraph, OnnxNode, ValueInfo } from '../onnx/value.ts'

/** A graph under change by one pass: who makes what, who reads what. Inner graphs count as readers of the outer values they use. */
export class Editor {
  readonly nodes: (OnnxNode | undefined)[]
  readonly info: Map<string, ValueInfo>
  readonly initializers: OnnxGraph['initializers'] & Map<string, import('../../src/tensor.ts').Tensor>
  private readonly graph: OnnxGraph
  private readonly makers = new Map<string, number>()
  private readonly readers = new Map<string, Set<number>>()
  private readonly outputs: Set<string>
  private readonly used: Set<string>
  private count = 0

  constructor(graph: OnnxGraph) {
    this.graph = graph
    this.nodes = [...graph.nodes]
    this.info = new Map(graph.info)
    this.initializers = new Map(graph.initializers)
    this.outputs = new Set(graph.outputs.map((o) => o.name))
    this.used = new Set([
      ...graph.inputs.map((i) => i.name),
      ...this.info.keys(),
      ...this.initializers.keys(),
      ...graph.nodes.flatMap((n) => [n.name, ...n.outputs]),
    ])
    for (const i of this.nodes.keys()) this.index(i)
  }

  /** The node that computes a value; undefined for inputs, constants and outer values. */
  maker(value: string): { node: OnnxNode; at: number } | undefined {
    const at = this.makers.get(value)
    const node = at === undefined ? undefined : this.nodes[at]
    return node && at !== undefined ? { node, at } : undefined
  }

  readersOf(value: string): number[] {
    return [...(this.readers.get(value) ?? [])]
  }

  isOutput(value: string): boolean {
    return this.outputs.has(value)
  }

  /** Only one node reads the value, and it is no output of the graph. */
  isPrivate(value: string): boolean {
    return !this.outputs.has(value) && (this.readers.get(value)?.size ?? 0) <= 1
  }

  replace(at: number, node: OnnxNode | undefined): void {
    this.unindex(at)
    this.nodes[at] = node
    if (node) this.index(at)
  }

  /** A node right behind another in order; both have to be computed before whoever reads them, which topological order takes care of in {@link done}. */
  add(node: OnnxNode): number {
    this.nodes.push(node)
    this.index(this.nodes.length - 1)
    return this.nodes.length - 1
  }

  /** Every reader of `from` reads `to` from now on. */
  redirect(from: string, to: string): void {
    for (const at of this.readersOf(from)) {
      const n = this.nodes[at]
      if (n)
        this.replace(at, {
          ...n,
          inputs: n.inputs.map((i) => (i === from ? to : i)),
          attrs: redirected(n.attrs, from, to),
        })
    }
  }

  constant(name: string, t: import('../../src/tensor.ts').Tensor): string {
    const unique = this.name(name)
    this.initializers.set(unique, t)
    this.info.set(unique, { name: unique, dtype: t.dtype, shape: t.shape })
    return unique
  }

  value(base: string, info: Omit<ValueInfo, 'name'>): string {
    const name = this.name(base)
    this.info.set(name, { ...info, name })
    return name
  }

  name(base: string): string {
    let name = base
    while (this.used.has(name)) name = `${base}~${++this.count}`
    this.used.add(name)
    return name
  }

  done(): OnnxGraph {
    return {
      ...this.graph,
      nodes: sorted(this.nodes.filter((n) => n !== undefined)),
      info: this.info,
      initializers: this.initializers,
    }
  }

  private index(at: number): void {
    const n = this.nodes[at]!
    for (const o of n.outputs) this.makers.set(o, at)
    for (const r of reads(n.inputs, n.attrs)) {
      const set = this.readers.get(r) ?? new Set()
      set.add(at)
      this.readers.set(r, set)
    }
  }

  private unindex(at: number): void {
    const n = this.nodes[at]
    if (!n) return
    for (const o of n.outputs) if (this.makers.get(o) === at) this.makers.delete(o)
    for (const r of reads(n.inputs, n.attrs)) this.readers.get(r)?.delete(at)
  }
}

/** Names that a node reads, those of its inner graphs included. */
export function reads(inputs: readonly string[], attrs: OnnxNode['attrs']): string[] {
  const out = inputs.filter((i) => i !== '')
  for (const a of Object.values(attrs)) {
    if (typeof a !== 'object' || !('nodes' in a)) continue
    for (const n of a.nodes) out.push(...reads(n.inputs, n.attrs))
    for (const o of a.outputs) out.push(o.name)
  }
  return out
}

function redirected(attrs: OnnxNode['attrs'], from: string, to: string): OnnxNode['attrs'] {
  const entries = Object.entries(attrs)
  if (!entries.some(([, a]) => typeof a === 'object' && 'nodes' in a)) return attrs
  return Object.fromEntries(
    entries.map(([k, a]) => {
      if (typeof a !== 'object' || !('nodes' in a)) return [k, a]
      const nodes = a.nodes.map((n) => ({
        ...n,
        inputs: n.inputs.map((i) => (i === from ? to : i)),
        attrs: redirected(n.attrs, from, to),
      }))
      // An inner output must be made inside, so an outer value never is one: only inputs change.
      return [k, { ...a, nodes }]
    }),
  )
}

/** Makers before readers, otherwise in the order they stand. */
export function sorted(nodes: readonly OnnxNode[]): OnnxNode[] {
  const maker = new Map<string, number>()
  for (const [i, n] of nodes.entries()) for (const o of n.outputs) maker.set(o, i)
  const out: OnnxNode[] = []
  const state = new Uint8Array(nodes.length)
  for (const start of nodes.keys()) {
    const stack = [start]
    while (stack.length > 0) {
      const i = stack.at(-1)!
      if (state[i] === 2) {
        stack.pop()
        continue
      }
      const n = nodes[i]!
      if (state[i] === 0) {
        state[i] = 1
        const waiting = reads(n.inputs, n.attrs)
          .map((r) => maker.get(r))
          .filter((m): m is number => m !== undefined && m !== i && state[m] === 0)
        if (waiting.length > 0) {
          stack.push(...waiting.reverse())
          continue
        }
      }
      state[i] = 2
      out.push(n)
      stack.pop()
    }
  }
  return out
}

/** Runs a pass on inner graphs first, then on the graph itself. */
export function recursively(g: OnnxGraph, pass: (g: OnnxGraph) => OnnxGraph): OnnxGraph {
  const nodes = g.nodes.map((n) => {
    const entries = Object.entries(n.attrs)
    if (!entries.some(([, a]) => typeof a === 'object' && 'nodes' in a)) return n
    return {
      ...n,
      attrs: Object.fromEntries(
        entries.map(([k, a]) => [k, typeof a === 'object' && 'nodes' in a ? recursively(a, pass) : a]),
      ),
    }
  })
  return pass({ ...g, nodes })
}

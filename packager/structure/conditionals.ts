import { AppError } from '../../src/errors.ts'
import type { Ref, TfFunction, TfNode } from '../graph.ts'
import { ENTER, freeName, keyOf, MERGE, NEXT, type Nodes, outputOf, rootOf, SWITCH } from './edges.ts'

/** Under which predicates a value exists: predicate (by its root) → the branch it is on. In order, the innermost last. */
type Guard = ReadonlyMap<string, number>
const ALWAYS: Guard = new Map()

interface Join {
  readonly merge: TfNode
  readonly pred: string
  /** what each branch yields: of false and true, or of each index */
  readonly sides: readonly Ref[]
  readonly guard: Guard
}

/**
 * Acyclic Switch and Merge become If and Case nodes with functions: a Merge ends a conditional whose predicate is the one its inputs disagree
 * about, and what lies between belongs to a branch. Merges of one conditional share an If. The Merge stays as IdentityN, so names stay.
 */
export function structureConditionals(nodes: Nodes, functions: Map<string, TfFunction>): void {
  const guards = new Guards(nodes)
  const joins = [...nodes.values()].flatMap((n) => (isJoin(n, nodes) ? (guards.join(n) ?? []) : []))
  const groups = new Map<string, Join[]>()
  for (const j of joins) {
    const key = `${j.pred}|${j.sides.length}|${[...j.guard]}|${rank(j, joins, nodes)}`
    groups.set(key, [...(groups.get(key) ?? []), j])
  }
  // inner conditionals first: an outer one takes them along as they then are
  const indexed = new Set<string>()
  for (const n of nodes.values()) for (const r of n.inputs) if (outputOf(r) === 1) indexed.add(r.node)
  const ordered = [...groups.values()].sort((x, y) => y[0]!.guard.size - x[0]!.guard.size)
  for (const group of ordered) replaceGroup(group, nodes, functions, guards, indexed)
}

function isJoin(n: TfNode, nodes: Nodes): boolean {
  const ofLoop = (r: Ref) => {
    const op = nodes.get(r.node)?.op ?? ''
    return ENTER.has(op) || NEXT.has(op)
  }
  return MERGE.has(n.op) && n.inputs.length >= 2 && !n.inputs.some(ofLoop)
}

class Guards {
  private readonly known = new Map<string, Guard>()
  private readonly nodes: Nodes

  constructor(nodes: Nodes) {
    this.nodes = nodes
  }

  of(r: Ref): Guard {
    const node = this.nodes.get(r.node)
    if (!node) return ALWAYS
    const guard = this.ofNode(node)
    if (!SWITCH.has(node.op)) return guard
    return new Map([...guard, [this.predOf(node), outputOf(r)]])
  }

  predOf(s: TfNode): string {
    return keyOf(rootOf(s.inputs[1]!, this.nodes))
  }

  set(name: string, guard: Guard): void {
    this.known.set(name, guard)
  }

  /** What a Merge joins, or undefined where its inputs are not the branches of one predicate. */
  join(merge: TfNode): Join | undefined {
    const guards = merge.inputs.map((r) => this.of(r))
    const preds = guards.flatMap((g) => [...g.keys()])
    for (const pred of preds.reverse()) {
      const branches = complete(guards.map((g) => g.get(pred)))
      if (!branches) continue
      const sides = branches.map((_, side) => merge.inputs[branches.indexOf(side)]!)
      return { merge, pred, sides, guard: this.ofNode(merge) }
    }
    return undefined
  }

  /** Depth first without recursion; nodes of a cycle are met open and then say nothing. */
  private ofNode(start: TfNode): Guard {
    const stack: { node: TfNode; ready: boolean }[] = [{ node: start, ready: false }]
    while (stack.length > 0) {
      const top = stack.at(-1)!
      const { name } = top.node
      if (top.ready) {
        this.known.set(name, this.combined(top.node))
        stack.pop()
      } else if (this.known.has(name)) stack.pop()
      else {
        top.ready = true
        this.known.set(name, ALWAYS)
        for (const from of sources(top.node)) {
          const node = this.nodes.get(from)
          if (node && !this.known.has(from)) stack.push({ node, ready: false })
        }
      }
    }
    return this.known.get(start.name)!
  }

  private combined(node: TfNode): Guard {
    const all = [...node.inputs.map((r) => this.shallow(r)), ...node.control.map((c) => this.known.get(c) ?? ALWAYS)]
    if (!MERGE.has(node.op)) return new Map(all.flatMap((g) => [...g]))
    const [first, ...rest] = all.slice(0, node.inputs.length)
    return new Map([...first!].filter(([p, side]) => rest.every((g) => g.get(p) === side)))
  }

  private shallow(r: Ref): Guard {
    const node = this.nodes.get(r.node)
    const guard = this.known.get(r.node) ?? ALWAYS
    if (!node || !SWITCH.has(node.op)) return guard
    return new Map([...guard, [this.predOf(node), outputOf(r)]])
  }
}

/** Every branch once; one that lost its guard, being constant, is the one that is missing. */
function complete(branches: readonly (number | undefined)[]): number[] | undefined {
  const missing = branches.map((_, i) => i).filter((i) => !branches.includes(i))
  if (missing.length > 1 || branches.filter((b) => b === undefined).length !== missing.length) return undefined
  return branches.map((b) => b ?? missing[0]!)
}

const sources = (n: TfNode): string[] => [...n.inputs.map((r) => r.node), ...n.control]

/** How many conditionals with the same predicate lie before this one, one behind the other: those of one rank do not need each other. */
function rank(j: Join, joins: readonly Join[], nodes: Nodes): number {
  const others = new Map(joins.filter((o) => o.pred === j.pred).map((o) => [o.merge.name, o] as const))
  if (others.size === 1) return 0
  const ranks = new Map<string, number>()
  const stack: { name: string; ready: boolean }[] = [{ name: j.merge.name, ready: false }]
  while (stack.length > 0) {
    const top = stack.at(-1)!
    const node = nodes.get(top.name)
    if (!node || (!top.ready && ranks.has(top.name))) {
      stack.pop()
      continue
    }
    if (!top.ready) {
      top.ready = true
      ranks.set(top.name, 0)
      for (const from of sources(node)) if (!ranks.has(from)) stack.push({ name: from, ready: false })
      continue
    }
    const before = sources(node).map((s) => (ranks.get(s) ?? 0) + (others.has(s) ? 1 : 0))
    ranks.set(
      top.name,
      before.reduce((m, r) => Math.max(m, r), 0),
    )
    stack.pop()
  }
  return ranks.get(j.merge.name)!
}

function replaceGroup(
  group: readonly Join[],
  nodes: Nodes,
  functions: Map<string, TfFunction>,
  guards: Guards,
  indexed: ReadonlySet<string>,
): void {
  const { pred, guard } = group[0]!
  const captured: Ref[] = []
  const argument = new Map<string, number>()
  const capture = (r: Ref): Ref => {
    const key = keyOf(r)
    let at = argument.get(key)
    if (at === undefined) {
      at = captured.push(r) - 1
      argument.set(key, at)
    }
    return { node: `argument ${at}`, index: 0 }
  }
  const sides = group[0]!.sides.map((_, side) =>
    cutOut(
      group.map((j) => j.sides[side]!),
      pred,
      nodes,
      guards,
      capture,
    ),
  )
  const name = freeName(`${group[0]!.merge.name} conditional`, nodes)
  const asked = group.filter((j) => indexed.has(j.merge.name))
  const args = captured.map((_, i) => ({ name: `argument ${i}`, dtype: 'float32' as const }))
  const names = sides.map(({ body, results }, side) => {
    const index = asked.map((j, i) => indexNode(`index ${i}`, j.merge.inputs.indexOf(j.sides[side]!)))
    for (const n of index) body.set(n.name, n)
    const refs = [...results, ...index.map((n) => ({ node: n.name, index: 0 }))]
    const returns = refs.map((ref, i) => ({ name: `result ${i}`, ref }))
    const f = freeName(`${name} branch ${side}`, functions)
    functions.set(f, { name: f, args, returns, nodes: body })
    return { func: f, attrs: {} }
  })
  const start = switchOf(group[0]!, nodes, guards)
  nodes.set(name, {
    name,
    inputs: [rootOf(start.inputs[1]!, nodes), ...captured],
    control: [],
    ...(start.op === '_SwitchN'
      ? { op: 'Case', attrs: { branches: names } }
      : { op: 'If', attrs: { then_branch: names[1]!, else_branch: names[0]! } }),
  })
  guards.set(name, guard)
  for (const [i, j] of group.entries()) {
    const outputs = asked.includes(j) ? [i, group.length + asked.indexOf(j)] : [i]
    const inputs = outputs.map((index): Ref => ({ node: name, index }))
    nodes.set(j.merge.name, { ...j.merge, op: 'IdentityN', inputs, control: [] })
  }
}

/** Merge's second output: which of its inputs was there. */
const indexNode = (name: string, index: number): TfNode => ({
  name,
  op: 'Const',
  inputs: [],
  control: [],
  attrs: { value: { tensor: { dtype: 'int32', shape: [], data: Int32Array.of(index) } } },
})

/** A Switch of the predicate on the way back from the Merge. */
function switchOf(j: Join, nodes: Nodes, guards: Guards): TfNode {
  const seen = new Set<string>()
  const open = j.sides.map((r) => r.node)
  while (open.length > 0) {
    const node = nodes.get(open.pop()!)
    if (!node || seen.has(node.name)) continue
    seen.add(node.name)
    if (SWITCH.has(node.op) && guards.predOf(node) === j.pred) return node
    for (const s of sources(node)) open.push(s)
  }
  throw new AppError('INTERNAL', {
    where: `Merge ${j.merge.name}`,
    expected: `a Switch of ${j.pred} before it`,
    got: 'none',
  })
}

/** The nodes of one branch; what exists outside of it is captured. */
function cutOut(
  roots: readonly Ref[],
  pred: string,
  nodes: Nodes,
  guards: Guards,
  capture: (r: Ref) => Ref,
): { body: Map<string, TfNode>; results: Ref[] } {
  const body = new Map<string, TfNode>()
  const open: string[] = []
  const replaced = (r: Ref): Ref => {
    const node = nodes.get(r.node)
    if (node && SWITCH.has(node.op) && guards.predOf(node) === pred) return capture(node.inputs[0]!)
    if (!node || !guards.of(r).has(pred)) return capture(r)
    open.push(r.node)
    return r
  }
  const results = roots.map(replaced)
  while (open.length > 0) {
    const node = nodes.get(open.pop()!)!
    if (body.has(node.name)) continue
    body.set(node.name, { ...node, inputs: node.inputs.map(replaced), control: [] })
  }
  return { body, results }
}

import type { TfDType } from '../formats/proto/tensorflow.ts'
import type { Attr, Ref, TfFunction, TfNode } from '../graph.ts'
import { ENTER, EXIT, freeName, MERGE, NEXT, type Nodes, outputOf, SWITCH } from './edges.ts'

interface Variable {
  readonly enter: TfNode
  readonly merge: TfNode
  /** what the next iteration gets */
  readonly next: Ref
  readonly switches: readonly TfNode[]
  readonly exits: readonly TfNode[]
}

interface Frame {
  readonly name: string
  readonly variables: readonly Variable[]
  /** entered but never changed */
  readonly invariants: readonly TfNode[]
  readonly condition: Ref
}

/**
 * Frames of Enter, Merge, Switch, NextIteration and Exit become While nodes with functions. An Exit becomes an Identity of the loop's
 * result, so names stay; what remains of the frame is not reachable any more.
 */
export function structureLoops(nodes: Nodes, functions: Map<string, TfFunction>): void {
  const frames = framesOf(nodes)
  const frameOfExit = new Map<string, Frame>()
  for (const f of frames) for (const v of f.variables) for (const e of v.exits) frameOfExit.set(e.name, f)
  const begun = new Set<Frame>()
  const structure = (f: Frame): void => {
    if (begun.has(f)) return
    begun.add(f)
    replaceFrame(f, nodes, functions, (exit) => {
      const inner = frameOfExit.get(exit.name)
      if (inner) structure(inner)
    })
  }
  for (const f of frames) structure(f)
}

function framesOf(nodes: Nodes): Frame[] {
  const enters = new Map<string, TfNode[]>()
  const switches = new Map<string, TfNode[]>()
  const exits = new Map<string, TfNode[]>()
  const merges = new Map<string, TfNode>()
  const add = (map: Map<string, TfNode[]>, key: string, n: TfNode) => map.set(key, [...(map.get(key) ?? []), n])
  for (const n of nodes.values()) {
    if (ENTER.has(n.op)) add(enters, String(n.attrs.frame_name), n)
    else if (SWITCH.has(n.op)) add(switches, n.inputs[0]!.node, n)
    else if (EXIT.has(n.op)) add(exits, n.inputs[0]!.node, n)
    else if (MERGE.has(n.op))
      for (const r of n.inputs) if (ENTER.has(nodes.get(r.node)?.op ?? '')) merges.set(r.node, n)
  }
  return [...enters].flatMap(([name, list]): Frame[] => {
    const variables = list.flatMap((enter): Variable[] => {
      const merge = merges.get(enter.name)
      const back = merge?.inputs.map((r) => nodes.get(r.node)).find((n) => n && NEXT.has(n.op))
      if (!merge || !back) return []
      const own = (switches.get(merge.name) ?? []).filter((s) => nodes.get(s.inputs[1]!.node)?.op === 'LoopCond')
      return [
        { enter, merge, next: back.inputs[0]!, switches: own, exits: own.flatMap((s) => exits.get(s.name) ?? []) },
      ]
    })
    const loopCond = nodes.get(variables.flatMap((v) => v.switches)[0]?.inputs[1]?.node ?? '')
    // what is left of a loop that was cut apart; whoever needs it meets its Enter
    if (!loopCond) return []
    const changing = new Set(variables.map((v) => v.enter))
    return [{ name, variables, invariants: list.filter((e) => !changing.has(e)), condition: loopCond.inputs[0]! }]
  })
}

function replaceFrame(f: Frame, nodes: Nodes, functions: Map<string, TfFunction>, leave: (exit: TfNode) => void): void {
  const args = [...f.variables.map((v) => v.enter), ...f.invariants].map((enter, i) => ({
    name: `argument ${i}`,
    dtype: dtypeOf(enter.attrs.T),
  }))
  const argument = (i: number): Ref => ({ node: args[i]!.name, index: 0 })
  const known = new Map<string, Ref>()
  for (const [i, v] of f.variables.entries()) {
    known.set(`${v.merge.name}:0`, argument(i))
    for (const s of v.switches) known.set(`${s.name}:1`, argument(i))
  }
  for (const [i, e] of f.invariants.entries()) known.set(`${e.name}:0`, argument(f.variables.length + i))
  const extract = (suffix: string, results: readonly Ref[]): string => {
    const name = freeName(`${f.name} ${suffix}`, functions)
    const body = cutOut(results, nodes, known, leave)
    const returns = results.map((r, i) => ({ name: `result ${i}`, ref: known.get(`${r.node}:${outputOf(r)}`) ?? r }))
    functions.set(name, { name, args, returns, nodes: body })
    return name
  }
  const cond = extract('condition', [f.condition])
  const body = extract('body', [
    ...f.variables.map((v) => v.next),
    ...f.invariants.map((e) => ({ node: e.name, index: 0 })),
  ])
  const loop = freeName(`${f.name} loop`, nodes)
  nodes.set(loop, {
    name: loop,
    op: 'While',
    inputs: [...f.variables.map((v) => v.enter.inputs[0]!), ...f.invariants.map((e) => e.inputs[0]!)],
    control: [],
    attrs: { cond: { func: cond, attrs: {} }, body: { func: body, attrs: {} } },
  })
  for (const [i, v] of f.variables.entries())
    for (const e of v.exits) nodes.set(e.name, { ...e, op: 'Identity', inputs: [{ node: loop, index: i }] })
}

/**
 * The nodes that results need, with known values replaced. Control edges are followed too: they say to which branch of a
 * conditional a constant belongs.
 */
function cutOut(
  results: readonly Ref[],
  nodes: Nodes,
  known: ReadonlyMap<string, Ref>,
  leave: (exit: TfNode) => void,
): Map<string, TfNode> {
  const out = new Map<string, TfNode>()
  const replaced = (r: Ref): Ref => known.get(`${r.node}:${outputOf(r)}`) ?? r
  const open = results.map(replaced).map((r) => r.node)
  while (open.length > 0) {
    const name = open.pop()!
    if (out.has(name)) continue
    const exit = nodes.get(name)
    if (exit && EXIT.has(exit.op)) leave(exit)
    const node = nodes.get(name)
    if (!node || ENTER.has(node.op) || NEXT.has(node.op)) continue
    const inputs = node.inputs.map(replaced)
    out.set(name, { ...node, inputs })
    // one by one: spreading a long list onto the stack would overflow it
    for (const r of inputs) open.push(r.node)
    for (const c of node.control) if (!known.has(`${c}:0`) && !known.has(`${c}:1`)) open.push(c)
  }
  return out
}

function dtypeOf(a: Attr | undefined): TfDType {
  return typeof a === 'object' && 'dtype' in a ? a.dtype : 'float32'
}

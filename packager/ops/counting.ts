import type { Ref, TfFunction } from '../graph.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumber, type Value } from '../onnx/value.ts'
import type { AnyNode, Env, FuncAttr, Out } from './op.ts'

/** Ops that hand on their input. */
const PASSES = new Set(['Identity', 'Snapshot', 'StopGradient', 'PreventGradient', 'IdentityN'])
const CALLS = new Set(['PartitionedCall', 'StatefulPartitionedCall'])
const LOOPS = new Set(['While', 'StatelessWhile'])
const ADDS = new Set(['Add', 'AddV2'])
const ANDS = new Set(['LogicalAnd'])

/** Follows a reference inside a function through whatever hands it on: to an argument, or to the node that computes it. */
export function source(f: TfFunction, ref: Ref, env: Env): { arg: number } | { ref: Ref } {
  const passed = new Set<string>()
  for (let at = ref; ; ) {
    const node = f.nodes.get(at.node)
    if (node && passed.has(at.node)) return { ref: at }
    passed.add(at.node)
    if (!node) return { arg: f.args.findIndex((a) => a.name === at.node) }
    let next: Ref | undefined
    if (PASSES.has(node.op)) next = node.inputs[at.index]
    else if (CALLS.has(node.op)) {
      const inner = env.func(node.attrs.f as FuncAttr)
      const from = source(inner, inner.returns[at.index]!.ref, env)
      if ('arg' in from) next = node.inputs[from.arg]
    } else if (LOOPS.has(node.op) && isInvariant(env.func(node.attrs.body as FuncAttr), at.index, env))
      next = node.inputs[at.index]
    if (!next) return { ref: at }
    at = next
  }
}

/** Does a loop body return its argument as it came? */
export function isInvariant(body: TfFunction, i: number, env: Env): boolean {
  const from = source(body, body.returns[i]!.ref, env)
  return 'arg' in from && from.arg === i
}

/** The constant that a loop body adds to an argument each time, if that is all it does to it. */
export function stepOf(n: AnyNode, body: TfFunction, i: number, b: Builder): number | undefined {
  const from = source(body, body.returns[i]!.ref, n.env)
  const node = 'ref' in from ? body.nodes.get(from.ref.node) : undefined
  if (!node || !ADDS.has(node.op)) return undefined
  const isArg = node.inputs.map((r) => {
    const s = source(body, r, n.env)
    return 'arg' in s && s.arg === i
  })
  const other = node.inputs[isArg.indexOf(false)]
  if (!isArg.includes(true) || !other) return undefined
  const from2 = source(body, other, n.env)
  if ('arg' in from2 || body.nodes.get(from2.ref.node)?.op !== 'Const') return undefined
  const step = n.env.run(body, body.args.map(unknown), [from2.ref], b)[0]
  return step?.kind === 'tensor' ? constNumber(step) : undefined
}

const unknown = (): Out => ({ kind: 'poison' })

/** A loop variable that is start + step × iteration. */
export interface Counter {
  readonly start: Value
  readonly step: number
}

/** [the comparison holds while counting up, down]; equality counts one more */
const COMPARISONS: Readonly<Record<string, { less: boolean; equal: boolean }>> = {
  Less: { less: true, equal: false },
  LessEqual: { less: true, equal: true },
  Greater: { less: false, equal: false },
  GreaterEqual: { less: false, equal: true },
}

/**
 * How many times a loop runs, as an int64 scalar, where its condition is a conjunction of counters compared with what does not change.
 * @param fixed the arguments that stay the same, in their places; whatever changes is poison
 */
export function tripCount(
  n: AnyNode,
  cond: TfFunction,
  counters: ReadonlyMap<number, Counter>,
  fixed: readonly Out[],
  b: Builder,
): Value | undefined {
  const value = (ref: Ref): Value | undefined => {
    const out = n.env.run(cond, fixed, [ref], b)[0]
    return out?.kind === 'tensor' ? out : undefined
  }
  const bounds: Value[] = []
  const conjunct = (ref: Ref): boolean => {
    const from = source(cond, ref, n.env)
    const node = 'ref' in from ? cond.nodes.get(from.ref.node) : undefined
    if (node && ANDS.has(node.op)) return node.inputs.every(conjunct)
    const comparison = node && COMPARISONS[node.op]
    if (comparison) {
      for (const side of [0, 1]) {
        const at = source(cond, node.inputs[side]!, n.env)
        const counter = 'arg' in at ? counters.get(at.arg) : undefined
        const limit = counter && value(node.inputs[1 - side]!)
        if (!counter || !limit) continue
        // the counter is on the left for side 0; it must run towards the limit
        const up = comparison.less === (side === 0)
        if (up !== counter.step > 0) return false
        bounds.push(distance(counter, limit, comparison.equal, b))
        return true
      }
    }
    return value(ref)?.data?.data[0] === 1
  }
  if (!conjunct(cond.returns[0]!.ref) || bounds.length === 0) return undefined
  const distinct = bounds.filter((v, i) => bounds.findIndex((w) => same(v, w)) === i)
  const least = distinct.length === 1 ? distinct[0]! : b.op('Min', distinct)
  return b.reshape(b.op('Max', [least, b.ints([0])]), [])
}

const same = (v: Value, w: Value) => v.name === w.name || (v.part !== undefined && v.part[0] === w.part?.[0])

/** Iterations until the counter reaches the limit, rounded up; an int64 vector of length 1. */
function distance(c: Counter, limit: Value, equal: boolean, b: Builder): Value {
  const wide = (v: Value): Value => b.reshape(b.cast(v, 'int64'), [1])
  const [from, to] = c.step > 0 ? [c.start, limit] : [limit, c.start]
  let gap = constNumber(from) === 0 ? wide(to) : b.op('Sub', [wide(to), wide(from)])
  const by = Math.abs(c.step)
  const extra = (equal ? 1 : 0) + by - 1
  if (extra > 0) gap = b.op('Add', [gap, b.ints([extra])])
  // for a negative gap the quotient is rounded towards zero, which is never more than 0
  return by === 1 ? gap : b.op('Div', [gap, b.ints([by])])
}

import { type Tensor, tensor } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Dim, type OnnxAttr, type OnnxNode, type Value } from '../onnx/value.ts'
import type { Affine, Body } from './affine.ts'
import { type Cell, matchCell, type State } from './cells.ts'
import { isZero, lengthsOf, runsLongEnough } from './lengths.ts'
import { masksOf } from './masks.ts'

export interface LoopBody {
  readonly inner: Builder
  readonly iteration: Value
  readonly trips: Value
  /** loop-carried values: at the beginning and end of an iteration, and before the loop */
  readonly carried: readonly { readonly before: string; readonly after: Value; readonly init: Value }[]
  /** what an iteration yields */
  readonly items: readonly Value[]
}

/**
 * A loop that is nothing but recurrent cells over a sequence, as ONNX LSTM, GRU and RNN operators; stacked cells become operators one
 * behind the other. Undefined where anything in the body is not accounted for.
 * @returns final values of what was carried, and the items stacked
 */
export function fuse(l: LoopBody, b: Builder): { finals: Value[]; scans: Value[] } | undefined {
  const producers = new Map<string, OnnxNode>()
  for (const n of l.inner.nodes) for (const o of n.outputs) producers.set(o, n)
  const counts = (name: string): boolean => {
    if (name === l.iteration.name) return true
    const node = producers.get(name)
    return (node?.type === 'Cast' || node?.type === 'Identity') && counts(node.inputs[0]!)
  }
  const ends = l.carried.map((c): State => ({ before: c.before, after: c.after.name }))
  // what is carried but not read, like the last output, has no part in the cells
  const read = above([...ends.map((s) => s.after), ...l.items.map((i) => i.name)], producers)
  const live = ends.filter((s) => read.has(s.before))
  const lengths = lengthsOf(live, producers, counts, b)
  const skips = lengths ?? masksOf(live, producers, counts, b)
  const states = ends.map((s): State => ({ before: s.before, after: skips?.state(s.after) ?? s.after }))
  const whole = (steps: Dim): boolean =>
    lengths ? runsLongEnough(l.trips, steps, lengths.lens, b) : l.trips.part?.[0] === steps
  const sequences = inputsOf(l, counts, whole, skips?.prepare ?? ((x) => x), b)
  const gated = (name: string) => producers.get(name)?.type === 'Mul'
  const body: Body = {
    producer: (name) => producers.get(name),
    constant: (name) => b.constantNamed(name),
    shape: (name) => l.inner.info.get(name)?.shape,
    isSource: (name) => sequences.has(name) || states.some((s) => s.before === name) || gated(name),
  }
  const finals = new Map<string, Value>()
  for (let progress = true; progress; ) {
    progress = false
    for (const h of states) {
      if (finals.has(h.before)) continue
      const cell = matchCell(h, states, body)
      const made = cell && emit(cell, sequences, (s) => l.carried[states.indexOf(s)]!.init, skips?.lens, b)
      if (!made) continue
      sequences.set(h.after, made.all)
      finals.set(h.before, made.last)
      if (cell.kind === 'LSTM') finals.set(cell.c.before, made.cell!)
      progress = true
    }
  }
  // the output before a masked step is kept like a state, from zeros on
  for (const [i, s] of states.entries()) {
    if (finals.has(s.before) || !read.has(s.before) || !isZero(l.carried[i]!.init, b)) continue
    const twin = states.find((o) => o.after === s.after && finals.has(o.before))
    if (twin) finals.set(s.before, finals.get(twin.before)!)
  }
  const stacked = (name: string): Value | undefined => {
    // what is not masked goes on where a step is skipped, unlike the operator
    const item = skips ? skips.item(name) : { live: name, spread: (all: Value) => all }
    const all = item && sequences.get(item.live)
    return all && item.spread(all)
  }
  const final = (name: string): Value | undefined => {
    const state = ends.find((s) => s.after === name && finals.has(s.before))
    if (state) return finals.get(state.before)
    const node = producers.get(name)
    if (node?.type === 'Unsqueeze') {
      // a list of one element that every iteration overwrites
      const inner = Number(b.constantNamed(node.inputs[1] ?? '')?.data[0]) === 0 ? final(node.inputs[0]!) : undefined
      return inner && b.unsqueeze(inner, [0])
    }
    const all = stacked(name)
    return all && b.gather(all, b.int(-1))
  }
  const last = ends.map((s) => finals.get(s.before) ?? (read.has(s.before) ? undefined : final(s.after)))
  const scans = l.items.map((i) => stacked(i.name))
  if (!last.every((v) => v !== undefined) || !scans.every((v) => v !== undefined)) return undefined
  return { finals: last, scans }
}

/** Everything that values are made from, themselves included. */
function above(names: readonly string[], producers: ReadonlyMap<string, OnnxNode>): Set<string> {
  const seen = new Set(names)
  for (const name of seen) for (const i of producers.get(name)?.inputs ?? []) seen.add(i)
  return seen
}

/** What an iteration reads from stacked tensors at its own number: name inside → the whole tensor. */
function inputsOf(
  l: LoopBody,
  counts: (name: string) => boolean,
  whole: (steps: Dim) => boolean,
  prepare: (x: Value) => Value,
  b: Builder,
): Map<string, Value> {
  const out = new Map<string, Value>()
  for (const n of l.inner.nodes) {
    if (n.type !== 'Gather' || n.attrs.axis !== 0 || !counts(n.inputs[1]!)) continue
    const all = b.valueNamed(n.inputs[0]!)
    if (all?.dtype === 'float32' && all.shape?.length === 3 && whole(all.shape[0]!))
      out.set(n.outputs[0]!, prepare(all))
  }
  return out
}

/** Gate weights as ONNX lays them out: [1, gates × units, inputs]. */
function stacked(gates: readonly Affine[], source: string, units: number, inputs: number): Tensor | undefined {
  const data = new Float32Array(gates.length * units * inputs)
  let at = 0
  for (const g of gates) {
    const m = g.terms.get(source)
    if (m && (m.rows !== inputs || m.cols !== units)) return undefined
    for (let j = 0; j < units; j++) for (let i = 0; i < inputs; i++) data[at++] = m ? m.at(i, j) : 0
  }
  return tensor('float32', [1, gates.length * units, inputs], data)
}

interface Made {
  /** [steps, batch, units] */
  readonly all: Value
  /** [batch, units] */
  readonly last: Value
  readonly cell?: Value
}

/** The operator of a cell. @param init the value of a state before the loop */
function emit(
  cell: Cell,
  sequences: ReadonlyMap<string, Value>,
  init: (s: State) => Value,
  lens: Value | undefined,
  b: Builder,
): Made | undefined {
  // in ONNX's order
  const gates =
    cell.kind === 'LSTM'
      ? [cell.i, cell.o, cell.f, cell.g]
      : cell.kind === 'GRU'
        ? [cell.z, cell.r, cell.n]
        : [cell.gate]
  const inner = cell.kind === 'GRU' ? cell.inner : undefined
  const parts = gates.map((g) => g.of)
  const sources = new Set(parts.flatMap((a) => [...a.terms.keys()]).filter((s) => s !== cell.h.before))
  const source = [...sources][0]
  const x = source === undefined ? undefined : sequences.get(source)
  const inputs = x?.shape?.[2]
  const h0 = init(cell.h)
  const units = h0.shape?.[1]
  if (!x || sources.size !== 1 || typeof inputs !== 'number' || typeof units !== 'number' || h0.shape?.length !== 2)
    return undefined
  if (parts.some((p) => p.width !== units && p.width !== 1)) return undefined
  const w = stacked(parts, source!, units, inputs)
  const r = stacked(inner ? [...parts.slice(0, 2), inner] : parts, cell.h.before, units, units)
  if (!w || !r) return undefined
  const bias = (a: Affine | undefined, i: number) => (a ? a.bias(a.width === 1 ? 0 : i) : 0)
  const biases = new Float32Array(2 * parts.length * units)
  for (const [k, p] of parts.entries()) for (let i = 0; i < units; i++) biases[k * units + i] = bias(p, i)
  for (let i = 0; i < units; i++) biases[(2 * parts.length - 1) * units + i] = bias(inner, i)
  const fns =
    cell.kind === 'LSTM'
      ? [cell.f.fn, cell.g.fn, cell.out]
      : cell.kind === 'GRU'
        ? [cell.z.fn, cell.n.fn]
        : [cell.gate.fn]
  const attrs: Record<string, OnnxAttr> = { hidden_size: units, activations: fns.map((f) => f.name) }
  if (inner) attrs.linear_before_reset = 1
  // each list holds the numbers of those functions only that have one
  const [alphas, betas] = [0, 1].map((k) => fns.flatMap((f) => f.params[k] ?? []))
  if (alphas!.length > 0) attrs.activation_alpha = alphas!
  if (betas!.length > 0) attrs.activation_beta = betas!
  const states = cell.kind === 'LSTM' ? [h0, init(cell.c)] : [h0]
  const starts = states.every((s) => isZero(s, b)) ? [] : states.map((s) => b.unsqueeze(s, [0]))
  const [steps, batch] = [x.shape![0]!, x.shape![1]!]
  // with a length of 0 the operator answers zeros, TensorFlow the state as it was
  if (lens && starts.length > 0 && !(constNumbers(lens) ?? [0]).every((n) => n > 0)) return undefined
  const limit = lens && b.cast(bounded(lens, steps, x, b), 'int32')
  const final = { dtype: 'float32' as const, shape: [1, batch, units] }
  const outs = b.ops(
    cell.kind,
    [x, b.const(w), b.const(r), b.const(tensor('float32', [1, biases.length], biases)), limit, ...starts],
    attrs,
    cell.kind === 'LSTM' ? 3 : 2,
    [{ dtype: 'float32' as const, shape: [steps, 1, batch, units] }, final, ...(cell.kind === 'LSTM' ? [final] : [])],
  )
  const [all, last, c] = outs.map((v, i) => b.squeeze(v, [i === 0 ? 1 : 0]))
  return { all: all!, last: last!, ...(c && { cell: c }) }
}

/** Lengths as the operator wants them: no longer than the sequence, none negative. */
function bounded(lens: Value, steps: Dim, x: Value, b: Builder): Value {
  const top = typeof steps === 'number' ? b.ints([steps]) : b.dim(x, 0)
  return b.op('Max', [b.op('Min', [b.cast(lens, 'int64'), top]), b.ints([0])])
}

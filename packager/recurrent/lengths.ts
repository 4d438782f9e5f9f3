import type { Builder } from '../onnx/builder.ts'
import { constNumber, constNumbers, type Dim, type OnnxNode, type Value } from '../onnx/value.ts'

type Producers = ReadonlyMap<string, OnnxNode>

/** Steps that some sequences of a batch do not take: their states stay as they are. */
export interface Skips {
  /** how many steps each sequence takes */
  readonly lens: Value
  /** what a state would be were the step taken */
  readonly state: (name: string) => string | undefined
  /** the same for what an iteration yields, and how the operator's outputs become that again */
  readonly item: (name: string) => { readonly live: string; readonly spread: (all: Value) => Value } | undefined
  /** an input sequence with the steps that are taken in front */
  readonly prepare: (x: Value) => Value
}

/**
 * Where(t >= length, old, new), as dynamic_rnn has it, if all states are masked by the same lengths; outputs are zeros from there on.
 * `counts`: is a value the iteration number?
 */
export function lengthsOf(
  states: readonly { readonly before: string; readonly after: string }[],
  producers: Producers,
  counts: (name: string) => boolean,
  b: Builder,
): Skips | undefined {
  const masks = states.map((s) => maskOf(s.after, producers, counts))
  const first = masks[0]
  if (!first || !states.every((s, i) => masks[i]?.lens === first.lens && masks[i].done === s.before)) return undefined
  const lens = named(first.lens, b)
  if (lens?.shape?.length !== 1) return undefined
  return {
    lens,
    state: (name) => maskOf(name, producers, counts)?.live,
    item: (name) => {
      const m = maskOf(name, producers, counts)
      return m?.lens === first.lens && isZero(named(m.done, b), b) ? { live: m.live, spread: (all) => all } : undefined
    },
    prepare: (x) => x,
  }
}

interface Mask {
  readonly lens: string
  /** after the sequence's end, and before it */
  readonly done: string
  readonly live: string
}

function maskOf(name: string, producers: Producers, counts: (name: string) => boolean): Mask | undefined {
  const where = producers.get(name)
  if (where?.type !== 'Where') return undefined
  const [condition, yes, no] = where.inputs as [string, string, string]
  const outer = producers.get(condition)
  const test = outer?.type === 'Unsqueeze' ? producers.get(outer.inputs[0]!) : outer
  if (!test || !counts(test.inputs[0] ?? '')) return undefined
  const lens = test.inputs[1]!
  if (test.type === 'GreaterOrEqual') return { lens, done: yes, live: no }
  return test.type === 'Less' ? { lens, done: no, live: yes } : undefined
}

function named(name: string, b: Builder): Value | undefined {
  const data = b.constantNamed(name)
  return data ? b.const(data) : b.valueNamed(name)
}

/** All zeros, by value or by how it is made. */
export function isZero(v: Value | undefined, b: Builder): boolean {
  if (!v) return false
  if (v.data) return constNumbers(v)?.every((x) => x === 0) ?? false
  const node = b.producer(v)
  const from = node?.type === 'Expand' ? b.constantNamed(node.inputs[0]!) : undefined
  return from?.data.length === 1 && from.data[0] === 0
}

const PASSING = new Set(['Cast', 'Reshape', 'Squeeze', 'Unsqueeze', 'Identity'])

/** Does a loop of `trips` iterations get to the end of all sequences, or of all `steps`? What it leaves out, the mask would have. */
export function runsLongEnough(trips: Value, steps: Dim, lens: Value, b: Builder): boolean {
  const known = constNumbers(lens)
  const enough = (v: Value | undefined): boolean => {
    if (!v) return false
    const n = constNumber(v)
    if (v.part?.[0] === steps || n === steps) return true
    if (n !== undefined) return known !== undefined && n >= Math.max(0, ...known)
    const node = b.producer(v)
    const inputs = () => node!.inputs.map((i) => named(i, b))
    if (!node) return false
    if (PASSING.has(node.type)) return enough(inputs()[0])
    if (node.type === 'Sub') return constNumber(inputs()[1]) === 0 && enough(inputs()[0])
    if (node.type === 'ReduceMax') return node.inputs[0] === lens.name
    if (node.type === 'Max') return inputs().some(enough)
    return node.type === 'Min' && inputs().every(enough)
  }
  return enough(trips)
}

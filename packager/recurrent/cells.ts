import { type Affine, affine, type Body, part } from './affine.ts'

/** ONNX's names of the activations it has for recurrent operators; those with parameters are left out. */
const ACTIVATIONS: Readonly<Record<string, string>> = {
  Sigmoid: 'Sigmoid',
  Tanh: 'Tanh',
  Relu: 'Relu',
  Softsign: 'Softsign',
  Softplus: 'Softplus',
}

/** An activation of an affine function. */
export interface Gate {
  readonly fn: string
  readonly of: Affine
}

/** One state of the loop: its value at the beginning and at the end of an iteration. */
export interface State {
  readonly before: string
  readonly after: string
}

export type Cell =
  | {
      readonly kind: 'LSTM'
      readonly h: State
      readonly c: State
      readonly i: Gate
      readonly o: Gate
      readonly f: Gate
      readonly g: Gate
      readonly out: string
    }
  /** `inner`: what the reset gate multiplies, where that is the product with the recurrent kernel and not the state */
  | {
      readonly kind: 'GRU'
      readonly h: State
      readonly z: Gate
      readonly r: Gate
      readonly n: Gate
      readonly inner: Affine | undefined
    }
  | { readonly kind: 'RNN'; readonly h: State; readonly gate: Gate }

/** The cell whose output state is `h`, or undefined. */
export function matchCell(h: State, states: readonly State[], body: Body): Cell | undefined {
  return lstm(h, states, body) ?? gru(h, body) ?? rnn(h, body)
}

function activation(name: string, body: Body): { fn: string; input: string } | undefined {
  const node = body.producer(name)
  const fn = node && ACTIVATIONS[node.type]
  return fn ? { fn, input: node.inputs[0]! } : undefined
}

/** An activation, or a part of one that was split afterwards. */
function gate(name: string, body: Body): Gate | undefined {
  const node = body.producer(name)
  if (node?.type === 'Split' || node?.type === 'Slice') {
    const act = activation(node.inputs[0]!, body)
    const of = act && part(affine(act.input, body), node, name, body)
    return of && { fn: act.fn, of }
  }
  const act = activation(name, body)
  const of = act && affine(act.input, body)
  return of && { fn: act.fn, of }
}

/** The inputs of a commutative node both ways round. */
function pairs(name: string, type: string, body: Body): [string, string][] {
  const node = body.producer(name)
  if (node?.type !== type) return []
  const [a, b] = [node.inputs[0]!, node.inputs[1]!]
  return [
    [a, b],
    [b, a],
  ]
}

/** c' = f·c + i·g, h' = o·act(c') */
function lstm(h: State, states: readonly State[], body: Body): Cell | undefined {
  for (const [oName, active] of pairs(h.after, 'Mul', body)) {
    const out = activation(active, body)
    const c = out && states.find((s) => s.after === out.input)
    const o = c && gate(oName, body)
    if (!c || !o) continue
    for (const [keep, add] of pairs(c.after, 'Add', body))
      for (const [fName, before] of pairs(keep, 'Mul', body)) {
        const f = before === c.before ? gate(fName, body) : undefined
        if (!f) continue
        for (const [iName, gName] of pairs(add, 'Mul', body)) {
          const [i, g] = [gate(iName, body), gate(gName, body)]
          if (i && g && i.fn === f.fn && o.fn === f.fn) return { kind: 'LSTM', h, c, i, o, f, g, out: out.fn }
        }
      }
  }
  return undefined
}

/** h' = z·h + (1 - z)·n, where n sees the state through the reset gate r */
function gru(h: State, body: Body): Cell | undefined {
  for (const [old, fresh] of pairs(h.after, 'Add', body))
    for (const [zName, before] of pairs(old, 'Mul', body)) {
      const z = before === h.before ? gate(zName, body) : undefined
      if (!z) continue
      for (const [rest, nName] of pairs(fresh, 'Mul', body)) {
        const node = body.producer(rest)
        if (node?.type !== 'Sub' || node.inputs[1] !== zName || !isOne(node.inputs[0]!, body)) continue
        const cell = candidate(h, z, nName, body)
        if (cell) return cell
      }
    }
  return undefined
}

function isOne(name: string, body: Body): boolean {
  const t = body.constant(name)
  return t?.data.length === 1 && t.data[0] === 1
}

function candidate(h: State, z: Gate, nName: string, body: Body): Cell | undefined {
  const act = activation(nName, body)
  if (!act) return undefined
  const reset = (name: string): [Gate, string] | undefined => {
    for (const [rName, of] of pairs(name, 'Mul', body)) {
      const r = gate(rName, body)
      if (r) return [r, of]
    }
    return undefined
  }
  // act(x·W + (r·h)·R + b)
  const whole = affine(act.input, body)
  if (whole) {
    const gated = [...whole.terms.keys()].flatMap((s) => {
      const found = reset(s)
      return found && found[1] === h.before ? [{ source: s, r: found[0] }] : []
    })[0]
    if (!gated || whole.terms.has(h.before)) return undefined
    const terms = new Map([...whole.terms].map(([s, m]) => [s === gated.source ? h.before : s, m] as const))
    return fitting({ kind: 'GRU', h, z, r: gated.r, n: { fn: act.fn, of: { ...whole, terms } }, inner: undefined })
  }
  // act(x·W + b + r·(h·R + c))
  for (const [direct, product] of pairs(act.input, 'Add', body)) {
    const of = affine(direct, body)
    const found = reset(product)
    const inner = found && affine(found[1], body)
    if (!of || !inner || of.terms.has(h.before) || [...inner.terms.keys()].some((s) => s !== h.before)) continue
    return fitting({ kind: 'GRU', h, z, r: found[0], n: { fn: act.fn, of }, inner })
  }
  return undefined
}

const fitting = (cell: Cell & { kind: 'GRU' }): Cell | undefined => (cell.z.fn === cell.r.fn ? cell : undefined)

function rnn(h: State, body: Body): Cell | undefined {
  const g = gate(h.after, body)
  return g?.of.terms.has(h.before) ? { kind: 'RNN', h, gate: g } : undefined
}

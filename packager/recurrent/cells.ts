import { type Affine, affine, type Body, part } from './affine.ts'

/** An activation by ONNX's name, with alpha and beta where it has them. */
export interface Fn {
  readonly name: string
  readonly params: readonly number[]
}

const PLAIN = new Set(['Sigmoid', 'Tanh', 'Relu', 'Softsign', 'Softplus'])
/** Their defaults as node attributes. */
const WITH_ALPHA: Readonly<Record<string, number>> = { Elu: 1, LeakyRelu: 0.01 }
const IDENTITY: Fn = { name: 'Affine', params: [1, 0] }

/** An activation of an affine function. */
export interface Gate {
  readonly fn: Fn
  readonly of: Affine
}

const same = (a: Fn, b: Fn): boolean => a.name === b.name && String(a.params) === String(b.params)

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
      readonly out: Fn
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

function activation(name: string, body: Body): { fn: Fn; input: string } | undefined {
  const node = body.producer(name)
  const input = node?.inputs[0]
  if (!node || input === undefined) return undefined
  if (PLAIN.has(node.type)) return { fn: { name: node.type, params: [] }, input }
  const alpha = WITH_ALPHA[node.type]
  if (alpha !== undefined) return { fn: { name: node.type, params: [Number(node.attrs.alpha ?? alpha)] }, input }
  return hardSigmoid(name, body)
}

/** clip(x, 0, m) / m; what is done to x before is part of the affine function. */
function hardSigmoid(name: string, body: Body): { fn: Fn; input: string } | undefined {
  const node = body.producer(name)
  const divided = node?.type === 'Div' ? number(node.inputs[1], body) : undefined
  const clip = divided === undefined ? node : body.producer(node!.inputs[0]!)
  const top = divided ?? 1
  if (clip?.type !== 'Clip' || number(clip.inputs[1], body) !== 0 || number(clip.inputs[2], body) !== top)
    return undefined
  return { fn: { name: 'HardSigmoid', params: [1 / top, 0] }, input: clip.inputs[0]! }
}

function number(name: string | undefined, body: Body): number | undefined {
  const t = name ? body.constant(name) : undefined
  return t?.data.length === 1 ? Number(t.data[0]) : undefined
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
          if (i && g && same(i.fn, f.fn) && same(o.fn, f.fn)) return { kind: 'LSTM', h, c, i, o, f, g, out: out.fn }
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
        if (node?.type !== 'Sub' || node.inputs[1] !== zName || number(node.inputs[0], body) !== 1) continue
        const cell = candidate(h, z, nName, body)
        if (cell) return cell
      }
    }
  return undefined
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

const fitting = (cell: Cell & { kind: 'GRU' }): Cell | undefined => (same(cell.z.fn, cell.r.fn) ? cell : undefined)

function rnn(h: State, body: Body): Cell | undefined {
  const linear = affine(h.after, body)
  const g = linear ? { fn: IDENTITY, of: linear } : gate(h.after, body)
  return g?.of.terms.has(h.before) ? { kind: 'RNN', h, gate: g } : undefined
}

import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { channelsBack, channelsFirst } from '../layout.ts'
import { activate, activationName } from './activations.ts'
import type { Config } from './config.ts'
import { convolve, filterOf } from './conv.ts'
import { type Call, formatOf, type LayerRow, type LayerTable, type MakeChild, unsupported } from './layer.ts'

export interface Step {
  readonly output: Value
  readonly states: readonly Value[]
}

/** A recurrent cell: its step, and the ONNX operator that runs all steps where one does exactly this. */
export interface Cell {
  /** number of states */
  readonly states: number
  step(n: Call, x: Value, states: readonly Value[], b: Builder): Step
  /** the shape of a state behind the batch */
  size(n: Call, x: Value, b: Builder): number[]
  readonly fused?: (n: Call, b: Builder) => Fused | undefined
}

export interface Fused {
  readonly type: 'LSTM' | 'GRU' | 'RNN'
  /** W, R and B as ONNX orders gates */
  readonly weights: readonly (Value | undefined)[]
  readonly attrs: Record<string, string[] | number[] | number>
  readonly units: number
}

const gate = (n: Call, name: string, x: Value, b: Builder): Value => activate(x, n.config.get(name), n, b)
const add = (b: Builder, x: Value, y: Value | undefined): Value => (y ? b.op('Add', [x, y]) : x)
const mul = (b: Builder, x: Value, y: Value): Value => b.op('Mul', [x, y])

function split(v: Value, count: number, axis: number, b: Builder): Value[] {
  return b.ops('Split', [v], { axis, num_outputs: count }, count)
}

/** ONNX names of activations that its recurrent operators compute as Keras does. */
const NAMES: Readonly<Record<string, string>> = {
  tanh: 'Tanh',
  sigmoid: 'Sigmoid',
  relu: 'Relu',
  softsign: 'Softsign',
  softplus: 'Softplus',
  hard_sigmoid: 'HardSigmoid',
}

function activations(n: Call, names: readonly string[]): Fused['attrs'] | undefined {
  const found = names.map((name) => NAMES[activationName(n.config.get(name)) ?? ''])
  if (!found.every((f) => f !== undefined)) return undefined
  const hard = found.filter((f) => f === 'HardSigmoid')
  if (hard.length === 0) return { activations: found }
  const alpha = n.keras < 3 ? 0.2 : 1 / 6
  return { activations: found, activation_alpha: hard.map(() => alpha), activation_beta: hard.map(() => 0.5) }
}

/** A kernel [in, gates * units] as ONNX wants it: [1, gates * units, in] with the gates in another order. */
function turned(kernel: Value, order: readonly number[], b: Builder): Value {
  const parts = split(b.transpose(kernel, [1, 0]), order.length, 0, b)
  return b.unsqueeze(
    b.concat(
      order.map((i) => parts[i]!),
      0,
    ),
    [0],
  )
}

function ordered(bias: Value, order: readonly number[], b: Builder): Value {
  const parts = split(bias, order.length, 0, b)
  return b.concat(
    order.map((i) => parts[i]!),
    0,
  )
}

function zeros(like: Value, size: number, b: Builder): Value {
  return b.filled(like.dtype, [size], Array<number>(size).fill(0))
}

function fusedWeights(
  n: Call,
  order: readonly number[],
  biases: (bias: Value) => readonly [Value, Value],
  b: Builder,
): (Value | undefined)[] {
  const bias = n.maybe('bias')
  const both = bias && b.unsqueeze(b.concat(biases(bias), 0), [0])
  return [turned(n.w('kernel'), order, b), turned(n.w('recurrent_kernel'), order, b), both]
}

const units = (n: Call): number => n.config.int('units')
const flat = (n: Call): number[] => [units(n)]
/** ONNX has no kernels in float64 for all of them. */
const wide = (n: Call): boolean => n.w('kernel').dtype !== 'float32'

const lstm: Cell = {
  states: 2,
  size: flat,
  step: (n, x, [h, c], b) => {
    const z = add(
      b,
      b.op('Add', [b.op('MatMul', [x, n.w('kernel')]), b.op('MatMul', [h!, n.w('recurrent_kernel')])]),
      n.maybe('bias'),
    )
    const [i, f, g, o] = split(z, 4, 1, b)
    const kept = mul(b, gate(n, 'recurrent_activation', f!, b), c!)
    const carry = b.op('Add', [kept, mul(b, gate(n, 'recurrent_activation', i!, b), gate(n, 'activation', g!, b))])
    const output = mul(b, gate(n, 'recurrent_activation', o!, b), gate(n, 'activation', carry, b))
    return { output, states: [output, carry] }
  },
  fused: (n, b) => {
    const attrs = activations(n, ['recurrent_activation', 'activation', 'activation'])
    if (!attrs || wide(n)) return undefined
    // Keras: input, forget, cell, output; ONNX: input, output, forget, cell
    const order = [0, 3, 1, 2]
    const weights = fusedWeights(n, order, (bias) => [ordered(bias, order, b), zeros(bias, 4 * units(n), b)], b)
    return { type: 'LSTM', weights, attrs, units: units(n) }
  },
}

const gru: Cell = {
  states: 1,
  size: flat,
  step: (n, x, [h], b) => {
    const after = n.config.bool('reset_after', true)
    const bias = n.maybe('bias')
    const [inputBias, recurrentBias] =
      bias && after ? split(bias, 2, 0, b).map((v) => b.squeeze(v, [0])) : [bias, undefined]
    const [xz, xr, xh] = split(add(b, b.op('MatMul', [x, n.w('kernel')]), inputBias), 3, 1, b)
    const [uz, ur, uh] = split(n.w('recurrent_kernel'), 3, 1, b)
    const [bz, br, bh] = recurrentBias ? split(recurrentBias, 3, 0, b) : []
    const recurrent = (v: Value, kernel: Value, own: Value | undefined): Value =>
      add(b, b.op('MatMul', [v, kernel]), own)
    const z = gate(n, 'recurrent_activation', b.op('Add', [xz!, recurrent(h!, uz!, bz)]), b)
    const r = gate(n, 'recurrent_activation', b.op('Add', [xr!, recurrent(h!, ur!, br)]), b)
    const past = after ? mul(b, r, recurrent(h!, uh!, bh)) : recurrent(mul(b, r, h!), uh!, undefined)
    const fresh = gate(n, 'activation', b.op('Add', [xh!, past]), b)
    const output = b.op('Add', [mul(b, z, h!), mul(b, b.op('Sub', [b.scalar(z.dtype, 1), z]), fresh)])
    return { output, states: [output] }
  },
  fused: (n, b) => {
    const attrs = activations(n, ['recurrent_activation', 'activation'])
    if (!attrs || wide(n)) return undefined
    const after = n.config.bool('reset_after', true)
    const biases = (bias: Value): readonly [Value, Value] => {
      if (!after) return [bias, zeros(bias, 3 * units(n), b)]
      const [own, recurrent] = split(bias, 2, 0, b).map((v) => b.squeeze(v, [0]))
      return [own!, recurrent!]
    }
    const weights = fusedWeights(n, [0, 1, 2], biases, b)
    return { type: 'GRU', weights, attrs: { ...attrs, linear_before_reset: after ? 1 : 0 }, units: units(n) }
  },
}

const simple: Cell = {
  states: 1,
  size: flat,
  step: (n, x, [h], b) => {
    const own = add(b, b.op('MatMul', [x, n.w('kernel')]), n.maybe('bias'))
    const output = gate(n, 'activation', b.op('Add', [own, b.op('MatMul', [h!, n.w('recurrent_kernel')])]), b)
    return { output, states: [output] }
  },
  fused: (n, b) => {
    const attrs = activations(n, ['activation'])
    if (!attrs || wide(n)) return undefined
    const weights = fusedWeights(n, [0], (bias) => [bias, zeros(bias, units(n), b)], b)
    return { type: 'RNN', weights, attrs, units: units(n) }
  },
}

/** Convolutions in place of products; images stay in the layer's own format between the steps. */
const conv: Cell = {
  states: 2,
  size: (n, x, b) => {
    const y = inputConvolution(n, x, b)
    const size = channelsBack(y, formatOf(n.config), b)
      .shape!.slice(1)
      .map((d) => d)
    const filters = n.config.int('filters')
    const at = formatOf(n.config) === 'NHWC' ? size.length - 1 : 0
    if (size.every((d) => typeof d === 'number')) return (size as number[]).map((d, i) => (i === at ? filters : d))
    throw unsupported(n, 'known spatial sizes', 'a dimension that is not')
  },
  step: (n, x, [h, c], b) => {
    const format = formatOf(n.config)
    const same = { strides: ones(n), dilations: ones(n), padding: 'same', group: 1 }
    const past = convolve(channelsFirst(h!, format, b), filterOf(n.w('recurrent_kernel'), b), undefined, same, b)
    const [i, f, g, o] = split(b.op('Add', [inputConvolution(n, x, b), past]), 4, 1, b).map((v) =>
      channelsBack(v, format, b),
    )
    const kept = mul(b, gate(n, 'recurrent_activation', f!, b), c!)
    const carry = b.op('Add', [kept, mul(b, gate(n, 'recurrent_activation', i!, b), gate(n, 'activation', g!, b))])
    const output = mul(b, gate(n, 'recurrent_activation', o!, b), gate(n, 'activation', carry, b))
    return { output, states: [output, carry] }
  },
}

const rankOf = (n: Call): number => n.w('kernel').shape!.length - 2
const ones = (n: Call): number[] => Array<number>(rankOf(n)).fill(1)

function inputConvolution(n: Call, x: Value, b: Builder): Value {
  const rank = rankOf(n)
  const settings = {
    strides: n.config.ints('strides', rank, 1),
    dilations: n.config.ints('dilation_rate', rank, 1),
    padding: n.config.word('padding', ['valid', 'same'], 'valid'),
    group: 1,
  }
  return convolve(channelsFirst(x, formatOf(n.config), b), filterOf(n.w('kernel'), b), n.maybe('bias'), settings, b)
}

export const CELLS: Readonly<Record<string, Cell>> = {
  LSTMCell: lstm,
  GRUCell: gru,
  SimpleRNNCell: simple,
  ConvLSTMCell: conv,
}

const variables = (c: Config): string[] => ['kernel', 'recurrent_kernel', ...(c.bool('use_bias', true) ? ['bias'] : [])]

/** A cell called as a layer: (inputs, states) → (output, states). */
const alone = (gates: number): LayerRow => ({
  vars: variables,
  fits: (c) => ({
    kernel: [null, gates * c.int('units')],
    recurrent_kernel: [c.int('units'), gates * c.int('units')],
  }),
  emit: (n, b) => {
    const states = n.kwargs.states ?? n.args[1]
    const list = (Array.isArray(states) ? states : [states]).map((s) => (s as { value: Value }).value)
    const { output, states: next } = CELLS[n.layer.type]!.step(n, n.x, list, b)
    return [output, ...next]
  },
})

export const CELL_LAYERS: LayerTable = {
  LSTMCell: alone(4),
  GRUCell: alone(3),
  SimpleRNNCell: alone(1),
  ConvLSTMCell: { ...alone(4), fits: () => ({}) },
  StackedRNNCells: {
    children: (c: Config, make: MakeChild) => {
      const used = new Map<string, number>()
      const cells = c.get('cells')
      if (!Array.isArray(cells)) throw c.bad('cells', 'a list', cells)
      for (const json of cells) make('cells', json, { name: 'cells', used })
    },
    emit: (n) => {
      throw unsupported(n, 'cells inside of an RNN layer', 'a layer call')
    },
  },
}

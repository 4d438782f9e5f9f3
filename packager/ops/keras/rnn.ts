import type { JsonObject } from '../../formats/jsonvalue.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { CELLS, type Cell, type Fused } from './cells.ts'
import type { Config } from './config.ts'
import {
  type Call,
  isKTensor,
  type KLayer,
  type KTensor,
  type LayerRow,
  type LayerTable,
  only,
  type Result,
  tensorsOf,
  unsupported,
} from './layer.ts'

interface Run {
  /** [batch, time, …] */
  readonly x: Value
  readonly mask: Value | undefined
  readonly initial: readonly Value[]
  /** masked steps give zero instead of the output before them */
  readonly zero: boolean
}

interface Outcome {
  /** [batch, time, …] in the order of computation */
  readonly sequence: () => Value
  readonly last: Value
  readonly states: readonly Value[]
}

const reversed = (v: Value, b: Builder): Value => b.slice(v, [-1], [-(2 ** 31) + 1], [1], [-1])
const last = (v: Value, b: Builder): Value => b.squeeze(b.slice(v, [-1], [2 ** 31 - 1], [1]), [1])
const timeMajor = (v: Value, b: Builder): Value =>
  b.transpose(v, [1, 0, ...Array.from({ length: b.rank(v) - 2 }, (_, i) => i + 2)])

/** A mask [batch] or [batch, time] with dimensions of 1 behind it, up to a rank. */
const upTo = (mask: Value, rank: number, b: Builder): Value =>
  b.unsqueeze(
    mask,
    Array.from({ length: rank - b.rank(mask) }, (_, i) => i + b.rank(mask)),
  )

/** Zeros for the states of a batch. */
function zeroState(x: Value, size: readonly number[], b: Builder): Value {
  const shape = b.concat([b.dim(x, 0), b.ints(size)], 0)
  return b.op('Expand', [b.scalar(x.dtype, 0), shape])
}

/**
 * Masked steps leave the states as they are, so the steps that count may be moved to the front and the rest cut off by length:
 * ONNX's operators then compute just what Keras does, wherever the masked steps are.
 */
interface Compact {
  readonly x: Value
  /** steps that count, [batch] */
  readonly length: Value
  /** back to where the steps were: the output of the latest step that counts */
  spread(y: Value): Value
}

function compact(x: Value, mask: Value, b: Builder): Compact {
  const ints = b.cast(mask, 'int64')
  const count = b.op('CumSum', [ints, b.int(1)])
  const steps = b.dim(x, 1)
  const at = b.op('Range', [b.int(0), b.reshape(steps, []), b.int(1)])
  // steps that count first, both kinds in their own order
  const rank = b.op('Where', [mask, b.op('Sub', [steps, at]), b.op('Sub', [b.ints([-1]), at])])
  const [, order] = b.ops('TopK', [rank, steps], { axis: 1, largest: 1, sorted: 1 }, 2)
  const pick = (v: Value, index: Value): Value =>
    b.as(b.op('GatherND', [v, b.unsqueeze(index, [-1])], { batch_dims: 1 }), { shape: v.shape })
  const length = b.op('ReduceSum', [ints, b.ints([1])], { keepdims: 0 })
  return {
    x: pick(x, order!),
    length: b.cast(length, 'int32'),
    spread: (y) => {
      const some = upTo(b.op('Greater', [count, b.int(0)]), b.rank(y), b)
      const index = b.op('Max', [b.op('Sub', [count, b.int(1)]), b.int(0)])
      return b.op('Where', [some, pick(y, index), b.scalar(y.dtype, 0)])
    },
  }
}

/** Cells that feed each other at every step can as well run one after the other over the whole sequence: they share no state. */
function chained(n: Call, cells: readonly KLayer[], run: Run, b: Builder): Outcome {
  const calls = cells.map((c) => n.inside(c))
  const fused = calls.map((c) => CELLS[c.layer.type]!.fused?.(c, b))
  const all = fused.every((f) => f !== undefined)
  const packed = run.mask && all ? compact(run.x, run.mask, b) : undefined
  const some = packed && b.unsqueeze(b.op('Greater', [packed.length, b.scalar('int32', 0)]), [1])
  let x = packed?.x ?? run.x
  let used = 0
  const states: Value[] = []
  let outcome: Outcome | undefined
  for (const [i, call] of calls.entries()) {
    const cell = CELLS[call.layer.type]!
    const initial = run.initial.slice(used, used + cell.states)
    used += cell.states
    const one = all ? fused[i] : undefined
    outcome = one ? operator(one, x, initial, packed?.length, some, b) : scan(call, cell, x, initial, run.mask, b)
    states.push(...outcome.states)
    if (i < calls.length - 1) x = outcome.sequence()
  }
  const { sequence, last: end } = outcome!
  const spread = (): Value => (packed ? packed.spread(sequence()) : sequence())
  const zeroed = (y: Value, mask: Value): Value => b.op('Where', [upTo(mask, b.rank(y), b), y, b.scalar(y.dtype, 0)])
  const { mask } = run
  if (!mask) return { sequence, last: end, states }
  if (!run.zero)
    return { sequence: spread, last: some ? b.op('Where', [some, end, b.scalar(end.dtype, 0)]) : end, states }
  return { sequence: () => zeroed(spread(), mask), last: zeroed(end, last(mask, b)), states }
}

/** All steps by one LSTM, GRU or RNN operator. */
function operator(
  f: Fused,
  x: Value,
  initial: readonly Value[],
  length: Value | undefined,
  some: Value | undefined,
  b: Builder,
): Outcome {
  const first = initial.map((s) => b.unsqueeze(s, [0]))
  const [batch, time] = [x.shape![0]!, x.shape![1]!]
  const inputs = [timeMajor(x, b), ...f.weights, length, ...first]
  const state = { dtype: x.dtype, shape: [1, batch, f.units] }
  const outs = [{ dtype: x.dtype, shape: [time, 1, batch, f.units] }, state, ...(f.type === 'LSTM' ? [state] : [])]
  const [y, ...ends] = b.ops(f.type, inputs, { hidden_size: f.units, ...f.attrs }, outs.length, outs)
  // a sequence without any step ends in the states it began with
  const states = ends.map((s, i) => {
    const end = b.squeeze(s, [0])
    return some ? b.op('Where', [some, end, initial[i] ?? b.scalar(end.dtype, 0)]) : end
  })
  return { sequence: () => b.transpose(b.squeeze(y!, [1]), [1, 0, 2]), last: states[0]!, states }
}

/** All steps by a Scan of the cell's own arithmetic. */
function scan(n: Call, cell: Cell, x: Value, initial: readonly Value[], mask: Value | undefined, b: Builder): Outcome {
  const size = cell.size(
    n,
    b.as(b.squeeze(b.slice(x, [0], [1], [1]), [1]), { shape: [x.shape![0]!, ...x.shape!.slice(2)] }),
    b,
  )
  const zero = zeroState(x, size, b)
  const start = [...Array.from({ length: cell.states }, (_, i) => initial[i] ?? zero), ...(mask ? [zero] : [])]
  const sequences = [timeMajor(x, b), ...(mask ? [timeMajor(mask, b)] : [])]
  const shape = [x.shape![0]!, ...size]
  const body = b.subgraph(`${n.layer.name} step`, (g) => {
    const states = start.map((s, i) => g.bodyInput(`${n.layer.name}/state${i}`, s.dtype as 'float32', shape))
    const [now, counts] = sequences.map((s, i) =>
      g.bodyInput(`${n.layer.name}/in${i}`, s.dtype as 'float32', s.shape!.slice(1)),
    )
    const next = cell.step(n, now!, states, g)
    if (!counts) return [...next.states, next.output]
    const pick = (fresh: Value, old: Value): Value => g.op('Where', [upTo(counts, g.rank(fresh), g), fresh, old])
    const output = pick(next.output, states.at(-1)!)
    return [...next.states.map((s, i) => pick(s, states[i]!)), output, output]
  })
  const types = [...start.map((s) => ({ dtype: s.dtype, shape })), { dtype: x.dtype, shape: [x.shape![1]!, ...shape] }]
  const outs = b.ops('Scan', [...start, ...sequences], { body, num_scan_inputs: sequences.length }, types.length, types)
  return {
    sequence: () => timeMajor(outs.at(-1)!, b),
    last: outs[mask ? cell.states : 0]!,
    states: outs.slice(0, cell.states),
  }
}

// ---- layers -------------------------------------------------------------------------------------------------------------------

function cellsOf(n: Call): KLayer[] {
  const cell = n.child('cell')
  const cells = cell.type === 'StackedRNNCells' ? [...cell.children.values()] : [cell]
  for (const c of cells)
    if (!CELLS[c.type]) throw unsupported({ layer: c }, `a cell among ${Object.keys(CELLS).join(', ')}`, `'${c.type}'`)
  return cells
}

/**
 * Keras 2 put initial states behind the sequence in one list. Keras 3 has them as an argument, and then leaves the sequence's own mask
 * out of account: it fills `mask` in only where the sequence is the only tensor.
 */
function inputsOf(n: Call): { x: KTensor; mask: Value | undefined; initial: Value[] } {
  const [x, ...more] = n.all
  if (!x) throw unsupported(n, 'a sequence', 'no tensor')
  const given = tensorsOf(n.kwargs.initial_state ?? (typeof n.args[1] === 'boolean' ? null : (n.args[1] ?? null)))
  const initial = (more.length > 0 ? more : given).map((t) => t.value)
  const own = initial.length > 0 && n.keras >= 3 ? undefined : x.mask
  return { x, mask: isKTensor(n.kwargs.mask) ? n.kwargs.mask.value : own, initial }
}

/** The mask that goes on with all outputs: the sequence's, whether it was used or not. */
const handedOn = (n: Call, x: KTensor): Value | undefined => (isKTensor(n.kwargs.mask) ? n.kwargs.mask.value : x.mask)

function runs(
  n: Call,
  x: Value,
  mask: Value | undefined,
  initial: readonly Value[],
  zero: boolean,
  b: Builder,
): Outcome {
  const back = n.config.bool('go_backwards')
  const bool = mask && b.cast(mask, 'bool')
  const flip = (v: Value): Value => (back ? reversed(v, b) : v)
  return chained(n, cellsOf(n), { x: flip(x), mask: bool && flip(bool), initial, zero }, b)
}

const recurrent = (children: LayerRow['children']): LayerRow => ({
  children: children!,
  emit: (n, b) => {
    const { x, mask, initial } = inputsOf(n)
    const all = n.config.bool('return_sequences')
    const out = runs(n, x.value, mask, initial, n.config.bool('zero_output_for_mask'), b)
    const output: KTensor = all ? { value: out.sequence(), mask: handedOn(n, x) } : { value: out.last }
    return n.config.bool('return_state') ? [output, ...out.states] : output
  },
})

/** The cell of a layer that is one layer with its cell's parameters. */
const inline = (type: string) =>
  recurrent((c, make) => make('cell', { class_name: type, config: { ...c.json, name: 'cell' } }))

/** The same layer the other way round, as Keras derives it. */
function mirrored(json: JsonObject): JsonObject {
  const config = json.config as JsonObject
  return { ...json, config: { ...config, go_backwards: config.go_backwards !== true } }
}

const MERGES: Readonly<Record<string, (x: Value, y: Value, b: Builder) => Value>> = {
  concat: (x, y, b) => b.concat([x, y], b.rank(x) - 1),
  sum: (x, y, b) => b.op('Add', [x, y]),
  ave: (x, y, b) => b.op('Div', [b.op('Add', [x, y]), b.scalar(x.dtype, 2)]),
  mul: (x, y, b) => b.op('Mul', [x, y]),
}

const bidirectional: LayerRow = {
  children: (c: Config, make) => {
    const layer = c.object('layer')
    make('forward_layer', layer)
    make('backward_layer', c.get('backward_layer') === undefined ? mirrored(layer) : c.object('backward_layer'))
  },
  emit: (n, b) => {
    const { x, mask, initial } = inputsOf(n)
    const half = initial.length / 2
    const sides = (['forward_layer', 'backward_layer'] as const).map((side, i) => {
      const layer = n.child(side)
      if (!layer.children.has('cell')) throw unsupported(n, 'a recurrent layer inside', `'${layer.type}'`)
      const all = layer.config.bool('return_sequences')
      const own = n.inside(layer)
      return runs(own, x.value, mask, initial.slice(i * half, (i + 1) * half), all && mask !== undefined, b)
    }) as [Outcome, Outcome]
    const layer = n.child('forward_layer')
    const all = layer.config.bool('return_sequences')
    const y = all ? sides[0].sequence() : sides[0].last
    const back = all ? reversed(sides[1].sequence(), b) : sides[1].last
    const mode = n.config.get('merge_mode')
    const own = all ? handedOn(n, x) : undefined
    const states = layer.config.bool('return_state') ? [...sides[0].states, ...sides[1].states] : []
    if (mode === undefined) return [{ value: y, mask: own }, { value: back, mask: own }, ...states]
    const merge = MERGES[String(mode)]
    if (!merge) throw n.config.bad('merge_mode', `one of ${Object.keys(MERGES).join(', ')}`, mode)
    const output: KTensor = { value: merge(y, back, b), mask: own }
    return states.length > 0 ? [output, ...states] : output
  },
}

/** The inner layer sees batch and time as one batch. */
const timeDistributed: LayerRow = {
  children: (c, make) => make('layer', c.object('layer')),
  emit: (n, b) => {
    const shape = b.shapeOf(n.x)
    const merged = (v: Value): Value =>
      b.reshape(v, b.concat([b.ints([-1]), b.slice(b.shapeOf(v), [2], [b.rank(v)], [0])], 0))
    const inner: KTensor = { value: merged(n.x), mask: n.mask && b.rank(n.mask) > 2 ? merged(n.mask) : undefined }
    const apart = (r: Result): Result => {
      if (Array.isArray(r)) return r.map(apart)
      const v = only(r)
      const y = b.reshape(v, b.concat([b.slice(shape, [0], [2], [0]), b.slice(b.shapeOf(v), [1], [b.rank(v)], [0])], 0))
      return { value: y, mask: n.mask }
    }
    return apart(n.run(n.child('layer'), [inner]))
  },
}

export const RNN_LAYERS: LayerTable = {
  LSTM: inline('LSTMCell'),
  GRU: inline('GRUCell'),
  SimpleRNN: inline('SimpleRNNCell'),
  ConvLSTM1D: inline('ConvLSTMCell'),
  ConvLSTM2D: inline('ConvLSTMCell'),
  ConvLSTM3D: inline('ConvLSTMCell'),
  RNN: recurrent((c, make) => make('cell', c.object('cell'))),
  Bidirectional: bidirectional,
  TimeDistributed: timeDistributed,
}

import { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { padded, vector } from './lists.ts'
import { type OpRow, type OpTable, op, unsupported } from './op.ts'

interface Weights {
  readonly w: Value
  readonly b: Value
  /** the cell's own weights on the input, forget and output gates */
  readonly peephole: readonly [Value, Value, Value] | undefined
  readonly forgetBias: number
  readonly clip: number
  /** where input, candidate, forget and output gate stand in the kernel */
  readonly order: readonly [number, number, number, number]
}

interface Step {
  readonly i: Value
  readonly cs: Value
  readonly f: Value
  readonly o: Value
  readonly ci: Value
  readonly co: Value
  readonly h: Value
}

const OUTPUTS = ['i', 'cs', 'f', 'o', 'ci', 'co', 'h'] as const
const listed = (s: Step): Value[] => OUTPUTS.map((k) => s[k])

/** tensorflow/core/kernels/rnn/lstm_ops.cc */
function step(x: Value, before: { cs: Value; h: Value }, p: Weights, b: Builder): Step {
  const product = b.op('Add', [b.op('MatMul', [b.concat([x, before.h], 1), p.w]), p.b])
  const gates = b.ops('Split', [product], { axis: 1, num_outputs: 4 }, 4)
  const [input, candidate, forget, output] = p.order.map((k) => gates[k]!) as [Value, Value, Value, Value]
  const seen = (gate: Value, cell: Value, k: number): Value =>
    p.peephole ? b.op('Add', [b.op('Mul', [cell, p.peephole[k]!]), gate]) : gate
  const sigmoid = (v: Value) => b.op('Sigmoid', [v])
  const i = sigmoid(seen(input, before.cs, 0))
  const ci = b.op('Tanh', [candidate])
  const remembered = p.forgetBias === 0 ? forget : b.op('Add', [forget, b.scalar(forget.dtype, p.forgetBias)])
  const f = sigmoid(seen(remembered, before.cs, 1))
  const sum = b.op('Add', [b.op('Mul', [ci, i]), b.op('Mul', [before.cs, f])])
  const limit = (sign: number) => b.scalar(sum.dtype, sign * p.clip)
  const cs = p.clip > 0 ? b.op('Clip', [sum, limit(-1), limit(1)]) : sum
  const o = sigmoid(seen(output, cs, 2))
  const co = b.op('Tanh', [cs])
  return { i, cs, f, o, ci, co, h: b.op('Mul', [co, o]) }
}

const ICFO = [0, 1, 2, 3] as const
const IFCO = [0, 2, 1, 3] as const

/** The cell at every step up to seq_len_max; zeros after that. */
function sequence(steps: Value, x: Value, cs: Value, h: Value, p: Weights, b: Builder): readonly Value[] {
  const inner = new Builder(b)
  const at = inner.bodyInput('iteration', 'int64', [])
  const going = inner.bodyInput('going', 'bool', [])
  const before = { cs: inner.bodyInput('cs', cs.dtype, cs.shape), h: inner.bodyInput('h', h.dtype, h.shape) }
  const now = step(inner.gather(x, at), before, p, inner)
  const each = { dtype: x.dtype, shape: cs.shape && [b.fresh(), ...cs.shape] }
  const [, , ...all] = b.ops(
    'Loop',
    [steps, undefined, cs, h],
    { body: inner.close(`${b.at} body`, [going, now.cs, now.h, ...listed(now)]) },
    2 + OUTPUTS.length,
    [cs, h, ...OUTPUTS.map(() => each)],
  )
  const length = b.dim(x, 0)
  return all.map((v) => padded(v, vector(length, b), b))
}

const blockLstm = (order: Weights['order'], forget: boolean, clip: number): OpRow =>
  op({
    in: ['seq_len_max', 'x', 'cs_prev', 'h_prev', 'w', 'wci', 'wcf', 'wco', 'b'],
    attrs: { forget_bias: 1, cell_clip: clip, use_peephole: false },
    out: OUTPUTS,
    emit: (n, b) => {
      const weights = {
        w: n.in.w,
        b: n.in.b,
        peephole: n.attrs.use_peephole ? ([n.in.wci, n.in.wcf, n.in.wco] as const) : undefined,
        forgetBias: forget ? n.attrs.forget_bias : 0,
        clip: n.attrs.cell_clip,
        order,
      }
      return sequence(n.in.seq_len_max, n.in.x, n.in.cs_prev, n.in.h_prev, weights, b)
    },
  })

const opaque: OpRow = op({
  in: [],
  note: 'refused, with the reason',
  emit: (n) => {
    throw unsupported(
      n,
      'weights in the open',
      "one buffer in cuDNN's private layout; export the model with its canonical weights",
    )
  },
})

/** Recurrent cells that are one operator in TensorFlow. Loops of them are fused like any other. */
export const RNN = {
  LSTMBlockCell: op({
    in: ['x', 'cs_prev', 'h_prev', 'w', 'wci', 'wcf', 'wco', 'b'],
    attrs: { forget_bias: 1, cell_clip: 3, use_peephole: false },
    out: OUTPUTS,
    emit: (n, b) => {
      const weights = {
        w: n.in.w,
        b: n.in.b,
        peephole: n.attrs.use_peephole ? ([n.in.wci, n.in.wcf, n.in.wco] as const) : undefined,
        forgetBias: n.attrs.forget_bias,
        clip: n.attrs.cell_clip,
        order: ICFO,
      }
      return listed(step(n.in.x, { cs: n.in.cs_prev, h: n.in.h_prev }, weights, b))
    },
  }),
  BlockLSTM: blockLstm(ICFO, true, 3),
  BlockLSTMV2: blockLstm(IFCO, false, 0),
  GRUBlockCell: op({
    in: ['x', 'h_prev', 'w_ru', 'w_c', 'b_ru', 'b_c'],
    out: ['r', 'u', 'c', 'h'],
    emit: (n, b) => {
      const { x, h_prev: before } = n.in
      const both = b.op('Add', [b.op('MatMul', [b.concat([x, before], 1), n.in.w_ru]), n.in.b_ru])
      const [r, u] = b.ops('Split', [b.op('Sigmoid', [both])], { axis: 1, num_outputs: 2 }, 2) as [Value, Value]
      const reset = b.concat([x, b.op('Mul', [before, r])], 1)
      const c = b.op('Tanh', [b.op('Add', [b.op('MatMul', [reset, n.in.w_c]), n.in.b_c])])
      const kept = b.op('Mul', [b.op('Sub', [b.scalar(u.dtype, 1), u]), c])
      return [r, u, c, b.op('Add', [b.op('Mul', [u, before]), kept])]
    },
  }),
  CudnnRNN: opaque,
  CudnnRNNV2: opaque,
  CudnnRNNV3: opaque,
} satisfies OpTable

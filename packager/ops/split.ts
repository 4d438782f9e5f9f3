import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpRow, type OpTable, op, unsupported } from './op.ts'
import { axisOf } from './reduce.ts'

/** The sizes of SplitV: one of them may be -1 and takes the rest. */
function sizesOf(given: Value, x: Value, axis: number, b: Builder): Value {
  const known = constNumbers(given)
  if (known && !known.includes(-1)) return int64(given, b)
  const sizes = int64(given, b)
  const open = b.op('Less', [sizes, b.ints([0])])
  const taken = b.op('ReduceSum', [b.op('Where', [open, b.ints([0]), sizes]), b.ints([0])], { keepdims: 1 })
  const at = axis < 0 ? axis + b.rank(x) : axis
  return b.op('Where', [open, b.op('Sub', [b.dim(x, at), taken]), sizes])
}

/** Elements in the opposite order along some axes. */
export function reversed(x: Value, axes: Value, b: Builder): Value {
  const n = b.shapeOf(axes)
  const all = (v: number) => b.op('Expand', [b.ints([v]), n])
  const out = b.op('Slice', [x, all(-1), all(-(2 ** 31 - 1)), axes, all(-1)])
  return out.data ? out : b.as(out, { shape: x.shape })
}

/** Each element moves by the shift, around the end. */
function rolled(x: Value, shift: Value, axis: number, b: Builder): Value {
  const size = b.reshape(b.dim(x, axis < 0 ? axis + b.rank(x) : axis), [])
  const from = b.op('Sub', [b.op('Range', [b.int(0), size, b.int(1)]), shift])
  const out = b.gather(x, b.op('Mod', [from, b.op('Max', [size, b.int(1)])]), axis)
  return out.data ? out : b.as(out, { shape: x.shape })
}

const reverseV2: OpRow = op({
  in: ['tensor', 'axis'],
  parts: true,
  emit: (n, b) => {
    const axes = constNumbers(n.in.axis)
    return axes?.length === 0 ? n.in.tensor : reversed(n.in.tensor, int64(n.in.axis, b), b)
  },
})

/** What cuts a tensor up or turns its elements around. */
export const SPLIT = {
  Split: op({
    in: ['split_dim', 'value'],
    attrs: { num_split: 'int' },
    out: ['output*num_split'],
    parts: true,
    emit: (n, b) => {
      const axis = axisOf(n, n.in.split_dim, n.in.value)
      if (n.attrs.num_split === 1) return [n.in.value]
      return b.ops('Split', [n.in.value], { axis, num_outputs: n.attrs.num_split }, n.attrs.num_split)
    },
  }),
  SplitV: op({
    in: ['value', 'size_splits', 'split_dim'],
    attrs: { num_split: 'int' },
    out: ['output*num_split'],
    parts: true,
    emit: (n, b) => {
      const axis = axisOf(n, n.in.split_dim, n.in.value)
      if (n.attrs.num_split === 1) return [n.in.value]
      const sizes = sizesOf(n.in.size_splits, n.in.value, axis, b)
      return b.ops(
        'Split',
        [n.in.value, sizes],
        { axis },
        n.attrs.num_split,
        manySplits(n.in.value, sizes, axis, n.attrs.num_split, b),
      )
    },
  }),
  ReverseV2: reverseV2,
  /** The first version takes a truth value per dimension. */
  Reverse: op({
    in: ['tensor', 'dims'],
    note: 'with constant dims',
    parts: true,
    emit: (n, b) => {
      const chosen = constNumbers(n.in.dims)?.flatMap((yes, i) => (yes ? [i] : []))
      if (!chosen) throw unsupported(n, 'constant dims', 'computed ones')
      return chosen.length === 0 ? n.in.tensor : reversed(n.in.tensor, b.ints(chosen), b)
    },
  }),
  /** ONNX knows the first two dimensions only, so others are brought there. */
  ReverseSequence: op({
    in: ['input', 'seq_lengths'],
    attrs: { seq_dim: 'int', batch_dim: 0 },
    parts: true,
    emit: (n, b) => {
      const rank = b.rank(n.in.input)
      const [time, batch] = [n.attrs.seq_dim, n.attrs.batch_dim].map((d) => (d < 0 ? d + rank : d)) as [number, number]
      const rest = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== time && i !== batch)
      const direct = time < 2 && batch < 2
      const perm = direct ? rest : [batch, time, ...rest]
      const x = direct ? n.in.input : b.transpose(n.in.input, perm)
      const axes = direct ? { time_axis: time, batch_axis: batch } : { time_axis: 1, batch_axis: 0 }
      const out = b.op('ReverseSequence', [x, int64(n.in.seq_lengths, b)], axes)
      return direct ? out : b.transpose(out, inverse(perm))
    },
  }),
  Roll: op({
    in: ['input', 'shift', 'axis'],
    parts: true,
    emit: (n, b) => {
      const axes = constNumbers(n.in.axis) ?? [axisOf(n, n.in.axis, n.in.input)]
      const shifts = b.reshape(int64(n.in.shift, b), [-1])
      return axes.reduce<Value>((x, axis, i) => rolled(x, b.gather(shifts, b.int(i)), axis, b), n.in.input)
    },
  }),
} satisfies OpTable

export function inverse(perm: readonly number[]): number[] {
  return perm.map((_, i) => perm.indexOf(i))
}

/** Sizes that are only known when the graph runs still say how many parts there are. */
function manySplits(x: Value, sizes: Value, axis: number, count: number, b: Builder) {
  const at = x.shape && (axis < 0 ? axis + x.shape.length : axis)
  return Array.from({ length: count }, (_, i) => ({
    dtype: x.dtype,
    shape: x.shape?.map((d, k) => (k === at ? (sizes.part?.[i] ?? b.fresh()) : d)),
  }))
}

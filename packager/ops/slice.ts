import { AppError } from '../../src/errors.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { int64 } from './array.ts'
import { type OpTable, op } from './op.ts'

const MAX = 2 ** 31 - 1

interface Masks {
  begin: number
  end: number
  ellipsis: number
  newAxis: number
  shrink: number
}

/** TensorFlow's x[a:b:c, ..., newaxis, i] as Slice, Squeeze and Unsqueeze (tensorflow/core/util/strided_slice_op.cc). */
export function stridedSlice(x: Value, begin: Value, end: Value, strides: Value, m: Masks, b: Builder): Value {
  const steps = constNumbers(strides)
  if (!steps)
    throw new AppError('UNSUPPORTED_OPS', { where: `node ${b.at}`, expected: 'constant strides', got: 'computed ones' })
  const [starts, ends] = [constNumbers(begin), constNumbers(end)]
  const bit = (mask: number, i: number) => ((mask >> i) & 1) === 1
  const given = steps.filter((_, i) => !bit(m.newAxis, i) && !bit(m.ellipsis, i)).length
  const rank = m.ellipsis || !x.shape ? b.rank(x) : x.shape.length

  const axes: number[] = []
  const from: (number | Value)[] = []
  const to: (number | Value)[] = []
  const by: number[] = []
  const squeezed: number[] = []
  const added: number[] = []
  let axis = 0
  let outAxis = 0
  const element = (v: Value, i: number): Value => b.slice(int64(v, b), [i], [i + 1], [0])
  for (const [i, step] of steps.entries()) {
    if (bit(m.ellipsis, i)) {
      const skipped = rank - given
      axis += skipped
      outAxis += skipped
    } else if (bit(m.newAxis, i)) added.push(outAxis++)
    else if (bit(m.shrink, i)) {
      const at = starts?.[i]
      if (at !== undefined) {
        from.push(at)
        to.push(at === -1 ? MAX : at + 1)
      } else {
        const start = element(begin, i)
        from.push(start)
        // the end of x[i] is i + 1, except for the last element from behind
        const next = b.op('Add', [start, b.ints([1])])
        to.push(b.op('Where', [b.op('Equal', [start, b.ints([-1])]), b.ints([MAX]), next]))
      }
      axes.push(axis)
      by.push(1)
      squeezed.push(axis++)
    } else {
      const whole = bit(m.begin, i) && bit(m.end, i) && step === 1
      if (!whole) {
        axes.push(axis)
        by.push(step)
        from.push(bit(m.begin, i) ? (step > 0 ? 0 : MAX) : (starts?.[i] ?? element(begin, i)))
        to.push(bit(m.end, i) ? (step > 0 ? MAX : -MAX) : (ends?.[i] ?? element(end, i)))
      }
      axis++
      outAxis++
    }
  }
  let out = x
  if (axes.length > 0)
    out = b.op('Slice', [
      x,
      vector(from, b),
      vector(to, b),
      b.ints(axes),
      by.every((s) => s === 1) ? undefined : b.ints(by),
    ])
  out = b.squeeze(out, squeezed)
  return b.unsqueeze(out, added)
}

function vector(items: readonly (number | Value)[], b: Builder): Value {
  if (items.every((i) => typeof i === 'number')) return b.ints(items as number[])
  return b.concat(
    items.map((i) => (typeof i === 'number' ? b.ints([i]) : i)),
    0,
  )
}

export const SLICE = {
  StridedSlice: op({
    in: ['input', 'begin', 'end', 'strides'],
    attrs: { begin_mask: 0, end_mask: 0, ellipsis_mask: 0, new_axis_mask: 0, shrink_axis_mask: 0 },
    emit: (n, b) =>
      stridedSlice(
        n.in.input,
        n.in.begin,
        n.in.end,
        n.in.strides,
        {
          begin: n.attrs.begin_mask,
          end: n.attrs.end_mask,
          ellipsis: n.attrs.ellipsis_mask,
          newAxis: n.attrs.new_axis_mask,
          shrink: n.attrs.shrink_axis_mask,
        },
        b,
      ),
  }),
  Slice: op({
    in: ['input', 'begin', 'size'],
    emit: (n, b) => {
      const rank = n.in.begin.shape?.[0] ?? b.rank(n.in.input)
      const axes = Array.from({ length: Number(rank) }, (_, i) => i)
      const [begin, size] = [int64(n.in.begin, b), int64(n.in.size, b)]
      // size -1 means up to the end
      const end = b.op('Where', [b.op('Equal', [size, b.ints([-1])]), b.ints([MAX]), b.op('Add', [begin, size])])
      return b.op('Slice', [n.in.input, begin, end, b.ints(axes)])
    },
  }),
} satisfies OpTable

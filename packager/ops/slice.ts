import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpTable, op, unsupported } from './op.ts'

const MAX = 2 ** 31 - 1

interface Masks {
  readonly begin: number
  readonly end: number
  readonly ellipsis: number
  readonly newAxis: number
  readonly shrink: number
}

export const MASKS = { begin_mask: 0, end_mask: 0, ellipsis_mask: 0, new_axis_mask: 0, shrink_axis_mask: 0 } as const

export function masksOf(a: { readonly [K in keyof typeof MASKS]: number }): Masks {
  return {
    begin: a.begin_mask,
    end: a.end_mask,
    ellipsis: a.ellipsis_mask,
    newAxis: a.new_axis_mask,
    shrink: a.shrink_axis_mask,
  }
}

const bit = (mask: number, i: number): boolean => ((mask >> i) & 1) === 1

/** TensorFlow's x[a:b:c, ..., newaxis, i] as Slice, Squeeze and Unsqueeze (tensorflow/core/util/strided_slice_op.cc). */
export function stridedSlice(x: Value, begin: Value, end: Value, strides: Value, m: Masks, b: Builder): Value {
  const length = [strides, begin, end].map((v) => v.shape?.[0]).find((n) => typeof n === 'number')
  if (length === undefined) return unknownLength(x, begin, end, strides, m, b)
  const steps = constNumbers(strides)
  const [starts, ends] = [constNumbers(begin), constNumbers(end)]
  const places = Array.from({ length }, (_, i) => i)
  const given = places.filter((i) => !bit(m.newAxis, i) && !bit(m.ellipsis, i)).length
  const rank = m.ellipsis ? b.rank(x) : (x.shape?.length ?? given)

  const axes: number[] = []
  const from: (number | Value)[] = []
  const to: (number | Value)[] = []
  const by: (number | Value)[] = []
  const squeezed: number[] = []
  const added: number[] = []
  let axis = 0
  let outAxis = 0
  const element = (v: Value, i: number): Value => b.slice(int64(v, b), [i], [i + 1], [0])
  for (const i of places) {
    if (bit(m.ellipsis, i)) {
      const skipped = rank - given
      axis += skipped
      outAxis += skipped
    } else if (bit(m.newAxis, i)) added.push(outAxis++)
    else if (bit(m.shrink, i)) {
      const at = starts?.[i]
      from.push(at ?? element(begin, i))
      to.push(at === undefined ? after(element(begin, i), b) : at === -1 ? MAX : at + 1)
      axes.push(axis)
      by.push(1)
      squeezed.push(axis++)
    } else {
      const step = steps?.[i] ?? element(strides, i)
      const whole = bit(m.begin, i) && bit(m.end, i) && step === 1
      if (!whole) {
        axes.push(axis)
        by.push(step)
        from.push(bit(m.begin, i) ? edge(step, 0, MAX, b) : (starts?.[i] ?? element(begin, i)))
        to.push(bit(m.end, i) ? edge(step, MAX, -MAX, b) : (ends?.[i] ?? element(end, i)))
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
      by.every((s) => s === 1) ? undefined : vector(by, b),
    ])
  out = b.squeeze(out, squeezed)
  return b.unsqueeze(out, added)
}

/** The end of x[i] is i + 1, except for the last element from behind. */
function after(start: Value, b: Builder): Value {
  return b.op('Where', [b.op('Equal', [start, b.ints([-1])]), b.ints([MAX]), b.op('Add', [start, b.ints([1])])])
}

/** What a left-out begin or end means depends on the direction. */
function edge(step: number | Value, forward: number, backward: number, b: Builder): number | Value {
  if (typeof step === 'number') return step > 0 ? forward : backward
  return b.op('Where', [b.op('Greater', [step, b.int(0)]), b.ints([forward]), b.ints([backward])])
}

function vector(items: readonly (number | Value)[], b: Builder): Value {
  if (items.every((i) => typeof i === 'number')) return b.ints(items as number[])
  return b.concat(
    items.map((i) => (typeof i === 'number' ? b.ints([i]) : i)),
    0,
  )
}

/** Not even the number of begins is known: the masks' bits become vectors that are cut to that length when it is. */
function unknownLength(x: Value, begin: Value, end: Value, strides: Value, m: Masks, b: Builder): Value {
  if (m.ellipsis || m.newAxis)
    throw unsupportedLength(b, 'a known number of begins beside an ellipsis or a new axis', 'an unknown one')
  const places = Array.from({ length: 32 }, (_, i) => i)
  const [from, to, by] = [int64(begin, b), int64(end, b), int64(strides, b)]
  const bits = (mask: number): Value =>
    b.op('Slice', [
      b.filled(
        'bool',
        [32],
        places.map((i) => Number(bit(mask, i))),
      ),
      b.ints([0]),
      b.shapeOf(from),
      b.ints([0]),
    ])
  const choose = (mask: number, edgeOf: Value, v: Value): Value => (mask ? b.op('Where', [bits(mask), edgeOf, v]) : v)
  const starts = choose(m.begin & ~m.shrink, edge(by, 0, MAX, b) as Value, from)
  const ends = choose(m.end & ~m.shrink, edge(by, MAX, -MAX, b) as Value, to)
  const out = b.op(
    'Slice',
    [x, starts, choose(m.shrink, after(from, b), ends), undefined, by],
    {},
    { dtype: x.dtype, shape: x.shape?.map(() => b.fresh()) },
  )
  return b.squeeze(
    out,
    places.filter((i) => bit(m.shrink, i)),
  )
}

function unsupportedLength(b: Builder, expected: string, got: string): Error {
  return unsupported({ op: 'StridedSlice', name: b.at }, expected, got)
}

export const SLICE = {
  StridedSlice: op({
    in: ['input', 'begin', 'end', 'strides'],
    attrs: MASKS,
    parts: true,
    emit: (n, b) => stridedSlice(n.in.input, n.in.begin, n.in.end, n.in.strides, masksOf(n.attrs), b),
  }),
  /** A size of -1 means up to the end. */
  Slice: op({
    in: ['input', 'begin', 'size'],
    parts: true,
    emit: (n, b) => {
      const [begin, size] = [int64(n.in.begin, b), int64(n.in.size, b)]
      const toEnd = b.op('Less', [size, b.ints([0])])
      const end = b.op('Where', [toEnd, b.op('Expand', [b.ints([MAX]), b.shapeOf(size)]), b.op('Add', [begin, size])])
      const length = begin.shape?.[0] ?? n.in.input.shape?.length
      const axes = typeof length === 'number' ? b.ints(Array.from({ length }, (_, i) => i)) : undefined
      const shape = n.in.input.shape && sliced(n.in.input.shape, begin, size, b)
      const out = b.op('Slice', [n.in.input, begin, end, axes])
      return shape && !out.data ? b.as(out, { shape }) : out
    },
  }),
} satisfies OpTable

/** Sizes that are given are the sizes of the result: TensorFlow does not clip. */
function sliced(
  shape: NonNullable<Value['shape']>,
  begin: Value,
  size: Value,
  b: Builder,
): NonNullable<Value['shape']> {
  const starts = begin.part
  return shape.map((d, i) => {
    const s = size.part?.[i]
    if (s === undefined) return b.fresh()
    if (s !== -1) return s
    const at = starts?.[i]
    return at === 0 ? d : typeof d === 'number' && typeof at === 'number' ? d - at : b.fresh()
  })
}

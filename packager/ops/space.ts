import type { Builder } from '../onnx/builder.ts'
import type { Dim, Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

const upTo = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => i + from)
const product = (v: Value, b: Builder): Value => b.op('ReduceProd', [v], { keepdims: 1 })
/** a0 b0 a1 b1 … of two vectors */
const interleaved = (x: Value, y: Value, b: Builder): Value =>
  b.reshape(b.concat([b.unsqueeze(x, [1]), b.unsqueeze(y, [1])], 1), [-1])

function blockLength(n: AnyNode, block: Value, other: Value): number {
  const length = [block, other].map((v) => v.shape?.[0]).find((d) => typeof d === 'number')
  if (length === undefined) throw unsupported(n, 'a block shape of known length', 'an unknown length')
  return length
}

/** Blocks of the dimensions 1…m go into the batch (tensorflow/core/kernels/spacetobatch_op.cc). */
function spaceToBatch(x: Value, block: Value, paddings: Value, m: number, b: Builder): Value {
  const rank = b.rank(x)
  const rest = rank - 1 - m
  const zeros = (length: number) => b.ints(Array<number>(length).fill(0))
  const ends = (side: number) => b.reshape(b.slice(paddings, [side], [side + 1], [1]), [-1])
  const padded = b.op('Pad', [x, b.concat([zeros(1), ends(0), zeros(rest), zeros(1), ends(1), zeros(rest)], 0)])
  const shape = b.shapeOf(padded)
  const [batch, space, tail] = [
    b.slice(shape, [0], [1], [0]),
    b.slice(shape, [1], [1 + m], [0]),
    b.slice(shape, [1 + m], [rank], [0]),
  ]
  const small = b.op('Div', [space, block])
  const split = b.reshape(padded, b.concat([batch, interleaved(small, block, b), tail], 0))
  const moved = b.transpose(known(split, 1 + 2 * m + rest, b), [
    ...upTo(m).map((i) => 2 + 2 * i),
    0,
    ...upTo(m).map((i) => 1 + 2 * i),
    ...upTo(rest, 1 + 2 * m),
  ])
  return known(b.reshape(moved, b.concat([b.op('Mul', [batch, product(block, b)]), small, tail], 0)), rank, b)
}

function batchToSpace(x: Value, block: Value, crops: Value, m: number, b: Builder): Value {
  const rank = b.rank(x)
  const rest = rank - 1 - m
  const shape = b.shapeOf(x)
  const [batch, space, tail] = [
    b.op('Div', [b.slice(shape, [0], [1], [0]), product(block, b)]),
    b.slice(shape, [1], [1 + m], [0]),
    b.slice(shape, [1 + m], [rank], [0]),
  ]
  const split = known(b.reshape(x, b.concat([block, batch, space, tail], 0)), 1 + 2 * m + rest, b)
  const moved = b.transpose(split, [m, ...upTo(m).flatMap((i) => [m + 1 + i, i]), ...upTo(rest, 1 + 2 * m)])
  const large = b.op('Mul', [space, block])
  const whole = known(b.reshape(moved, b.concat([batch, large, tail], 0)), rank, b)
  const crop = (side: number) => b.reshape(b.slice(crops, [side], [side + 1], [1]), [-1])
  return b.op('Slice', [whole, crop(0), b.op('Sub', [large, crop(1)]), b.ints(upTo(m, 1))])
}

/** A computed target says nothing of the rank, the op does. */
function known(v: Value, rank: number, b: Builder): Value {
  return v.shape || v.data ? v : b.as(v, { shape: b.freshShape(rank) })
}

/** A size that is known, or computed. */
type Count = number | Value

/** Reshape to dimensions of which the unknown ones are computed from those of x. */
function regrouped(x: Value, dims: readonly Count[], b: Builder): Value {
  const open = dims.filter((d) => typeof d !== 'number').length
  if (open <= 1)
    return b.reshape(
      x,
      dims.map((d) => (typeof d === 'number' ? d : -1)),
    )
  const target = b.concat(
    dims.map((d) => (typeof d === 'number' ? b.ints([d]) : d)),
    0,
  )
  return known(b.reshape(x, target), dims.length, b)
}

const dimOf = (x: Value, axis: number, b: Builder): Count => {
  const d = x.shape?.[axis]
  return typeof d === 'number' ? d : b.dim(x, axis)
}
const scaled = (d: Count, by: number, b: Builder): Count =>
  typeof d === 'number' ? d * by : b.op('Mul', [d, b.ints([by])])
const divided = (d: Count, by: number, b: Builder): Count =>
  typeof d === 'number' ? d / by : b.op('Div', [d, b.ints([by])])

/** Both ways between depth and space are a reshape, a transpose and a reshape; the block's coordinates come before the channel. */
const blocks = (
  move: (x: Value, sizes: readonly [Count, Count, Count, Count], s: number, last: boolean, b: Builder) => Value,
): OpRow =>
  op({
    in: ['input'],
    attrs: { block_size: 'int', data_format: ['NHWC', 'NCHW'] },
    parts: true,
    emit: (n, b) => {
      const { block_size, data_format } = n.attrs
      const dim = (axis: number) => dimOf(n.in.input, axis, b)
      const last = data_format === 'NHWC'
      const [c, h, w] = last ? ([3, 1, 2] as const) : ([1, 2, 3] as const)
      return move(n.in.input, [dim(c), dim(0), dim(h), dim(w)], block_size, last, b)
    },
  })

const depthToSpace = blocks((x, [c, batch, h, w], s, last, b) => {
  const [less, tall, wide] = [divided(c, s * s, b), scaled(h, s, b), scaled(w, s, b)]
  if (last) {
    const split = b.transpose(regrouped(x, [batch, h, w, s, s, less], b), [0, 1, 3, 2, 4, 5])
    return regrouped(split, [batch, tall, wide, less], b)
  }
  const split = b.transpose(regrouped(x, [batch, s, s, less, h, w], b), [0, 3, 4, 1, 5, 2])
  return regrouped(split, [batch, less, tall, wide], b)
})

const spaceToDepth = blocks((x, [c, batch, h, w], s, last, b) => {
  const [more, low, narrow] = [scaled(c, s * s, b), divided(h, s, b), divided(w, s, b)]
  if (last) {
    const split = b.transpose(regrouped(x, [batch, low, s, narrow, s, c], b), [0, 1, 3, 2, 4, 5])
    return regrouped(split, [batch, low, narrow, more], b)
  }
  const split = b.transpose(regrouped(x, [batch, c, low, s, narrow, s], b), [0, 3, 5, 1, 2, 4])
  return regrouped(split, [batch, more, low, narrow], b)
})

/** Windows of the dimensions 1…m laid out in the last one: a Gather per dimension, then the windows' coordinates go behind. */
function patches(
  x: Value,
  sizes: readonly number[],
  strides: readonly number[],
  rates: readonly number[],
  same: boolean,
  b: Builder,
): Value {
  const m = sizes.length
  const rank = b.rank(x)
  let out = x
  for (const i of upTo(m)) {
    const axis = 1 + 2 * i
    const [k, stride, rate] = [sizes[i]!, strides[i]!, rates[i]!]
    const span = (k - 1) * rate + 1
    const size = b.dim(x, 1 + i)
    const count = same
      ? b.op('Div', [b.op('Add', [size, b.ints([stride - 1])]), b.ints([stride])])
      : b.op('Max', [b.op('Div', [b.op('Add', [size, b.ints([stride - span])]), b.ints([stride])]), b.ints([0])])
    if (same) {
      const needed = b.op('Add', [b.op('Mul', [b.op('Sub', [count, b.ints([1])]), b.ints([stride])]), b.ints([span])])
      const total = b.op('Max', [b.op('Sub', [needed, size]), b.ints([0])])
      const before = b.op('Div', [total, b.ints([2])])
      const zeros = (length: number) => b.ints(Array<number>(length).fill(0))
      const length = rank + i
      const side = (v: Value) => [zeros(axis), v, zeros(length - axis - 1)]
      const pads = b.concat([...side(before), ...side(b.op('Sub', [total, before]))], 0)
      out = b.as(b.op('Pad', [out, pads]), { shape: out.shape?.map((d, j): Dim => (j === axis ? b.fresh() : d)) })
    }
    const starts = b.op('Mul', [b.op('Range', [b.int(0), b.reshape(count, []), b.int(1)]), b.int(stride)])
    const places = b.op('Add', [b.unsqueeze(starts, [1]), b.ints(upTo(k).map((j) => j * rate))])
    out = b.gather(out, places, axis)
  }
  const moved = b.transpose(out, [
    0,
    ...upTo(m).map((i) => 1 + 2 * i),
    ...upTo(m).map((i) => 2 + 2 * i),
    ...upTo(rank - 1 - m, 1 + 2 * m),
  ])
  const depth = scaled(
    dimOf(x, rank - 1, b),
    sizes.reduce((p, k) => p * k, 1),
    b,
  )
  return regrouped(moved, [...upTo(1 + m).map((i) => dimOf(moved, i, b)), depth], b)
}

const square = (size: number, b: Builder): Value => b.ints([size, size])
const inner = (list: readonly number[]): number[] => list.slice(1, -1)

export const SPACE = {
  SpaceToBatchND: op({
    in: ['input', 'block_shape', 'paddings'],
    parts: true,
    emit: (n, b) => {
      const m = blockLength(n, n.in.block_shape, n.in.paddings)
      return spaceToBatch(n.in.input, int64(n.in.block_shape, b), int64(n.in.paddings, b), m, b)
    },
  }),
  BatchToSpaceND: op({
    in: ['input', 'block_shape', 'crops'],
    parts: true,
    emit: (n, b) => {
      const m = blockLength(n, n.in.block_shape, n.in.crops)
      return batchToSpace(n.in.input, int64(n.in.block_shape, b), int64(n.in.crops, b), m, b)
    },
  }),
  SpaceToBatch: op({
    in: ['input', 'paddings'],
    attrs: { block_size: 'int' },
    emit: (n, b) => spaceToBatch(n.in.input, square(n.attrs.block_size, b), int64(n.in.paddings, b), 2, b),
  }),
  BatchToSpace: op({
    in: ['input', 'crops'],
    attrs: { block_size: 'int' },
    emit: (n, b) => batchToSpace(n.in.input, square(n.attrs.block_size, b), int64(n.in.crops, b), 2, b),
  }),
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  ExtractImagePatches: op({
    in: ['images'],
    attrs: { ksizes: 'ints', strides: 'ints', rates: 'ints', padding: ['VALID', 'SAME'] },
    emit: (n, b) =>
      patches(
        n.in.images,
        inner(n.attrs.ksizes),
        inner(n.attrs.strides),
        inner(n.attrs.rates),
        n.attrs.padding === 'SAME',
        b,
      ),
  }),
  ExtractVolumePatches: op({
    in: ['input'],
    attrs: { ksizes: 'ints', strides: 'ints', padding: ['VALID', 'SAME'] },
    emit: (n, b) =>
      patches(n.in.input, inner(n.attrs.ksizes), inner(n.attrs.strides), [1, 1, 1], n.attrs.padding === 'SAME', b),
  }),
} satisfies OpTable

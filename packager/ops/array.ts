import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { indexType, int64 } from './cast.ts'
import { fromPair, isComplex, pairOf } from './complex.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'
import { axisOf } from './reduce.ts'
import { raggedShape } from './variant.ts'

function joined(n: AnyNode, values: readonly Value[], axis: Value, b: Builder): Value {
  return b.concat(values, axisOf(n, axis, values[0]!))
}

/** The last input is the axis. */
const concat: OpRow = op({
  in: ['first!'],
  parts: true,
  emit: (n, b) => joined(n, n.inputs.slice(0, -1) as Value[], n.inputs.at(-1) as Value, b),
})

const reshape: OpRow = op({
  in: ['tensor', 'shape'],
  emit: (n, b) => {
    const { tensor, shape } = n.in
    if (!isComplex(tensor)) return reshaped(tensor, shape, b)
    return fromPair(reshaped(pairOf(tensor), b.concat([int64(shape, b), b.ints([2])], 0), b))
  },
})

function reshaped(x: Value, shape: Value, b: Builder): Value {
  const part = shape.part
  // One unknown dimension at most becomes -1: element counts agree in TensorFlow, so it is the same, and the shape is a constant.
  // A zero would mean "copy" in ONNX, so a target with one is left to the computed form with allowzero.
  if (part && part.filter((d) => typeof d === 'string').length === 1 && !part.includes(-1) && !part.includes(0)) {
    const fixed = b.op('Reshape', [x, b.ints(part.map((d) => (typeof d === 'number' ? d : -1)))])
    return b.as(fixed, { shape: part })
  }
  const zero = part?.includes(0) || (!part && !shape.data)
  return b.op('Reshape', [x, int64(shape, b)], zero && !part?.includes(-1) ? { allowzero: 1 } : {})
}

const filledLike = (value: number): OpRow =>
  op({
    in: ['x'],
    emit: (n, b) => {
      const { x } = n.in
      if (x.dtype === 'string')
        return b.op('Expand', [b.const({ dtype: 'string', shape: [], data: [''] }), b.shapeOf(x)])
      if (!isComplex(x)) return b.op('Expand', [b.scalar(x.dtype, value), b.shapeOf(x)])
      const pair = pairOf(x)
      return fromPair(b.op('Expand', [b.filled(pair.dtype, [2], [value, 0]), b.shapeOf(pair)]))
    },
  })

/** The shape of two shapes broadcast: the shorter one is filled with leading ones. */
function broadcastArgs(n: AnyNode, s0: Value, s1: Value, b: Builder): Value {
  const lengths = [s0, s1].map((s) => s.shape?.[0])
  const [p, q] = lengths
  if (typeof p !== 'number' || typeof q !== 'number') throw unsupported(n, 'shapes of known length', 'unknown lengths')
  const one = b.scalar(s0.dtype, 1)
  const longer = (s: Value, by: number) => (by > 0 ? b.concat([b.op('Expand', [one, b.ints([by])]), s], 0) : s)
  const [x, y] = [longer(s0, q - p), longer(s1, p - q)]
  return b.op('Where', [b.op('Equal', [x, one]), y, x])
}

function transposed(x: Value, perm: Value, conjugated: boolean, b: Builder): Value {
  const order = constNumbers(perm)
  if (!isComplex(x))
    return order
      ? b.transpose(
          x,
          order.map((p) => (p < 0 ? p + order.length : p)),
        )
      : permuted(x, perm, b)
  const pair = pairOf(x)
  const signed = conjugated ? b.op('Mul', [pair, b.filled(pair.dtype, [2], [1, -1])]) : pair
  const last = b.ints([b.rank(x)])
  const full = b.concat([int64(perm, b), last], 0)
  return fromPair(transposed(signed, full, false, b))
}

const unsupportedPermutation = (b: Builder) =>
  unsupported({ op: 'Transpose', name: b.at }, 'a permutation of known length', 'a computed one of unknown length')

/** A permutation that is computed: every element is fetched from its place in row-major order, where ONNX wants the order as an attribute. */
function permuted(x: Value, perm: Value, b: Builder): Value {
  const rank = x.shape?.length ?? perm.shape?.[0]
  if (typeof rank !== 'number') throw unsupportedPermutation(b)
  if (rank < 2) return x
  const shape = b.shapeOf(x)
  const order = int64(perm, b)
  const steps = Array.from({ length: rank }, (_, i) =>
    b.op('ReduceProd', [b.slice(shape, [i + 1], [rank], [0]), b.ints([0])], { keepdims: 1 }),
  )
  const [sizes, strides] = [b.gather(shape, order), b.gather(b.concat(steps, 0), order)]
  const places = Array.from({ length: rank }, (_, i) => {
    const along = b.op('Range', [b.int(0), b.gather(sizes, b.int(i)), b.int(1)])
    const offset = b.op('Mul', [along, b.gather(strides, b.int(i))])
    return b.unsqueeze(
      offset,
      Array.from({ length: rank - 1 - i }, (_, k) => k + 1),
    )
  })
  return b.gather(
    b.reshape(x, [-1]),
    places.reduce((sum, p) => b.op('Add', [sum, p])),
  )
}

const transpose = (conjugated: boolean): OpRow =>
  op({ in: ['x', 'perm'], emit: (n, b) => transposed(n.in.x, n.in.perm, conjugated, b) })

export const ARRAY = {
  Shape: op({
    in: ['input!'],
    attrs: { out_type: null },
    parts: true,
    emit: (n, b) => {
      const x = n.inputs[0]!
      if (x.kind === 'handle') return b.cast(raggedShape(n, x, b), indexType(n.attrs.out_type))
      if (x.kind !== 'tensor') throw unsupported(n, 'a tensor', `a ${x.kind}`)
      return b.cast(b.shapeOf(x), indexType(n.attrs.out_type))
    },
  }),
  ShapeN: op({
    in: ['input*'],
    attrs: { out_type: null },
    parts: true,
    emit: (n, b) => n.in.input.map((v) => b.cast(b.shapeOf(v), indexType(n.attrs.out_type))),
  }),
  Size: op({
    in: ['input'],
    attrs: { out_type: null },
    parts: true,
    emit: (n, b) => b.cast(b.op('Size', [n.in.input]), indexType(n.attrs.out_type)),
  }),
  Rank: op({
    in: ['input'],
    parts: true,
    emit: (n, b) =>
      n.in.input.shape
        ? b.scalar('int32', n.in.input.shape.length)
        : b.cast(b.op('Size', [b.shapeOf(n.in.input)]), 'int32'),
  }),
  Reshape: reshape,
  ExpandDims: op({
    in: ['input', 'dim'],
    parts: true,
    emit: (n, b) => b.op('Unsqueeze', [n.in.input, b.reshape(int64(n.in.dim, b), [1])]),
  }),
  Squeeze: op({
    in: ['input'],
    attrs: { squeeze_dims: [], axis: [] },
    parts: true,
    emit: (n, b) => {
      const axes = n.attrs.squeeze_dims.length > 0 ? n.attrs.squeeze_dims : n.attrs.axis
      if (axes.length > 0) return b.squeeze(n.in.input, axes)
      if (!n.in.input.shape) return b.op('Squeeze', [n.in.input], {}, { dtype: n.in.input.dtype, shape: undefined })
      // an unknown dimension may turn out to be 1, and the rank with it
      if (n.in.input.shape.some((d) => typeof d !== 'number'))
        return b.op('Squeeze', [n.in.input], {}, { dtype: n.in.input.dtype, shape: undefined })
      return b.squeeze(
        n.in.input,
        n.in.input.shape.flatMap((d, i) => (d === 1 ? [i] : [])),
      )
    },
  }),
  Pack: op({
    in: ['values*'],
    attrs: { axis: 0 },
    parts: true,
    emit: (n, b) =>
      b.concat(
        n.in.values.map((v) => b.unsqueeze(v, [n.attrs.axis])),
        n.attrs.axis,
      ),
  }),
  Unpack: op({
    in: ['value'],
    attrs: { num: 'int', axis: 0 },
    out: ['output*num'],
    parts: true,
    emit: (n, b) => {
      if (n.attrs.num === 0) return []
      if (n.attrs.num === 1) return [b.squeeze(n.in.value, [n.attrs.axis])]
      return b
        .ops('Split', [n.in.value], { axis: n.attrs.axis, num_outputs: n.attrs.num }, n.attrs.num)
        .map((v) => b.squeeze(v, [n.attrs.axis]))
    },
  }),
  ConcatV2: concat,
  ParallelConcat: op({ in: ['values*'], parts: true, emit: (n, b) => b.concat(n.in.values, 0) }),
  Concat: op({ in: ['axis', 'values*'], parts: true, emit: (n, b) => joined(n, n.in.values, n.in.axis, b) }),
  Transpose: transpose(false),
  ConjugateTranspose: transpose(true),
  Fill: op({
    in: ['dims', 'value'],
    parts: true,
    emit: (n, b) => b.op('Expand', [n.in.value, int64(n.in.dims, b)]),
  }),
  Empty: op({
    in: ['shape'],
    attrs: { dtype: 'type' },
    emit: (n, b) => b.op('Expand', [b.scalar(n.dtype('dtype'), 0), int64(n.in.shape, b)]),
  }),
  Tile: op({
    in: ['input', 'multiples'],
    parts: true,
    emit: (n, b) => b.op('Tile', [n.in.input, int64(n.in.multiples, b)]),
  }),
  BroadcastTo: op({
    in: ['input', 'shape'],
    parts: true,
    emit: (n, b) => b.op('Expand', [n.in.input, int64(n.in.shape, b)]),
  }),
  BroadcastArgs: op({ in: ['s0', 's1'], emit: (n, b) => broadcastArgs(n, n.in.s0, n.in.s1, b) }),
  ZerosLike: filledLike(0),
  OnesLike: filledLike(1),
  Range: op({ in: ['start', 'limit', 'delta'], emit: (n, b) => b.op('Range', [n.in.start, n.in.limit, n.in.delta]) }),
  /** The last element is `stop` itself, whatever the steps add up to. */
  LinSpace: op({
    in: ['start', 'stop', 'num'],
    emit: (n, b) => {
      const dtype = n.in.start.dtype as DType
      const count = int64(n.in.num, b)
      const steps = b.cast(b.op('Max', [b.op('Sub', [count, b.int(1)]), b.int(1)]), dtype)
      const delta = b.op('Div', [b.op('Sub', [n.in.stop, n.in.start]), steps])
      const index = b.op('Range', [b.int(0), count, b.int(1)])
      const points = b.op('Add', [n.in.start, b.op('Mul', [b.cast(index, dtype), delta])])
      const last = b.op('And', [
        b.op('Equal', [index, b.op('Sub', [count, b.int(1)])]),
        b.op('Greater', [index, b.int(0)]),
      ])
      return b.op('Where', [last, n.in.stop, points])
    },
  }),
  /** Every element is compared with its place, so that indices outside the depth, negative ones included, are all off. */
  OneHot: op({
    in: ['indices', 'depth', 'on_value', 'off_value'],
    attrs: { axis: -1 },
    parts: true,
    emit: (n, b) => {
      const { axis } = n.attrs
      const depth = b.reshape(int64(n.in.depth, b), [])
      const places = b.op('Range', [b.int(0), depth, b.int(1)])
      const indices = b.unsqueeze(int64(n.in.indices, b), [axis])
      const behind = axis === -1 ? 0 : b.rank(n.in.indices) - axis
      const column = b.unsqueeze(
        places,
        Array.from({ length: behind }, (_, i) => i + 1),
      )
      const out = b.op('Where', [b.op('Equal', [indices, column]), n.in.on_value, n.in.off_value])
      const size = n.in.depth.data ? Number(n.in.depth.data.data[0]) : n.in.depth.part?.[0]
      const at = axis === -1 ? (out.shape?.length ?? 0) - 1 : axis
      return out.shape && size !== undefined
        ? b.as(out, { shape: out.shape.map((d, i) => (i === at ? size : d)) })
        : out
    },
  }),
} satisfies OpTable

import type { Builder } from '../onnx/builder.ts'
import { constNumber, constNumbers, type Value } from '../onnx/value.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

/** Axes, shapes and indices are int64 in ONNX whatever TensorFlow had. */
export const int64 = (v: Value, b: Builder): Value => b.cast(v, 'int64')

/** A constant integer input. @throws {AppError} UNSUPPORTED_OPS */
export function constInt(n: AnyNode, v: Value, what: string): number {
  const c = constNumber(v)
  if (c === undefined) throw unsupported(n, `a constant ${what}`, 'a computed one')
  return c
}

const indexType = (t: unknown) => (t === 'int64' ? 'int64' : 'int32')

const concat: OpRow = op({
  in: ['first!'],
  emit: (n, b) => joined(n, n.inputs.slice(0, -1) as Value[], n.inputs.at(-1) as Value, b),
})

function joined(n: AnyNode, values: readonly Value[], axis: Value, b: Builder): Value {
  return b.concat(values, constInt(n, axis, 'axis'))
}

const reshape: OpRow = op({
  in: ['tensor', 'shape'],
  emit: (n, b) => {
    const part = n.in.shape.part
    // One unknown dimension at most becomes -1: element counts agree in TensorFlow, so it is the same, and the shape is a constant.
    // A zero would mean "copy" in ONNX, so a target with one is left to the computed form with allowzero.
    if (part && part.filter((d) => typeof d === 'string').length === 1 && !part.includes(-1) && !part.includes(0)) {
      const fixed = b.op('Reshape', [n.in.tensor, b.ints(part.map((d) => (typeof d === 'number' ? d : -1)))])
      return b.as(fixed, { shape: part })
    }
    const zero = part?.includes(0) || (!part && !n.in.shape.data)
    return b.op('Reshape', [n.in.tensor, int64(n.in.shape, b)], zero && !part?.includes(-1) ? { allowzero: 1 } : {})
  },
})

export const ARRAY = {
  Shape: op({
    in: ['input'],
    attrs: { out_type: null },
    emit: (n, b) => b.cast(b.shapeOf(n.in.input), indexType(n.attrs.out_type)),
  }),
  ShapeN: op({
    in: ['input*'],
    attrs: { out_type: null },
    emit: (n, b) => n.in.input.map((v) => b.cast(b.shapeOf(v), indexType(n.attrs.out_type))),
  }),
  Size: op({
    in: ['input'],
    attrs: { out_type: null },
    emit: (n, b) => b.cast(b.op('Size', [n.in.input]), indexType(n.attrs.out_type)),
  }),
  Rank: op({
    in: ['input'],
    emit: (n, b) =>
      n.in.input.shape
        ? b.scalar('int32', n.in.input.shape.length)
        : b.cast(b.op('Size', [b.shapeOf(n.in.input)]), 'int32'),
  }),
  Reshape: reshape,
  ExpandDims: op({
    in: ['input', 'dim'],
    emit: (n, b) => b.op('Unsqueeze', [n.in.input, b.reshape(int64(n.in.dim, b), [1])]),
  }),
  Squeeze: op({
    in: ['input'],
    attrs: { squeeze_dims: [], axis: [] },
    emit: (n, b) => {
      const axes = n.attrs.squeeze_dims.length > 0 ? n.attrs.squeeze_dims : n.attrs.axis
      if (axes.length > 0) return b.squeeze(n.in.input, axes)
      if (!n.in.input.shape) return b.op('Squeeze', [n.in.input], {}, { dtype: n.in.input.dtype, shape: undefined })
      return b.squeeze(
        n.in.input,
        n.in.input.shape.flatMap((d, i) => (d === 1 ? [i] : [])),
      )
    },
  }),
  Pack: op({
    in: ['values*'],
    attrs: { axis: 0 },
    emit: (n, b) =>
      b.concat(
        n.in.values.map((v) => b.unsqueeze(v, [n.attrs.axis])),
        n.attrs.axis,
      ),
  }),
  Unpack: op({
    in: ['value'],
    attrs: { num: 'int', axis: 0 },
    emit: (n, b) => {
      if (n.attrs.num === 1) return [b.squeeze(n.in.value, [n.attrs.axis])]
      return b
        .ops('Split', [n.in.value], { axis: n.attrs.axis, num_outputs: n.attrs.num }, n.attrs.num)
        .map((v) => b.squeeze(v, [n.attrs.axis]))
    },
  }),
  ConcatV2: concat,
  Concat: op({ in: ['axis', 'values*'], emit: (n, b) => joined(n, n.in.values, n.in.axis, b) }),
  Transpose: op({
    in: ['x', 'perm'],
    emit: (n, b) => {
      const perm = constNumbers(n.in.perm)
      if (!perm) throw unsupported(n, 'a constant permutation', 'a computed one')
      return b.transpose(
        n.in.x,
        perm.map((p) => (p < 0 ? p + perm.length : p)),
      )
    },
  }),
  Fill: op({ in: ['dims', 'value'], emit: (n, b) => b.op('Expand', [n.in.value, int64(n.in.dims, b)]) }),
  Tile: op({ in: ['input', 'multiples'], emit: (n, b) => b.op('Tile', [n.in.input, int64(n.in.multiples, b)]) }),
  ZerosLike: op({ in: ['x'], emit: (n, b) => b.op('Expand', [b.scalar(n.in.x.dtype, 0), b.shapeOf(n.in.x)]) }),
  SelectV2: op({ in: ['condition', 't', 'e'], emit: (n, b) => b.op('Where', [n.in.condition, n.in.t, n.in.e]) }),
  GatherV2: op({
    in: ['params', 'indices', 'axis'],
    attrs: { batch_dims: 0 },
    emit: (n, b) => {
      if (n.attrs.batch_dims !== 0) throw unsupported(n, 'batch_dims 0', String(n.attrs.batch_dims))
      return b.gather(n.in.params, n.in.indices, constInt(n, n.in.axis, 'axis'))
    },
  }),
  Range: op({ in: ['start', 'limit', 'delta'], emit: (n, b) => b.op('Range', [n.in.start, n.in.limit, n.in.delta]) }),
} satisfies OpTable

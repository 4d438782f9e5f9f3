import type { Builder } from '../onnx/builder.ts'
import { constNumber, type Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

/** Axes as an int64 vector; TensorFlow takes a scalar too. */
const axesOf = (axis: Value, b: Builder): Value =>
  axis.shape?.length === 1 ? int64(axis, b) : b.reshape(int64(axis, b), [-1])

/** An empty list of axes reduces nothing, in TensorFlow as with noop_with_empty_axes. */
const reduce = (type: string, parts = false): OpRow =>
  op({
    in: ['x', 'axis'],
    attrs: { keep_dims: false },
    parts,
    emit: (n, b) =>
      b.op(type, [n.in.x, axesOf(n.in.axis, b)], { keepdims: n.attrs.keep_dims ? 1 : 0, noop_with_empty_axes: 1 }),
  })

/** The axis of an op whose ONNX form has it as an attribute; a vector has but one. */
export function axisOf(n: AnyNode, axis: Value | undefined, of: Value, fallback = 0): number {
  if (!axis) return fallback
  const c = constNumber(axis)
  if (c !== undefined) return c
  if (of.shape?.length === 1) return 0
  throw unsupported(n, 'a constant axis', 'a computed one')
}

const arg = (type: string): OpRow =>
  op({
    in: ['input', 'dimension?'],
    attrs: { output_type: null },
    emit: (n, b) => {
      const axis = axisOf(n, n.in.dimension, n.in.input)
      const found = b.op(type, [n.in.input], { axis, keepdims: 0 })
      return n.attrs.output_type === undefined ? found : b.cast(found, n.dtype('output_type'))
    },
  })

export const REDUCE = {
  Sum: reduce('ReduceSum', true),
  Mean: { ...reduce('ReduceMean', true), note: 'of no elements at all it is 0, not NaN' },
  Max: reduce('ReduceMax'),
  Min: reduce('ReduceMin'),
  Prod: reduce('ReduceProd'),
  All: reduce('ReduceMin'),
  Any: reduce('ReduceMax'),
  EuclideanNorm: reduce('ReduceL2'),
  ArgMax: arg('ArgMax'),
  ArgMin: arg('ArgMin'),
} satisfies OpTable

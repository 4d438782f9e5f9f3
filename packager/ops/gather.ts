import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { read } from './core.ts'
import { type AnyNode, type OpTable, op } from './op.ts'
import { axisOf } from './reduce.ts'
import { refuseNegative } from './scatter.ts'

/** Gather along an axis, with leading dimensions that params and indices share. */
function gather(params: Value, given: Value, axis: number, batch: number, b: Builder): Value {
  const indices = refuseNegative(given, b)
  if (batch === 0) return b.gather(params, indices.dtype === 'int32' ? indices : int64(indices, b), axis)
  const [rank, count] = [b.rank(params), b.rank(indices)]
  const at = axis < 0 ? axis + rank : axis
  const all = Array.from({ length: rank }, (_, i) => i)
  // GatherND wants the axis right behind the batch; what stood between goes behind it and comes back afterwards
  const between = all.slice(batch, at)
  const moved = b.transpose(params, [...all.slice(0, batch), at, ...between, ...all.slice(at + 1)])
  const found = b.op('GatherND', [moved, b.unsqueeze(int64(indices, b), [-1])], { batch_dims: batch })
  const picks = Array.from({ length: count - batch }, (_, i) => batch + i)
  const shifted = between.map((_, i) => count + i)
  const rest = all.slice(at + 1).map((_, i) => count + between.length + i)
  return b.transpose(found, [...all.slice(0, batch), ...shifted, ...picks, ...rest])
}

/** An index of no elements names the whole tensor. */
function gatherNd(params: Value, given: Value, batch: number, b: Builder): Value {
  if (given.shape?.at(-1) === 0 && batch === 0)
    return b.op('Expand', [params, b.concat([b.slice(b.shapeOf(given), [0], [-1], [0]), b.shapeOf(params)], 0)])
  return b.op('GatherND', [params, int64(refuseNegative(given, b), b)], { batch_dims: batch })
}

const batchOf = (dims: number, indices: Value, b: Builder): number => (dims < 0 ? dims + b.rank(indices) : dims)
const variable = (n: AnyNode, b: Builder): Value => read(n, n.inputs[0], b)

export const GATHER = {
  Gather: op({
    in: ['params', 'indices'],
    parts: true,
    emit: (n, b) => gather(n.in.params, n.in.indices, 0, 0, b),
  }),
  GatherV2: op({
    in: ['params', 'indices', 'axis'],
    attrs: { batch_dims: 0 },
    parts: true,
    emit: (n, b) => {
      const batch = batchOf(n.attrs.batch_dims, n.in.indices, b)
      return gather(n.in.params, n.in.indices, axisOf(n, n.in.axis, n.in.params), batch, b)
    },
  }),
  ResourceGather: op({
    in: ['resource!', 'indices'],
    attrs: { batch_dims: 0 },
    emit: (n, b) => {
      const batch = batchOf(n.attrs.batch_dims, n.in.indices, b)
      return gather(variable(n, b), n.in.indices, batch, batch, b)
    },
  }),
  GatherNd: op({
    in: ['params', 'indices'],
    attrs: { bad_indices_policy: ['', 'DEFAULT', 'ERROR'] },
    parts: true,
    emit: (n, b) => gatherNd(n.in.params, n.in.indices, 0, b),
  }),
  ResourceGatherNd: op({
    in: ['resource!', 'indices'],
    emit: (n, b) => gatherNd(variable(n, b), n.in.indices, 0, b),
  }),
} satisfies OpTable

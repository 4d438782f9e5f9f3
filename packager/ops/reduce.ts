import { constNumber } from '../onnx/value.ts'
import { type OpRow, type OpTable, op, unsupported } from './op.ts'

const reduce = (type: string): OpRow =>
  op({
    in: ['x', 'axis'],
    attrs: { keep_dims: false },
    emit: (n, b) => {
      const axes =
        n.in.axis.shape?.length === 0 ? b.unsqueeze(b.cast(n.in.axis, 'int64'), [0]) : b.cast(n.in.axis, 'int64')
      return b.op(type, [n.in.x, axes], { keepdims: n.attrs.keep_dims ? 1 : 0, noop_with_empty_axes: 1 })
    },
  })

const arg = (type: string): OpRow =>
  op({
    in: ['x', 'axis?'],
    attrs: { output_type: null },
    emit: (n, b) => {
      const axis = n.in.axis ? constNumber(n.in.axis) : 0
      if (axis === undefined) throw unsupported(n, 'a constant axis', 'a computed one')
      const found = b.op(type, [n.in.x], { axis, keepdims: 0 })
      return n.attrs.output_type === 'int32' ? b.cast(found, 'int32') : found
    },
  })

export const REDUCE = {
  Sum: reduce('ReduceSum'),
  Mean: reduce('ReduceMean'),
  Max: reduce('ReduceMax'),
  Min: reduce('ReduceMin'),
  Prod: reduce('ReduceProd'),
  ArgMax: arg('ArgMax'),
  ArgMin: arg('ArgMin'),
} satisfies OpTable

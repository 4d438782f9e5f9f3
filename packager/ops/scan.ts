import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpRow, type OpTable, op } from './op.ts'
import { axisOf } from './reduce.ts'

type Step = (state: Value, x: Value, b: Builder) => Value

/** A running result along one axis, as Scan: `exclusive` gives the state before each element, `reverse` goes backwards. */
const running = (start: number, step: Step): OpRow =>
  op({
    in: ['x', 'axis'],
    attrs: { exclusive: false, reverse: false },
    emit: (n, b) => {
      const { x } = n.in
      const rank = b.rank(x)
      const given = axisOf(n, n.in.axis, x)
      const axis = given < 0 ? given + rank : given
      const element = b.gather(b.shapeOf(x), b.ints([...Array(rank).keys()].filter((i) => i !== axis)))
      const rest = x.shape!.filter((_, i) => i !== axis)
      const body = b.subgraph('scan', (inner) => {
        const state = inner.bodyInput('state', x.dtype as never, rest)
        const one = inner.bodyInput('element', x.dtype as never, rest)
        const next = step(state, one, inner)
        return [next, n.attrs.exclusive ? inner.op('Identity', [state]) : inner.op('Identity', [next])]
      })
      const direction = n.attrs.reverse ? 1 : 0
      return b.ops(
        'Scan',
        [b.op('Expand', [b.scalar(x.dtype, start), element]), x],
        {
          body,
          num_scan_inputs: 1,
          scan_input_axes: [axis],
          scan_output_axes: [axis],
          scan_input_directions: [direction],
          scan_output_directions: [direction],
        },
        2,
        [
          { dtype: x.dtype, shape: rest },
          { dtype: x.dtype, shape: x.shape },
        ],
      )[1]!
    },
  })

/** log(exp(a) + exp(b)); two equal infinities have no difference. */
function logAddExp(a: Value, x: Value, b: Builder): Value {
  const most = b.op('Max', [a, x])
  const apart = b.op('Abs', [b.op('Sub', [a, x])])
  const sum = b.op('Add', [
    most,
    b.op('Log', [b.op('Add', [b.op('Exp', [b.op('Neg', [apart])]), b.scalar(a.dtype, 1)])]),
  ])
  return b.op('Where', [b.op('IsInf', [most]), most, sum])
}

export const SCAN = {
  Cumsum: op({
    in: ['x', 'axis'],
    attrs: { exclusive: false, reverse: false },
    parts: true,
    emit: (n, b) =>
      b.op('CumSum', [n.in.x, b.reshape(int64(n.in.axis, b), [])], {
        exclusive: n.attrs.exclusive ? 1 : 0,
        reverse: n.attrs.reverse ? 1 : 0,
      }),
  }),
  Cumprod: running(1, (state, x, b) => b.op('Mul', [state, x])),
  CumulativeLogsumexp: running(Number.NEGATIVE_INFINITY, logAddExp),
} satisfies OpTable

import { AppError } from '../../../src/errors.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { axisOf, type Call, type KTensor, type LayerRow, type LayerTable, unsupported } from './layer.ts'
import { einsum } from './tf.ts'

/** Inputs of lower rank get their missing dimensions behind the batch, not in front of it. */
function levelled(n: Call, b: Builder): KTensor[] {
  const ranks = n.all.map((t) => b.rank(t.value))
  const rank = Math.max(...ranks)
  return n.all.map((t, i) => ({
    ...t,
    value: b.unsqueeze(
      t.value,
      Array.from({ length: rank - ranks[i]! }, (_, k) => k + 1),
    ),
  }))
}

const spread = (mask: Value, b: Builder): Value => b.unsqueeze(mask, [-1])
const or = (x: Value, y: Value, b: Builder): Value => b.op('Or', [x, y])

function unionMask(inputs: readonly KTensor[], b: Builder): Value | undefined {
  if (!inputs.every((t) => t.mask)) return undefined
  return inputs.map((t) => t.mask!).reduce((x, y) => or(x, y, b))
}

const sum = (inputs: readonly KTensor[], b: Builder): Value =>
  inputs.map((t) => t.value).reduce((x, y) => b.op('Add', [x, y]))

/** Where one side is masked the other side's value counts alone: sums have a neutral element, the largest and the least have none. */
function folded(type: string, inputs: readonly KTensor[], b: Builder): Value {
  let [{ value, mask }] = inputs as [KTensor]
  for (const next of inputs.slice(1)) {
    const x = next.mask ? b.op('Where', [spread(next.mask, b), next.value, value]) : next.value
    if (mask) value = b.op('Where', [spread(mask, b), value, x])
    mask = mask && next.mask ? or(mask, next.mask, b) : undefined
    value = b.op(type, [value, x])
  }
  return value
}

const merge = (f: (inputs: readonly KTensor[], b: Builder) => Value): LayerRow => ({
  emit: (n, b) => {
    if (n.all.length === 0) throw unsupported(n, 'a list of tensors', 'none')
    const inputs = levelled(n, b)
    return { value: f(inputs, b), mask: unionMask(n.all, b) }
  },
})

/** Masked factors count as 1; where all are masked the product is 0. */
function product(inputs: readonly KTensor[], b: Builder): Value {
  const value = inputs
    .map((t) => (t.mask ? b.op('Where', [spread(t.mask, b), t.value, b.scalar(t.value.dtype, 1)]) : t.value))
    .reduce((x, y) => b.op('Mul', [x, y]))
  const any = unionMask(inputs, b)
  return any ? b.op('Where', [spread(any, b), value, b.scalar(value.dtype, 0)]) : value
}

function concatenated(n: Call, b: Builder): KTensor {
  const values = n.all.map((t) => t.value)
  const axis = n.config.int('axis', -1)
  const value = b.concat(values, axisOf(axis, b.rank(values[0]!)))
  if (n.all.every((t) => !t.mask)) return { value }
  const masks = n.all.map((t) => {
    const like = b.shapeOf(t.value)
    if (!t.mask) return b.op('Expand', [b.scalar('bool', 1), like])
    return b.rank(t.mask) < b.rank(t.value) ? b.op('Expand', [spread(t.mask, b), like]) : t.mask
  })
  const all = b.cast(b.concat(masks, axisOf(axis, b.rank(values[0]!))), 'int32')
  return { value, mask: b.cast(b.op('ReduceMax', [all, b.ints([-1])], { keepdims: 0 }), 'bool') }
}

/** x * rsqrt(sum of squares), never more than 1/epsilon. */
export function unitLength(x: Value, axes: readonly number[], epsilon: number, b: Builder): Value {
  const squares = b.op('ReduceSum', [b.op('Mul', [x, x]), b.ints(axes)], { keepdims: 1 })
  const inverse = b.op('Reciprocal', [b.op('Sqrt', [squares])])
  return b.op('Mul', [x, b.op('Min', [inverse, b.scalar(x.dtype, 1 / epsilon)])])
}

function dot(n: Call, b: Builder): Value {
  const [first, second] = n.all
  if (n.all.length !== 2 || !first || !second) throw unsupported(n, '2 inputs', `${n.all.length}`)
  const axes = n.config.list('axes')
  if (axes.length > 2) throw unsupported(n, 'one axis of each input', `${axes.length} axes`)
  let [x, y] = [first.value, second.value]
  const [rx, ry] = [b.rank(x), b.rank(y)]
  const [ax, ay] = [axisOf(axes[0]!, rx), axisOf(axes[1] ?? axes[0]!, ry)]
  if (n.config.bool('normalize')) {
    x = unitLength(x, [ax], 1e-12, b)
    y = unitLength(y, [ay], 1e-12, b)
  }
  if (rx > 8 || ry > 8) throw unsupported(n, 'at most 8 dimensions', `${Math.max(rx, ry)}`)
  const left = [...'abcdefgh'.slice(0, rx)]
  const right = ['a', ...'ijklmnop'.slice(0, ry - 1)]
  right[ay] = left[ax]!
  const kept = [...left.filter((_, i) => i !== ax), ...right.filter((_, i) => i !== ay && i !== 0)]
  const value = einsum(n, [x, y], `${left.join('')},${right.join('')}->${kept.join('')}`, b)
  return rx === 2 && ry === 2 ? b.unsqueeze(value, [1]) : value
}

export const MERGE_LAYERS: LayerTable = {
  Add: merge(sum),
  Maximum: merge((inputs, b) => folded('Max', inputs, b)),
  Minimum: merge((inputs, b) => folded('Min', inputs, b)),
  Average: merge((inputs, b) => {
    const total = sum(inputs, b)
    return b.op('Div', [total, b.scalar(total.dtype, inputs.length)])
  }),
  Multiply: merge(product),
  Subtract: merge((inputs, b) => {
    if (inputs.length !== 2)
      throw new AppError('BAD_MODEL_FILE', { where: b.at, expected: '2 inputs', got: `${inputs.length}` })
    return b.op('Sub', [inputs[0]!.value, inputs[1]!.value])
  }),
  Concatenate: { emit: (n, b) => concatenated(n, b) },
  Dot: { emit: (n, b) => dot(n, b) },
}

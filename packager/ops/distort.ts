import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type AnyNode, type OpTable, op, unsupported } from './op.ts'
import { element } from './resize.ts'

interface Attrs {
  readonly aspect_ratio_range: readonly number[]
  readonly area_range: readonly number[]
  readonly max_attempts: number
  readonly use_image_if_no_bounding_boxes: boolean
}

/**
 * A random crop that covers enough of some object (tensorflow/core/kernels/image/sample_distorted_bounding_box_op.cc). All attempts are drawn at
 * once, as vectors, and the first that satisfies the constraints is taken; the whole image where none does.
 */
function sample(n: AnyNode, size: Value, boxes: Value, covered: Value, a: Attrs, b: Builder): Value[] {
  const num = (v: number) => b.scalar('float32', v)
  const [add, sub, mul, div] = ['Add', 'Sub', 'Mul', 'Div'].map((t) => (x: Value, y: Value) => b.op(t, [x, y])) as [
    (x: Value, y: Value) => Value,
    (x: Value, y: Value) => Value,
    (x: Value, y: Value) => Value,
    (x: Value, y: Value) => Value,
  ]
  const where = (test: Value, yes: Value, no: Value) => b.op('Where', [test, yes, no])
  const both = (...tests: Value[]) => tests.reduce((p, q) => b.op('And', [p, q]))
  const atMost = (x: Value, y: Value) => b.op('LessOrEqual', [x, y])
  const round = (v: Value) => b.op('Round', [v])
  const [minAspect, maxAspect] = a.aspect_ratio_range as [number, number]
  const [minArea, maxArea] = a.area_range as [number, number]
  const [height, width] = [0, 1].map((i) => b.cast(element(size, i, b), 'float32')) as [Value, Value]
  const draw = () => b.op('RandomUniformLike', [b.filled('float32', [a.max_attempts], [0])])
  /** a whole number from 0 to one less than `count` */
  const below = (count: Value) => b.op('Min', [b.op('Floor', [mul(draw(), count)]), sub(count, num(1))])

  const aspect = add(mul(draw(), num(maxAspect - minAspect)), num(minAspect))
  const whole = mul(height, width)
  const [least, most] = [mul(whole, num(minArea)), mul(whole, num(maxArea))]
  let tallest = round(b.op('Sqrt', [div(most, aspect)]))
  const wide = b.op('Greater', [round(mul(tallest, aspect)), width])
  tallest = where(wide, b.op('Floor', [div(add(width, num(0.5 - 1e-7)), aspect)]), tallest)
  tallest = b.op('Min', [tallest, height])
  const shortest = b.op('Min', [round(b.op('Sqrt', [div(least, aspect)])), tallest])
  let h = add(shortest, below(add(sub(tallest, shortest), num(1))))
  let w = round(mul(h, aspect))
  for (const step of [1, -1]) {
    const outside = step > 0 ? b.op('Less', [mul(h, w), least]) : b.op('Greater', [mul(h, w), most])
    h = where(outside, add(h, num(step)), h)
    w = round(mul(h, aspect))
  }
  const area = mul(h, w)
  const fits = both(atMost(least, area), atMost(area, most), atMost(w, width), atMost(h, height), atMost(num(1), area))
  const y = below(b.op('Max', [sub(height, h), num(1)]))
  const x = below(b.op('Max', [sub(width, w), num(1)]))

  const edge = (i: number, scale: Value) => {
    const own = b.slice(b.reshape(boxes, [-1, 4]), [i], [i + 1], [1])
    const all = a.use_image_if_no_bounding_boxes ? b.concat([own, image(i)], 0) : own
    return b.op('Floor', [mul(all, scale)])
  }
  // the whole image counts as an object where there is no other: beyond the real ones it is empty
  const none = b.cast(b.op('Equal', [b.op('Size', [boxes]), b.int(0)]), 'float32')
  const image = (i: number) => b.reshape(i < 2 ? num(0) : none, [1, 1])
  const [top, left, bottom, right] = [edge(0, height), edge(1, width), edge(2, height), edge(3, width)]
  const span = (from: Value, to: Value) => b.op('Max', [sub(to, from), num(0)])
  const object = mul(span(top, bottom), span(left, right))
  const shared = mul(
    span(b.op('Max', [top, y]), b.op('Min', [bottom, add(y, h)])),
    span(b.op('Max', [left, x]), b.op('Min', [right, add(x, w)])),
  )
  const real = atMost(num(1), object)
  const share = div(shared, b.op('Max', [object, num(1)]))
  const enough = both(real, atMost(b.reshape(covered, []), share))
  const covers = b.cast(b.op('ReduceMax', [b.cast(enough, 'int32'), b.ints([0])], { keepdims: 0 }), 'bool')

  const good = b.cast(both(fits, covers), 'int32')
  const first = b.op('ArgMax', [good], { axis: 0, keepdims: 0 })
  const found = b.cast(b.gather(good, first), 'bool')
  const taken = (v: Value, otherwise: Value) => where(found, b.gather(v, first), otherwise)
  const [y0, x0, h0, w0] = [taken(y, num(0)), taken(x, num(0)), taken(h, height), taken(w, width)]
  if (size.dtype === 'string') throw unsupported(n, 'a size in integers', size.dtype)
  const list = (...items: Value[]) =>
    b.cast(
      b.concat(
        items.map((v) => b.reshape(v, [1])),
        0,
      ),
      size.dtype as DType,
    )
  const corners = [div(y0, height), div(x0, width), div(add(y0, h0), height), div(add(x0, w0), width)]
  const box = b.reshape(
    b.concat(
      corners.map((v) => b.reshape(v, [1])),
      0,
    ),
    [1, 1, 4],
  )
  return [list(y0, x0, num(0)), list(h0, w0, num(-1)), box]
}

const OUT = ['begin', 'size', 'bboxes']
const ATTRS = {
  aspect_ratio_range: [0.75, 1.33] as readonly number[],
  area_range: [0.05, 1] as readonly number[],
  max_attempts: 100,
  use_image_if_no_bounding_boxes: false,
} as const
const NOTE = 'drawn at random, from the same distribution; seeds give other numbers than in TensorFlow'

export const DISTORT = {
  SampleDistortedBoundingBox: op({
    in: ['image_size', 'bounding_boxes'],
    out: OUT,
    attrs: { ...ATTRS, min_object_covered: 0.1 },
    note: NOTE,
    emit: (n, b) => {
      const covered = b.scalar('float32', n.attrs.min_object_covered)
      return sample(n, n.in.image_size, n.in.bounding_boxes, covered, n.attrs, b)
    },
  }),
  SampleDistortedBoundingBoxV2: op({
    in: ['image_size', 'bounding_boxes', 'min_object_covered'],
    out: OUT,
    attrs: ATTRS,
    note: NOTE,
    emit: (n, b) => sample(n, n.in.image_size, n.in.bounding_boxes, n.in.min_object_covered, n.attrs, b),
  }),
} satisfies OpTable

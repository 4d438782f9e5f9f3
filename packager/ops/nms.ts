import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpTable, op } from './op.ts'
import { sizeAt } from './resize.ts'

const range = (count: Value, b: Builder): Value => b.op('Range', [b.int(0), count, b.int(1)])
const f32 = (v: Value, b: Builder): Value => b.cast(v, 'float32')

/** Indices of the boxes that stay, best first. */
function selected(
  v: { boxes: Value; scores: Value; most: Value; overlap: Value; least: Value | undefined },
  b: Builder,
): Value {
  const found = b.op(
    'NonMaxSuppression',
    [
      b.unsqueeze(f32(v.boxes, b), [0]),
      b.unsqueeze(f32(v.scores, b), [0, 1]),
      b.reshape(int64(v.most, b), [1]),
      b.reshape(f32(v.overlap, b), [1]),
      v.least && b.reshape(f32(v.least, b), [1]),
    ],
    {},
    { dtype: 'int64', shape: [b.fresh(), 3] },
  )
  return b.squeeze(b.slice(found, [2], [3], [1]), [1])
}

/** Indices filled up with zeros to the most there may be, if asked for. */
function filledUp(indices: Value, most: Value, pad: boolean, b: Builder): Value {
  if (!pad) return indices
  const missing = b.op('Sub', [b.reshape(int64(most, b), [1]), b.shapeOf(indices)])
  return b.op('Pad', [indices, b.concat([b.ints([0]), missing], 0), b.scalar(indices.dtype, 0)])
}

const countOf = (v: Value, b: Builder): Value => b.cast(b.op('Size', [v]), 'int32')

/** The overlap of one box with all, as TensorFlow defines it: nothing for boxes without area. */
function overlaps(one: Value, boxes: Value, b: Builder): Value {
  const edges = (v: Value) => {
    const at = (i: number) => b.squeeze(b.slice(v, [i], [i + 1], [1]), [1])
    const [y, x, y2, x2] = [at(0), at(1), at(2), at(3)]
    return {
      top: b.op('Min', [y, y2]),
      left: b.op('Min', [x, x2]),
      bottom: b.op('Max', [y, y2]),
      right: b.op('Max', [x, x2]),
    }
  }
  type Edges = ReturnType<typeof edges>
  const area = (e: Edges) => b.op('Mul', [b.op('Sub', [e.bottom, e.top]), b.op('Sub', [e.right, e.left])])
  const [p, q] = [edges(one), edges(boxes)]
  const zero = b.scalar('float32', 0)
  const span = (low: 'top' | 'left', high: 'bottom' | 'right') =>
    b.op('Max', [b.op('Sub', [b.op('Min', [p[high], q[high]]), b.op('Max', [p[low], q[low]])]), zero])
  const common = b.op('Mul', [span('top', 'bottom'), span('left', 'right')])
  const [a, c] = [area(p), area(q)]
  const real = b.op('And', [b.op('Greater', [a, zero]), b.op('Greater', [c, zero])])
  const union = b.op('Sub', [b.op('Add', [a, c]), common])
  return b.op('Where', [real, b.op('Div', [common, b.op('Where', [real, union, b.scalar('float32', 1)])]), zero])
}

/**
 * Soft suppression: every box that is taken lowers the scores of those it overlaps by exp(-overlap² / 2 sigma), whatever the hard
 * threshold says. Taking the best of the lowered scores, one at a time, is what TensorFlow's queue comes to.
 */
function softly(
  v: { boxes: Value; scores: Value; most: Value; overlap: Value; least: Value; sigma: Value },
  b: Builder,
): [Value, Value] {
  const [boxes, scores] = [f32(v.boxes, b), f32(v.scores, b)]
  const [overlap, least, sigma] = [v.overlap, v.least, v.sigma].map((x) => b.reshape(f32(x, b), [])) as [
    Value,
    Value,
    Value,
  ]
  const most = b.op('Min', [b.reshape(int64(v.most, b), []), sizeAt(boxes, 0, b)])
  const soft = b.op('Greater', [sigma, b.scalar('float32', 0)])
  const factor = b.op('Div', [b.scalar('float32', -0.5), b.op('Where', [soft, sigma, b.scalar('float32', 1)])])
  const best = (s: Value, inner: Builder) => inner.op('ReduceMax', [inner.concat([s, out], 0)], { keepdims: 0 })
  const out = b.filled('float32', [1], [Number.NEGATIVE_INFINITY])
  const body = b.subgraph('take', (g) => {
    g.bodyInput('i', 'int64', [])
    g.bodyInput('go', 'bool', [])
    const now = g.bodyInput('scores', 'float32', scores.shape)
    const at = g.op('ArgMax', [now], { axis: 0, keepdims: 1 })
    const score = g.gather(now, at)
    const shared = overlaps(g.gather(boxes, at), boxes, g)
    const lowered = g.op('Exp', [g.op('Mul', [g.op('Mul', [shared, shared]), factor])])
    const hard = g.cast(g.op('LessOrEqual', [shared, overlap]), 'float32')
    const weight = g.op('Where', [soft, lowered, hard])
    const mine = g.op('Equal', [g.op('Range', [g.int(0), sizeAt(boxes, 0, g), g.int(1)]), at])
    const scaled = g.op('Mul', [now, weight])
    const gone = g.op('LessOrEqual', [scaled, least])
    const none = g.scalar('float32', Number.NEGATIVE_INFINITY)
    const next = g.op('Where', [g.op('Or', [mine, gone]), none, scaled])
    const go = g.op('Greater', [best(next, g), least])
    return [go, next, g.squeeze(at, [0]), g.squeeze(score, [0])]
  })
  const start = b.op('Greater', [best(scores, b), least])
  const n = b.fresh()
  const [, indices, taken] = b.ops('Loop', [most, start, scores], { body }, 3, [
    { dtype: 'float32', shape: scores.shape },
    { dtype: 'int64', shape: [n] },
    { dtype: 'float32', shape: [n] },
  ])
  return [indices!, taken!]
}

const IN = ['boxes', 'scores', 'max_output_size', 'iou_threshold', 'score_threshold'] as const

export const NMS = {
  NonMaxSuppression: op({
    in: ['boxes', 'scores', 'max_output_size'],
    attrs: { iou_threshold: 0.5 },
    emit: (n, b) => {
      const { boxes, scores, max_output_size: most } = n.in
      const overlap = b.scalar('float32', n.attrs.iou_threshold)
      return b.cast(selected({ boxes, scores, most, overlap, least: undefined }, b), 'int32')
    },
  }),
  NonMaxSuppressionV2: op({
    in: ['boxes', 'scores', 'max_output_size', 'iou_threshold'],
    emit: (n, b) => {
      const { boxes, scores, max_output_size: most, iou_threshold: overlap } = n.in
      return b.cast(selected({ boxes, scores, most, overlap, least: undefined }, b), 'int32')
    },
  }),
  NonMaxSuppressionV3: op({
    in: IN,
    emit: (n, b) => {
      const { boxes, scores, max_output_size: most, iou_threshold: overlap, score_threshold: least } = n.in
      return b.cast(selected({ boxes, scores, most, overlap, least }, b), 'int32')
    },
  }),
  NonMaxSuppressionV4: op({
    in: IN,
    out: ['selected_indices', 'valid_outputs'],
    attrs: { pad_to_max_output_size: false },
    emit: (n, b) => {
      const { boxes, scores, max_output_size: most, iou_threshold: overlap, score_threshold: least } = n.in
      const found = selected({ boxes, scores, most, overlap, least }, b)
      const filled = filledUp(found, most, n.attrs.pad_to_max_output_size, b)
      return [b.cast(filled, 'int32'), countOf(found, b)]
    },
  }),
  NonMaxSuppressionV5: op({
    in: [...IN, 'soft_nms_sigma'],
    out: ['selected_indices', 'selected_scores', 'valid_outputs'],
    attrs: { pad_to_max_output_size: false },
    emit: (n, b) => {
      const { boxes, scores, max_output_size: most, iou_threshold: overlap, score_threshold: least } = n.in
      const hard = n.in.soft_nms_sigma.data && Number(b.cast(n.in.soft_nms_sigma, 'float32').data!.data[0]) === 0
      let found: Value
      let taken: Value
      if (hard) {
        found = selected({ boxes, scores, most, overlap, least }, b)
        taken = b.gather(scores, found)
      } else {
        const [at, soft] = softly({ boxes, scores, most, overlap, least, sigma: n.in.soft_nms_sigma }, b)
        found = at
        taken = scores.dtype === 'float16' ? b.cast(soft, 'float16') : soft
      }
      const pad = n.attrs.pad_to_max_output_size
      return [b.cast(filledUp(found, most, pad, b), 'int32'), filledUp(taken, most, pad, b), countOf(found, b)]
    },
  }),
  CombinedNonMaxSuppression: op({
    in: ['boxes', 'scores', 'max_output_size_per_class', 'max_total_size', 'iou_threshold', 'score_threshold'],
    out: ['nmsed_boxes', 'nmsed_scores', 'nmsed_classes', 'valid_detections'],
    attrs: { pad_per_class: false, clip_boxes: true },
    emit: (n, b) => {
      const { boxes, scores } = n.in
      // every class of an image is a batch of its own: [batch * classes, boxes, 4]; boxes shared by all classes are repeated
      const [batch, count, classes] = [b.dim(boxes, 0), b.dim(boxes, 1), b.dim(scores, 2)]
      const perClass = b.op('Mul', [batch, classes])
      const sets = b.transpose(boxes, [0, 2, 1, 3])
      const every = b.op('Expand', [sets, b.concat([batch, classes, count, b.ints([4])], 0)])
      const lists = b.op('Reshape', [every, b.concat([perClass, count, b.ints([4])], 0)])
      const ranks = b.op('Reshape', [b.transpose(scores, [0, 2, 1]), b.concat([perClass, b.ints([1]), count], 0)])
      const most = b.reshape(int64(n.in.max_output_size_per_class, b), [1])
      const found = b.op(
        'NonMaxSuppression',
        [lists, ranks, most, b.reshape(n.in.iou_threshold, [1]), b.reshape(n.in.score_threshold, [1])],
        {},
        { dtype: 'int64', shape: [b.fresh(), 3] },
      )
      // scores of what stays, everything else below any; room for as many as are wanted
      const places = b.gather(found, b.ints([0, 2]), 1)
      const flat = b.op('Reshape', [ranks, b.concat([perClass, count], 0)])
      const none = b.op('Expand', [b.scalar('float32', Number.NEGATIVE_INFINITY), b.shapeOf(flat)])
      const kept = b.op('ScatterND', [none, places, b.op('GatherND', [flat, places])])
      const all = b.op('Reshape', [kept, b.concat([batch, b.op('Mul', [classes, count])], 0)])
      const total = b.reshape(int64(n.in.max_total_size, b), [1])
      const limit = n.attrs.pad_per_class ? b.op('Min', [total, b.op('Mul', [most, classes])]) : total
      const padded = b.op('Pad', [
        all,
        b.concat([b.ints([0, 0, 0]), limit], 0),
        b.scalar('float32', Number.NEGATIVE_INFINITY),
      ])
      const [top, at] = b.ops('TopK', [padded, limit], { axis: 1, sorted: 1 }, 2) as [Value, Value]
      const valid = b.op('Greater', [top, b.scalar('float32', Number.NEGATIVE_INFINITY)])
      const safe = b.op('Where', [valid, at, b.int(0)])
      const row = b.op('Add', [
        b.op('Mul', [b.unsqueeze(range(b.reshape(batch, []), b), [1]), b.op('Mul', [classes, count])]),
        safe,
      ])
      const zero = b.scalar('float32', 0)
      const picked = b.gather(b.reshape(lists, [-1, 4]), row)
      const inside = n.attrs.clip_boxes ? b.op('Clip', [picked, zero, b.scalar('float32', 1)]) : picked
      return [
        b.op('Where', [b.unsqueeze(valid, [-1]), inside, zero]),
        b.op('Where', [valid, top, zero]),
        b.op('Where', [valid, f32(b.op('Div', [safe, count]), b), zero]),
        b.cast(b.op('ReduceSum', [int64(valid, b), b.ints([1])], { keepdims: 0 }), 'int32'),
      ]
    },
  }),
} satisfies OpTable

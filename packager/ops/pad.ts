import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpRow, type OpTable, op } from './op.ts'

/** TensorFlow has a pair per dimension, ONNX all beginnings and then all ends. */
function pairsToPads(paddings: Value, b: Builder): Value {
  return b.reshape(b.transpose(int64(paddings, b), [1, 0]), [-1])
}

const pad: OpRow = op({
  in: ['input', 'paddings', 'constant_values?'],
  parts: true,
  emit: (n, b) => b.op('Pad', [n.in.input, pairsToPads(n.in.paddings, b), n.in.constant_values]),
})

/**
 * The source of every element along one axis: SYMMETRIC repeats the edge, REFLECT does not. Indices are folded back from both ends,
 * which is enough since TensorFlow allows no more padding than there are elements.
 */
function mirrored(x: Value, axis: number, before: Value, after: Value, reflect: boolean, b: Builder): Value {
  const size = b.dim(x, axis)
  const places = b.op('Range', [
    b.reshape(b.op('Neg', [before]), []),
    b.reshape(b.op('Add', [size, after]), []),
    b.int(1),
  ])
  const edge = b.int(reflect ? 0 : 1)
  const low = b.op('Where', [b.op('Less', [places, b.int(0)]), b.op('Sub', [b.op('Neg', [places]), edge]), places])
  const turn = b.op('Sub', [b.op('Mul', [size, b.int(2)]), b.int(reflect ? 2 : 1)])
  const source = b.op('Where', [b.op('GreaterOrEqual', [low, size]), b.op('Sub', [turn, low]), low])
  return b.gather(x, source, axis)
}

export const PAD = {
  Pad: pad,
  PadV2: pad,
  MirrorPad: op({
    in: ['input', 'paddings'],
    attrs: { mode: ['REFLECT', 'SYMMETRIC'] },
    parts: true,
    emit: (n, b) => {
      const reflect = n.attrs.mode === 'REFLECT'
      const known = constNumbers(n.in.paddings)
      const paddings = int64(n.in.paddings, b)
      const axes = Array.from({ length: b.rank(n.in.input) }, (_, i) => i)
      return axes
        .filter((axis) => !known || known[2 * axis]! + known[2 * axis + 1]! > 0)
        .reduce<Value>((x, axis) => {
          const pair = b.reshape(b.slice(paddings, [axis], [axis + 1], [0]), [2])
          const out = mirrored(x, axis, b.slice(pair, [0], [1], [0]), b.slice(pair, [1], [2], [0]), reflect, b)
          const d = x.shape?.[axis]
          const size = known && typeof d === 'number' ? d + known[2 * axis]! + known[2 * axis + 1]! : b.fresh()
          return out.data ? out : b.as(out, { shape: x.shape?.map((s, i) => (i === axis ? size : s)) })
        }, n.in.input)
    },
  }),
} satisfies OpTable

import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { indexType, int64 } from './cast.ts'
import { ndtri } from './gamma.ts'
import { type OpRow, type OpTable, op } from './op.ts'

/** Numbers drawn at every run. TensorFlow's own sequence for a seed is not reproduced: what counts is the distribution. */
const NOTE = "drawn anew at every run; the sequence of a seed is not TensorFlow's"

const uniform = (shape: Value, dtype: DType, b: Builder): Value =>
  b.op('RandomUniformLike', [b.op('Expand', [b.scalar(dtype, 0), int64(shape, b)])], { low: 0, high: 1 })

const normal = (shape: Value, dtype: DType, b: Builder): Value =>
  b.op('RandomNormalLike', [b.op('Expand', [b.scalar(dtype, 0), int64(shape, b)])], { mean: 0, scale: 1 })

/** Φ(2): TensorFlow draws again what lies beyond two standard deviations. The quantile of a uniform number has that distribution. */
const WITHIN = 0.9772498680518208

function truncated(shape: Value, dtype: DType, b: Builder): Value {
  const share = b.op('Mul', [uniform(shape, 'float64', b), b.scalar('float64', 2 * WITHIN - 1)])
  return b.cast(ndtri(b.op('Add', [share, b.scalar('float64', 1 - WITHIN)]), b), dtype)
}

function integers(shape: Value, low: Value, high: Value, b: Builder): Value {
  const dtype = low.dtype as DType
  const [from, to] = [b.cast(low, 'float64'), b.cast(high, 'float64')]
  const spread = b.op('Mul', [uniform(shape, 'float64', b), b.op('Sub', [to, from])])
  return b.cast(b.op('Add', [b.op('Floor', [spread]), from]), dtype)
}

const of = (draw: (shape: Value, dtype: DType, b: Builder) => Value): OpRow =>
  op({ in: ['shape'], attrs: { dtype: 'type' }, note: NOTE, emit: (n, b) => draw(n.in.shape, n.dtype('dtype'), b) })

/** The largest of logits with Gumbel noise is a sample of their distribution. */
function categorical(logits: Value, count: Value, dtype: DType, b: Builder): Value {
  const real = b.cast(logits, 'float32')
  const shape = b.shapeOf(real)
  const size = b.concat(
    [b.slice(shape, [0], [1], [0]), b.reshape(int64(count, b), [1]), b.slice(shape, [1], [2], [0])],
    0,
  )
  // never 0, whose logarithm is infinite
  const u = b.op('Max', [uniform(size, 'float32', b), b.scalar('float32', 1e-30)])
  const noise = b.op('Neg', [b.op('Log', [b.op('Neg', [b.op('Log', [u])])])])
  return b.cast(b.op('ArgMax', [b.op('Add', [b.unsqueeze(real, [1]), noise])], { axis: 2, keepdims: 0 }), dtype)
}

const samples: OpRow = op({
  in: ['logits', 'num_samples'],
  attrs: { output_dtype: null },
  emit: (n, b) => {
    const out = n.attrs.output_dtype === undefined ? 'int64' : indexType(n.attrs.output_dtype)
    return categorical(n.in.logits, n.in.num_samples, out, b)
  },
})

export const RANDOM = {
  RandomUniform: of(uniform),
  RandomStandardNormal: of(normal),
  TruncatedNormal: of(truncated),
  RandomUniformInt: op({
    in: ['shape', 'minval', 'maxval'],
    emit: (n, b) => integers(n.in.shape, n.in.minval, n.in.maxval, b),
  }),
  Multinomial: samples,
  /** A random key for every row; rows in the order of their keys. */
  RandomShuffle: op({
    in: ['value'],
    emit: (n, b) => {
      const rows = b.dim(n.in.value, 0)
      const [, order] = b.ops('TopK', [uniform(rows, 'float32', b), rows], { axis: 0 }, 2)
      return b.gather(n.in.value, order!)
    },
  }),
} satisfies OpTable

import { DTYPES, type DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { complexOf, fromPair, isComplex, pairOf, realOf } from './complex.ts'
import { type OpTable, op, unsupported } from './op.ts'

/** Axes, shapes and indices are int64 in ONNX whatever TensorFlow had. */
export const int64 = (v: Value, b: Builder): Value => b.cast(v, 'int64')

/** The int64 or int32 that an op's type attribute asks of its indices; TensorFlow's default is int32. */
export const indexType = (t: unknown): 'int64' | 'int32' => (t === 'int64' ? 'int64' : 'int32')

const REAL = { complex64: 'float32', complex128: 'float64' } as const
const isComplexType = (t: string): t is keyof typeof REAL => Object.hasOwn(REAL, t)

export const CAST = {
  /** Truncates towards zero, NaN is true; a complex number loses its imaginary part. */
  Cast: op({
    in: ['x'],
    attrs: { DstT: 'type', Truncate: false },
    emit: (n, b) => {
      const { x } = n.in
      if (n.attrs.Truncate && n.attrs.DstT === 'bfloat16') throw unsupported(n, 'rounding', 'Truncate')
      if (isComplexType(n.attrs.DstT)) {
        const part = REAL[n.attrs.DstT]
        if (isComplex(x)) return fromPair(b.cast(pairOf(x), part))
        const re = b.cast(x, part)
        return complexOf(re, b.op('Expand', [b.scalar(part, 0), b.shapeOf(re)]), b)
      }
      return b.cast(realOf(x, b), n.dtype('DstT'))
    },
  }),
  /** Integers of one width differ by interpretation alone, which is how a cast between them wraps. */
  Bitcast: op({
    in: ['input'],
    attrs: { type: 'type' },
    note: 'between integers of the same width',
    emit: (n, b) => {
      const [from, to] = [n.in.input.dtype as DType, n.dtype('type')]
      const integer = (d: DType) => d.startsWith('int') || d.startsWith('uint')
      if (from === to) return n.in.input
      if (!integer(from) || !integer(to) || DTYPES[from].bytes !== DTYPES[to].bytes)
        throw unsupported(n, 'integers of the same width', `${from} as ${to}`)
      return b.cast(n.in.input, to)
    },
  }),
} satisfies OpTable

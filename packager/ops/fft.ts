import type { Builder } from '../onnx/builder.ts'
import type { Dim, Value } from '../onnx/value.ts'
import { storageDType } from '../onnx/values.ts'
import { int64 } from './cast.ts'
import { fromPair, pairOf } from './complex.ts'
import { type OpRow, type OpTable, op, unsupported } from './op.ts'

/** DFT along one axis of a tensor with a trailing pair. Axes count from behind the pair: the last dimension of the signal is -2. */
function dft(pair: Value, back: number, inverse: boolean, b: Builder): Value {
  return b.op(
    'DFT',
    [pair, undefined, b.int(-1 - back)],
    { inverse: inverse ? 1 : 0 },
    { dtype: pair.dtype, shape: pair.shape },
  )
}

/** Some of the last dimensions transformed; `back` 1 is the last one. */
function transform(pair: Value, backs: readonly number[], inverse: boolean, b: Builder): Value {
  return backs.reduce((v, back) => dft(v, back, inverse, b), pair)
}

/** onnxruntime's float transform loses digits to TensorFlow's, so that all of it is computed in double precision. */
const wide = (v: Value, b: Builder): Value => b.cast(v, 'float64')
const narrow = (v: Value, like: Value, b: Builder): Value => b.cast(v, storageDType(like.dtype))

const backs = (rank: number): number[] => Array.from({ length: rank }, (_, i) => i + 1)

/** A dimension cut or filled with zeros to a length. */
function resized(v: Value, back: number, length: Value, trailing: number, b: Builder): Value {
  const axis = -back - trailing
  const rank = b.rank(v)
  const at = rank + axis
  const same = v.shape![at] === length.part?.[0] && length.part?.[0] !== undefined
  if (same) return v
  const cut = b.op('Slice', [v, b.ints([0]), length, b.ints([at])])
  const missing = b.op('Max', [b.op('Sub', [length, b.dim(v, at)]), b.ints([0])])
  const zeros = (n: number) => b.ints(Array<number>(n).fill(0))
  const pads = b.concat([zeros(rank + at), missing, zeros(rank - at - 1)], 0)
  const size: Dim = length.part?.[0] ?? b.fresh()
  return b.as(b.op('Pad', [cut, pads]), { shape: v.shape!.map((d, i) => (i === at ? size : d)) })
}

const lengthsOf = (fft: Value, b: Builder): Value => b.reshape(int64(fft, b), [-1])

/** The spectrum of a real signal is symmetric: half of the last dimension is kept. */
function realToComplex(input: Value, fft: Value, rank: number, b: Builder): Value {
  const lengths = lengthsOf(fft, b)
  const signal = backs(rank).reduce(
    (v, back) => resized(v, back, b.slice(lengths, [rank - back], [rank - back + 1], [0]), 0, b),
    input,
  )
  const half = signal.shape?.at(-1)
  const kept: Dim = typeof half === 'number' ? Math.floor(half / 2) + 1 : b.fresh()
  const x = b.unsqueeze(wide(signal, b), [-1])
  const shape = x.shape && [...x.shape.slice(0, -2), kept, 2]
  const first = b.op('DFT', [x, undefined, b.int(-2)], { onesided: 1 }, { dtype: x.dtype, shape })
  return fromPair(narrow(transform(first, backs(rank).slice(1), false, b), input, b))
}

/** The other half of the spectrum is the conjugate of the first one, backwards. */
function complexToReal(input: Value, fft: Value, rank: number, b: Builder): Value {
  const lengths = lengthsOf(fft, b)
  const last = b.slice(lengths, [rank - 1], [rank], [0])
  const half = b.op('Add', [b.op('Div', [last, b.ints([2])]), b.ints([1])])
  const cut = backs(rank).reduce(
    (v, back) => resized(v, back, back === 1 ? half : b.slice(lengths, [rank - back], [rank - back + 1], [0]), 1, b),
    pairOf(input),
  )
  const outer = transform(wide(cut, b), backs(rank).slice(1), true, b)
  const at = b.rank(outer) - 2
  const rest = b.op('Sub', [last, half])
  const mirror = b.op('Slice', [outer, rest, b.ints([0]), b.ints([at]), b.ints([-1])])
  const conjugate = b.op('Mul', [mirror, b.filled(outer.dtype, [2], [1, -1])])
  const whole = b.concat([outer, conjugate], at)
  const size: Dim = last.part?.[0] ?? b.fresh()
  const full = b.as(whole, { shape: outer.shape?.map((d, i) => (i === at ? size : d)) })
  return narrow(b.gather(dft(full, 1, true, b), b.int(0), -1), input, b)
}

const complex = (rank: number, inverse: boolean): OpRow =>
  op({
    in: ['input'],
    emit: (n, b) => fromPair(narrow(transform(wide(pairOf(n.in.input), b), backs(rank), inverse, b), n.in.input, b)),
  })

const toComplex = (rank: number): OpRow =>
  op({ in: ['input', 'fft_length'], emit: (n, b) => realToComplex(n.in.input, n.in.fft_length, rank, b) })

const toReal = (rank: number): OpRow =>
  op({ in: ['input', 'fft_length'], emit: (n, b) => complexToReal(n.in.input, n.in.fft_length, rank, b) })

/** The transforms over any dimensions: those that are named, in the order of fft_length. */
const chosen = (inverse: boolean): OpRow =>
  op({
    in: ['input', 'fft_length', 'axes'],
    emit: (n, b) => {
      const { input } = n.in
      const axes = n.in.axes.data && Array.from(n.in.axes.data.data as ArrayLike<number | bigint>, Number)
      if (!axes) throw unsupported(n, 'constant axes', 'computed ones')
      const rank = b.rank(input)
      const list = axes.map((a) => rank - (a < 0 ? a + rank : a))
      const lengths = lengthsOf(n.in.fft_length, b)
      const cut = list.reduce(
        (v, back, i) => resized(v, back, b.slice(lengths, [i], [i + 1], [0]), 1, b),
        pairOf(input),
      )
      return fromPair(narrow(transform(wide(cut, b), list, inverse, b), input, b))
    },
  })

export const FFT = {
  FFT: complex(1, false),
  FFT2D: complex(2, false),
  FFT3D: complex(3, false),
  IFFT: complex(1, true),
  IFFT2D: complex(2, true),
  IFFT3D: complex(3, true),
  FFTND: chosen(false),
  IFFTND: chosen(true),
  RFFT: toComplex(1),
  RFFT2D: toComplex(2),
  RFFT3D: toComplex(3),
  IRFFT: toReal(1),
  IRFFT2D: toReal(2),
  IRFFT3D: toReal(3),
} satisfies OpTable

import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpRow, type OpTable, op } from './op.ts'

/**
 * Resizing as TensorFlow computes it (tensorflow/core/util/image_resizer_state.h): positions in float32, then rows and columns picked by
 * index. onnxruntime's Resize rounds positions differently, repeats edges differently in cubic and area modes, and its kernel
 * dies on an empty batch; picked rows have none of this, need no transposition, and fold to constants where sizes are known.
 */
interface Axis {
  /** sizes as int64 scalars */
  readonly size: Value
  readonly out: Value
  readonly align: boolean
  readonly half: boolean
}

const f32 = (v: Value, b: Builder): Value => b.cast(v, 'float32')
const num = (value: number, b: Builder): Value => b.scalar('float32', value)
const add = (x: Value, y: Value, b: Builder): Value => b.op('Add', [x, y])
const sub = (x: Value, y: Value, b: Builder): Value => b.op('Sub', [x, y])
const mul = (x: Value, y: Value, b: Builder): Value => b.op('Mul', [x, y])
const div = (x: Value, y: Value, b: Builder): Value => b.op('Div', [x, y])

/** 0, 1, … count - 1 as float32. */
export const steps = (count: Value, b: Builder): Value => f32(b.op('Range', [b.int(0), count, b.int(1)]), b)

/** One element of an integer vector as an int64 scalar. */
export const element = (v: Value, i: number, b: Builder): Value =>
  b.reshape(b.slice(int64(v, b), [i], [i + 1], [0]), [])

export const sizeAt = (x: Value, axis: number, b: Builder): Value => b.reshape(b.dim(x, axis), [])

function scaleOf(a: Axis, b: Builder): Value {
  const plain = div(f32(a.size, b), f32(a.out, b), b)
  if (!a.align) return plain
  const [from, to] = [sub(f32(a.size, b), num(1, b), b), sub(f32(a.out, b), num(1, b), b)]
  return b.op('Where', [b.op('Greater', [a.out, b.int(1)]), div(from, b.op('Max', [to, num(1, b)]), b), plain])
}

/** Where each output element lies among the input's. */
function positions(a: Axis, b: Builder): Value {
  const x = steps(a.out, b)
  if (!a.half) return mul(x, scaleOf(a, b), b)
  return sub(mul(add(x, num(0.5, b), b), scaleOf(a, b), b), num(0.5, b), b)
}

export function clamped(index: Value, size: Value, b: Builder): Value {
  return b.op('Max', [b.op('Min', [int64(index, b), sub(size, b.int(1), b)]), b.int(0)])
}

/** C's roundf for positions: halves go up. Adding 0.5 before Floor would carry 0.49999997 over. */
export function rounded(v: Value, b: Builder): Value {
  const floor = b.op('Floor', [v])
  const up = b.op('GreaterOrEqual', [sub(v, floor, b), b.scalar(v.dtype, 0.5)])
  return add(floor, b.cast(up, 'float32'), b)
}

/** A vector for an axis of NHWC data, so that it broadcasts there. */
const along = (v: Value, axis: number, b: Builder): Value => b.reshape(v, axis === 1 ? [-1, 1, 1] : [-1, 1])

function linear(x: Value, axis: number, a: Axis, b: Builder): Value {
  const at = positions(a, b)
  const floor = b.op('Floor', [at])
  const low = b.gather(x, clamped(floor, a.size, b), axis)
  const high = b.gather(x, clamped(b.op('Ceil', [at]), a.size, b), axis)
  return add(low, mul(sub(high, low, b), along(sub(at, floor, b), axis, b), b), b)
}

function nearest(x: Value, axis: number, a: Axis, b: Builder): Value {
  const at = a.half ? mul(add(steps(a.out, b), num(0.5, b), b), scaleOf(a, b), b) : positions(a, b)
  return b.gather(x, clamped(a.align ? rounded(at, b) : b.op('Floor', [at]), a.size, b), axis)
}

/** TensorFlow looks cubic weights up in a table of this many steps between two pixels. */
const CUBIC_STEPS = 1024

function cubicTable(half: boolean): number[] {
  // Keys' kernel with -0.5 for half-pixel centres, the older -0.75 otherwise
  const a = half ? -0.5 : -0.75
  const inner = (x: number) => Math.fround(((a + 2) * x - (a + 3)) * x * x + 1)
  const outer = (x: number) => Math.fround(((a * x - 5 * a) * x + 8 * a) * x - 4 * a)
  return Array.from({ length: CUBIC_STEPS + 1 }, (_, i) => {
    const [x, y] = [i / CUBIC_STEPS, (CUBIC_STEPS - i) / CUBIC_STEPS]
    return [outer(x + 1), inner(x), inner(y), outer(y + 1)]
  }).flat()
}

function cubic(x: Value, axis: number, a: Axis, b: Builder): Value {
  const at = positions(a, b)
  const floor = b.op('Floor', [at])
  const offset = b.op('Round', [mul(sub(at, floor, b), num(CUBIC_STEPS, b), b)])
  const table = b.filled('float32', [CUBIC_STEPS + 1, 4], cubicTable(a.half))
  const wanted = add(b.unsqueeze(int64(floor, b), [1]), b.ints([-1, 0, 1, 2]), b)
  const index = clamped(wanted, a.size, b)
  let weights = b.gather(table, int64(offset, b))
  if (a.half) {
    // pixels outside count nothing, and the rest is scaled to a sum of 1
    weights = mul(weights, f32(b.op('Equal', [index, wanted]), b), b)
    weights = normalised(weights, b)
  }
  let sum: Value | undefined
  for (let k = 0; k < 4; k++) {
    const pick = (v: Value) => b.squeeze(b.slice(v, [k], [k + 1], [1]), [1])
    const part = mul(b.gather(x, pick(index), axis), along(pick(weights), axis, b), b)
    sum = sum ? add(sum, part, b) : part
  }
  return sum!
}

const TINY = 1000 * 2 ** -126

/** Weights of an output element scaled to a sum of 1, where there are any. */
function normalised(weights: Value, b: Builder): Value {
  const total = b.op('ReduceSum', [weights, b.ints([1])], { keepdims: 1 })
  const some = b.op('GreaterOrEqual', [b.op('Abs', [total]), num(TINY, b)])
  return div(weights, b.op('Where', [some, total, num(1, b)]), b)
}

/**
 * The pixels that an output pixel covers, by how much of each it does. Positions behind the last pixel count it again.
 * Sums run over the positions in order, as TensorFlow's do: a matrix product would round otherwise.
 */
function covered(x: Value, axis: number, a: Axis, b: Builder): Value {
  const scale = scaleOf(a, b)
  const out = b.unsqueeze(steps(a.out, b), [1])
  const [from, to] = [mul(out, scale, b), mul(add(out, num(1, b), b), scale, b)]
  const [first, end] = [b.op('Floor', [from]), b.op('Ceil', [to])]
  const most = int64(b.op('ReduceMax', [sub(end, first, b)], { keepdims: 0 }), b)
  const at = add(first, steps(most, b), b)
  const next = add(at, num(1, b), b)
  const whole = b.op('And', [b.op('Less', [at, from]), b.op('Greater', [next, to])])
  const part = sub(b.op('Min', [next, to]), b.op('Max', [at, from]), b)
  const share = b.op('Where', [b.op('Less', [at, end]), b.op('Where', [whole, scale, part]), num(0, b)])
  const weights = b.reshape(share, b.concat([b.shapeOf(share), b.ints(axis === 1 ? [1, 1] : [1])], 0))
  const pixels = mul(b.gather(x, clamped(at, a.size, b), axis), weights, b)
  return b.op('ReduceSum', [pixels, b.ints([axis + 1])], { keepdims: 0 })
}

/** NHWC data with weights [out, in] for rows and columns. */
function weighted(x: Value, rows: Value, columns: Value, b: Builder): Value {
  const first = b.transpose(f32(x, b), [0, 3, 1, 2])
  const tall = b.op('MatMul', [first, b.transpose(columns, [1, 0])])
  return b.transpose(b.op('MatMul', [rows, tall]), [0, 2, 3, 1])
}

/** The shape of the result, as far as the size vector is known. */
function sized(y: Value, x: Value, size: Value, b: Builder): Value {
  const [h, w] = size.part ?? []
  const [batch, , , channels] = x.shape ?? []
  if (y.data) return y
  return b.as(y, { shape: [batch, h, w, channels].map((d) => d ?? b.fresh()) })
}

type Mode = (x: Value, axis: number, a: Axis, b: Builder) => Value
const resize = (mode: Mode, float: boolean): OpRow =>
  op({
    in: ['images', 'size'],
    attrs: { align_corners: false, half_pixel_centers: false },
    emit: (n, b) => {
      const { images, size } = n.in
      const axis = (i: number): Axis => ({
        size: sizeAt(images, i, b),
        out: element(size, i - 1, b),
        align: n.attrs.align_corners,
        half: n.attrs.half_pixel_centers,
      })
      const x = float ? f32(images, b) : images
      const same = [1, 2].every((i) => typeof images.shape?.[i] === 'number' && images.shape[i] === size.part?.[i - 1])
      if (same) return x
      return sized(mode(mode(x, 2, axis(2), b), 1, axis(1), b), images, size, b)
    },
  })

type Kernel = { readonly radius: number; readonly weight: (x: Value, b: Builder) => Value }

const lanczos = (radius: number): Kernel => ({
  radius,
  weight: (x, b) => {
    const angle = mul(x, num(Math.PI, b), b)
    const wave = mul(b.op('Sin', [angle]), b.op('Sin', [div(angle, num(radius, b), b)]), b)
    const value = div(mul(wave, num(radius, b), b), b.op('Max', [mul(angle, angle, b), num(1e-30, b)]), b)
    const outside = b.op('Greater', [x, num(radius, b)])
    const centre = b.op('LessOrEqual', [x, num(1e-3, b)])
    return b.op('Where', [outside, num(0, b), b.op('Where', [centre, num(1, b), value])])
  },
})

/** A cubic in two pieces, by Horner's rule, highest power first. */
const pieces = (near: readonly number[], far: readonly number[]): Kernel => ({
  radius: 2,
  weight: (x, b) => {
    const horner = (c: readonly number[]) => c.slice(1).reduce((v, k) => add(mul(v, x, b), num(k, b), b), num(c[0]!, b))
    const outer = b.op('Where', [b.op('Less', [x, num(2, b)]), horner(far), num(0, b)])
    return b.op('Where', [b.op('Less', [x, num(1, b)]), horner(near), outer])
  },
})

/** tensorflow/core/kernels/image/sampling_kernels.h */
const KERNELS: Readonly<Record<string, Kernel>> = {
  lanczos1: lanczos(1),
  lanczos3: lanczos(3),
  lanczos5: lanczos(5),
  gaussian: {
    radius: 1.5,
    weight: (x, b) => {
      const value = b.op('Exp', [div(mul(x, x, b), num(-2 * 0.5 * 0.5, b), b)])
      return b.op('Where', [b.op('Less', [x, num(1.5, b)]), value, num(0, b)])
    },
  },
  box: {
    radius: 1,
    weight: (x, b) => {
      const edge = b.op('Where', [b.op('Equal', [x, num(0.5, b)]), num(0.5, b), num(0, b)])
      return b.op('Where', [b.op('Less', [x, num(0.5, b)]), num(1, b), edge])
    },
  },
  triangle: { radius: 1, weight: (x, b) => b.op('Max', [sub(num(1, b), x, b), num(0, b)]) },
  keyscubic: pieces([1.5, -2.5, 0, 1], [-0.5, 2.5, -4, 2]),
  mitchellcubic: pieces([7 / 6, -2, 0, 8 / 9], [-7 / 18, 2, -10 / 3, 16 / 9]),
}

/** Weights [out, in] of tensorflow/core/kernels/image/scale_and_translate_op.cc: sampled, cut off at the span, scaled to a sum of 1. */
function samplingWeights(
  kernel: Kernel,
  antialias: boolean,
  a: { readonly size: Value; readonly out: Value; readonly scale: Value; readonly shift: Value },
  b: Builder,
): Value {
  const inverse = div(num(1, b), a.scale, b)
  const width = antialias ? b.op('Max', [inverse, num(1, b)]) : num(1, b)
  const centre = add(
    mul(add(b.unsqueeze(steps(a.out, b), [1]), num(0.5, b), b), inverse, b),
    mul(b.op('Neg', [inverse]), a.shift, b),
    b,
  )
  const reach = mul(num(kernel.radius, b), width, b)
  const [top, at] = [f32(a.size, b), steps(a.size, b)]
  const last = sub(top, num(1, b), b)
  const bound = (v: Value) => b.op('Max', [b.op('Min', [v, last]), num(0, b)])
  const start = bound(b.op('Ceil', [sub(sub(centre, reach, b), num(0.5, b), b)]))
  const end = bound(b.op('Floor', [sub(add(centre, reach, b), num(0.5, b), b)]))
  const inside = b.op('And', [
    b.op('And', [b.op('GreaterOrEqual', [at, start]), b.op('LessOrEqual', [at, end])]),
    b.op('And', [b.op('GreaterOrEqual', [centre, num(0, b)]), b.op('LessOrEqual', [centre, top])]),
  ])
  const distance = b.op('Abs', [div(sub(add(at, num(0.5, b), b), centre, b), width, b)])
  return normalised(b.op('Where', [inside, kernel.weight(distance, b), num(0, b)]), b)
}

export const RESIZE = {
  ResizeBilinear: resize(linear, true),
  ResizeNearestNeighbor: resize(nearest, false),
  ResizeBicubic: resize(cubic, true),
  ResizeArea: op({
    in: ['images', 'size'],
    attrs: { align_corners: false },
    emit: (n, b) => {
      const { images, size } = n.in
      const axis = (i: number): Axis => ({
        size: sizeAt(images, i, b),
        out: element(size, i - 1, b),
        align: n.attrs.align_corners,
        half: false,
      })
      const [rows, columns] = [axis(1), axis(2)]
      const sum = covered(covered(f32(images, b), 2, columns, b), 1, rows, b)
      const share = div(num(1, b), mul(scaleOf(rows, b), scaleOf(columns, b), b), b)
      return sized(mul(sum, share, b), images, size, b)
    },
  }),
  ScaleAndTranslate: op({
    in: ['images', 'size', 'scale', 'translation'],
    attrs: {
      kernel_type: ['lanczos3', ...Object.keys(KERNELS).filter((k) => k !== 'lanczos3')],
      antialias: true,
    },
    emit: (n, b) => {
      const { images, size, scale, translation } = n.in
      const weights = (i: number) =>
        samplingWeights(
          KERNELS[n.attrs.kernel_type]!,
          n.attrs.antialias,
          {
            size: sizeAt(images, i, b),
            out: element(size, i - 1, b),
            scale: b.slice(scale, [i - 1], [i], [0]),
            shift: b.slice(translation, [i - 1], [i], [0]),
          },
          b,
        )
      return sized(weighted(images, weights(1), weights(2), b), images, size, b)
    },
  }),
} satisfies OpTable

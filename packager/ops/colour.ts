import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type OpTable, op } from './op.ts'

const arithmetic =
  (type: string) =>
  (x: Value, y: Value | number, b: Builder): Value =>
    b.op(type, [x, typeof y === 'number' ? b.scalar(x.dtype, y) : y])
const [add, sub, mul, div, max, min] = ['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min'].map(arithmetic) as [
  ReturnType<typeof arithmetic>,
  ReturnType<typeof arithmetic>,
  ReturnType<typeof arithmetic>,
  ReturnType<typeof arithmetic>,
  ReturnType<typeof arithmetic>,
  ReturnType<typeof arithmetic>,
]
const clip = (x: Value, b: Builder): Value => min(max(x, 0, b), 1, b)

/** The three channels, each with a last dimension of 1. */
const channels = (x: Value, b: Builder): [Value, Value, Value] =>
  [0, 1, 2].map((i) => b.slice(x, [i], [i + 1], [-1])) as [Value, Value, Value]

interface Hue {
  /** 0 to 1 */
  readonly hue: Value
  readonly low: Value
  readonly high: Value
}

/** Grey has hue 0. */
function hueOf(rgb: Value, b: Builder): Hue {
  const [red, green, blue] = channels(rgb, b)
  const high = max(max(red, green, b), blue, b)
  const low = min(min(red, green, b), blue, b)
  const range = sub(high, low, b)
  const some = b.op('Greater', [range, b.scalar(rgb.dtype, 0)])
  const norm = div(b.scalar(rgb.dtype, 1), mul(b.op('Where', [some, range, b.scalar(rgb.dtype, 1)]), 6, b), b)
  const sector = (x: Value, y: Value, turn: number) => add(mul(norm, sub(x, y, b), b), turn, b)
  const hue = b.op('Where', [
    b.op('Equal', [red, high]),
    sector(green, blue, 0),
    b.op('Where', [b.op('Equal', [green, high]), sector(blue, red, 2 / 6), sector(red, green, 4 / 6)]),
  ])
  const coloured = b.op('Where', [some, hue, b.scalar(rgb.dtype, 0)])
  const below = b.op('Less', [coloured, b.scalar(rgb.dtype, 0)])
  return { hue: b.op('Where', [below, add(coloured, 1, b), coloured]), low, high }
}

/** How much of each primary a hue has, 0 to 1. */
function primaries(hue: Value, b: Builder): Value {
  const six = mul(hue, 6, b)
  const distance = (from: number) => b.op('Abs', [sub(six, from, b)])
  const red = sub(distance(3), 1, b)
  const green = sub(b.scalar(hue.dtype, 2), distance(2), b)
  const blue = sub(b.scalar(hue.dtype, 2), distance(4), b)
  return clip(b.concat([red, green, blue], -1), b)
}

function toRgb(hue: Value, saturation: Value, value: Value, b: Builder): Value {
  const one = b.scalar(hue.dtype, 1)
  const shade = add(sub(one, saturation, b), mul(saturation, primaries(hue, b), b), b)
  return mul(shade, value, b)
}

function saturationOf({ low, high }: Hue, b: Builder): Value {
  const some = b.op('Greater', [high, b.scalar(high.dtype, 0)])
  const quotient = div(sub(high, low, b), b.op('Where', [some, high, b.scalar(high.dtype, 1)]), b)
  return b.op('Where', [some, quotient, b.scalar(high.dtype, 0)])
}

const like = (out: Value, x: Value, b: Builder): Value => (x.shape ? b.as(out, { shape: x.shape }) : out)

function contrast(images: Value, factor: Value, b: Builder): Value {
  const mean = b.op('ReduceMean', [images, b.ints([-3, -2])], { keepdims: 1 })
  return add(mul(sub(images, mean, b), factor, b), mean, b)
}

/** Half precision images are computed in float32, as TensorFlow does. */
const inFloat = (x: Value, b: Builder, f: (x: Value) => Value): Value =>
  x.dtype === 'float16' ? b.cast(f(b.cast(x, 'float32')), 'float16') : f(x)

/** Colours of images whose last dimension is red, green, blue. */
export const COLOUR = {
  RGBToHSV: op({
    in: ['images'],
    emit: (n, b) => {
      const found = hueOf(n.in.images, b)
      return like(b.concat([found.hue, saturationOf(found, b), found.high], -1), n.in.images, b)
    },
  }),
  HSVToRGB: op({
    in: ['images'],
    emit: (n, b) => {
      const [hue, saturation, value] = channels(n.in.images, b)
      return like(toRgb(hue, saturation, value, b), n.in.images, b)
    },
  }),
  AdjustHue: op({
    in: ['images', 'delta'],
    emit: (n, b) =>
      inFloat(n.in.images, b, (x) => {
        const { hue, low, high } = hueOf(x, b)
        const turned = add(hue, n.in.delta, b)
        const wrapped = sub(turned, b.op('Floor', [turned]), b)
        return like(add(low, mul(sub(high, low, b), primaries(wrapped, b), b), b), x, b)
      }),
  }),
  AdjustSaturation: op({
    in: ['images', 'scale'],
    emit: (n, b) =>
      inFloat(n.in.images, b, (x) => {
        const found = hueOf(x, b)
        const saturation = clip(mul(saturationOf(found, b), n.in.scale, b), b)
        return like(toRgb(found.hue, saturation, found.high, b), x, b)
      }),
  }),
  AdjustContrastv2: op({
    in: ['images', 'contrast_factor'],
    emit: (n, b) => inFloat(n.in.images, b, (x) => contrast(x, n.in.contrast_factor, b)),
  }),
} satisfies OpTable

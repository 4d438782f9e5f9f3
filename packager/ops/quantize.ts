import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

const f = (v: number, like: Value, b: Builder): Value => b.scalar(like.dtype, v)
const mul = (x: Value, y: Value, b: Builder): Value => b.op('Mul', [x, y])
const div = (x: Value, y: Value, b: Builder): Value => b.op('Div', [x, y])
const sub = (x: Value, y: Value, b: Builder): Value => b.op('Sub', [x, y])
const floorHalf = (x: Value, b: Builder): Value => b.op('Floor', [b.op('Add', [x, f(0.5, x, b)])])
const clamp = (x: Value, low: Value, high: Value, b: Builder): Value => b.op('Min', [b.op('Max', [x, low]), high])

interface Rounding {
  readonly signed: boolean
  readonly bits: Value
  readonly given: boolean
  readonly mode: string
  readonly narrow: boolean
  readonly axis: number
}

/** One value per channel, shaped to broadcast against x. */
function perChannel(v: Value, x: Value, axis: number, b: Builder): Value {
  if (axis === -1 || v.shape?.length === 0) return v
  return b.unsqueeze(
    v,
    Array.from({ length: b.rank(x) - 1 - axis }, (_, i) => i + 1),
  )
}

/** tensorflow/core/kernels/quantize_and_dequantize_op.h: the side of the range with the smaller scale decides. */
function quantizeAndDequantize(
  x: Value,
  lowest: Value | undefined,
  highest: Value | undefined,
  r: Rounding,
  b: Builder,
): Value {
  const others =
    r.axis === -1 ? undefined : b.ints(Array.from({ length: b.rank(x) }, (_, i) => i).filter((i) => i !== r.axis))
  const extreme = (type: string) => b.op(type, others ? [x, others] : [x], { keepdims: others ? 1 : 0 })
  const low = r.given ? perChannel(lowest!, x, r.axis, b) : extreme('ReduceMin')
  const high = r.given ? perChannel(highest!, x, r.axis, b) : extreme('ReduceMax')
  const one = b.int(1)
  const power = (bits: Value) => b.cast(b.op('Pow', [b.int(2), bits]), x.dtype as DType)
  const signedBits = b.op('Sub', [r.bits, one])
  const top = b.op('Sub', [power(r.signed ? signedBits : r.bits), f(1, x, b)])
  const least = r.signed
    ? b.op('Add', [b.op('Neg', [power(signedBits)]), f(r.narrow ? 1 : 0, x, b)])
    : f(r.narrow ? 1 : 0, x, b)
  const huge = f(x.dtype === 'float64' ? Number.MAX_VALUE : x.dtype === 'float16' ? 65504 : 3.4028234663852886e38, x, b)
  const positive = (v: Value) => b.op('Greater', [v, f(0, x, b)])
  const scaleOf = (limit: Value, v: Value) => b.op('Where', [positive(mul(limit, v, b)), div(limit, v, b), huge])
  const [fromLow, fromHigh] = [scaleOf(least, low), scaleOf(top, high)]
  const lowDecides = b.op('Less', [fromLow, fromHigh])
  const choose = (p: Value, q: Value) => b.op('Where', [lowDecides, p, q])
  const inverse = choose(div(low, least, b), div(high, top, b))
  const scale = choose(fromLow, fromHigh)
  const clipped = r.given ? clamp(x, choose(low, mul(least, inverse, b)), choose(mul(top, inverse, b), high), b) : x
  const scaled = mul(clipped, scale, b)
  return mul(r.mode === 'HALF_UP' ? floorHalf(scaled, b) : b.op('Round', [scaled]), inverse, b)
}

const fake: OpRow = op({
  in: ['input', 'input_min?', 'input_max?', 'num_bits?'],
  attrs: {
    signed_input: true,
    num_bits: 8,
    range_given: null,
    round_mode: ['HALF_TO_EVEN', 'HALF_UP'],
    narrow_range: false,
    axis: -1,
    input_min: 0,
    input_max: 0,
  },
  emit: (n, b) => {
    const { input } = n.in
    const { signed_input: signed, round_mode: mode, narrow_range: narrow, axis } = n.attrs
    const v1 = n.op === 'QuantizeAndDequantize'
    const given = n.attrs.range_given === undefined ? n.op === 'QuantizeAndDequantizeV3' : n.attrs.range_given === true
    const low = n.in.input_min ?? f(n.attrs.input_min, input, b)
    const high = n.in.input_max ?? f(n.attrs.input_max, input, b)
    const bits = n.in.num_bits ? b.reshape(b.cast(n.in.num_bits, 'int64'), []) : b.int(n.attrs.num_bits)
    return quantizeAndDequantize(input, low, high, { signed, bits, given, mode, narrow, axis: v1 ? -1 : axis }, b)
  },
})

/** tensorflow/core/kernels/fake_quant_ops_functor.h: the range is nudged so that zero is a step, then values are rounded to steps. */
function fakeQuant(x: Value, low: Value, high: Value, bits: number, narrow: boolean, b: Builder): Value {
  const [least, top] = [narrow ? 1 : 0, 2 ** bits - 1]
  const n = (v: number) => f(v, x, b)
  const scale = div(sub(high, low, b), n(top - least), b)
  const zero = sub(n(least), div(low, scale, b), b)
  const nudged = clamp(floorHalf(zero, b), n(least), n(top), b)
  const [from, to] = [mul(sub(n(least), nudged, b), scale, b), mul(sub(n(top), nudged, b), scale, b)]
  const steps = floorHalf(div(sub(clamp(x, from, to, b), from, b), scale, b), b)
  return b.op('Add', [mul(steps, scale, b), from])
}

/** A range of [0, 0] gives zeros. */
const fakeQuantOf: OpRow = op({
  in: ['inputs', 'min', 'max'],
  attrs: { num_bits: 8, narrow_range: false },
  emit: (n, b) => {
    const { inputs, min, max } = n.in
    const none = b.op('And', [b.op('Equal', [min, f(0, min, b)]), b.op('Equal', [max, f(0, max, b)])])
    const value = fakeQuant(inputs, min, max, n.attrs.num_bits, n.attrs.narrow_range, b)
    return b.op('Where', [none, f(0, inputs, b), value])
  },
})

const LIMITS: Readonly<Record<string, readonly [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-2147483648, 2147483647],
}

function limitsOf(n: AnyNode, dtype: string): readonly [number, number] {
  const limits = LIMITS[dtype]
  if (!limits) throw unsupported(n, 'a quantised dtype', dtype)
  return limits
}

interface Dequantized {
  readonly mode: string
  readonly narrow: boolean
  readonly axis: number
}

/** tensorflow/core/kernels/dequantize_op.cc, all three ways of placing the steps. */
function dequantize(n: AnyNode, x: Value, min: Value, max: Value, d: Dequantized, b: Builder): Value {
  const [least, top] = limitsOf(n, x.dtype)
  const value = b.cast(x, 'float32')
  const [low, high] = [perChannel(min, x, d.axis, b), perChannel(max, x, d.axis, b)]
  if (d.mode === 'SCALED') {
    const floor = least + (d.narrow ? 1 : 0)
    const fromHigh = div(high, f(top, value, b), b)
    const scale = floor === 0 ? fromHigh : b.op('Max', [div(low, f(floor, value, b), b), fromHigh])
    return mul(value, scale, b)
  }
  const scale = div(sub(high, low, b), f(top - least, value, b), b)
  if (d.mode === 'MIN_FIRST') {
    // the minimum itself is moved to a whole number of steps; C rounds halves away from zero
    const steps = div(low, scale, b)
    const whole = mul(b.op('Sign', [steps]), floorHalf(b.op('Abs', [steps]), b), b)
    return mul(b.op('Add', [sub(value, f(least, value, b), b), whole]), scale, b)
  }
  const half = least < 0 ? (top - least + 1) / 2 : 0
  return b.op('Add', [mul(b.op('Add', [value, f(half, value, b)]), scale, b), low])
}

export const QUANTIZE = {
  QuantizeAndDequantize: fake,
  QuantizeAndDequantizeV2: fake,
  QuantizeAndDequantizeV3: fake,
  QuantizeAndDequantizeV4: fake,
  FakeQuantWithMinMaxArgs: op({
    in: ['inputs'],
    attrs: { min: -6, max: 6, num_bits: 8, narrow_range: false },
    emit: (n, b) => {
      const { inputs } = n.in
      const range = [n.attrs.min, n.attrs.max].map((v) => f(v, inputs, b)) as [Value, Value]
      return fakeQuant(inputs, ...range, n.attrs.num_bits, n.attrs.narrow_range, b)
    },
  }),
  FakeQuantWithMinMaxVars: fakeQuantOf,
  FakeQuantWithMinMaxVarsPerChannel: fakeQuantOf,
  Dequantize: op({
    in: ['input', 'min_range', 'max_range'],
    attrs: { mode: ['MIN_COMBINED', 'MIN_FIRST', 'SCALED'], narrow_range: false, axis: -1, dtype: null },
    emit: (n, b) => {
      const { input, min_range, max_range } = n.in
      const { mode, narrow_range: narrow, axis } = n.attrs
      const out = dequantize(n, input, min_range, max_range, { mode, narrow, axis }, b)
      return n.attrs.dtype === undefined ? out : b.cast(out, n.dtype('dtype'))
    },
  }),
} satisfies OpTable

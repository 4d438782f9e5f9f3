import type { Builder } from '../onnx/builder.ts'
import type { Dim, Value } from '../onnx/value.ts'

/**
 * Layout is local to each op: NHWC data is turned to NCHW before an ONNX op and back after it.
 * One pass over the whole graph later cancels the pairs.
 */
export function channelsFirst(x: Value, format: string, b: Builder): Value {
  if (format.startsWith('NC')) return x
  const rank = b.rank(x)
  return b.transpose(x, [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)])
}

export function channelsBack(x: Value, format: string, b: Builder): Value {
  if (format.startsWith('NC')) return x
  const rank = b.rank(x)
  return b.transpose(x, [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1])
}

/** The spatial entries of a 4- or 5-element attribute in the data format's order. */
export function spatial<T>(values: readonly T[], format: string): T[] {
  return format.startsWith('NC') ? values.slice(2) : values.slice(1, -1)
}

/** Leading or trailing amounts of `explicit_paddings`, which lists a pair for every dimension in the data format's order. */
export function explicitPads(explicit: readonly number[], format: string, side: 0 | 1): number[] {
  return spatial(
    Array.from({ length: explicit.length / 2 }, (_, i) => explicit[2 * i + side]!),
    format,
  )
}

export interface Windows {
  readonly padding: string
  readonly explicit: readonly number[]
  readonly format: string
  readonly kernel: readonly (Dim | undefined)[]
  readonly strides: readonly number[]
  readonly dilations: readonly number[]
}

/**
 * TensorFlow's padding as ONNX attributes. SAME_UPPER is exactly TensorFlow's SAME, but onnxruntime refuses it together with dilation,
 * so that case is written out: (ceil(size / stride) - 1) * stride + extent - size zeros, the odd one behind.
 * @returns the data, padded already where the amounts are only known at run time, and the attributes
 */
export function padded(x: Value, w: Windows, b: Builder): { x: Value; attrs: Record<string, string | number[]> } {
  if (w.padding === 'VALID') return { x, attrs: { auto_pad: 'VALID' } }
  if (w.padding !== 'SAME')
    return {
      x,
      attrs: { pads: [...explicitPads(w.explicit, w.format, 0), ...explicitPads(w.explicit, w.format, 1)] },
    }
  if (w.dilations.every((d) => d === 1)) return { x, attrs: { auto_pad: 'SAME_UPPER' } }
  const extents = w.kernel.map((k, i) => (typeof k === 'number' ? (k - 1) * w.dilations[i]! + 1 : undefined))
  const totals = extents.map((extent, i) => {
    const size = x.shape?.[i + 2]
    const stride = w.strides[i]!
    if (extent !== undefined && stride === 1) return extent - 1
    if (extent === undefined || typeof size !== 'number') return undefined
    return Math.max(0, (Math.ceil(size / stride) - 1) * stride + extent - size)
  })
  if (totals.every((t) => t !== undefined))
    return { x, attrs: { pads: [...totals.map((t) => Math.floor(t / 2)), ...totals.map((t) => Math.ceil(t / 2))] } }
  if (!extents.every((e) => e !== undefined)) return { x, attrs: { auto_pad: 'SAME_UPPER' } }
  const total = samePads(b.slice(b.shapeOf(x), [2], [2 + extents.length], [0]), extents, w.strides, b)
  const before = b.op('Div', [total, b.ints([2])])
  const none = b.ints([0, 0])
  const pads = b.concat([none, before, none, b.op('Sub', [total, before])], 0)
  return { x: b.op('Pad', [x, pads, b.scalar(x.dtype, 0)]), attrs: { auto_pad: 'VALID' } }
}

/** SAME's zeros for sizes known at run time only. */
export function samePads(size: Value, extents: readonly number[], strides: readonly number[], b: Builder): Value {
  const stride = b.ints(strides)
  const steps = b.op('Div', [b.op('Sub', [size, b.ints([1])]), stride])
  const needed = b.op('Sub', [b.op('Add', [b.op('Mul', [steps, stride]), b.ints(extents)]), size])
  return b.op('Max', [needed, b.ints([0])])
}

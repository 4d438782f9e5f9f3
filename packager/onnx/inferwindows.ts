// Output shapes of convolution and pooling.
import { type Attrs, list, type Names, num, type Rule } from './shapes.ts'
import type { Dim, Shape, Value } from './value.ts'

/** Spatial output size: floor or ceil of (size + pads - effective kernel) / stride + 1. */
function windowSize(
  d: Dim,
  kernel: number,
  stride: number,
  dilation: number,
  pads: number,
  auto: string,
  ceil: boolean,
  names: Names,
): Dim {
  if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER')
    return typeof d === 'number' ? Math.ceil(d / stride) : stride === 1 ? d : names.fresh()
  if (typeof d !== 'number') return stride === 1 && (kernel - 1) * dilation === pads ? d : names.fresh()
  const span = (kernel - 1) * dilation + 1
  const steps = (d + pads - span) / stride
  return Math.max(0, (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1)
}

export function windows(
  x: Value,
  channels: Dim,
  kernel: readonly number[] | undefined,
  attrs: Attrs,
  names: Names,
): Shape | undefined {
  if (!x.shape) return undefined
  const n = x.shape.length - 2
  if (!kernel) return [x.shape[0]!, channels, ...names.freshShape(n)]
  const strides = list(attrs.strides) ?? Array<number>(n).fill(1)
  const dilations = list(attrs.dilations) ?? Array<number>(n).fill(1)
  const pads = list(attrs.pads) ?? Array<number>(2 * n).fill(0)
  const auto = typeof attrs.auto_pad === 'string' ? attrs.auto_pad : 'NOTSET'
  const ceil = num(attrs.ceil_mode, 0) === 1
  const spatial = Array.from({ length: n }, (_, i) =>
    windowSize(x.shape![i + 2]!, kernel[i]!, strides[i]!, dilations[i]!, pads[i]! + pads[i + n]!, auto, ceil, names),
  )
  return [x.shape[0]!, channels, ...spatial]
}

export const pool: Rule = ([x], attrs, names) => {
  const shape = windows(x!, x!.shape?.[1] ?? names.fresh(), list(attrs.kernel_shape), attrs, names)
  return [
    { dtype: x!.dtype, shape },
    { dtype: 'int64', shape },
  ]
}

export const globalPool: Rule = ([x]) => [{ dtype: x!.dtype, shape: x!.shape?.map((d, i) => (i < 2 ? d : 1)) }]

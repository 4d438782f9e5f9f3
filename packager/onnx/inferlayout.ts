// Output shapes of what moves, cuts, joins and picks elements.
import { type Attrs, broadcast, norm, num, type Rule } from './shapes.ts'
import { constNumbers, type Dim, type Shape, type ValueDType } from './value.ts'

export const reshape: Rule = ([x, target], _attrs, names) => {
  const part = target!.part
  if (!part) {
    const n = target!.shape?.[0]
    return [{ dtype: x!.dtype, shape: typeof n === 'number' ? names.freshShape(n) : undefined }]
  }
  const dims = part.map((d, i) => (d === 0 ? (x!.shape?.[i] ?? names.fresh()) : d))
  const hole = dims.indexOf(-1)
  if (hole >= 0)
    dims[hole] =
      restDim(
        x!.shape,
        dims.filter((_, i) => i !== hole),
      ) ?? names.fresh()
  return [{ dtype: x!.dtype, shape: dims }]
}

/** What -1 stands for: the quotient of the element counts, with equal unknown dimensions cancelled. */
export function restDim(shape: Shape | undefined, others: readonly Dim[]): Dim | undefined {
  if (!shape) return undefined
  const from = [...shape]
  for (const d of others.filter((o) => typeof o === 'string')) {
    const i = from.indexOf(d)
    if (i < 0) return undefined
    from.splice(i, 1)
  }
  const symbols = from.filter((d) => typeof d === 'string')
  const count = product(from)
  const rest = product(others)
  if (rest === 0) return undefined
  if (symbols.length === 0) return count % rest === 0 ? count / rest : undefined
  return symbols.length === 1 && count === rest ? symbols[0] : undefined
}

function product(dims: readonly Dim[]): number {
  return dims.reduce<number>((n, d) => (typeof d === 'number' ? n * d : n), 1)
}

export const gather: Rule = ([x, indices], attrs) => {
  if (!x!.shape || !indices!.shape) return [{ dtype: x!.dtype, shape: undefined }]
  const axis = norm(num(attrs.axis, 0), x!.shape.length)
  return [{ dtype: x!.dtype, shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)] }]
}

export const slice: Rule = ([x, starts, ends, axesInput, stepsInput], _attrs, names) => {
  if (!x!.shape) return [{ dtype: x!.dtype, shape: undefined }]
  const [s, e] = [constNumbers(starts), constNumbers(ends)]
  const axes = (axesInput ? constNumbers(axesInput) : s?.map((_, i) => i))?.map((a) => norm(a, x!.shape!.length))
  const steps = stepsInput ? constNumbers(stepsInput) : axes?.map(() => 1)
  if (!axes || !steps) return [{ dtype: x!.dtype, shape: names.freshShape(x!.shape.length) }]
  const shape = [...x!.shape]
  for (const [i, axis] of axes.entries()) {
    const d = shape[axis]
    if (d === undefined) continue
    const [from, to, step] = [s?.[i], e?.[i], steps[i]!]
    shape[axis] =
      from === undefined || to === undefined ? names.fresh() : (sliceSize(d, from, to, step) ?? names.fresh())
  }
  return [{ dtype: x!.dtype, shape }]
}

function sliceSize(d: Dim, from: number, to: number, step: number): Dim | undefined {
  if (typeof d !== 'number') {
    if (from === 0 && step === 1 && to >= 2 ** 31 - 1) return d
    return undefined
  }
  const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + d : v, low), high)
  return step > 0
    ? Math.max(0, Math.ceil((clamp(to, 0, d) - clamp(from, 0, d)) / step))
    : Math.max(0, Math.ceil((clamp(from, -1, d - 1) - clamp(to, -1, d - 1)) / -step))
}

export const concat: Rule = (xs, attrs, names) => {
  const known = xs.find((v) => v.shape)
  if (!known) return [{ dtype: xs[0]!.dtype, shape: undefined }]
  const rank = known.shape!.length
  const axis = norm(num(attrs.axis, 0), rank)
  const shape = known.shape!.map((_, i): Dim => {
    const dims = xs.map((v) => v.shape?.[i])
    if (i !== axis) return dims.find((d) => typeof d === 'number') ?? dims.find((d) => d !== undefined)!
    return dims.every((d) => typeof d === 'number')
      ? (dims as number[]).reduce((a, b) => a + b, 0)
      : dims.length === 1
        ? dims[0]!
        : names.fresh()
  })
  return [{ dtype: xs[0]!.dtype, shape }]
}

export const split: Rule = ([x, sizes], attrs, names) => {
  const n = num(attrs.num_outputs, sizes?.shape && typeof sizes.shape[0] === 'number' ? sizes.shape[0] : 1)
  const parts = sizes ? constNumbers(sizes) : undefined
  const axis = x!.shape && norm(num(attrs.axis, 0), x!.shape.length)
  return Array.from({ length: n }, (_, i) => ({
    dtype: x!.dtype,
    shape: x!.shape?.map((d, k): Dim => {
      if (k !== axis) return d
      if (parts) return parts[i]!
      return typeof d === 'number' ? Math.max(0, Math.min(Math.ceil(d / n), d - i * Math.ceil(d / n))) : names.fresh()
    }),
  }))
}

export const squeeze: Rule = ([x, axesInput], _attrs, _names) => {
  const axes = axesInput ? constNumbers(axesInput) : undefined
  if (!x!.shape || !axes) return [{ dtype: x!.dtype, shape: undefined }]
  const gone = new Set(axes.map((a) => norm(a, x!.shape!.length)))
  return [{ dtype: x!.dtype, shape: x!.shape.filter((_, i) => !gone.has(i)) }]
}

export const unsqueeze: Rule = ([x, axesInput]) => {
  const axes = constNumbers(axesInput)
  if (!x!.shape || !axes) return [{ dtype: x!.dtype, shape: undefined }]
  const rank = x!.shape.length + axes.length
  const added = new Set(axes.map((a) => norm(a, rank)))
  let i = 0
  return [{ dtype: x!.dtype, shape: Array.from({ length: rank }, (_, k): Dim => (added.has(k) ? 1 : x!.shape![i++]!)) }]
}

export const expand: Rule = ([x, target], _attrs, names) => {
  if (target!.part) return [{ dtype: x!.dtype, shape: broadcast([x!.shape, target!.part], names) }]
  const n = target!.shape?.[0]
  return [
    {
      dtype: x!.dtype,
      shape: typeof n === 'number' && x!.shape ? names.freshShape(Math.max(n, x!.shape.length)) : undefined,
    },
  ]
}

export const tile: Rule = ([x, repeats], _attrs, names) => {
  const r = repeats!.part
  return [
    {
      dtype: x!.dtype,
      shape: x!.shape?.map(
        (d, i): Dim =>
          r?.[i] === 1
            ? d
            : typeof d === 'number' && typeof r?.[i] === 'number'
              ? d * (r[i] as number)
              : d === 1 && r
                ? r[i]!
                : names.fresh(),
      ),
    },
  ]
}

export const pad: Rule = ([x, pads, , axesInput], _attrs, names) => {
  const p = constNumbers(pads)
  if (!x!.shape || axesInput) return [{ dtype: x!.dtype, shape: x!.shape && names.freshShape(x!.shape.length) }]
  const n = x!.shape.length
  return [
    {
      dtype: x!.dtype,
      shape: x!.shape.map(
        (d, i): Dim =>
          !p
            ? names.fresh()
            : p[i]! + p[i + n]! === 0
              ? d
              : typeof d === 'number'
                ? d + p[i]! + p[i + n]!
                : names.fresh(),
      ),
    },
  ]
}

export const filledFromShape =
  (dtype: (attrs: Attrs) => ValueDType): Rule =>
  ([target], attrs, names) => {
    const n = target!.shape?.[0]
    return [{ dtype: dtype(attrs), shape: target!.part ?? (typeof n === 'number' ? names.freshShape(n) : undefined) }]
  }

export const gatherNd: Rule = ([x, indices], attrs, names) => {
  const last = indices!.shape?.at(-1)
  if (!x!.shape || !indices!.shape || typeof last !== 'number') return [{ dtype: x!.dtype, shape: undefined }]
  return [
    {
      dtype: x!.dtype,
      shape: [...indices!.shape.slice(0, -1), ...x!.shape.slice(num(attrs.batch_dims, 0) + last)].map(
        (d) => d ?? names.fresh(),
      ),
    },
  ]
}

export const topk: Rule = ([x, k], attrs, names) => {
  const n = k!.part?.[0] ?? names.fresh()
  const axis = x!.shape && norm(num(attrs.axis, -1), x!.shape.length)
  const shape = x!.shape?.map((d, i) => (i === axis ? n : d))
  return [
    { dtype: x!.dtype, shape },
    { dtype: 'int64', shape },
  ]
}

export const oneHot: Rule = ([indices, depth, values], attrs, names) => {
  const n = depth!.part?.[0] ?? (depth!.data && Number(depth!.data.data[0])) ?? names.fresh()
  if (!indices!.shape) return [{ dtype: values!.dtype, shape: undefined }]
  const axis = norm(num(attrs.axis, -1), indices!.shape.length + 1)
  return [{ dtype: values!.dtype, shape: [...indices!.shape.slice(0, axis), n, ...indices!.shape.slice(axis)] }]
}

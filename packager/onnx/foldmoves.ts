import { sizeOf, type Tensor } from '../../src/tensor.ts'
import {
  broadcastShape,
  cells,
  FOLD_LIMIT,
  ints,
  make,
  norm,
  num,
  type Rule,
  type Scalar,
  stepsFor,
  strides,
  walk,
} from './cells.ts'

/** Copies a strided view of `x`: what Transpose, Slice, Expand and Tile do. */
function view(x: Tensor, shape: readonly number[], steps: readonly number[], offset = 0): Tensor {
  const out = make(x.dtype, shape)
  const [a, o] = [cells(x), cells(out)]
  walk(shape, [steps], (i, at) => {
    o[i] = a[offset + at[0]!]!
  })
  return out
}

const slice: Rule = ([x, startsT, endsT, axesT, stepsT]) => {
  if (!x || !startsT || !endsT) return undefined
  const [starts, ends] = [ints(startsT), ints(endsT)]
  const axes = (axesT ? ints(axesT) : starts.map((_, i) => i)).map((a) => norm(a, x.shape.length))
  const by = stepsT ? ints(stepsT) : starts.map(() => 1)
  const own = strides(x.shape)
  const [shape, steps] = [[...x.shape], [...own]]
  let offset = 0
  for (const [i, axis] of axes.entries()) {
    const [d, step] = [x.shape[axis]!, by[i]!]
    const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + d : v, low), high)
    const from = step > 0 ? clamp(starts[i]!, 0, d) : clamp(starts[i]!, 0, d - 1)
    const to = step > 0 ? clamp(ends[i]!, 0, d) : clamp(ends[i]!, -1, d - 1)
    shape[axis] = Math.max(0, Math.ceil((to - from) / step))
    steps[axis] = own[axis]! * step
    offset += from * own[axis]!
  }
  return [view(x, shape, steps, offset)]
}

const gather: Rule = ([x, indices], attrs) => {
  if (!x || !indices) return undefined
  const axis = norm(num(attrs.axis, 0), x.shape.length)
  const size = x.shape[axis]!
  const picks = ints(indices).map((i) => (i < 0 ? i + size : i))
  if (picks.some((i) => i < 0 || i >= size)) return undefined
  const outer = sizeOf(x.shape.slice(0, axis))
  const inner = sizeOf(x.shape.slice(axis + 1))
  const out = make(x.dtype, [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)])
  const [a, o] = [cells(x), cells(out)]
  let k = 0
  for (let n = 0; n < outer; n++)
    for (const p of picks) for (let j = 0; j < inner; j++) o[k++] = a[(n * size + p) * inner + j]!
  return [out]
}

const concat: Rule = (xs, attrs) => {
  const all = xs as Tensor[]
  if (all.some((t) => t.dtype !== all[0]!.dtype)) return undefined
  const axis = norm(num(attrs.axis, 0), all[0]!.shape.length)
  const shape = all[0]!.shape.map((d, i) => (i === axis ? all.reduce((n, t) => n + t.shape[i]!, 0) : d))
  const out = make(all[0]!.dtype, shape)
  const o = cells(out)
  const outer = sizeOf(shape.slice(0, axis))
  let k = 0
  for (let n = 0; n < outer; n++)
    for (const t of all) {
      const run = sizeOf(t.shape.slice(axis))
      const a = cells(t)
      for (let j = 0; j < run; j++) o[k++] = a[n * run + j]!
    }
  return [out]
}

const split: Rule = ([x, sizesT], attrs, count) => {
  if (!x) return undefined
  const axis = norm(num(attrs.axis, 0), x.shape.length)
  const each = Math.ceil(x.shape[axis]! / count)
  const sizes = sizesT
    ? ints(sizesT)
    : Array.from({ length: count }, (_, i) => Math.max(0, Math.min(each, x.shape[axis]! - i * each)))
  const own = strides(x.shape)
  let from = 0
  return sizes.map((n) => {
    const part = view(
      x,
      x.shape.map((d, i) => (i === axis ? n : d)),
      own,
      from * own[axis]!,
    )
    from += n
    return part
  })
}

const reshape: Rule = ([x, target], attrs) => {
  if (!x || !target) return undefined
  const dims = ints(target).map((d, i) => (d === 0 && num(attrs.allowzero, 0) === 0 ? (x.shape[i] ?? 0) : d))
  const hole = dims.indexOf(-1)
  if (hole >= 0) dims[hole] = x.data.length / dims.reduce((n, d, i) => (i === hole ? n : n * d), 1)
  return sizeOf(dims) === x.data.length && dims.every((d) => d >= 0 && Number.isInteger(d))
    ? [{ ...x, shape: dims }]
    : undefined
}

const squeeze: Rule = ([x, axesT]) => {
  if (!x) return undefined
  const axes = axesT ? new Set(ints(axesT).map((a) => norm(a, x.shape.length))) : undefined
  return [{ ...x, shape: x.shape.filter((d, i) => (axes ? !axes.has(i) : d !== 1)) }]
}

const unsqueeze: Rule = ([x, axesT]) => {
  if (!x || !axesT) return undefined
  const rank = x.shape.length + axesT.data.length
  const added = new Set(ints(axesT).map((a) => norm(a, rank)))
  let i = 0
  return [{ ...x, shape: Array.from({ length: rank }, (_, k) => (added.has(k) ? 1 : x.shape[i++]!)) }]
}

const where: Rule = ([c, x, y]) => {
  if (!c || !x || !y || x.dtype !== y.dtype) return undefined
  const shape = broadcastShape([c.shape, x.shape, y.shape])
  if (!shape || sizeOf(shape) > FOLD_LIMIT) return undefined
  const out = make(x.dtype, shape)
  const [p, a, b, o] = [cells(c), cells(x), cells(y), cells(out)]
  walk(
    shape,
    [c, x, y].map((t) => stepsFor(t.shape, shape.length)),
    (i, at) => {
      o[i] = p[at[0]!] ? a[at[1]!]! : b[at[2]!]!
    },
  )
  return [out]
}

/** Filled and repeated constants stay in the graph above this size: an initializer would be bytes to load for nothing. */
const SPREAD_LIMIT = 1024

const expand: Rule = ([x, target]) => {
  const shape = x && target && broadcastShape([x.shape, ints(target)])
  return shape && sizeOf(shape) <= SPREAD_LIMIT ? [view(x!, shape, stepsFor(x!.shape, shape.length))] : undefined
}

const tile: Rule = ([x, repeats]) => {
  if (!x || !repeats) return undefined
  const r = ints(repeats)
  const shape = x.shape.map((d, i) => d * r[i]!)
  if (sizeOf(shape) > SPREAD_LIMIT) return undefined
  const wide = x.shape.flatMap((d, i) => [r[i]!, d])
  const own = strides(x.shape)
  return [
    {
      ...view(
        x,
        wide,
        own.flatMap((s) => [0, s]),
      ),
      shape,
    },
  ]
}

const constantOfShape: Rule = ([target], attrs) => {
  const shape = target && ints(target)
  if (!shape || sizeOf(shape) > SPREAD_LIMIT || shape.some((d) => d < 0)) return undefined
  const value = attrs.value as Tensor | undefined
  const out = make(value?.dtype ?? 'float32', shape)
  if (value) (cells(out) as (Scalar | string)[]).fill(cells(value)[0]!)
  return [out]
}

/** What moves, picks or repeats elements, and what is known of their shape. */
export const MOVES: Readonly<Record<string, Rule>> = {
  Transpose: ([x], attrs) => {
    if (!x) return undefined
    const perm = Array.isArray(attrs.perm) ? (attrs.perm as number[]) : x.shape.map((_, i) => x.shape.length - 1 - i)
    const own = strides(x.shape)
    return [
      view(
        x,
        perm.map((p) => x.shape[p]!),
        perm.map((p) => own[p]!),
      ),
    ]
  },
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  Where: where,
  Expand: expand,
  Tile: tile,
  ConstantOfShape: constantOfShape,
  Shape: ([x], attrs) => {
    const dims = x?.shape.slice(num(attrs.start, 0), typeof attrs.end === 'number' ? attrs.end : undefined)
    return dims && [{ dtype: 'int64', shape: [dims.length], data: BigInt64Array.from(dims, BigInt) }]
  },
  Size: ([x]) => x && [{ dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(x.data.length)) }],
  Identity: ([x]) => x && [x],
}

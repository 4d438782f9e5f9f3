import { fromBfloat, fromHalf, toBfloat, toHalf } from '../../src/half.ts'
import { DTYPES, type DType, type NumericArray, sizeOf, type Tensor } from '../../src/tensor.ts'
import { ONNX_FROM } from '../formats/proto/onnx.ts'
import type { OnnxAttr } from './value.ts'

/** Constants larger than this (elements over all inputs) stay in the graph, unless folding only moves them. */
export const FOLD_LIMIT = 65_536
/** Ops that only move or narrow weights: always worth doing once at import instead of at every start. */
export const FOLD_ANY_SIZE: ReadonlySet<string> = new Set([
  'Transpose',
  'Reshape',
  'Squeeze',
  'Unsqueeze',
  'Identity',
  'Cast',
  'Slice',
  'Split',
  'Concat',
  'Gather',
])

type Attrs = Readonly<Record<string, OnnxAttr>>
/** Undefined: not folded after all (a dtype or form this rule leaves to onnxruntime). */
type Rule = (x: readonly (Tensor | undefined)[], attrs: Attrs, count: number) => Tensor[] | undefined

type Scalar = number | bigint
const isBig = (d: DType) => d === 'int64' || d === 'uint64'
const isHalf = (d: DType) => d === 'float16' || d === 'bfloat16'
const ints = (t: Tensor): number[] => Array.from(t.data as ArrayLike<Scalar>, Number)
const num = (a: OnnxAttr | undefined, fallback: number): number => (typeof a === 'number' ? a : fallback)
const norm = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

function make(dtype: DType, shape: readonly number[]): Tensor {
  const n = sizeOf(shape)
  return {
    dtype,
    shape,
    data: dtype === 'string' ? new Array<string>(n).fill('') : (new DTYPES[dtype].array(n) as NumericArray),
  }
}

type Cells = { [i: number]: Scalar | string; length: number }
const cells = (t: Tensor): Cells => t.data as Cells

export function strides(shape: readonly number[]): number[] {
  const out = new Array<number>(shape.length).fill(1)
  for (let i = shape.length - 2; i >= 0; i--) out[i] = out[i + 1]! * shape[i + 1]!
  return out
}

/** Walks `shape` in row-major order; gives the offsets into operands with the given strides. */
function walk(
  shape: readonly number[],
  steps: readonly (readonly number[])[],
  visit: (i: number, at: readonly number[]) => void,
): void {
  const n = sizeOf(shape)
  const index = new Array<number>(shape.length).fill(0)
  const at = steps.map(() => 0)
  for (let i = 0; i < n; i++) {
    visit(i, at)
    for (let k = shape.length - 1; k >= 0; k--) {
      for (let s = 0; s < steps.length; s++) at[s]! += steps[s]![k]!
      if (++index[k]! < shape[k]!) break
      index[k] = 0
      for (let s = 0; s < steps.length; s++) at[s]! -= steps[s]![k]! * shape[k]!
    }
  }
}

function broadcastShape(shapes: readonly (readonly number[])[]): number[] | undefined {
  const rank = Math.max(...shapes.map((s) => s.length))
  const out = new Array<number>(rank).fill(1)
  for (const s of shapes)
    for (const [i, d] of s.entries()) {
      const k = rank - s.length + i
      if (d !== 1 && out[k] !== 1 && out[k] !== d) return undefined
      if (d !== 1) out[k] = d
    }
  return out
}

function stepsFor(shape: readonly number[], rank: number): number[] {
  const own = strides(shape)
  return Array.from({ length: rank }, (_, i) => {
    const k = i - rank + shape.length
    return k < 0 || shape[k] === 1 ? 0 : own[k]!
  })
}

function binary(f: (a: never, b: never, dtype: DType) => Scalar | boolean | undefined, result?: DType): Rule {
  return ([x, y]) => {
    if (!x || !y || x.dtype !== y.dtype || isHalf(x.dtype)) return undefined
    if (x.dtype === 'string' && result !== 'bool') return undefined
    const shape = broadcastShape([x.shape, y.shape])
    if (!shape) return undefined
    const out = make(result ?? x.dtype, shape)
    const [a, b, o] = [cells(x), cells(y), cells(out)]
    let fine = true
    walk(shape, [stepsFor(x.shape, shape.length), stepsFor(y.shape, shape.length)], (i, at) => {
      const v = f(a[at[0]!] as never, b[at[1]!] as never, x.dtype)
      if (v === undefined) fine = false
      else o[i] = typeof v === 'boolean' ? Number(v) : v
    })
    return fine ? [out] : undefined
  }
}

function unary(f: (a: number) => number, only: readonly DType[] = ['float32', 'float64']): Rule {
  return ([x]) => {
    if (!x || !only.includes(x.dtype)) return undefined
    const out = make(x.dtype, x.shape)
    const [a, o] = [cells(x), cells(out)]
    for (let i = 0; i < a.length; i++) o[i] = isBig(x.dtype) ? BigInt(f(Number(a[i]))) : f(a[i] as number)
    return [out]
  }
}

const isFloat = (d: DType) => d === 'float32' || d === 'float64'
const divide = (a: Scalar, b: Scalar, dtype: DType): Scalar | undefined => {
  if (typeof a === 'bigint') return b === 0n ? undefined : a / (b as bigint)
  if (isFloat(dtype)) return a / (b as number)
  return b === 0 ? undefined : Math.trunc(a / (b as number))
}

const reduce =
  (f: (a: never, b: never) => Scalar, start: (d: DType) => Scalar): Rule =>
  ([x, axesInput], attrs) => {
    if (!x || x.dtype === 'string' || x.dtype === 'bool' || isHalf(x.dtype)) return undefined
    const rank = x.shape.length
    const given = axesInput ? ints(axesInput) : undefined
    if (given?.length === 0 && num(attrs.noop_with_empty_axes, 0) === 1) return [x]
    const axes = new Set(given?.length ? given.map((a) => norm(a, rank)) : x.shape.map((_, i) => i))
    const kept = x.shape.map((d, i) => (axes.has(i) ? 1 : d))
    const out = make(x.dtype, kept)
    const [a, o] = [cells(x), cells(out)]
    for (let i = 0; i < o.length; i++) o[i] = start(x.dtype)
    const own = strides(kept)
    walk(x.shape, [x.shape.map((_, i) => (axes.has(i) ? 0 : own[i]!))], (i, at) => {
      o[at[0]!] = f(o[at[0]!] as never, a[i] as never)
    })
    return [num(attrs.keepdims, 1) === 1 ? out : { ...out, shape: x.shape.filter((_, i) => !axes.has(i)) }]
  }

/** Copies a strided view of `x`: what Transpose, Slice, Expand and Tile do. */
function view(x: Tensor, shape: readonly number[], steps: readonly number[], offset = 0): Tensor {
  const out = make(x.dtype, shape)
  const [a, o] = [cells(x), cells(out)]
  walk(shape, [steps], (i, at) => {
    o[i] = a[offset + at[0]!]!
  })
  return out
}

const cast: Rule = ([x], attrs) => {
  const to = ONNX_FROM[num(attrs.to, 0)]
  if (!x || !to || x.dtype === 'string' || to === 'string') return undefined
  if (x.dtype === to) return [x]
  const out = make(to, x.shape)
  const [a, o] = [cells(x) as { [i: number]: Scalar; length: number }, cells(out)]
  const read = x.dtype === 'float16' ? fromHalf : x.dtype === 'bfloat16' ? fromBfloat : undefined
  for (let i = 0; i < a.length; i++) {
    const v = read ? read(a[i] as number) : a[i]!
    if (to === 'bool') o[i] = Number(v) === 0 ? 0 : 1
    else if (isBig(to)) {
      if (typeof v === 'number' && (!Number.isFinite(v) || Math.abs(v) >= 2 ** 63)) return undefined
      o[i] = typeof v === 'bigint' ? v : BigInt(Math.trunc(v))
    } else if (to === 'float16') o[i] = toHalf(Number(v))
    else if (to === 'bfloat16') o[i] = toBfloat(Number(v))
    else if (isFloat(to)) o[i] = Number(v)
    else if (typeof v === 'bigint') o[i] = Number(BigInt.asIntN(32, v))
    else if (!Number.isFinite(v)) return undefined
    else o[i] = Math.trunc(v)
  }
  return [out]
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

const range: Rule = ([a, b, c]) => {
  if (!a || !b || !c || isHalf(a.dtype)) return undefined
  const [start, limit, delta] = [a, b, c].map((t) => Number(t.data[0])) as [number, number, number]
  const n = Math.max(0, Math.ceil((limit - start) / delta))
  if (!(n <= FOLD_LIMIT)) return undefined
  const out = make(a.dtype, [n])
  const o = cells(out)
  for (let i = 0; i < n; i++) o[i] = isBig(a.dtype) ? BigInt(start + i * delta) : start + i * delta
  return [out]
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

/** What the builder computes at once instead of emitting. A rule may decline. */
export const FOLD: Readonly<Record<string, Rule>> = {
  Identity: ([x]) => x && [x],
  Cast: cast,
  Shape: ([x], attrs) => {
    const dims = x?.shape.slice(num(attrs.start, 0), typeof attrs.end === 'number' ? attrs.end : undefined)
    return dims && [{ dtype: 'int64', shape: [dims.length], data: BigInt64Array.from(dims, BigInt) }]
  },
  Size: ([x]) => x && [{ dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(x.data.length)) }],
  Add: binary((a: number, b: number) => a + b),
  Sub: binary((a: number, b: number) => a - b),
  Mul: binary((a: number, b: number, d) => (d === 'int32' || d === 'uint32' ? Math.imul(a, b) : a * b)),
  Div: binary(divide),
  Min: binary((a: number, b: number) => (a < b || Number.isNaN(a) ? a : b)),
  Max: binary((a: number, b: number) => (a > b || Number.isNaN(a) ? a : b)),
  Equal: binary((a: number, b: number) => a === b, 'bool'),
  Less: binary((a: number, b: number) => a < b, 'bool'),
  LessOrEqual: binary((a: number, b: number) => a <= b, 'bool'),
  Greater: binary((a: number, b: number) => a > b, 'bool'),
  GreaterOrEqual: binary((a: number, b: number) => a >= b, 'bool'),
  And: binary((a: number, b: number) => a !== 0 && b !== 0, 'bool'),
  Or: binary((a: number, b: number) => a !== 0 || b !== 0, 'bool'),
  Xor: binary((a: number, b: number) => a !== b, 'bool'),
  Not: unary((a) => (a ? 0 : 1), ['bool']),
  Neg: unary((a) => -a, ['float32', 'float64', 'int32', 'int64']),
  Abs: unary(Math.abs, ['float32', 'float64', 'int32', 'int64']),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((a) => 1 / a),
  Floor: unary(Math.floor),
  Round: unary((a) => {
    const low = Math.floor(a)
    const rest = a - low
    return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1
  }),
  Exp: unary(Math.exp),
  Sin: unary(Math.sin),
  Ceil: unary(Math.ceil),
  ReduceSum: reduce(
    (a: number, b: number) => a + b,
    (d) => (isBig(d) ? 0n : 0),
  ),
  ReduceMax: ([x, axes], attrs, count) =>
    x && isFloat(x.dtype)
      ? reduce(
          (a: number, b: number) => (a > b || Number.isNaN(a) ? a : b),
          () => Number.NEGATIVE_INFINITY,
        )([x, axes], attrs, count)
      : undefined,
  ReduceProd: reduce(
    (a: number, b: number) => a * b,
    (d) => (isBig(d) ? 1n : 1),
  ),
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
  Range: range,
  Where: where,
  Expand: expand,
  Tile: tile,
  ConstantOfShape: constantOfShape,
}

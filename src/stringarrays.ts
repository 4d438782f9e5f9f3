import { AppError } from './errors.ts'
import { DTYPES, type DType, sizeOf, type Tensor, type TensorData } from './tensor.ts'

interface Attrs {
  readonly [attr: string]: unknown
}
type Rule = (x: readonly Tensor[], a: Attrs) => readonly Tensor[]
type Cells = (number | bigint | string)[]

const ints = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number | bigint>, Number)
const axisOf = (a: number, rank: number): number => (a < 0 ? a + rank : a)

function make(dtype: DType, shape: readonly number[], values: Cells): Tensor {
  if (dtype === 'string') return { dtype, shape, data: values.map(String) }
  const wide = dtype === 'int64' || dtype === 'uint64'
  const data = new DTYPES[dtype].array(values.length) as Exclude<TensorData, string[]> & {
    [i: number]: number | bigint
  }
  for (const [i, v] of values.entries()) data[i] = wide ? BigInt(v) : Number(v)
  return { dtype, shape, data }
}
const cells = (t: Tensor): Cells => Array.from(t.data as ArrayLike<number | bigint | string>)

const bad = (what: string): AppError =>
  new AppError('WRONG_SHAPE', { where: 'a program over strings', expected: 'shapes that fit', got: what })

/** Elementwise on integers, where one side may be a single element. */
const integer =
  (f: (a: bigint, b: bigint) => bigint): Rule =>
  ([x, y]) => {
    const [p, q] = [cells(x!), cells(y!)]
    if (p.length !== q.length && p.length !== 1 && q.length !== 1) throw bad(`[${x!.shape}] and [${y!.shape}]`)
    const like = x!.shape.length >= y!.shape.length && (p.length >= q.length || q.length === 1) ? x! : y!
    const at = (v: Cells, i: number) => BigInt(v[v.length === 1 ? 0 : i]!)
    return [
      make(
        x!.dtype,
        like.shape,
        Array.from({ length: like.data.length }, (_, i) => f(at(p, i), at(q, i))),
      ),
    ]
  }

/** Picks a strided view along one axis. */
function along(x: Tensor, axis: number, picks: readonly number[]): Tensor {
  const [outer, size, inner] = [sizeOf(x.shape.slice(0, axis)), x.shape[axis]!, sizeOf(x.shape.slice(axis + 1))]
  const source = cells(x)
  const out: Cells = []
  for (let o = 0; o < outer; o++)
    for (const p of picks) {
      const from = (o * size + p) * inner
      for (let i = 0; i < inner; i++) out.push(source[from + i]!)
    }
  return make(x.dtype, [...x.shape.slice(0, axis), picks.length, ...x.shape.slice(axis + 1)], out)
}

/** What moves strings around and counts them, as the ONNX operators of these names do: a program has to pass through it. */
export const ARRAY_STEPS: Readonly<Record<string, Rule>> = {
  Const: (_x, a) => [make(a.dtype as DType, a.shape as number[], a.data as Cells)],
  Identity: ([x]) => [x!],
  Reshape: ([x, target]) => {
    const dims = ints(target!).map((d, i) => (d === 0 ? (x!.shape[i] ?? 0) : d))
    const hole = dims.indexOf(-1)
    if (hole >= 0) dims[hole] = x!.data.length / Math.max(1, sizeOf(dims.filter((_, i) => i !== hole)))
    if (sizeOf(dims) !== x!.data.length) throw bad(`[${x!.shape}] as [${dims}]`)
    return [{ ...x!, shape: dims }]
  },
  Squeeze: ([x, axes]) => {
    const gone = new Set(axes ? ints(axes).map((a) => axisOf(a, x!.shape.length)) : [])
    const fits = (d: number, i: number) => (axes ? !gone.has(i) : d !== 1)
    if (x!.shape.some((d, i) => gone.has(i) && d !== 1)) throw bad(`[${x!.shape}] without a dimension of 1`)
    return [{ ...x!, shape: x!.shape.filter(fits) }]
  },
  Unsqueeze: ([x, axes]) => {
    const rank = x!.shape.length + axes!.data.length
    const added = new Set(ints(axes!).map((a) => axisOf(a, rank)))
    const rest = [...x!.shape]
    return [{ ...x!, shape: Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : rest.shift()!)) }]
  },
  Shape: ([x]) => [make('int64', [x!.shape.length], [...x!.shape])],
  Size: ([x]) => [make('int64', [], [x!.data.length])],
  Cast: ([x], a) => {
    const to = a.dtype as DType
    if (x!.dtype === to) return [x!]
    return [
      make(
        to,
        x!.shape,
        cells(x!).map((v) => (typeof v === 'number' ? Math.trunc(v) : v)),
      ),
    ]
  },
  Range: ([from, to, by]) => {
    const [start, limit, delta] = [from!, to!, by!].map((t) => Number(t.data[0])) as [number, number, number]
    const n = Math.max(0, Math.ceil((limit - start) / delta))
    return [
      make(
        from!.dtype,
        [n],
        Array.from({ length: n }, (_, i) => start + i * delta),
      ),
    ]
  },
  Add: integer((a, b) => a + b),
  Sub: integer((a, b) => a - b),
  Mul: integer((a, b) => a * b),
  Concat: (xs, a) => {
    const axis = axisOf(a.axis as number, xs[0]!.shape.length)
    const shape = xs[0]!.shape.map((d, i) => (i === axis ? xs.reduce((n, x) => n + x.shape[i]!, 0) : d))
    const outer = sizeOf(shape.slice(0, axis))
    const out: Cells = []
    for (let o = 0; o < outer; o++)
      for (const x of xs) {
        const run = sizeOf(x.shape.slice(axis))
        out.push(...cells(x).slice(o * run, (o + 1) * run))
      }
    return [make(xs[0]!.dtype, shape, out)]
  },
  Gather: ([x, indices], a) => {
    const axis = axisOf((a.axis as number | undefined) ?? 0, x!.shape.length)
    const picks = ints(indices!).map((i) => axisOf(i, x!.shape[axis]!))
    if (picks.some((p) => p < 0 || p >= x!.shape[axis]!)) throw bad('an index outside')
    const { dtype, data } = along(x!, axis, picks)
    return [{ dtype, data, shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)] }]
  },
  Slice: ([x, starts, ends, axes, steps]) => {
    const [s, e, by] = [ints(starts!), ints(ends!), steps ? ints(steps) : undefined]
    const at = (axes ? ints(axes) : s.map((_, i) => i)).map((a) => axisOf(a, x!.shape.length))
    return [
      at.reduce((t, axis, i) => {
        const [size, step] = [t.shape[axis]!, by?.[i] ?? 1]
        const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + size : v, low), high)
        const from = clamp(s[i]!, 0, step > 0 ? size : size - 1)
        const to = step > 0 ? clamp(e[i]!, 0, size) : clamp(e[i]!, -1, size - 1)
        const picks = Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, k) => from + k * step)
        return along(t, axis, picks)
      }, x!),
    ]
  },
}

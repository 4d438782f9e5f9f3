import type { Builder } from '../../onnx/builder.ts'
import { isStatic, type Value } from '../../onnx/value.ts'
import { type Call, formatOf, type LayerRow, type LayerTable } from './layer.ts'
import { resized } from './resize.ts'

const product = (d: readonly number[]): number => d.reduce((p, q) => p * q, 1)

const reshape: LayerRow = {
  emit: (n, b) => {
    const given = n.config.get('target_shape')
    const target = (Array.isArray(given) ? given : [given]).map((d) => (d === null || d === undefined ? -1 : d))
    if (!target.every((d) => Number.isSafeInteger(d))) throw n.config.bad('target_shape', 'integers', given)
    const dims = target as number[]
    const inner = n.x.shape?.slice(1)
    // an empty batch leaves -1 without an answer, so it is worked out here where it can be
    const hole = dims.indexOf(-1)
    if (hole >= 0 && isStatic(inner)) {
      const rest = product(dims.filter((_, i) => i !== hole))
      if (rest > 0) dims[hole] = product(inner) / rest
    }
    return b.reshape(n.x, [0, ...dims])
  },
}

const flatten: LayerRow = {
  emit: (n, b) => {
    const rank = b.rank(n.x)
    if (rank === 1) return b.unsqueeze(n.x, [1])
    const first = formatOf(n.config) === 'NCHW' && rank > 2
    const x = first ? b.transpose(n.x, [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1]) : n.x
    const inner = x.shape!.slice(1)
    return b.reshape(x, isStatic(inner) ? [0, product(inner)] : [0, -1])
  },
}

/** Pairs of amounts for each spatial axis: 1, [1, 2] and [[1, 2], [3, 4]] in a config. */
function pairs(n: Call, name: string, rank: number): [number, number][] {
  const given = n.config.get(name)
  const list = Array.isArray(given) ? given : Array(rank).fill(given)
  const flat = rank === 1 && list.length === 2 && list.every((d) => typeof d === 'number') ? [list] : list
  const out = flat.map((d) => (Array.isArray(d) ? d : [d, d]))
  if (
    out.length === rank &&
    out.every((p) => p.length === 2 && p.every((d) => Number.isSafeInteger(d) && (d as number) >= 0))
  )
    return out as [number, number][]
  throw n.config.bad(name, `${rank} pairs of integers`, given)
}

const firstSpatial = (n: Call): number => (formatOf(n.config) === 'NHWC' ? 1 : 2)

const cropping = (rank: number): LayerRow => ({
  emit: (n, b) => {
    const cut = pairs(n, 'cropping', rank)
    const axes = cut.map((_, i) => i + firstSpatial(n))
    const ends = cut.map(([, after]) => (after === 0 ? 2 ** 31 - 1 : -after))
    return b.slice(
      n.x,
      cut.map(([before]) => before),
      ends,
      axes,
    )
  },
})

const zeroPadding = (rank: number): LayerRow => ({
  emit: (n, b) => {
    const amounts = pairs(n, 'padding', rank)
    const first = firstSpatial(n)
    const size = b.rank(n.x)
    const side = (k: 0 | 1): number[] => Array.from({ length: size }, (_, i) => amounts[i - first]?.[k] ?? 0)
    return b.op('Pad', [n.x, b.ints([...side(0), ...side(1)]), b.scalar(n.x.dtype, 0)])
  },
})

/** Each entry several times in a row along an axis. */
export function repeated(x: Value, times: number, axis: number, b: Builder): Value {
  if (times === 1) return x
  const rank = b.rank(x)
  const wide = b.op('Tile', [
    b.unsqueeze(x, [axis + 1]),
    b.ints(Array.from({ length: rank + 1 }, (_, i) => (i === axis + 1 ? times : 1))),
  ])
  const d = x.shape![axis]
  const shape: number[] = Array.from({ length: rank }, (_, i) => (i === axis ? -1 : 0))
  if (typeof d === 'number') shape[axis] = d * times
  // dimensions behind the axis have moved by one, so they are named
  const tail = x.shape!.slice(axis + 1)
  if (isStatic(tail) && typeof d === 'number') return b.reshape(wide, [...shape.slice(0, axis + 1), ...tail])
  const dims = b.shapeOf(x)
  const grown = b.op('Mul', [b.slice(dims, [axis], [axis + 1], [0]), b.ints([times])])
  const parts = [
    ...(axis > 0 ? [b.slice(dims, [0], [axis], [0])] : []),
    grown,
    ...(axis < rank - 1 ? [b.slice(dims, [axis + 1], [rank], [0])] : []),
  ]
  return b.reshape(wide, b.concat(parts, 0))
}

const upsampling = (rank: number): LayerRow => ({
  emit: (n, b) => {
    const factors = n.config.ints('size', rank, 2)
    const first = firstSpatial(n)
    const how = n.config.str('interpolation', 'nearest')
    if (how === 'nearest') return factors.reduce((x, f, i) => repeated(x, f, i + first, b), n.x)
    const size = factors.map((f, i) => b.op('Mul', [b.dim(n.x, i + first), b.ints([f])]))
    return resized(n, n.x, b.concat(size, 0), { how, antialias: false, format: formatOf(n.config) }, b)
  },
})

export const RESHAPE_LAYERS: LayerTable = {
  Reshape: reshape,
  Flatten: flatten,
  Permute: {
    emit: (n, b) => b.transpose(n.x, [0, ...n.config.list('dims')]),
  },
  RepeatVector: {
    emit: (n, b) => b.op('Tile', [b.unsqueeze(n.x, [1]), b.ints([1, n.config.int('n'), 1])]),
  },
  Cropping1D: cropping(1),
  Cropping2D: cropping(2),
  Cropping3D: cropping(3),
  ZeroPadding1D: zeroPadding(1),
  ZeroPadding2D: zeroPadding(2),
  ZeroPadding3D: zeroPadding(3),
  UpSampling1D: upsampling(1),
  UpSampling2D: upsampling(2),
  UpSampling3D: upsampling(3),
}

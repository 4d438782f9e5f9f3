import type { DType } from '../../../src/tensor.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import {
  type Arg,
  argument,
  axisOf,
  type Call,
  isKTensor,
  type LayerRow,
  type LayerTable,
  type Result,
  type Slice,
  tensorsOf,
  unsupported,
} from './layer.ts'
import { axes, dtypeOf, int, ints, list, param, row, same, value } from './opargs.ts'
import { repeated } from './reshape.ts'
import { einsum, tfOp } from './tf.ts'

function isSlice(a: Arg | undefined): a is Slice {
  return typeof a === 'object' && a !== null && !Array.isArray(a) && 'slice' in a
}

/** x[…] with integers, slices, an ellipsis and new axes. */
function item(n: Call, b: Builder): Value {
  const key = n.args[1] ?? n.kwargs.key
  const parts = (Array.isArray(key) ? key : [key ?? null]) as readonly Arg[]
  const rank = b.rank(n.x)
  const dots = parts.findIndex((p) => p === 'Ellipsis' || (typeof p === 'object' && p !== null && 'ellipsis' in p))
  const used = parts.filter(
    (p) => p !== null && p !== 'Ellipsis' && !(typeof p === 'object' && p !== null && 'ellipsis' in p),
  ).length
  const [starts, ends, on, steps, gone, added] = [[], [], [], [], [], []] as number[][]
  let axis = 0
  let out = 0
  for (const [i, p] of parts.entries()) {
    if (i === dots) {
      axis += rank - used
      out += rank - used
    } else if (p === null) added!.push(out++)
    else if (typeof p === 'number') {
      starts!.push(p)
      ends!.push(p === -1 ? 2 ** 31 - 1 : p + 1)
      steps!.push(1)
      on!.push(axis)
      gone!.push(axis++)
    } else if (isSlice(p)) {
      const [from, to, by] = p.slice.map((v) => (typeof v === 'number' ? v : undefined))
      if (p.slice.some((v) => v !== null && typeof v !== 'number'))
        throw unsupported(n, 'constant slices', 'computed ones')
      const step = by ?? 1
      if (from !== undefined || to !== undefined || step !== 1) {
        starts!.push(from ?? (step > 0 ? 0 : 2 ** 31 - 1))
        ends!.push(to ?? (step > 0 ? 2 ** 31 - 1 : -(2 ** 31) + 1))
        steps!.push(step)
        on!.push(axis)
      }
      axis++
      out++
    } else throw unsupported(n, 'integers and slices between brackets', 'a tensor')
  }
  const cut = on!.length > 0 ? b.slice(n.x, starts!, ends!, on!, steps!) : n.x
  return b.unsqueeze(b.squeeze(cut, gone!), added!)
}

function reshaped(n: Call, b: Builder): Value {
  const given = param(n, 'newshape', 1) ?? param(n, 'shape', 1)
  const list = (Array.isArray(given) ? given : [given]) as readonly Arg[]
  if (list.every((d) => d === null || typeof d === 'number')) {
    const dims = list.map((d) => (d === null ? -1 : (d as number)))
    return b.reshape(n.x, dims)
  }
  const parts = list.map((d) => (isKTensor(d) ? b.reshape(b.cast(d.value, 'int64'), [1]) : b.ints([d as number])))
  return b.reshape(n.x, b.concat(parts, 0))
}

function split(n: Call, b: Builder): Result {
  const axis = axisOf(int(n, 'axis', 2, 0), b.rank(n.x))
  const how = param(n, 'indices_or_sections', 1)
  if (typeof how === 'number') return b.ops('Split', [n.x], { axis, num_outputs: how }, how)
  const at = ints(n, 'indices_or_sections', 1)
  const ends = [...at, 2 ** 31 - 1]
  return ends.map((end, i) => b.slice(n.x, [i === 0 ? 0 : at[i - 1]!], [end], [axis]))
}

function transposed(n: Call, b: Builder): Value {
  const given = param(n, 'axes', 1)
  const rank = b.rank(n.x)
  const perm =
    given === undefined || given === null ? Array.from({ length: rank }, (_, i) => rank - 1 - i) : ints(n, 'axes', 1)
  return b.transpose(
    n.x,
    perm.map((p) => axisOf(p, rank)),
  )
}

function moved(n: Call, from: readonly number[], to: readonly number[], b: Builder): Value {
  const rank = b.rank(n.x)
  const [source, target] = [from.map((a) => axisOf(a, rank)), to.map((a) => axisOf(a, rank))]
  const rest = Array.from({ length: rank }, (_, i) => i).filter((i) => !source.includes(i))
  const perm = Array.from({ length: rank }, (_, i) => (target.includes(i) ? source[target.indexOf(i)]! : rest.shift()!))
  return b.transpose(n.x, perm)
}

function swappedAxes(n: Call, b: Builder): Value {
  const rank = b.rank(n.x)
  const [p, q] = [axisOf(int(n, 'axis1', 1), rank), axisOf(int(n, 'axis2', 2), rank)]
  return b.transpose(
    n.x,
    Array.from({ length: rank }, (_, i) => (i === p ? q : i === q ? p : i)),
  )
}

function where(n: Call, b: Builder): Value {
  const like = tensorsOf([n.args[1] ?? null, n.args[2] ?? null])[0]?.value ?? b.scalar('float32', 0)
  const [x, y] = same(value(n, argument(n, 'x1', 1), like, b), value(n, argument(n, 'x2', 2), like, b), b)
  return b.op('Where', [b.cast(n.x, 'bool'), x, y])
}

const filledLike = (fill: (n: Call) => number): LayerRow =>
  row((n, b) =>
    b.op('Expand', [b.scalar(n.kwargs.dtype ? dtypeOf(n, n.kwargs.dtype) : n.x.dtype, fill(n)), b.shapeOf(n.x)]),
  )

/** Indices that sort along an axis, smallest first; equal values keep their order. */
function sorted(n: Call, b: Builder): readonly [Value, Value] {
  const [axis = -1] = axes(n) ?? []
  const at = axisOf(axis, b.rank(n.x))
  const attrs = { axis: at, largest: 0, sorted: 1 }
  return b.ops('TopK', [n.x, b.dim(n.x, at)], attrs, 2) as [Value, Value]
}

function tensordot(n: Call, b: Builder): Value {
  const [x, y] = [n.args[0], n.args[1]].map((a) => value(n, a, n.x, b)) as [Value, Value]
  const given = param(n, 'axes', 2) ?? 2
  const [rx, ry] = [b.rank(x), b.rank(y)]
  const count = typeof given === 'number' ? given : 0
  const last = Array.from({ length: count }, (_, i) => rx - count + i)
  const pair = Array.isArray(given) ? given.map((a) => [a].flat() as number[]) : [last, last.map((_, i) => i)]
  const left = [...'abcdefgh'.slice(0, rx)]
  const right = [...'ijklmnop'.slice(0, ry)]
  for (const [i, a] of pair[0]!.entries()) right[axisOf(pair[1]![i]!, ry)] = left[axisOf(a, rx)]!
  const kept = [...left.filter((c) => !right.includes(c)), ...right.filter((c) => !left.includes(c))]
  return einsum(n, [x, y], `${left.join('')},${right.join('')}->${kept.join('')}`, b)
}

/** numpy.dot: a product over the last axis of one and the last but one of the other. */
function dot(n: Call, b: Builder): Value {
  const [x, y] = [n.args[0], n.args[1]].map((a) => value(n, a, n.x, b)) as [Value, Value]
  if (b.rank(x) === 0 || b.rank(y) === 0) return b.op('Mul', [x, y])
  if (b.rank(y) <= 2) return b.op('MatMul', [x, y])
  throw unsupported(n, 'a second operand of at most two dimensions', `${b.rank(y)}`)
}

const stacked = (axis: number): LayerRow => row((n, b) => b.concat(list(n), b.rank(n.x) === 1 ? 0 : axis))
const triangle = (upper: 0 | 1): LayerRow => row((n, b) => b.op('Trilu', [n.x, b.int(int(n, 'k', 1, 0))], { upper }))

/** Array handling of keras.ops: shapes, places and order. */
export const ARRAY_OPERATIONS: LayerTable = {
  Where: row(where),
  Reshape: row(reshaped),
  Transpose: row(transposed),
  Swapaxes: row(swappedAxes),
  Moveaxis: row((n, b) => moved(n, ints(n, 'source', 1), ints(n, 'destination', 2), b)),
  ExpandDims: row((n, b) => b.unsqueeze(n.x, axes(n)!)),
  Squeeze: row((n, b) => b.squeeze(n.x, axes(n) ?? n.x.shape!.flatMap((d, i) => (d === 1 ? [i] : [])))),
  Ravel: row((n, b) => b.reshape(n.x, [-1])),
  Concatenate: row((n, b) => {
    const values = list(n)
    const wide = values.slice(1).reduce((p, v) => same(p, v, b)[0], values[0]!).dtype as DType
    return b.concat(
      values.map((v) => b.cast(v, wide)),
      axisOf(int(n, 'axis', 1, 0), b.rank(values[0]!)),
    )
  }),
  Stack: row((n, b) => {
    const axis = axisOf(int(n, 'axis', 1, 0), b.rank(n.x) + 1)
    return b.concat(
      list(n).map((v) => b.unsqueeze(v, [axis])),
      axis,
    )
  }),
  Split: row(split),
  GetItem: row(item),
  Take: row((n, b) => {
    const [axis] = axes(n, 2) ?? []
    const indices = b.cast(value(n, argument(n, 'indices', 1), b.int(0), b), 'int64')
    return b.gather(
      axis === undefined ? b.reshape(n.x, [-1]) : n.x,
      indices,
      axis === undefined ? 0 : axisOf(axis, b.rank(n.x)),
    )
  }),
  Repeat: row((n, b) => {
    const [axis] = axes(n, 2) ?? []
    const x = axis === undefined ? b.reshape(n.x, [-1]) : n.x
    return repeated(x, int(n, 'repeats', 1), axis === undefined ? 0 : axisOf(axis, b.rank(x)), b)
  }),
  Tile: row((n, b) => {
    const times = ints(n, 'repeats', 1)
    const missing = Math.max(0, times.length - b.rank(n.x))
    const x = b.unsqueeze(
      n.x,
      Array.from({ length: missing }, (_, i) => i),
    )
    return b.op('Tile', [x, b.ints([...Array<number>(b.rank(x) - times.length).fill(1), ...times])])
  }),
  Flip: row((n, b) => {
    const over = axes(n) ?? Array.from({ length: b.rank(n.x) }, (_, i) => i)
    return b.slice(
      n.x,
      over.map(() => -1),
      over.map(() => -(2 ** 31) + 1),
      over,
      over.map(() => -1),
    )
  }),
  BroadcastTo: row((n, b) => b.op('Expand', [n.x, b.ints(ints(n, 'shape', 1))])),
  ZerosLike: filledLike(() => 0),
  OnesLike: filledLike(() => 1),
  FullLike: filledLike((n) => Number(argument(n, 'fill_value', 1))),
  TopK: row((n, b) => {
    const k = b.ints([int(n, 'k', 1)])
    const [values, indices] = b.ops(
      'TopK',
      [n.x, k],
      { axis: -1, largest: 1, sorted: param(n, 'sorted', 2) === false ? 0 : 1 },
      2,
    )
    return [values!, b.cast(indices!, 'int32')]
  }),
  OneHot: row((n, b) => {
    const range = b.ints(Array.from({ length: int(n, 'num_classes', 1) }, (_, i) => i))
    const dtype = n.config.get('dtype') === undefined ? 'float32' : dtypeOf(n, n.config.get('dtype'))
    const hits = b.cast(b.op('Equal', [b.unsqueeze(b.cast(n.x, 'int64'), [-1]), range]), dtype)
    const axis = axisOf(int(n, 'axis', 2, -1), b.rank(hits))
    return moved({ ...n, x: hits }, [-1], [axis], b)
  }),
  Pad: row((n, b) => {
    const mode = String(param(n, 'mode', 2) ?? 'constant')
    const widths = param(n, 'pad_width', 1)
    const rank = b.rank(n.x)
    const flat = (Array.isArray(widths) ? widths : [widths]) as Arg[]
    const each = Array.from({ length: rank }, (_, i) => {
      const w = flat.length === rank ? flat[i] : Array.isArray(flat[0]) ? flat[0] : flat.length === 2 ? flat : flat[0]
      return Array.isArray(w) ? (w as number[]) : [w as number, w as number]
    })
    if (!['constant', 'reflect', 'edge'].includes(mode) && mode !== 'symmetric')
      throw unsupported(n, 'a mode of numpy.pad', mode)
    if (mode === 'symmetric') throw unsupported(n, 'mode constant or reflect', mode)
    const pads = b.ints([...each.map((w) => w[0]!), ...each.map((w) => w[1]!)])
    const fill = mode === 'constant' ? value(n, n.kwargs.constant_values ?? 0, n.x, b) : undefined
    return b.op('Pad', [n.x, pads, fill], { mode })
  }),
  Argsort: row((n, b) => b.cast(sorted(n, b)[1], 'int32')),
  Sort: row((n, b) => sorted(n, b)[0]),
  TakeAlongAxis: row((n, b) => {
    const [axis = -1] = axes(n, 2) ?? []
    const indices = b.cast(value(n, argument(n, 'indices', 1), b.int(0), b), 'int64')
    return b.op('GatherElements', [n.x, indices], { axis: axisOf(axis, b.rank(n.x)) })
  }),
  Cumprod: row((n, b) => {
    const [axis = 0] = axes(n) ?? []
    return tfOp(n, 'Cumprod', [n.x, b.scalar('int32', axis)], { exclusive: false, reverse: false }, b)
  }),
  Roll: row((n, b) => {
    const [axis] = axes(n, 2) ?? []
    const shift = int(n, 'shift', 1)
    if (axis === undefined) throw unsupported(n, 'an axis to roll along', 'none')
    const at = axisOf(axis, b.rank(n.x))
    const size = n.x.shape![at]
    if (typeof size !== 'number') throw unsupported(n, 'a known size along the axis', 'an unknown one')
    const by = ((shift % size) + size) % size
    return by === 0
      ? n.x
      : b.concat([b.slice(n.x, [size - by], [size], [at]), b.slice(n.x, [0], [size - by], [at])], at)
  }),
  Unstack: row((n, b): Result => {
    const axis = axisOf(int(n, 'axis', 2, 0), b.rank(n.x))
    const count = param(n, 'num', 1) ?? n.x.shape![axis]
    if (typeof count !== 'number') throw unsupported(n, 'a known size along the axis', 'an unknown one')
    return b.ops('Split', [n.x], { axis, num_outputs: count }, count).map((v) => b.squeeze(v, [axis]))
  }),
  Hstack: stacked(1),
  Vstack: stacked(0),
  Tril: triangle(0),
  Triu: triangle(1),
  Tensordot: row(tensordot),
  Dot: row(dot),
}

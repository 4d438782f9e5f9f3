import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, type Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type OpRow, type OpTable, op } from './op.ts'

type Align = 'LEFT_RIGHT' | 'RIGHT_LEFT' | 'LEFT_LEFT' | 'RIGHT_RIGHT'
const ALIGN = ['RIGHT_LEFT', 'LEFT_RIGHT', 'LEFT_LEFT', 'RIGHT_RIGHT'] as const

/**
 * Diagonals are numbered k = column - row. In the packed form the highest one comes first, each as long as the longest and aligned to
 * the left or right by the sign of k (tensorflow/core/ops/array_ops.cc). All of it is index arithmetic on vectors, which folds where
 * the sizes are known.
 */
interface Band {
  readonly low: Value
  readonly high: Value
  /** whether the packed form has a dimension for the diagonals: a bool scalar where the range is computed */
  readonly several: boolean | Value
}

const add = (x: Value, y: Value, b: Builder): Value => b.op('Add', [x, y])
const sub = (x: Value, y: Value, b: Builder): Value => b.op('Sub', [x, y])
const range = (n: Value, b: Builder): Value => b.op('Range', [b.int(0), n, b.int(1)])
const least = (x: Value, b: Builder): Value => b.op('Min', [x, b.int(0)])
const most = (x: Value, b: Builder): Value => b.op('Max', [x, b.int(0)])

function bandOf(k: Value | undefined, b: Builder): Band {
  if (!k) return { low: b.int(0), high: b.int(0), several: false }
  const flat = b.reshape(int64(k, b), [-1])
  const known = constNumbers(flat)
  if (known) return { low: b.int(known[0]!), high: b.int(known.at(-1)!), several: known[0] !== known.at(-1) }
  const low = b.gather(flat, b.int(0))
  if (k.shape?.length === 0 || k.shape?.[0] === 1) return { low, high: low, several: false }
  const high = b.gather(flat, b.int(-1))
  return { low, high, several: b.op('Not', [b.op('Equal', [low, high])]) }
}

const size = (v: Value, fromEnd: number, b: Builder): Value => {
  const d = v.shape?.at(fromEnd)
  if (typeof d === 'number') return b.int(d)
  return b.gather(b.shapeOf(v), b.int(fromEnd))
}

/** The elements of diagonal k. */
function lengthOf(k: Value, rows: Value, columns: Value, b: Builder): Value {
  return b.op('Min', [add(rows, least(k, b), b), sub(columns, most(k, b), b)])
}

/** How many cells stand before diagonal k in its packed row. */
function lead(k: Value, rows: Value, columns: Value, longest: Value, align: Align, b: Builder): Value {
  const gap = sub(longest, lengthOf(k, rows, columns, b), b)
  const [above, below] = align.split('_').map((side) => (side === 'RIGHT' ? gap : b.op('Sub', [gap, gap])))
  return b.op('Where', [b.op('GreaterOrEqual', [k, b.int(0)]), above!, below!])
}

function longestOf({ low, high }: Band, rows: Value, columns: Value, b: Builder): Value {
  return b.op('Min', [add(rows, least(high, b), b), sub(columns, most(low, b), b)])
}

const batchShape = (v: Value, trailing: number, b: Builder): Value => b.slice(b.shapeOf(v), [0], [-trailing], [0])
const one = (v: Value, b: Builder): Value => b.reshape(v, [1])

function diagPart(x: Value, band: Band, padding: Value, align: Align, b: Builder): Value {
  const [rows, columns] = [size(x, -2, b), size(x, -1, b)]
  const longest = longestOf(band, rows, columns, b)
  const count = add(sub(band.high, band.low, b), b.int(1), b)
  const k = b.unsqueeze(sub(band.high, range(count, b), b), [1])
  const at = sub(b.unsqueeze(range(longest, b), [0]), lead(k, rows, columns, longest, align, b), b)
  const inside = b.op('And', [
    b.op('GreaterOrEqual', [at, b.int(0)]),
    b.op('Less', [at, lengthOf(k, rows, columns, b)]),
  ])
  const cell = add(b.op('Mul', [sub(at, least(k, b), b), columns]), add(at, most(k, b), b), b)
  const safe = b.op('Where', [inside, cell, b.int(0)])
  const flat = b.reshape(x, b.concat([batchShape(x, 2, b), b.ints([-1])], 0))
  const known = x.shape && !flat.data ? b.as(flat, { shape: [...x.shape.slice(0, -2), b.fresh()] }) : flat
  const found = b.op('Where', [inside, b.gather(known, safe, -1), padding])
  if (typeof band.several === 'boolean') return band.several ? found : b.squeeze(found, [-2])
  // the rank itself depends on the range
  const counts = b.op('Slice', [one(count, b), b.ints([0]), one(b.cast(band.several, 'int64'), b), b.ints([0])])
  const shape = b.concat([batchShape(x, 2, b), counts, one(longest, b)], 0)
  return b.op('Reshape', [found, shape], {}, { dtype: found.dtype, shape: undefined })
}

/** The band of `x` replaced by packed diagonals. */
function setDiag(x: Value, diagonal: Value, band: Band, align: Align, b: Builder): Value {
  const [rows, columns] = [size(x, -2, b), size(x, -1, b)]
  const longest = longestOf(band, rows, columns, b)
  const [row, column] = [b.unsqueeze(range(rows, b), [1]), b.unsqueeze(range(columns, b), [0])]
  const k = sub(column, row, b)
  const inside = b.op('And', [b.op('GreaterOrEqual', [k, band.low]), b.op('LessOrEqual', [k, band.high])])
  const at = add(b.op('Min', [row, column]), lead(k, rows, columns, longest, align, b), b)
  const cell = add(b.op('Mul', [sub(band.high, k, b), longest]), at, b)
  const safe = b.op('Where', [inside, cell, b.int(0)])
  const flat = b.reshape(diagonal, b.concat([batchShape(x, 2, b), b.ints([-1])], 0))
  const known = x.shape && !flat.data ? b.as(flat, { shape: [...x.shape.slice(0, -2), b.fresh()] }) : flat
  const out = b.op('Where', [inside, b.gather(known, safe, -1), x])
  return x.shape && !out.data ? b.as(out, { shape: x.shape }) : out
}

/** A matrix around packed diagonals. Sizes that are left out (-1) are the least that fit, square where both are. */
function diagOf(
  diagonal: Value,
  k: Value | undefined,
  sizes: readonly (Value | undefined)[],
  padding: Value,
  align: Align,
  b: Builder,
): Value {
  const band = bandOf(k, b)
  const longest = size(diagonal, -1, b)
  const leastRows = sub(longest, least(band.high, b), b)
  const leastColumns = add(longest, most(band.low, b), b)
  const both = b.op('Max', [leastRows, leastColumns])
  const [rows, columns] = sizes.map((v) => (v ? b.reshape(int64(v, b), []) : b.int(-1))) as [Value, Value]
  const open = (v: Value) => b.op('Less', [v, b.int(0)])
  const chosen = (own: Value, other: Value, fit: Value) =>
    b.op('Where', [open(own), b.op('Where', [open(other), both, fit]), own])
  const { several } = band
  const batch =
    typeof several === 'boolean'
      ? batchShape(diagonal, several ? 2 : 1, b)
      : b.op('Slice', [b.shapeOf(diagonal), b.ints([0]), b.op('Sub', [b.ints([-1]), b.cast(several, 'int64')])])
  const shape = b.concat(
    [batch, one(chosen(rows, columns, leastRows), b), one(chosen(columns, rows, leastColumns), b)],
    0,
  )
  const base = b.op('Expand', [padding, shape])
  const rank = typeof several === 'boolean' && diagonal.shape ? diagonal.shape.length + (several ? 0 : 1) : undefined
  const known = base.shape || base.data || rank === undefined ? base : b.as(base, { shape: b.freshShape(rank) })
  return setDiag(known, diagonal, band, align, b)
}

const zero = (v: Value, b: Builder): Value => b.scalar(v.dtype as DType, 0)

const diag = (align: readonly [Align, ...Align[]]): OpRow =>
  op({
    in: ['diagonal', 'k?', 'num_rows?', 'num_cols?', 'padding_value?'],
    attrs: { align },
    parts: true,
    emit: (n, b) => {
      const { diagonal, k, num_rows, num_cols, padding_value } = n.in
      return diagOf(diagonal, k, [num_rows, num_cols], padding_value ?? zero(diagonal, b), n.attrs.align as Align, b)
    },
  })

const part = (align: readonly [Align, ...Align[]]): OpRow =>
  op({
    in: ['input', 'k?', 'padding_value?'],
    attrs: { align },
    parts: true,
    emit: (n, b) =>
      diagPart(n.in.input, bandOf(n.in.k, b), n.in.padding_value ?? zero(n.in.input, b), n.attrs.align as Align, b),
  })

const set = (align: readonly [Align, ...Align[]]): OpRow =>
  op({
    in: ['input', 'diagonal', 'k?'],
    attrs: { align },
    parts: true,
    emit: (n, b) => setDiag(n.in.input, n.in.diagonal, rangeOf(n.in.k, b), n.attrs.align as Align, b),
  })

/** Where the result has the shape of the input a computed range does no harm. */
function rangeOf(k: Value | undefined, b: Builder): Band {
  const flat = k ? b.reshape(int64(k, b), [-1]) : b.ints([0])
  return { low: b.gather(flat, b.int(0)), high: b.gather(flat, b.int(-1)), several: true }
}

/** Elements of the flattened square matrix of a tensor whose dimensions come twice. */
const product = (shape: Value, b: Builder): Value => b.op('ReduceProd', [shape], { keepdims: 0 })

/** Matrices and their diagonals. The second version aligned to the left, without saying so. */
export const DIAG = {
  MatrixDiag: diag(['LEFT_LEFT']),
  MatrixDiagV2: diag(['LEFT_LEFT']),
  MatrixDiagV3: diag(ALIGN),
  MatrixDiagPart: part(['LEFT_LEFT']),
  MatrixDiagPartV2: part(['LEFT_LEFT']),
  MatrixDiagPartV3: part(ALIGN),
  MatrixSetDiag: set(['LEFT_LEFT']),
  MatrixSetDiagV2: set(['LEFT_LEFT']),
  MatrixSetDiagV3: set(ALIGN),
  /** Negative numbers of diagonals keep all of a side. */
  MatrixBandPart: op({
    in: ['input', 'num_lower', 'num_upper'],
    parts: true,
    emit: (n, b) => {
      const x = n.in.input
      const k = sub(b.unsqueeze(range(size(x, -1, b), b), [0]), b.unsqueeze(range(size(x, -2, b), b), [1]), b)
      const [low, high] = [n.in.num_lower, n.in.num_upper].map((v) => b.reshape(int64(v, b), [])) as [Value, Value]
      const within = (limit: Value, distance: Value) =>
        b.op('Or', [b.op('Less', [limit, b.int(0)]), b.op('LessOrEqual', [distance, limit])])
      const kept = b.op('And', [within(low, b.op('Neg', [k])), within(high, k)])
      const out = b.op('Where', [kept, x, zero(x, b)])
      return x.shape && !out.data ? b.as(out, { shape: x.shape }) : out
    },
  }),
  Diag: op({
    in: ['diagonal'],
    parts: true,
    emit: (n, b) => {
      const shape = b.shapeOf(n.in.diagonal)
      const flat = b.reshape(n.in.diagonal, [-1])
      const places = range(product(shape, b), b)
      const same = b.op('Equal', [b.unsqueeze(places, [0]), b.unsqueeze(places, [1])])
      return b.reshape(b.op('Where', [same, flat, zero(flat, b)]), b.concat([shape, shape], 0))
    },
  }),
  DiagPart: op({
    in: ['input'],
    parts: true,
    emit: (n, b) => {
      const half = b.rank(n.in.input) / 2
      const shape = b.slice(b.shapeOf(n.in.input), [0], [half], [0])
      const count = product(shape, b)
      const places = b.op('Mul', [range(count, b), add(count, b.int(1), b)])
      return b.reshape(b.gather(b.reshape(n.in.input, [-1]), places), shape)
    },
  }),
} satisfies OpTable

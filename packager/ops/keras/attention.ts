import { AppError } from '../../../src/errors.ts'
import type { JsonObject } from '../../formats/jsonvalue.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { softmaxOver } from './activations.ts'
import type { Config } from './config.ts'
import { project } from './core.ts'
import {
  argument,
  axisOf,
  type Call,
  isKTensor,
  type KTensor,
  type LayerRow,
  type LayerTable,
  type MakeChild,
  type Result,
  tensorArg,
  unsupported,
} from './layer.ts'
import { einsum } from './tf.ts'

const and = (x: Value | undefined, y: Value | undefined, b: Builder): Value | undefined =>
  x && y ? b.op('And', [x, y]) : (x ?? y)
const flag = (n: Call, name: string, index: number): boolean => argument(n, name, index) === true

/** Row and column numbers of a [1, queries, values] grid, for masks that depend on position. */
function grid(queries: Value, values: Value, b: Builder): { rows: Value; columns: Value } {
  const count = (length: Value): Value => b.op('Range', [b.int(0), b.reshape(length, []), b.int(1)])
  return { rows: b.unsqueeze(count(queries), [0, 2]), columns: b.unsqueeze(count(values), [0, 1]) }
}

function causal(queries: Value, values: Value, b: Builder): Value {
  const { rows, columns } = grid(queries, values, b)
  return b.op('GreaterOrEqual', [rows, columns])
}

/** Attention and AdditiveAttention: they differ in how a query is scored against a key. */
const attention = (
  vars: (c: Config) => string[],
  score: (n: Call, q: Value, k: Value, b: Builder) => Value,
): LayerRow => ({
  vars,
  emit: (n, b) => {
    const [query, value, key = value] = n.all
    if (!query || !value || !key) throw unsupported(n, 'the inputs [query, value]', `${n.all.length} tensors`)
    const given = argument(n, 'mask', 1)
    const masks = Array.isArray(given)
      ? given.map((m) => (isKTensor(m) ? m.value : undefined))
      : [query.mask, value.mask]
    const scores = score(n, query.value, key.value, b)
    const rank = b.rank(scores)
    let mask = masks[1] && b.unsqueeze(masks[1], [-2])
    if (flag(n, 'use_causal_mask', 4)) mask = and(mask, causal(b.dim(scores, rank - 2), b.dim(scores, rank - 1), b), b)
    const less = mask && b.op('Where', [mask, scores, b.op('Sub', [scores, b.scalar(scores.dtype, 1e9)])])
    const weights = b.op('Softmax', [less ?? scores], { axis: -1 })
    let out = b.op('MatMul', [weights, value.value])
    if (masks[0]) out = b.op('Where', [b.unsqueeze(masks[0], [-1]), out, b.scalar(out.dtype, 0)])
    const result: KTensor = { value: out, mask: masks[0] }
    return flag(n, 'return_attention_scores', 3) ? [result, { value: weights }] : result
  },
})

function swapped(v: Value, b: Builder): Value {
  const rank = b.rank(v)
  return b.transpose(v, [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2])
}

const pairSums = (q: Value, k: Value, b: Builder): Value => b.op('Add', [b.unsqueeze(q, [-2]), b.unsqueeze(k, [-3])])
const sumLast = (v: Value, b: Builder): Value => b.op('ReduceSum', [v, b.ints([-1])], { keepdims: 0 })

const luong = attention(
  (c) => [
    ...(c.bool('use_scale') ? ['scale'] : []),
    ...(c.str('score_mode', 'dot') === 'concat' ? ['concat_score_weight'] : []),
  ],
  (n, q, k, b) => {
    const scale = n.maybe('scale')
    const times = (v: Value): Value => (scale ? b.op('Mul', [v, scale]) : v)
    if (n.config.word('score_mode', ['dot', 'concat'], 'dot') === 'dot')
      return times(b.op('MatMul', [q, swapped(k, b)]))
    const sums = sumLast(b.op('Tanh', [times(pairSums(q, k, b))]), b)
    return b.op('Mul', [n.w('concat_score_weight'), sums])
  },
)

const additive = attention(
  (c) => (c.bool('use_scale', true) ? ['scale'] : []),
  (n, q, k, b) => {
    const wave = b.op('Tanh', [pairSums(q, k, b)])
    const scale = n.maybe('scale')
    return sumLast(scale ? b.op('Mul', [wave, scale]) : wave, b)
  },
)

// ---- many heads ---------------------------------------------------------------------------------------------------------------

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'

/** Data of any rank against a kernel whose first `bound` axes are the data's last ones. */
function projected(x: Value, n: Call, bound: number, b: Builder): Value {
  const kernel = n.w('kernel')
  const rank = b.rank(x)
  const left = LETTERS.slice(0, rank)
  const fresh = LETTERS.slice(rank, rank + b.rank(kernel) - bound)
  const kept = left.slice(0, rank - bound)
  const y = project(n, x, kernel, `${left},${left.slice(rank - bound)}${fresh}->${kept}${fresh}`, b)
  const bias = n.maybe('bias')
  return bias ? b.op('Add', [y, bias]) : y
}

function denses(prefix: string, gated: string | undefined): LayerRow['children'] {
  return (c: Config, make: MakeChild) => {
    const names = ['query', 'key', ...(gated && c.bool('use_gate') ? ['gate'] : []), 'value', 'output']
    for (const name of names) {
      const json: JsonObject = {
        class_name: 'EinsumDense',
        config: { name, equation: '', bias_axes: c.bool('use_bias', true) ? 'x' : null },
      }
      make(name === 'gate' ? '_gate_dense' : `${prefix}${name}_dense`, json)
    }
  }
}

interface Heads {
  readonly n: Call
  readonly prefix: string
  readonly keyDim: number
  /** how often each key and value head serves */
  readonly repeats: number
  readonly axes: readonly number[] | undefined
  /** Keras removes the masks of the tensors it is called with, and whoever reads them later finds none */
  readonly takesMasks: boolean
}

/** All masks that bear on [queries, values], the automatic ones from padding among them. */
function attentionMask(n: Call, q: KTensor, v: KTensor, k: KTensor, b: Builder): Value | undefined {
  const at = (name: string, index: number, own: Value | undefined): Value | undefined =>
    tensorArg(n, name, index)?.value ?? own
  const bool = (m: Value): Value => b.cast(m, 'bool')
  const query = at('query_mask', 3, q.mask)
  const value = at('value_mask', 4, v.mask)
  const key = at('key_mask', 5, k === v ? undefined : k.mask)
  let mask = query && b.unsqueeze(bool(query), [-1])
  if (value) mask = and(mask, b.unsqueeze(bool(value), [-2]), b)
  if (key) mask = and(mask, b.unsqueeze(bool(key), [-2]), b)
  const [queries, values] = [b.dim(q.value, 1), b.dim(v.value, 1)]
  if (flag(n, 'use_causal_mask', 9)) mask = and(mask, causal(queries, values, b), b)
  if (n.config.get('sliding_window') !== undefined) {
    const { rows, columns } = grid(queries, values, b)
    const near = b.op('Less', [b.op('Abs', [b.op('Sub', [rows, columns])]), b.int(n.config.int('sliding_window'))])
    mask = and(mask, near, b)
  }
  const given = tensorArg(n, 'attention_mask', 6)?.value
  return and(given && bool(given), mask, b)
}

function manyHeads(h: Heads, b: Builder): Result {
  const { n } = h
  const [query, value] = [tensorArg(n, 'query', 0), tensorArg(n, 'value', 1)]
  if (!query || !value) throw unsupported(n, 'a query and a value', 'fewer tensors')
  const key = tensorArg(n, 'key', 2) ?? value
  const mask = attentionMask(n, query, value, key, b)
  const own = query.mask
  if (h.takesMasks) for (const t of [query, value, key]) t.mask = undefined
  const side = (name: string, t: KTensor): Value =>
    projected(t.value, n.inside(n.child(`${h.prefix}${name}_dense`)), 1, b)
  const [q, k, v] = [
    side('query', query),
    heads(side('key', key), h.repeats, b),
    heads(side('value', value), h.repeats, b),
  ]
  const gate = n.layer.children.has('_gate_dense')
    ? b.op('Sigmoid', [projected(query.value, n.inside(n.child('_gate_dense')), 1, b)])
    : undefined
  const wantsScores = flag(n, 'return_attention_scores', 7)
  // the two ways differ for queries that may look at nothing: an even mix, or zero
  const fast = n.config.num('dropout', 0) <= 0 && !wantsScores && b.rank(q) === 4
  const { out, weights } = b.rank(q) === 4 ? flatHeads(h, q, k, v, mask, fast, b) : axisHeads(h, q, k, v, mask, b)
  const mixed = projected(gate ? b.op('Mul', [out, gate]) : out, n.inside(n.child(`${h.prefix}output_dense`)), 2, b)
  const result: KTensor = { value: mixed, mask: own }
  return wantsScores ? [result, { value: weights }] : result
}

function heads(v: Value, repeats: number, b: Builder): Value {
  if (repeats === 1) return v
  const wide = b.op('Tile', [b.unsqueeze(v, [3]), b.ints([1, 1, 1, repeats, 1])])
  return b.reshape(wide, [0, 0, (v.shape![2] as number) * repeats, v.shape![3] as number])
}

/** The lowest value that a masked score gets in dot_product_attention. */
const LARGE_NEGATIVE = -0.7 * 3.4028234663852886e38

function maskedSoftmax(
  scores: Value,
  mask: Value | undefined,
  axes: readonly number[],
  fast: boolean,
  b: Builder,
): Value {
  const low = b.scalar(scores.dtype, fast ? LARGE_NEGATIVE : -1e9)
  const weights = softmaxOver(mask ? b.op('Where', [mask, scores, low]) : scores, axes, b)
  return mask && !fast ? b.op('Where', [mask, weights, b.scalar(weights.dtype, 0)]) : weights
}

function flatHeads(h: Heads, q: Value, k: Value, v: Value, mask: Value | undefined, fast: boolean, b: Builder) {
  return attended({ q, k, v, mask, scale: 1 / Math.sqrt(h.keyDim), fast }, b)
}

interface Attended {
  readonly q: Value
  readonly k: Value
  readonly v: Value
  readonly mask: Value | undefined
  readonly scale: number
  readonly fast: boolean
}

/** [batch, time, heads, size] each; the mask gets its axis of heads. */
function attended(a: Attended, b: Builder) {
  const scaled = b.op('Mul', [b.transpose(a.q, [0, 2, 1, 3]), b.scalar(a.q.dtype, a.scale)])
  const scores = b.op('MatMul', [scaled, b.transpose(a.k, [0, 2, 3, 1])])
  let mask = a.mask
  while (mask && b.rank(mask) < 4) mask = b.unsqueeze(mask, [Math.max(0, b.rank(mask) - 2)])
  const weights = maskedSoftmax(scores, mask, [-1], a.fast, b)
  const out = b.transpose(b.op('MatMul', [weights, b.transpose(a.v, [0, 2, 1, 3])]), [0, 2, 1, 3])
  return { out, weights }
}

/** keras.ops.dot_product_attention; fewer heads of keys serve several queries each. */
export function flatAttention(
  a: { query: Value; key: Value; value: Value; mask: Value | undefined; causal: boolean; scale: number },
  b: Builder,
): Value {
  const repeats = Number(a.query.shape![2]) / Number(a.key.shape![2])
  const [k, v] = [a.key, a.value].map((t) => heads(t, Number.isInteger(repeats) ? repeats : 1, b)) as [Value, Value]
  const own = a.causal ? b.squeeze(causal(b.dim(a.query, 1), b.dim(a.key, 1), b), [0]) : undefined
  const mask = and(a.mask && b.cast(a.mask, 'bool'), own, b)
  return attended({ q: a.query, k, v, mask, scale: a.scale, fast: true }, b).out
}

/** Attention over several axes at once, or over one of several. */
function axisHeads(h: Heads, q: Value, k: Value, v: Value, mask: Value | undefined, b: Builder) {
  const rank = b.rank(q)
  const axes = (h.axes ?? Array.from({ length: rank - 3 }, (_, i) => i + 1)).map((a) => axisOf(a, rank - 1))
  const target = LETTERS.slice(0, rank)
  const batch = [...target].filter((_, i) => !axes.includes(i) && i !== rank - 1)
  let next = rank
  const source = [...target].map((c, i) => (axes.includes(i) ? LETTERS[next++]! : c))
  const product = [...batch, ...axes.map((a) => target[a]!), ...axes.map((a) => source[a]!)].join('')
  const scaled = b.op('Mul', [q, b.scalar(q.dtype, 1 / Math.sqrt(h.keyDim))])
  const scores = einsum(h.n, [k, scaled], `${source.join('')},${target}->${product}`, b)
  let fitted = mask
  while (fitted && b.rank(fitted) < product.length) fitted = b.unsqueeze(fitted, [b.rank(fitted) - 2 * axes.length])
  const last = axes.map((_, i) => i - axes.length)
  const weights = maskedSoftmax(scores, fitted, last, false, b)
  return { out: einsum(h.n, [weights, v], `${product},${source.join('')}->${target}`, b), weights }
}

function groupedHeads(c: Config): number {
  const [queries, keys] = [c.int('num_query_heads'), c.int('num_key_value_heads')]
  if (keys > 0 && queries % keys === 0) return queries / keys
  throw new AppError('BAD_MODEL_FILE', {
    where: c.where,
    expected: 'num_query_heads a multiple of num_key_value_heads',
    got: `${queries} and ${keys}`,
  })
}

export const ATTENTION_LAYERS: LayerTable = {
  Attention: luong,
  AdditiveAttention: additive,
  MultiHeadAttention: {
    children: denses('', 'gate'),
    emit: (n, b) => {
      const axes = n.config.get('attention_axes') === undefined ? undefined : n.config.list('attention_axes')
      return manyHeads(
        { n, prefix: '', keyDim: n.config.int('key_dim'), repeats: 1, axes, takesMasks: n.keras >= 3 },
        b,
      )
    },
  },
  GroupedQueryAttention: {
    children: denses('_', 'gate'),
    emit: (n, b) =>
      manyHeads(
        {
          n,
          prefix: '_',
          keyDim: n.config.int('head_dim'),
          repeats: groupedHeads(n.config),
          axes: undefined,
          takesMasks: false,
        },
        b,
      ),
  },
}

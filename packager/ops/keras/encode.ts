import type { DType } from '../../../src/tensor.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { type Call, type LayerRow, type LayerTable, tensorArg, unsupported } from './layer.ts'

export interface Encoding {
  readonly mode: string
  readonly depth: number
  readonly dtype: DType
  readonly weights?: Value | undefined
}

/** Keras' aliases of output modes. */
export function modeOf(n: Call): string {
  const mode = n.config.str('output_mode', 'int')
  return mode === 'binary' ? 'multi_hot' : mode === 'tf-idf' ? 'tf_idf' : mode
}

/** Indices as they are, or as vectors of `depth`; an index outside leaves its vector empty. */
export function encoded(n: Call, indices: Value, e: Encoding, b: Builder): Value {
  if (e.mode === 'int') return b.cast(indices, e.dtype)
  if (n.config.bool('sparse')) throw unsupported(n, 'dense output', 'sparse=True')
  const rank = b.rank(indices)
  const flat = rank === 0 ? b.unsqueeze(indices, [0]) : indices
  const single = e.mode === 'one_hot' && rank > 1 && flat.shape!.at(-1) === 1 ? b.squeeze(flat, [-1]) : flat
  const range = b.ints(Array.from({ length: e.depth }, (_, i) => i))
  const hits = b.op('Equal', [b.unsqueeze(b.cast(single, 'int64'), [-1]), range])
  if (e.mode === 'one_hot') return b.cast(hits, e.dtype)
  const axis = b.ints([Math.min(1, b.rank(flat) - 1)])
  if (e.mode === 'multi_hot') return b.cast(b.op('ReduceMax', [b.cast(hits, 'int32'), axis], { keepdims: 0 }), e.dtype)
  if (e.mode !== 'count' && e.mode !== 'tf_idf')
    throw unsupported(n, 'output_mode int, one_hot, multi_hot, count or tf_idf', `'${e.mode}'`)
  const wide = e.weights ? (e.weights.dtype as DType) : 'int64'
  const counted = e.weights ? b.op('Mul', [b.cast(hits, wide), b.unsqueeze(e.weights, [-1])]) : b.cast(hits, wide)
  return b.cast(b.op('ReduceSum', [counted, axis], { keepdims: 0 }), e.weights ? wide : e.dtype)
}

/** How many boundaries are not above each value; NaN is above all. */
const discretization: LayerRow = {
  emit: (n, b) => {
    const bounds = n.config.array('bin_boundaries')
    if (!bounds)
      throw unsupported(n, 'bin boundaries in the file', 'none', 'Call adapt() before saving, or pass bin_boundaries.')
    const x = b.unsqueeze(b.cast(n.x, 'float32'), [-1])
    const below = b.op('Less', [x, b.filled('float32', [bounds.values.length], bounds.values)])
    const index = b.op('ReduceSum', [b.cast(b.op('Not', [below]), 'int64'), b.ints([-1])], { keepdims: 0 })
    const mode = modeOf(n)
    const dtype = mode === 'int' ? 'int32' : n.layer.dtype
    return encoded(n, index, { mode, depth: bounds.values.length + 1, dtype }, b)
  },
}

const categoryEncoding: LayerRow = {
  autocast: false,
  emit: (n, b) => {
    const weights = tensorArg(n, 'count_weights', 1)?.value
    return encoded(n, n.x, { mode: modeOf(n), depth: n.config.int('num_tokens'), dtype: n.layer.dtype, weights }, b)
  },
}

export const ENCODING_LAYERS: LayerTable = {
  Discretization: discretization,
  CategoryEncoding: categoryEncoding,
}

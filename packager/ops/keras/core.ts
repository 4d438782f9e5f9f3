import { AppError } from '../../../src/errors.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { activate } from './activations.ts'
import { type Call, type LayerRow, type LayerTable, unsupported } from './layer.ts'
import { einsum } from './tf.ts'

export function addBias(x: Value, n: Call, b: Builder, name = 'bias'): Value {
  const bias = n.maybe(name)
  return bias ? b.op('Add', [x, bias]) : x
}

const biased = (c: { bool(name: string, fallback?: boolean): boolean }, ...names: string[]): string[] =>
  c.bool('use_bias', true) ? [...names, 'bias'] : names

/**
 * An einsum of data with a kernel. Where the kernel's leading letters are the data's trailing ones, in order, and the rest follows,
 * it is one MatMul: what every projection of an attention layer is.
 */
export function project(n: Call, x: Value, kernel: Value, equation: string, b: Builder): Value {
  const [terms, out] = equation.replaceAll(' ', '').split('->')
  const [left, right] = (terms ?? '').split(',')
  if (!left || !right || out === undefined)
    throw new AppError('BAD_MODEL_FILE', { where: b.at, expected: 'an equation of two terms', got: `'${equation}'` })
  const shared = [...right].filter((c) => left.includes(c)).join('')
  const kept = left.slice(0, left.length - shared.length)
  const fresh = right.slice(shared.length)
  const sizes = kernel.shape as readonly number[]
  const straight = shared !== '' && right.startsWith(shared) && left.endsWith(shared) && out === kept + fresh
  if (
    !straight ||
    fresh === '' ||
    kept === '' ||
    new Set(left).size !== left.length ||
    (kept.includes('.') && shared.length > 1)
  )
    return einsum(n, [x, kernel], equation, b)
  const inner = sizes.slice(0, shared.length)
  const outer = sizes.slice(shared.length)
  const product = (d: readonly number[]): number => d.reduce((p, q) => p * q, 1)
  const flat = b.reshape(kernel, [product(inner), product(outer)])
  const data = inner.length === 1 ? x : b.reshape(x, [...Array<number>(kept.length).fill(0), product(inner)])
  const y = b.op('MatMul', [data, flat])
  if (outer.length === 1) return y
  return kept.includes('.')
    ? einsum(n, [x, kernel], equation, b)
    : b.reshape(y, [...Array<number>(kept.length).fill(0), ...outer])
}

/** Bias of an EinsumDense: its axes are letters of the output, all others broadcast. */
function einsumBias(n: Call, y: Value, b: Builder): Value {
  const bias = n.maybe('bias')
  if (!bias) return y
  const out = n.config.str('equation').replaceAll(' ', '').split('->')[1] ?? ''
  const axes = n.config.str('bias_axes')
  const letters = out.replace('...', '')
  const last = [...letters].findIndex((c) => axes.includes(c))
  let next = 0
  const shape = [...letters].slice(last).map((c) => (axes.includes(c) ? (bias.shape![next++] as number) : 1))
  return b.op('Add', [y, b.reshape(bias, shape)])
}

const identity: LayerRow = { mask: 'keep', autocast: false, emit: (n) => n.args[0] as never }

/** Kernels that training has quantised need their scales and another arithmetic. */
const dense: LayerRow = {
  mask: 'keep',
  vars: (c) => biased(c, 'kernel'),
  fits: (c) => ({ kernel: [null, c.int('units')], bias: [c.int('units')] }),
  emit: (n, b) => activate(addBias(b.op('MatMul', [n.x, n.w('kernel')]), n, b), n.config.get('activation'), n, b),
}

function ids(x: Value, b: Builder): Value {
  return x.dtype === 'int32' || x.dtype === 'int64' ? x : b.cast(x, 'int32')
}

/** Negative ids count from the end in both; ids past the end are errors in both. */
const embedding: LayerRow = {
  vars: () => ['embeddings'],
  fits: (c) => ({ embeddings: [c.int('input_dim'), c.int('output_dim')] }),
  autocast: false,
  emit: (n, b) => {
    const value = b.gather(n.w('embeddings'), ids(n.x, b))
    if (!n.config.bool('mask_zero')) return value
    return { value, mask: b.op('Not', [b.op('Equal', [n.x, b.scalar(n.x.dtype, 0)])]) }
  },
}

const reversibleEmbedding: LayerRow = {
  vars: (c) => (c.bool('tie_weights', true) ? ['embeddings'] : ['embeddings', 'reverse_embeddings']),
  autocast: false,
  emit: (n, b) => {
    if (n.kwargs.reverse !== true && n.args[1] !== true) return embedding.emit(n, b)
    const kernel = n.maybe('reverse_embeddings') ?? b.transpose(n.w('embeddings'), [1, 0])
    const logits = b.op('MatMul', [n.x, kernel])
    if (n.config.get('logit_soft_cap') === undefined) return logits
    const cap = b.scalar(logits.dtype, n.config.num('logit_soft_cap'))
    return b.op('Mul', [b.op('Tanh', [b.op('Div', [logits, cap])]), cap])
  },
}

const masking: LayerRow = {
  emit: (n, b) => {
    const differs = b.op('Not', [b.op('Equal', [n.x, b.scalar(n.x.dtype, n.config.num('mask_value', 0))])])
    const kept = b.op('ReduceMax', [b.cast(differs, 'int32'), b.ints([-1])], { keepdims: 1 })
    const keep = b.cast(kept, 'bool')
    return { value: b.op('Where', [keep, n.x, b.scalar(n.x.dtype, 0)]), mask: b.squeeze(keep, [-1]) }
  },
}

const lambda: LayerRow = {
  emit: (n) => {
    throw unsupported(
      n,
      'a layer whose meaning the file tells',
      'Python code',
      'Replace the Lambda by layers of Keras or by keras.ops on the tensors, or export the model with model.export() as a SavedModel.',
    )
  },
}

export const CORE_LAYERS: LayerTable = {
  Dense: dense,
  EinsumDense: {
    vars: (c) => (c.get('bias_axes') === undefined ? ['kernel'] : ['kernel', 'bias']),
    emit: (n, b) =>
      activate(
        einsumBias(n, project(n, n.x, n.w('kernel'), n.config.str('equation'), b), b),
        n.config.get('activation'),
        n,
        b,
      ),
  },
  Embedding: embedding,
  ReversibleEmbedding: reversibleEmbedding,
  Masking: masking,
  Lambda: lambda,
  Identity: identity,
  // what these do happens in training only
  Dropout: identity,
  SpatialDropout1D: identity,
  SpatialDropout2D: identity,
  SpatialDropout3D: identity,
  GaussianDropout: identity,
  GaussianNoise: identity,
  AlphaDropout: identity,
  ActivityRegularization: identity,
  StochasticDepth: identity,
  // of keras.applications
  LayerScale: {
    vars: () => ['gamma'],
    emit: (n, b) => b.op('Mul', [n.x, n.w('gamma')]),
  },
  CustomScaleLayer: {
    emit: (n, b) => {
      const [x, y] = n.all
      if (!x || !y) throw unsupported(n, '2 inputs', `${n.all.length}`)
      return b.op('Add', [x.value, b.op('Mul', [y.value, b.scalar(y.value.dtype, n.config.num('scale'))])])
    },
  },
  SpectralNormalization: {
    vars: () => ['~vector_u'],
    children: (c, make) => make('layer', c.object('layer')),
    emit: (n) => n.run(n.child('layer'), [{ value: n.x }]),
  },
  Wrapper: {
    children: (c, make) => make('layer', c.object('layer')),
    emit: (n) => n.run(n.child('layer'), n.args, n.kwargs),
  },
}

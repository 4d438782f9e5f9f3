import type { Builder } from '../onnx/builder.ts'
import type { OnnxAttr, Value } from '../onnx/value.ts'
import { type OpRow, type OpTable, op } from './op.ts'

export function addBias(value: Value, bias: Value, format: string, b: Builder): Value {
  const rank = value.shape?.length
  if (!format.startsWith('NC') || rank === 2) return b.op('Add', [value, bias])
  return b.op('Add', [value, b.reshape(bias, [1, -1, ...Array<number>(b.rank(value) - 2).fill(1)])])
}

const biasAdd: OpRow = op({
  in: ['value', 'bias'],
  attrs: { data_format: ['NHWC', 'NCHW', 'NDHWC', 'NCDHW'] },
  emit: (n, b) => addBias(n.in.value, n.in.bias, n.attrs.data_format, b),
})

const SELU = { alpha: 1.6732632423543772, gamma: 1.0507009873554805 }

/** onnxruntime has these for float32 only; in float64 they are written out. */
const IN_DOUBLE: Readonly<Record<string, (x: Value, b: Builder, alpha: number) => Value>> = {
  Elu: (x, b) => negativePart(x, b.op('Sub', [b.op('Exp', [x]), b.scalar(x.dtype, 1)]), b),
  Selu: (x, b) => {
    const below = b.op('Sub', [b.op('Exp', [x]), b.scalar(x.dtype, 1)])
    const whole = negativePart(x, b.op('Mul', [below, b.scalar(x.dtype, SELU.alpha)]), b)
    return b.op('Mul', [whole, b.scalar(x.dtype, SELU.gamma)])
  },
  LeakyRelu: (x, b, alpha) => negativePart(x, b.op('Mul', [x, b.scalar(x.dtype, alpha)]), b),
  Softplus: (x, b) => {
    const tail = b.op('Exp', [b.op('Neg', [b.op('Abs', [x])])])
    return b.op('Add', [
      b.op('Max', [x, b.scalar(x.dtype, 0)]),
      b.op('Log', [b.op('Add', [tail, b.scalar(x.dtype, 1)])]),
    ])
  },
  Softsign: (x, b) => b.op('Div', [x, b.op('Add', [b.op('Abs', [x]), b.scalar(x.dtype, 1)])]),
}

const negativePart = (x: Value, below: Value, b: Builder): Value =>
  b.op('Where', [b.op('Greater', [x, b.scalar(x.dtype, 0)]), x, below])

function activation(type: string, x: Value, b: Builder, attrs: Record<string, OnnxAttr> = {}): Value {
  const written = x.dtype === 'float64' ? IN_DOUBLE[type] : undefined
  return written ? written(x, b, Number(attrs.alpha)) : b.op(type, [x], attrs)
}

const RELU_KERNELS: ReadonlySet<string> = new Set(['float32', 'float64', 'float16', 'bfloat16'])

/** Activations by the names that rows and fused operators use. */
export const ACTIVATIONS: Readonly<Record<string, (x: Value, b: Builder, alpha: number) => Value>> = {
  Relu: (x, b) => (RELU_KERNELS.has(x.dtype) ? b.op('Relu', [x]) : b.op('Max', [x, b.scalar(x.dtype, 0)])),
  Relu6: (x, b) => b.op('Clip', [x, b.scalar(x.dtype, 0), b.scalar(x.dtype, 6)]),
  Elu: (x, b) => activation('Elu', x, b, { alpha: 1 }),
  Selu: (x, b) => activation('Selu', x, b, SELU),
  LeakyRelu: (x, b, alpha) => activation('LeakyRelu', x, b, { alpha }),
  Softplus: (x, b) => activation('Softplus', x, b),
  Softsign: (x, b) => activation('Softsign', x, b),
  Sigmoid: (x, b) => b.op('Sigmoid', [x]),
  Tanh: (x, b) => b.op('Tanh', [x]),
  GeluExact: (x, b) => b.op('Gelu', [x], { approximate: 'none' }),
  GeluApproximate: (x, b) => b.op('Gelu', [x], { approximate: 'tanh' }),
}

const plain = (name: string): OpRow => op({ in: ['features'], emit: (n, b) => ACTIVATIONS[name]!(n.in.features, b, 0) })
const overClasses = (type: string): OpRow =>
  op({ in: ['logits'], emit: (n, b) => b.op(type, [n.in.logits], { axis: -1 }) })

/** Cross entropy and its gradient, from classes as probabilities. */
function crossEntropy(logits: Value, labels: Value, b: Builder): Value[] {
  const logs = b.op('LogSoftmax', [logits], { axis: -1 })
  const products = b.op('ReduceSum', [b.op('Mul', [labels, logs]), b.ints([-1])], { keepdims: 0 })
  return [b.op('Neg', [products]), b.op('Sub', [b.op('Softmax', [logits], { axis: -1 }), labels])]
}

/** Activations, biases and losses. */
export const NN = {
  BiasAdd: biasAdd,
  BiasAddV1: op({ in: ['value', 'bias'], emit: (n, b) => addBias(n.in.value, n.in.bias, 'NHWC', b) }),
  Relu: plain('Relu'),
  Relu6: plain('Relu6'),
  Elu: plain('Elu'),
  Selu: plain('Selu'),
  LeakyRelu: op({
    in: ['features'],
    attrs: { alpha: 0.2 },
    emit: (n, b) => ACTIVATIONS.LeakyRelu!(n.in.features, b, n.attrs.alpha),
  }),
  Softplus: plain('Softplus'),
  Softsign: plain('Softsign'),
  Softmax: overClasses('Softmax'),
  LogSoftmax: overClasses('LogSoftmax'),
  SoftmaxCrossEntropyWithLogits: op({
    in: ['features', 'labels'],
    out: ['loss', 'backprop'],
    emit: (n, b) => crossEntropy(n.in.features, n.in.labels, b),
  }),
  SparseSoftmaxCrossEntropyWithLogits: op({
    in: ['features', 'labels'],
    out: ['loss', 'backprop'],
    emit: (n, b) => {
      const { features } = n.in
      const classes = b.dim(features, -1)
      const labels = b.cast(n.in.labels, 'int64')
      const logs = b.op('LogSoftmax', [features], { axis: -1 })
      // TensorFlow refuses a negative label; ONNX would count it from the end
      const at = b.op('Where', [b.op('Less', [labels, b.int(0)]), classes, labels])
      const picked = b.squeeze(b.op('GatherElements', [logs, b.unsqueeze(at, [-1])], { axis: 1 }), [1])
      const hot = b.op('Equal', [b.unsqueeze(labels, [-1]), range(classes, b)])
      const probabilities = b.op('Softmax', [features], { axis: -1 })
      const one = b.scalar(features.dtype, 1)
      const backprop = b.op('Where', [hot, b.op('Sub', [probabilities, one]), probabilities])
      return [b.op('Neg', [picked]), backprop]
    },
  }),
  CTCGreedyDecoder: op({
    in: ['inputs', 'sequence_length'],
    out: ['decoded_indices', 'decoded_values', 'decoded_shape', 'log_probability'],
    attrs: { merge_repeated: false, blank_index: -1 },
    emit: (n, b) => greedyDecode(n.in.inputs, n.in.sequence_length, n.attrs.merge_repeated, n.attrs.blank_index, b),
  }),
} satisfies OpTable

const range = (count: Value, b: Builder): Value => b.op('Range', [b.int(0), b.reshape(count, []), b.int(1)])

/** The likeliest class of each step, without blanks and repetitions, as a sparse [batch, position] tensor. */
function greedyDecode(inputs: Value, lengths: Value, merge: boolean, blankIndex: number, b: Builder): Value[] {
  const classes = b.dim(inputs, 2)
  const best = b.op('ArgMax', [inputs], { axis: 2, keepdims: 0 })
  const inside = b.op('Less', [
    b.unsqueeze(range(b.dim(inputs, 0), b), [1]),
    b.unsqueeze(b.cast(lengths, 'int64'), [0]),
  ])
  const blank = blankIndex < 0 ? b.op('Add', [classes, b.ints([blankIndex])]) : b.ints([blankIndex])
  let kept = b.op('And', [inside, b.op('Not', [b.op('Equal', [best, blank])])])
  if (merge) {
    const before = b.op('Slice', [
      b.op('Pad', [best, b.ints([1, 0, 0, 0]), b.int(-1)]),
      b.ints([0]),
      b.ints([-1]),
      b.ints([0]),
    ])
    kept = b.op('And', [kept, b.op('Not', [b.op('Equal', [best, before])])])
  }
  const rows = b.transpose(kept, [1, 0])
  const places = b.transpose(b.op('NonZero', [rows]), [1, 0])
  const counts = b.op('CumSum', [b.cast(rows, 'int64'), b.int(1)])
  const position = b.op('Sub', [b.op('GatherND', [counts, places]), b.int(1)])
  const indices = b.concat([b.slice(places, [0], [1], [1]), b.unsqueeze(position, [1])], 1)
  const values = b.op('GatherND', [b.transpose(best, [1, 0]), places])
  const total = b.op('ReduceSum', [b.cast(kept, 'int64'), b.ints([0])], { keepdims: 0 })
  const longest = b.op('ReduceMax', [b.concat([total, b.ints([0])], 0)], { keepdims: 1 })
  const scores = b.op('ReduceMax', [inputs, b.ints([2])], { keepdims: 0 })
  const sums = b.op('ReduceSum', [
    b.op('Where', [inside, b.op('Neg', [scores]), b.scalar(inputs.dtype, 0)]),
    b.ints([0]),
  ])
  return [indices, values, b.concat([b.dim(inputs, 1), longest], 0), b.transpose(sums, [1, 0])]
}

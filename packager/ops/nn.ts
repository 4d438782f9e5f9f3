import { AppError } from '../../src/errors.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type OpRow, type OpTable, op } from './op.ts'

/**
 * Layout is local to each op: NHWC data is turned to NCHW before an ONNX op and back after it.
 * One pass over the whole graph later cancels the pairs.
 */
export function channelsFirst(x: Value, format: string, b: Builder): Value {
  if (format.startsWith('NC')) return x
  const rank = b.rank(x)
  return b.transpose(x, [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)])
}

export function channelsBack(x: Value, format: string, b: Builder): Value {
  if (format.startsWith('NC')) return x
  const rank = b.rank(x)
  return b.transpose(x, [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1])
}

/** The spatial entries of a 4- or 5-element attribute in the data format's order. */
export function spatial(values: readonly number[], format: string): number[] {
  return format.startsWith('NC') ? values.slice(2) : values.slice(1, -1)
}

/** TensorFlow's padding as ONNX attributes. SAME_UPPER is exactly TensorFlow's SAME. */
export function padding(kind: string, explicit: readonly number[], format: string): Record<string, string | number[]> {
  if (kind === 'SAME') return { auto_pad: 'SAME_UPPER' }
  if (kind === 'VALID') return { auto_pad: 'VALID' }
  const pairs = Array.from({ length: explicit.length / 2 }, (_, i) => [explicit[2 * i]!, explicit[2 * i + 1]!] as const)
  const inner = format.startsWith('NC') ? pairs.slice(2) : pairs.slice(1, -1)
  return { pads: [...inner.map((p) => p[0]), ...inner.map((p) => p[1])] }
}

const conv = (dims: 2 | 3): OpRow =>
  op({
    in: ['input', 'filter'],
    attrs: {
      strides: 'ints',
      padding: ['VALID', 'SAME', 'EXPLICIT'],
      explicit_paddings: [],
      data_format: dims === 2 ? ['NHWC', 'NCHW'] : ['NDHWC', 'NCDHW'],
      dilations: dims === 2 ? [1, 1, 1, 1] : [1, 1, 1, 1, 1],
    },
    emit: (n, b) => {
      const { data_format: format } = n.attrs
      const x = channelsFirst(n.in.input, format, b)
      // TensorFlow keeps filters as spatial, in, out
      const w = b.transpose(n.in.filter, dims === 2 ? [3, 2, 0, 1] : [4, 3, 0, 1, 2])
      const [channels, own] = [x.shape?.[1], n.in.filter.shape?.[dims]]
      const group = typeof channels === 'number' && typeof own === 'number' ? channels / own : 1
      const y = b.op('Conv', [x, w], {
        strides: spatial(n.attrs.strides, format),
        dilations: spatial(n.attrs.dilations, format),
        group,
        ...padding(n.attrs.padding, n.attrs.explicit_paddings, format),
      })
      return channelsBack(y, format, b)
    },
  })

const pool = (type: 'MaxPool' | 'AveragePool', dims: 2 | 3): OpRow =>
  op({
    in: ['input'],
    attrs: {
      ksize: 'ints',
      strides: 'ints',
      padding: ['VALID', 'SAME', 'EXPLICIT'],
      explicit_paddings: [],
      data_format: dims === 2 ? ['NHWC', 'NCHW'] : ['NDHWC', 'NCDHW'],
    },
    emit: (n, b) => {
      const { data_format: format } = n.attrs
      const y = b.op(type, [channelsFirst(n.in.input, format, b)], {
        kernel_shape: spatial(n.attrs.ksize, format),
        strides: spatial(n.attrs.strides, format),
        ...padding(n.attrs.padding, n.attrs.explicit_paddings, format),
      })
      return channelsBack(y, format, b)
    },
  })

const biasAdd: OpRow = op({
  in: ['value', 'bias'],
  attrs: { data_format: ['NHWC', 'NCHW'] },
  emit: (n, b) => {
    const rank = n.in.value.shape?.length
    if (n.attrs.data_format === 'NHWC' || (rank ?? 2) <= 2) return b.op('Add', [n.in.value, n.in.bias])
    return b.op('Add', [n.in.value, b.reshape(n.in.bias, [1, -1, ...Array<number>(rank! - 2).fill(1)])])
  },
})

export const NN = {
  Conv2D: conv(2),
  Conv3D: conv(3),
  MaxPool: pool('MaxPool', 2),
  MaxPool3D: pool('MaxPool', 3),
  AvgPool: pool('AveragePool', 2),
  AvgPool3D: pool('AveragePool', 3),
  BiasAdd: biasAdd,
  BiasAddV1: biasAdd,
  Relu: op({ in: ['features'], emit: (n, b) => b.op('Relu', [n.in.features]) }),
  Softmax: op({ in: ['logits'], emit: (n, b) => b.op('Softmax', [n.in.logits], { axis: -1 }) }),
  LogSoftmax: op({ in: ['logits'], emit: (n, b) => b.op('LogSoftmax', [n.in.logits], { axis: -1 }) }),
  TopKV2: op({
    in: ['input', 'k'],
    out: ['values', 'indices'],
    attrs: { sorted: true, index_type: null },
    emit: (n, b) => {
      const k = b.reshape(b.cast(n.in.k, 'int64'), [1])
      const [values, indices] = b.ops('TopK', [n.in.input, k], { axis: -1, sorted: n.attrs.sorted ? 1 : 0 }, 2)
      if (!values || !indices) throw new AppError('INTERNAL', { where: n.name })
      return [values, n.attrs.index_type === 'int64' ? indices : b.cast(indices, 'int32')]
    },
  }),
} satisfies OpTable

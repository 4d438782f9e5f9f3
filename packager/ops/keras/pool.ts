import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { channelsBack, channelsFirst, padded } from '../layout.ts'
import { type Call, formatOf, type LayerRow, type LayerTable, unsupported } from './layer.ts'

const pool = (type: 'MaxPool' | 'AveragePool', rank: number): LayerRow => ({
  emit: (n, b) => {
    const format = formatOf(n.config)
    const kernel = n.config.ints('pool_size', rank, 2)
    const strides = n.config.get('strides') === undefined ? kernel : n.config.ints('strides', rank)
    const padding = n.config.word('padding', ['valid', 'same'], 'valid').toUpperCase()
    const dilations = kernel.map(() => 1)
    const at = padded(
      channelsFirst(n.x, format, b),
      { padding, explicit: [], format: 'NCHW', kernel, strides, dilations },
      b,
    )
    return channelsBack(b.op(type, [at.x], { kernel_shape: kernel, strides, ...at.attrs }), format, b)
  },
})

/** Spatial axes in the layer's own format. */
function spatialAxes(n: Call, rank: number): number[] {
  const first = formatOf(n.config) === 'NHWC' ? 1 : 2
  return Array.from({ length: rank }, (_, i) => i + first)
}

const global = (type: 'ReduceMax' | 'ReduceMean', rank: number): LayerRow => ({
  emit: (n, b) => {
    const keepdims = n.config.bool('keepdims') ? 1 : 0
    return b.op(type, [n.x, b.ints(spatialAxes(n, rank))], { keepdims })
  },
})

/** The mean over the steps that count. */
const globalAverage1d: LayerRow = {
  emit: (n, b) => {
    const keepdims = n.config.bool('keepdims') ? 1 : 0
    const axes = b.ints(spatialAxes(n, 1))
    if (!n.mask) return b.op('ReduceMean', [n.x, axes], { keepdims })
    const mask = b.unsqueeze(n.mask, [formatOf(n.config) === 'NHWC' ? 2 : 1])
    const kept = b.op('Where', [mask, n.x, b.scalar(n.x.dtype, 0)])
    const count = b.op('ReduceSum', [b.cast(mask, n.x.dtype as 'float32'), axes], { keepdims })
    return b.op('Div', [b.op('ReduceSum', [kept, axes], { keepdims }), count])
  },
}

/** Bin i covers floor(i * size / bins) to ceil((i + 1) * size / bins); bins overlap and differ in length. */
const adaptive = (type: 'ReduceMax' | 'ReduceMean', rank: number): LayerRow => ({
  note: 'spatial sizes must be known',
  emit: (n, b) => {
    const bins = n.config.ints('output_size', rank)
    return spatialAxes(n, rank).reduce<Value>((x, axis, i) => {
      const size = x.shape?.[axis]
      if (typeof size !== 'number') throw unsupported(n, 'known spatial sizes', 'a dimension that is not')
      return pooledAxis(type, x, axis, size, bins[i]!, b)
    }, n.x)
  },
})

function pooledAxis(type: string, x: Value, axis: number, size: number, bins: number, b: Builder): Value {
  const parts = Array.from({ length: bins }, (_, i) => {
    const [from, to] = [Math.floor((i * size) / bins), Math.ceil(((i + 1) * size) / bins)]
    return b.op(type, [b.slice(x, [from], [to], [axis]), b.ints([axis])], { keepdims: 1 })
  })
  return b.concat(parts, axis)
}

export const POOL_LAYERS: LayerTable = {
  MaxPooling1D: pool('MaxPool', 1),
  MaxPooling2D: pool('MaxPool', 2),
  MaxPooling3D: pool('MaxPool', 3),
  AveragePooling1D: pool('AveragePool', 1),
  AveragePooling2D: pool('AveragePool', 2),
  AveragePooling3D: pool('AveragePool', 3),
  GlobalMaxPooling1D: global('ReduceMax', 1),
  GlobalMaxPooling2D: global('ReduceMax', 2),
  GlobalMaxPooling3D: global('ReduceMax', 3),
  GlobalAveragePooling1D: globalAverage1d,
  GlobalAveragePooling2D: global('ReduceMean', 2),
  GlobalAveragePooling3D: global('ReduceMean', 3),
  AdaptiveMaxPooling1D: adaptive('ReduceMax', 1),
  AdaptiveMaxPooling2D: adaptive('ReduceMax', 2),
  AdaptiveMaxPooling3D: adaptive('ReduceMax', 3),
  AdaptiveAveragePooling1D: adaptive('ReduceMean', 1),
  AdaptiveAveragePooling2D: adaptive('ReduceMean', 2),
  AdaptiveAveragePooling3D: adaptive('ReduceMean', 3),
}

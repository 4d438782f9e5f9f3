import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { flatAttention } from './attention.ts'
import type { Config } from './config.ts'
import { CONV_LAYERS } from './conv.ts'
import { type Call, type LayerTable, tensorArg, unsupported } from './layer.ts'
import { param, row, value } from './opargs.ts'
import { POOL_LAYERS } from './pool.ts'
import { resized } from './resize.ts'

/** Spatial dimensions of the data that an operation works on. */
const rankOf = (n: Call, b: Builder): number => b.rank(n.x) - 2

function pooling(kind: 'MaxPooling' | 'AveragePooling') {
  return row((n, b) => POOL_LAYERS[`${kind}${rankOf(n, b)}D`]!.emit(n, b))
}

/** keras.ops.nn and keras.ops.image as nodes of a model: the layers' own arithmetic on operands in place of variables. */
export const IMAGE_OPERATIONS: LayerTable = {
  MaxPool: pooling('MaxPooling'),
  AveragePool: pooling('AveragePooling'),
  Conv: row((n, b) => {
    const kernel = value(n, n.kwargs.kernel ?? n.args[1], n.x, b)
    const config: Config = n.config.with({ use_bias: false })
    return CONV_LAYERS[`Conv${rankOf(n, b)}D`]!.emit({ ...n, config, w: () => kernel, maybe: () => undefined }, b)
  }),
  Resize: row((n, b) => {
    const size = param(n, 'size', 1)
    if (!Array.isArray(size) || !size.every((d) => typeof d === 'number'))
      throw unsupported(n, 'a constant size', 'a computed one')
    if (param(n, 'crop_to_aspect_ratio', 4) === true || param(n, 'pad_to_aspect_ratio', 5) === true)
      throw unsupported(n, 'a plain resize', 'one that keeps the aspect ratio')
    const format = param(n, 'data_format', 8) === 'channels_first' ? 'NCHW' : 'NHWC'
    const how = String(param(n, 'interpolation', 2) ?? 'bilinear')
    return resized(n, n.x, b.ints(size as number[]), { how, antialias: param(n, 'antialias', 3) === true, format }, b)
  }),
  DotProductAttention: row((n, b) => {
    const [query, key, values] = ['query', 'key', 'value'].map((name, i) => tensorArg(n, name, i)?.value) as [
      Value,
      Value,
      Value,
    ]
    if (tensorArg(n, 'bias', 3)) throw unsupported(n, 'attention without a bias', 'one with')
    const scale = param(n, 'scale', 5)
    const size = key.shape!.at(-1)
    if (typeof scale !== 'number' && typeof size !== 'number')
      throw unsupported(n, 'a known size of heads', 'an unknown one')
    const factor = typeof scale === 'number' ? scale : 1 / Math.sqrt(size as number)
    const causal = param(n, 'is_causal', 6) === true
    return flatAttention({ query, key, value: values, mask: tensorArg(n, 'mask', 4)?.value, causal, scale: factor }, b)
  }),
}

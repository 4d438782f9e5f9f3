import { toHalf } from '../../src/half.ts'
import type { OnnxTensor } from '../formats/onnxdata.ts'
import { ONNX_DTYPES } from '../formats/proto/onnx.ts'

/** How weights may be kept; the graph computes in float32 all the same. */
export const WEIGHTS_KINDS = ['float16', 'int8'] as const
export type WeightsKind = (typeof WEIGHTS_KINDS)[number]

/** Of the bytes of a float32 weight. */
export const SHARE: Readonly<Record<WeightsKind, number>> = { float16: 1 / 2, int8: 1 / 4 }

export interface NodeProto {
  readonly op_type: string
  readonly name: string
  readonly domain?: string
  readonly input: readonly string[]
  readonly output: readonly string[]
  readonly attribute?: readonly object[]
}

/** What takes the place of a float32 initializer: smaller ones, and the nodes that make it again under its old name. */
export interface Kept {
  readonly tensors: readonly OnnxTensor[]
  readonly nodes: readonly NodeProto[]
}

/** undefined: this weight stays as it is. `channels`: the dimensions that have a scale each. */
type Keep = (
  t: OnnxTensor,
  values: Float32Array,
  dims: readonly number[],
  channels?: readonly number[],
) => Kept | undefined

/**
 * Weights only, made float32 again by operators that onnxruntime folds while it loads the graph: exact in its arithmetic, any
 * operator may use them, and a request costs what it did. Memory stays that of float32; the file is a half or a quarter.
 */
export const KEEP: Readonly<Record<WeightsKind, Keep>> = {
  float16: (t, values) => {
    const half = new Uint16Array(values.length)
    for (let i = 0; i < values.length; i++) half[i] = toHalf(values[i]!)
    // 65,504 is the largest there is: beyond it a weight would become infinite
    if (half.some((h) => (h & 0x7c00) === 0x7c00)) return undefined
    const name = `${t.name}:float16`
    return { tensors: [tensor(t, name, 'float16', half)], nodes: [cast(name, t.name)] }
  },
  int8: (t, values, dims, channels) => {
    if (!channels) return undefined
    const made = quantise(values, dims, channels)
    if (!made) return undefined
    const { bytes, scales } = made
    const [name, floats, scale] = [`${t.name}:int8`, `${t.name}:unscaled`, `${t.name}:scale`]
    const shape = dims.map((d, i) => (channels.includes(i) ? d : 1))
    return {
      tensors: [tensor(t, name, 'int8', bytes), { ...tensor(t, scale, 'float32', scales), dims: shape }],
      nodes: [
        cast(name, floats),
        { op_type: 'Mul', name: `${t.name}:rescale`, input: [floats, scale], output: [t.name] },
      ],
    }
  },
}

/** The largest magnitude of each channel becomes 127. The table below has leading dimensions and the last one for channels. */
function quantise(values: Float32Array, dims: readonly number[], channels: readonly number[]) {
  const count = channels.reduce((n, c) => n * dims[c]!, 1)
  const outer = channels[0] === 0 ? 1 : values.length / count
  const inner = values.length / count / outer
  const scales = new Float32Array(count)
  for (let o = 0, i = 0; o < outer; o++)
    for (let c = 0; c < count; c++)
      for (let j = 0; j < inner; j++, i++) {
        const size = Math.abs(values[i]!)
        if (!Number.isFinite(size)) return undefined
        if (size > scales[c]!) scales[c] = size
      }
  for (let c = 0; c < count; c++) scales[c] = Math.fround(scales[c]! / 127) || 1
  const bytes = new Int8Array(values.length)
  for (let o = 0, i = 0; o < outer; o++)
    for (let c = 0; c < count; c++) for (let j = 0; j < inner; j++, i++) bytes[i] = Math.round(values[i]! / scales[c]!)
  return { bytes, scales }
}

function tensor(t: OnnxTensor, name: string, dtype: keyof typeof ONNX_DTYPES, data: ArrayBufferView): OnnxTensor {
  const raw_data = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return { name, ...(t.dims && { dims: t.dims }), data_type: ONNX_DTYPES[dtype], raw_data }
}

/** AttributeProto.INT */
const INT = 2

const cast = (from: string, to: string): NodeProto => ({
  op_type: 'Cast',
  name: `${to}:float32`,
  input: [from],
  output: [to],
  attribute: [{ name: 'to', type: INT, i: ONNX_DTYPES.float32 }],
})

/** The output channels of a weight, by operator and the input it is; others are not quantised. */
const CHANNELS: Readonly<
  Record<string, (input: number, rank: number, node: NodeProto) => readonly number[] | undefined>
> = {
  MatMul: (input, rank) => (input === 1 && rank >= 2 ? [rank - 1] : undefined),
  FusedMatMul: (input, rank, n) => (input === 1 && rank === 2 ? [flag(n, 'transB') ? 0 : 1] : undefined),
  Gemm: (input, rank, n) => (input === 1 && rank === 2 ? [flag(n, 'transB') ? 0 : 1] : undefined),
  FusedGemm: (input, rank, n) => (input === 1 && rank === 2 ? [flag(n, 'transB') ? 0 : 1] : undefined),
  Conv: (input) => (input === 1 ? [0] : undefined),
  FusedConv: (input) => (input === 1 ? [0] : undefined),
  Gather: (input, rank) => (input === 0 && rank === 2 ? [0] : undefined),
  LSTM: (input) => (input === 1 || input === 2 ? [0, 1] : undefined),
  GRU: (input) => (input === 1 || input === 2 ? [0, 1] : undefined),
  RNN: (input) => (input === 1 || input === 2 ? [0, 1] : undefined),
}

const flag = (n: NodeProto, name: string) =>
  (n.attribute as readonly { name: string; i?: number | { toNumber(): number } }[] | undefined)?.some(
    (a) => a.name === name && Number(a.i) !== 0,
  )

/** undefined where an operator uses it that the table does not know, or two of them want different channels. */
export function channelsOf(
  rank: number,
  uses: readonly { readonly node: NodeProto; readonly input: number }[],
): readonly number[] | undefined {
  const [first, ...rest] = uses.map(({ node, input }) => CHANNELS[node.op_type]?.(input, rank, node))
  return first && rest.every((r) => r?.join() === first.join()) ? first : undefined
}

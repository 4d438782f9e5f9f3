/**
 * `node --import tsx scripts/kernels.ts [OP…]`: asks the installed onnxruntime for which dtypes its CPU provider runs each ONNX operator, by loading
 * a graph of one node, and prints the rows of packager/onnx/kernels.ts.
 */
import { createRequire } from 'node:module'
import type * as Ort from 'onnxruntime-node'
import { Builder } from '../packager/onnx/builder.ts'
import { encodeModel } from '../packager/onnx/write.ts'
import type { Dim, OnnxAttr, Value } from '../packager/onnx/value.ts'
import { DTYPES, type DType } from '../src/tensor.ts'

type Input = 'x' | 'bool' | 'i64' | 'shape' | 'axes' | 'square' | 'nchw' | 'scalar' | 'string'
interface Probe {
  readonly in: readonly Input[]
  readonly attrs?: Record<string, OnnxAttr>
  readonly outputs?: number
}

const one = ['x'] as const
const two = ['x', 'x'] as const
const each = (names: string, probe: Probe): Record<string, Probe> =>
  Object.fromEntries(names.trim().split(/\s+/).map((n) => [n, probe]))

const PROBES: Readonly<Record<string, Probe>> = {
  ...each(
    `Identity Abs Neg Sqrt Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh Erf Ceil Floor Round Sign Reciprocal
     Relu LeakyRelu Elu Selu Celu Gelu Sigmoid HardSigmoid HardSwish Softplus Softsign ThresholdedRelu Softmax LogSoftmax Hardmax
     BitwiseNot Not IsNaN IsInf Mish Shrink Shape Size Transpose NonZero`,
    { in: one },
  ),
  ...each(
    `Add Sub Mul Div Pow Min Max BitwiseAnd BitwiseOr BitwiseXor Equal Less LessOrEqual Greater GreaterOrEqual PRelu`,
    { in: two },
  ),
  ...each('And Or Xor', { in: two }),
  Mod: { in: two, attrs: { fmod: 0 } },
  BitShift: { in: two, attrs: { direction: 'LEFT' } },
  Sum: { in: two },
  Mean: { in: two },
  Clip: { in: ['x', 'scalar', 'scalar'] },
  Where: { in: ['bool', 'x', 'x'] },
  CumSum: { in: ['x', 'axes'] },
  ...each(
    'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare',
    { in: ['x', 'axes'] },
  ),
  ...each('ArgMax ArgMin', { in: one, attrs: { axis: 0 } }),
  MatMul: { in: ['square', 'square'] },
  Gemm: { in: ['square', 'square'] },
  Det: { in: ['square'] },
  Trilu: { in: ['square'] },
  Conv: { in: ['nchw', 'nchw'] },
  ConvTranspose: { in: ['nchw', 'nchw'] },
  MaxPool: { in: ['nchw'], attrs: { kernel_shape: [1, 1] } },
  AveragePool: { in: ['nchw'], attrs: { kernel_shape: [1, 1] } },
  GlobalAveragePool: { in: ['nchw'] },
  GlobalMaxPool: { in: ['nchw'] },
  DepthToSpace: { in: ['nchw'], attrs: { blocksize: 2 } },
  SpaceToDepth: { in: ['nchw'], attrs: { blocksize: 2 } },
  LRN: { in: ['nchw'], attrs: { size: 3 } },
  Gather: { in: ['x', 'i64'] },
  GatherND: { in: ['x', 'i64'] },
  GatherElements: { in: ['x', 'i64'] },
  ScatterND: { in: ['x', 'axes', 'x'] },
  ScatterElements: { in: ['x', 'i64', 'x'] },
  Slice: { in: ['x', 'axes', 'axes'] },
  Concat: { in: two, attrs: { axis: 0 } },
  Split: { in: one, attrs: { num_outputs: 1 } },
  Squeeze: { in: one },
  Unsqueeze: { in: ['x', 'axes'] },
  Reshape: { in: ['x', 'shape'] },
  Expand: { in: ['x', 'shape'] },
  Tile: { in: ['x', 'shape'] },
  Pad: { in: ['x', 'shape', 'scalar'] },
  Range: { in: ['scalar', 'scalar', 'scalar'] },
  TopK: { in: ['x', 'axes'], outputs: 2 },
  OneHot: { in: ['i64', 'axes', 'x'] },
  Compress: { in: ['x', 'bool'] },
  Unique: { in: one, outputs: 4 },
  ReverseSequence: { in: ['square', 'axes'] },
  DFT: { in: ['nchw', 'axes'] },
  Resize: { in: ['nchw'] },
  RandomUniformLike: { in: one },
  EyeLike: { in: ['square'] },
}

const require = createRequire(import.meta.url)
const ort = require('onnxruntime-node') as typeof Ort
ort.env.logLevel = 'fatal'
const SHAPES: Readonly<Record<Input, readonly Dim[]>> = {
  x: ['n', 'm'], bool: ['n', 'm'], string: ['n'], i64: ['n', 'm'], shape: ['r'], axes: [1], square: ['n', 'n'], nchw: ['n', 'c', 'h', 'w'], scalar: [],
}
const INTS = new Set<Input>(['i64', 'shape', 'axes'])

async function runs(type: string, probe: Probe, dtype: DType): Promise<boolean> {
  const b = new Builder()
  const inputs = probe.in.map((kind, i): Value => {
    const d = INTS.has(kind) ? 'int64' : kind === 'bool' ? 'bool' : kind === 'string' ? 'string' : dtype
    return b.input(`${kind}${i}`, d, SHAPES[kind])
  })
  const { attrs = {}, outputs = 1 } = probe
  const types = Array.from({ length: outputs }, () => ({ dtype, shape: undefined }))
  b.nodes.push({ type, domain: '', name: 'n', inputs: inputs.map((v) => v.name), outputs: types.map((_, i) => `y${i}`), attrs })
  const graph = b.finish('g', types.map((t, i) => ({ name: `y${i}`, ...t })))
  for (const out of ['same', 'bool', 'int64'] as const) {
    const shown = { ...graph, outputs: graph.outputs.map((o, i) => ({ ...o, dtype: out === 'same' ? (i > 0 ? 'int64' : dtype) : out }) as typeof o) }
    try {
      const bytes = Buffer.concat(encodeModel(shown, '0'))
      const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 4 })
      await session.release()
      return true
    } catch (e) {
      if (!(e instanceof Error)) throw e
      if (process.env.WHY) console.error(type, dtype, out, e.message.slice(0, 200))
    }
  }
  return false
}

const only = process.argv.slice(2)
for (const [type, probe] of Object.entries(PROBES)) {
  if (only.length > 0 && !only.includes(type)) continue
  const fine: string[] = []
  for (const dtype of Object.keys(DTYPES) as DType[]) if (await runs(type, probe, dtype)) fine.push(dtype)
  console.log(`  ${type}: '${fine.join(' ')}',`)
}

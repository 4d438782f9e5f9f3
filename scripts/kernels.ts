/**
 * `node --import tsx scripts/kernels.ts [OP…]`: asks the installed onnxruntime for which dtypes its CPU provider runs each ONNX operator, by loading
 * a graph of one node, and prints the rows of packager/onnx/kernels.ts.
 */
import { createRequire } from 'node:module'
import type * as Ort from 'onnxruntime-node'
import { ONNX_DTYPES } from '../packager/formats/proto/onnx.ts'
import { Builder } from '../packager/onnx/builder.ts'
import type { Dim, OnnxAttr } from '../packager/onnx/value.ts'
import { encodeModel } from '../packager/onnx/write.ts'
import { silenceTelemetry } from '../src/boot.ts'
import { DTYPES, type DType } from '../src/tensor.ts'

silenceTelemetry()

type Input = 'x' | 'bool' | 'i64' | 'shape' | 'axes' | 'square' | 'nchw' | 'scalar' | 'scalar64' | 'vector' | 'mask'
interface Probe {
  readonly in: readonly Input[]
  readonly attrs?: Record<string, OnnxAttr>
  readonly outputs?: number
}

const one = ['x'] as const
const two = ['x', 'x'] as const
const each = (names: string, probe: Probe): Record<string, Probe> =>
  Object.fromEntries(
    names
      .trim()
      .split(/\s+/)
      .map((n) => [n, probe]),
  )

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
  Einsum: { in: ['square', 'square'], attrs: { equation: 'ij,jk->ik' } },
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
  OneHot: { in: ['i64', 'scalar64', 'vector'] },
  Compress: { in: ['x', 'mask'] },
  Unique: { in: one, outputs: 4 },
  ReverseSequence: { in: ['square', 'axes'] },
  DFT: { in: ['nchw', 'axes'] },
  RandomUniformLike: { in: one },
  EyeLike: { in: ['square'] },
}

const require = createRequire(import.meta.url)
const ort = require('onnxruntime-node') as typeof Ort
ort.env.logLevel = 'fatal'
const SHAPES: Readonly<Record<Input, readonly Dim[]>> = {
  x: ['n', 'm'],
  bool: ['n', 'm'],
  i64: ['n', 'm'],
  shape: ['r'],
  axes: [1],
  square: ['n', 'n'],
  nchw: ['n', 'c', 'h', 'w'],
  scalar: [],
  scalar64: [],
  vector: [2],
  mask: ['m'],
}
const INTS = new Set<Input>(['i64', 'shape', 'axes', 'scalar64'])
const BOOLS = new Set<Input>(['bool', 'mask'])

/** onnxruntime-node exchanges no bfloat16 tensors, so those are made and consumed inside the graph. */
async function runs(type: string, probe: Probe, dtype: DType): Promise<boolean> {
  const b = new Builder()
  const cast = (from: string, to: string, dtype: DType) =>
    b.nodes.push({
      type: 'Cast',
      domain: '',
      name: to,
      inputs: [from],
      outputs: [to],
      attrs: { to: ONNX_DTYPES[dtype] },
    })
  const outer = dtype === 'bfloat16' ? 'float32' : dtype
  const inputs = probe.in.map((kind, i): string => {
    const typed = !INTS.has(kind) && !BOOLS.has(kind)
    const name = `in${i}`
    b.input(name, typed ? outer : BOOLS.has(kind) ? 'bool' : 'int64', SHAPES[kind])
    if (!typed || outer === dtype) return name
    cast(name, `cast${i}`, dtype)
    return `cast${i}`
  })
  const { attrs = {}, outputs = 1 } = probe
  const names = Array.from({ length: outputs }, (_, i) => `y${i}`)
  b.nodes.push({ type, domain: '', name: 'n', inputs, outputs: names, attrs })
  if (outer !== dtype) cast('y0', 'z', outer)
  const first = outer === dtype ? 'y0' : 'z'
  for (const out of [outer, 'bool', 'int64'] as const) {
    const outs = names.map(
      (name, i) => ({ name: i === 0 ? first : name, dtype: i === 0 ? out : 'int64', shape: undefined }) as const,
    )
    try {
      const session = await ort.InferenceSession.create(Buffer.concat(encodeModel(b.finish('g', outs), '0').pieces), {
        logSeverityLevel: 4,
      })
      await session.release()
      return true
    } catch (e) {
      if (!(e instanceof Error)) throw e
      if (process.env.WHY) console.error(type, dtype, e.message.slice(0, 300))
    }
  }
  return false
}

const only = process.argv.slice(2)
const all = Object.keys(DTYPES) as DType[]
for (const [type, probe] of Object.entries(PROBES)) {
  if (only.length > 0 && !only.includes(type)) continue
  const fine: string[] = []
  for (const dtype of all) if (await runs(type, probe, dtype)) fine.push(dtype)
  if (fine.length === 0) throw new Error(`no dtype runs ${type}: its probe is wrong`)
  if (fine.length < all.length) console.log(`  ${type}: '${fine.join(' ')}',`)
}

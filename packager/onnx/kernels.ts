import { AppError } from '../../src/errors.ts'
import type { DType } from '../../src/tensor.ts'
import type { Value, ValueDType } from './value.ts'

/**
 * The dtypes for which onnxruntime's CPU provider has a kernel, for every op that rows emit and that lacks some. Printed by
 * scripts/kernels.ts, which asks onnxruntime itself; float16 is there where onnxruntime inserts the casts on its own.
 */
const KERNELS: Readonly<Record<string, string>> = {
  Abs: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Neg: 'float32 float64 float16 int8 int16 int32 int64',
  Sqrt: 'float32 float64 float16',
  Exp: 'float32 float64 float16',
  Log: 'float32 float64 float16',
  Sin: 'float32 float64 float16',
  Cos: 'float32 float64 float16',
  Tan: 'float32 float16',
  Asin: 'float32 float16',
  Acos: 'float32 float16',
  Atan: 'float32 float16',
  Sinh: 'float32 float16',
  Cosh: 'float32 float16',
  Tanh: 'float32 float64 float16',
  Asinh: 'float32 float16',
  Acosh: 'float32 float16',
  Atanh: 'float32 float16',
  Erf: 'float32 float16',
  Ceil: 'float32 float64 float16',
  Floor: 'float32 float64 float16',
  Round: 'float32 float64 float16',
  Sign: 'float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Reciprocal: 'float32 float64 float16',
  Relu: 'float32 float64 float16 int8 int32',
  LeakyRelu: 'float32 float16',
  Elu: 'float32 float16',
  Selu: 'float32 float16',
  Celu: 'float32',
  Gelu: 'float32 float16',
  Sigmoid: 'float32 float64 float16',
  HardSigmoid: 'float32 float16',
  HardSwish: 'float32 float16',
  Softplus: 'float32 float16',
  Softsign: 'float32 float16',
  ThresholdedRelu: 'float32 float16',
  Softmax: 'float32 float64 float16',
  LogSoftmax: 'float32 float64 float16',
  Hardmax: 'float32 float16',
  BitwiseNot: 'int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Not: 'bool',
  IsNaN: 'float32 float64 float16 bfloat16',
  IsInf: 'float32 float64 float16 bfloat16',
  Mish: 'float32 float16',
  Shrink: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Size: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string',
  NonZero: 'float32 float16 int32 int64 uint8 bool',
  Add: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Sub: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Mul: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Div: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Pow: 'float32 float64 float16 int32 int64',
  Min: 'float32 float64 float16 int8 int32 int64 uint8 uint32 uint64',
  Max: 'float32 float64 float16 int8 int32 int64 uint8 uint32 uint64',
  BitwiseAnd: 'int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  BitwiseOr: 'int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  BitwiseXor: 'int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Equal: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string',
  Less: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  LessOrEqual: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  Greater: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  GreaterOrEqual: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  PRelu: 'float32 float16',
  And: 'bool',
  Or: 'bool',
  Xor: 'bool',
  Mod: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64',
  BitShift: 'uint8 uint32 uint64',
  Sum: 'float32 float64 float16',
  Mean: 'float32 float16',
  Clip: 'float32 float64 float16 int8 int32 int64 uint8 uint32 uint64',
  Where: 'float32 float64 float16 int32 int64 uint8 string',
  CumSum: 'float32 float64 float16 int32 int64',
  ReduceSum: 'float32 float64 float16 int32 int64',
  ReduceMean: 'float32 float64 float16 int32 int64',
  ReduceMax: 'float32 float64 float16 int8 int32 int64 uint8 bool',
  ReduceMin: 'float32 float64 float16 int8 int32 int64 uint8 bool',
  ReduceProd: 'float32 float64 float16 int32 int64',
  ReduceL1: 'float32 float64 float16 int32 int64',
  ReduceL2: 'float32 float64 float16 int32 int64',
  ReduceLogSum: 'float32 float64 float16 int32 int64',
  ReduceLogSumExp: 'float32 float64 float16 int32 int64',
  ReduceSumSquare: 'float32 float64 float16 int32 int64',
  ArgMax: 'float32 float64 float16 int8 int32 int64 uint8',
  ArgMin: 'float32 float64 float16 int8 int32 int64 uint8',
  MatMul: 'float32 float64 float16 int32 int64 uint32 uint64',
  Gemm: 'float32 float64 float16',
  Det: 'float32 float16',
  Einsum: 'float32 float64 float16 int32 int64',
  Trilu: 'float32 float64 float16 int32 int64 bool',
  Conv: 'float32 float16',
  ConvTranspose: 'float32 float16',
  MaxPool: 'float32 float64 float16 int8 uint8',
  AveragePool: 'float32 float16',
  GlobalAveragePool: 'float32 float16',
  GlobalMaxPool: 'float32 float16',
  DepthToSpace: 'float32 float64 float16 int8 uint8',
  SpaceToDepth: 'float32 float64 float16 int8 uint8',
  LRN: 'float32 float16',
  Expand: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string',
  Tile: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string',
  Pad: 'float32 float64 float16 int8 int32 int64 uint8 uint32 uint64 bool',
  Range: 'float32 float64 int16 int32 int64',
  TopK: 'float32 float64 float16 int8 int16 int32 int64 uint8',
  OneHot: 'float32 float16 int64 string',
  Compress: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string',
  Unique: 'float32 float64 float16 int8 int64 string',
  ReverseSequence: 'float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string',
  DFT: 'float32 float64 float16',
  RandomUniformLike: 'float32 float64 float16',
  EyeLike: 'float32 float64 float16 int32 int64 uint64',
}

/** Where an op's dtype is not that of its first input: the first input that has it. */
const TYPED: Readonly<Record<string, number>> = { Where: 1, OneHot: 2 }

/** Dtypes that hold every value of a dtype, so that computing in them and narrowing again is exact and wraps as C does. */
const WIDER: Readonly<Partial<Record<ValueDType, readonly DType[]>>> = {
  bool: ['uint8', 'int32'],
  int8: ['int32', 'int64', 'float32'],
  uint8: ['int32', 'int64', 'float32'],
  int16: ['int32', 'int64', 'float32'],
  uint16: ['int32', 'int64', 'float32'],
  int32: ['int64', 'float64'],
  uint32: ['int64', 'float64'],
  float16: ['float32'],
  bfloat16: ['float32'],
}
/** Moving and modular arithmetic see only bits, so that uint64 may pass as int64 there. */
const BITS: ReadonlySet<string> = new Set([
  'Where',
  'ReduceSum',
  'ReduceProd',
  'CumSum',
  'DepthToSpace',
  'SpaceToDepth',
])

export interface Detour {
  readonly from: ValueDType
  readonly to: DType
  /** inputs before this one keep their dtype */
  readonly first: number
}

/**
 * The dtype to compute an op in, where onnxruntime lacks a kernel for the dtype of its inputs.
 * @throws {AppError} UNSUPPORTED_OPS where no exact detour exists
 */
export function detour(type: string, inputs: readonly (Value | undefined)[], at: string): Detour | undefined {
  const kernels = KERNELS[type]?.split(' ')
  const from = inputs[TYPED[type] ?? 0]?.dtype
  if (!kernels || from === undefined || kernels.includes(from)) return undefined
  const to = [...(WIDER[from] ?? []), ...(from === 'uint64' && BITS.has(type) ? (['int64'] as const) : [])].find((d) =>
    kernels.includes(d),
  )
  if (to) return { from, to, first: TYPED[type] ?? 0 }
  throw new AppError('UNSUPPORTED_OPS', {
    where: `node ${at}`,
    expected: `a dtype that onnxruntime computes ${type} in (${kernels.join(', ')})`,
    got: from,
  })
}

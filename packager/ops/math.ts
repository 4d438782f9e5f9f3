import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type OpRow, type OpTable, op } from './op.ts'

/** Integer dtypes that onnxruntime's CPU kernels lack for an op are computed in a wider one and narrowed again: exact, and wrapping as C does. */
const NARROW: ReadonlySet<string> = new Set(['int8', 'int16', 'uint8', 'uint16'])
export function widened(b: Builder, inputs: readonly Value[], emit: (wide: Value[]) => Value): Value {
  const dtype = inputs[0]!.dtype as DType
  if (!NARROW.has(dtype)) return emit([...inputs])
  return b.cast(emit(inputs.map((v) => b.cast(v, 'int32'))), dtype)
}

const unary = (type: string): OpRow => op({ in: ['x'], emit: (n, b) => b.op(type, [n.in.x]) })
const binary = (type: string): OpRow =>
  op({ in: ['x', 'y'], emit: (n, b) => widened(b, [n.in.x, n.in.y], (v) => b.op(type, v)) })

export const MATH = {
  Abs: unary('Abs'),
  Neg: unary('Neg'),
  Sqrt: unary('Sqrt'),
  Exp: unary('Exp'),
  Log: unary('Log'),
  Sigmoid: unary('Sigmoid'),
  Tanh: unary('Tanh'),
  Erf: unary('Erf'),
  Add: binary('Add'),
  AddV2: binary('Add'),
  Sub: binary('Sub'),
  Mul: binary('Mul'),
  RealDiv: op({ in: ['x', 'y'], emit: (n, b) => b.op('Div', [n.in.x, n.in.y]) }),
  Maximum: binary('Max'),
  Minimum: binary('Min'),
  Square: op({ in: ['x'], emit: (n, b) => widened(b, [n.in.x], ([x]) => b.op('Mul', [x!, x!])) }),
  Rsqrt: op({ in: ['x'], emit: (n, b) => b.op('Reciprocal', [b.op('Sqrt', [n.in.x])]) }),
  Less: binaryTest('Less'),
  LessEqual: binaryTest('LessOrEqual'),
  Greater: binaryTest('Greater'),
  GreaterEqual: binaryTest('GreaterOrEqual'),
  LogicalAnd: binaryTest('And'),
  LogicalOr: binaryTest('Or'),
  LogicalNot: unary('Not'),
  Cast: op({ in: ['x'], attrs: { DstT: 'type' }, emit: (n, b) => b.cast(n.in.x, n.dtype('DstT')) }),
} satisfies OpTable

function binaryTest(type: string): OpRow {
  return op({
    in: ['x', 'y'],
    emit: (n, b) =>
      NARROW.has(n.in.x.dtype)
        ? b.op(type, [b.cast(n.in.x, 'int32'), b.cast(n.in.y, 'int32')])
        : b.op(type, [n.in.x, n.in.y]),
  })
}

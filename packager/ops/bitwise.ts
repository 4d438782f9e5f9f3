import { DTYPES, type DType, tensor } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type OpRow, type OpTable, op } from './op.ts'

const binary = (type: string): OpRow => op({ in: ['x', 'y'], emit: (n, b) => b.op(type, [n.in.x, n.in.y]) })
const bits = (v: Value): number => DTYPES[v.dtype as DType].bytes * 8
const uint64 = (v: bigint, b: Builder): Value => b.const(tensor('uint64', [], BigUint64Array.of(v)))

/** BitShift knows unsigned integers. A negative number is shifted as its complement, which fills with ones as TensorFlow's >> does. */
function shift(x: Value, y: Value, direction: 'LEFT' | 'RIGHT', b: Builder): Value {
  const dtype = x.dtype as DType
  // tensorflow/core/kernels/cwise_ops.h clamps the distance, since C leaves larger ones undefined
  const distance = b.op('Min', [b.op('Max', [b.cast(y, 'int64'), b.int(0)]), b.int(bits(x) - 1)])
  const shifted = (v: Value) => b.op('BitShift', [b.cast(v, 'uint64'), b.cast(distance, 'uint64')], { direction })
  const wide = b.cast(x, dtype === 'uint64' ? 'uint64' : 'int64')
  if (direction === 'LEFT' || wide.dtype === 'uint64') return b.cast(shifted(wide), dtype)
  const mask = b.op('Neg', [b.cast(b.op('Less', [wide, b.int(0)]), 'int64')])
  const flipped = b.op('BitwiseXor', [wide, mask])
  return b.cast(b.op('BitwiseXor', [b.cast(shifted(flipped), 'int64'), mask]), dtype)
}

/** Pairs, nibbles and bytes added side by side (Hacker's Delight, 5-1). */
function ones(x: Value, b: Builder): Value {
  const unsigned = `uint${bits(x)}` as DType
  const wide = b.cast(b.cast(x, unsigned), 'uint64')
  const right = (v: Value, by: number) => b.op('BitShift', [v, uint64(BigInt(by), b)], { direction: 'RIGHT' })
  const and = (v: Value, mask: bigint) => b.op('BitwiseAnd', [v, uint64(mask, b)])
  const pairs = b.op('Sub', [wide, and(right(wide, 1), 0x5555555555555555n)])
  const nibbles = b.op('Add', [and(pairs, 0x3333333333333333n), and(right(pairs, 2), 0x3333333333333333n)])
  const bytes = and(b.op('Add', [nibbles, right(nibbles, 4)]), 0x0f0f0f0f0f0f0f0fn)
  return b.cast(right(b.op('Mul', [bytes, uint64(0x0101010101010101n, b)]), 56), 'uint8')
}

export const BITWISE = {
  BitwiseAnd: binary('BitwiseAnd'),
  BitwiseOr: binary('BitwiseOr'),
  BitwiseXor: binary('BitwiseXor'),
  Invert: op({ in: ['x'], emit: (n, b) => b.op('BitwiseNot', [n.in.x]) }),
  LeftShift: op({ in: ['x', 'y'], emit: (n, b) => shift(n.in.x, n.in.y, 'LEFT', b) }),
  RightShift: op({ in: ['x', 'y'], emit: (n, b) => shift(n.in.x, n.in.y, 'RIGHT', b) }),
  PopulationCount: op({ in: ['x'], emit: (n, b) => ones(n.in.x, b) }),
} satisfies OpTable

import type { DType, TensorData } from '../tensor.ts'
import type { Numbers } from './numbers.ts'

const INT32 = { low: -(2 ** 31), high: 2 ** 31 - 1 }

/** The list as the storage of a dtype, or undefined where an element does not fit: the general way then names it. */
export function fromNumbers(numbers: Numbers, dtype: DType): TensorData | undefined {
  const { values } = numbers
  switch (dtype) {
    case 'float32':
      return values instanceof Float32Array ? values : new Float32Array(values)
    case 'float64':
      return values instanceof Float64Array ? values : undefined
    case 'int8':
      return integers(numbers, INT32) && new Int8Array(values)
    case 'int16':
      return integers(numbers, INT32) && new Int16Array(values)
    case 'int32':
      return integers(numbers, INT32) && new Int32Array(values)
    case 'uint8':
      return integers(numbers, INT32) && new Uint8Array(values)
    case 'uint32':
      return integers(numbers, { low: 0, high: 2 ** 32 - 1 }) && new Uint32Array(values)
    case 'int64':
      return longs(numbers, (x) => BigInt.asIntN(64, x), new BigInt64Array(values.length))
    case 'uint64':
      return longs(numbers, (x) => BigInt.asUintN(64, x), new BigUint64Array(values.length))
    default:
      return undefined
  }
}

function integers({ values, integral }: Numbers, { low, high }: { low: number; high: number }): true | undefined {
  if (!integral || values instanceof Float32Array) return undefined
  for (const x of values) if (x < low || x > high) return undefined
  return true
}

function longs<T extends BigInt64Array | BigUint64Array>(
  { values, integral, long }: Numbers,
  wrap: (x: bigint) => bigint,
  out: T,
): T | undefined {
  if (!integral || values instanceof Float32Array) return undefined
  for (const [i, x] of values.entries()) {
    const exact = BigInt(long?.get(i) ?? x)
    if (wrap(exact) !== exact) return undefined
    out[i] = exact
  }
  return out
}

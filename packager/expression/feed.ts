import { bytesFromString, textOf } from '../../src/bytestring.ts'
import { AppError } from '../../src/errors.ts'
import { fromBfloat, fromHalf, toBfloat, toHalf } from '../../src/half.ts'
import type { TensorSpec } from '../../src/manifest.ts'
import { DTYPES, type DType, type NumericArray, spell, type Tensor } from '../../src/tensor.ts'
import { type Dt, filled, inRange, isBig, isText, type NdArray } from './ndarray.ts'

/**
 * An array as the signature wants it, by what feeding a TensorFlow session does: numbers become the dtype of the input, floats are cut
 * off to integers. What numpy leaves undefined or wraps around silently is refused, and so are strings for numbers.
 * @throws {AppError} WRONG_DTYPE
 */
export function toFeed(a: NdArray, spec: TensorSpec, alias: string): Tensor {
  const wrong = (got: string, fix?: string) =>
    new AppError('WRONG_DTYPE', { where: `input ${alias}`, expected: spell(spec.dtype, spec.shape), got, fix })
  const { shape } = a
  if (spec.dtype === 'string') {
    if (a.data.length > 0 && !isText(a.dtype)) throw wrong(`numbers (${a.dtype})`, "Write strings: ['a', 'b'].")
    return {
      dtype: 'string',
      shape,
      data: Array.from<unknown, string>(a.data, (s) => asString(String(s), a.dtype, spec.bytes === true)),
    }
  }
  if (isText(a.dtype)) throw wrong('strings')
  const data = new (DTYPES[spec.dtype].array as new (n: number) => NumericArray)(a.data.length)
  const put = WRITERS[spec.dtype]
  for (let i = 0; i < data.length; i++) {
    const x = put(a.data[i] as number | bigint)
    if (x === undefined) throw wrong('a number that it cannot hold')
    ;(data as { [i: number]: number | bigint })[i] = x
  }
  return { dtype: spec.dtype, shape, data }
}

function asString(s: string, dtype: Dt, bytes: boolean): string {
  if (dtype === 'bytes') return bytes ? s : textOf(Buffer.from(s, 'latin1'))
  return bytes ? Buffer.from(s, 'utf8').toString('latin1') : s
}

type Write = (x: number | bigint) => number | bigint | undefined

/** How an element is stored, undefined where the dtype cannot hold it. */
const WRITERS: Readonly<Record<Exclude<DType, 'string'>, Write>> = {
  float32: Number,
  float64: Number,
  float16: (x) => toHalf(Number(x)),
  bfloat16: (x) => toBfloat(Number(x)),
  bool: (x) => (x ? 1 : 0),
  int8: integer('int8'),
  int16: integer('int16'),
  int32: integer('int32'),
  int64: integer('int64'),
  uint8: integer('uint8'),
  uint16: integer('uint16'),
  uint32: integer('uint32'),
  uint64: integer('uint64'),
}

function integer(dtype: Dt): Write {
  return (x) => {
    if (typeof x === 'number' && !Number.isFinite(x)) return undefined
    const whole = typeof x === 'bigint' ? x : BigInt(Math.trunc(x))
    if (!inRange(dtype, whole)) return undefined
    return isBig(dtype) ? whole : Number(whole)
  }
}

/** A tensor from a file as an array of expressions. */
export function fromTensor(t: Tensor): NdArray {
  if (t.dtype === 'string')
    return {
      dtype: 'bytes',
      shape: t.shape,
      data: (t.data as string[]).map((s) => bytesFromString(s)).map((b) => Buffer.from(b).toString('latin1')),
    }
  const dtype: Dt = t.dtype === 'bfloat16' ? 'float32' : t.dtype
  const read = t.dtype === 'float16' ? fromHalf : t.dtype === 'bfloat16' ? fromBfloat : undefined
  return filled(dtype, t.shape, (i) => {
    const x = t.data[i] as number | bigint
    return read ? read(Number(x)) : x
  })
}

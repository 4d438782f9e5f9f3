import { AppError } from '../../errors.ts'
import type { Gatherer } from '../../gather.ts'
import type { TensorSpec } from '../../manifest.ts'
import { NPY_START, type NpyHeader, npyHeaderSize, npyTensor, npyWidth, parseNpyHeader } from '../../npy.ts'
import { DTYPES, type DType, type NumericArray, sizeOf, spell, type Tensor } from '../../tensor.ts'
import { broken } from './limits.ts'

/** An array in a .npy file, to be read row by row. */
export interface NpyRows {
  readonly header: NpyHeader
  readonly count: number
  /** bytes a row */
  readonly width: number
  /** where row `n` begins */
  offset(n: number): number
  /** rows as the model wants them; several have a batch dimension, one has none */
  tensor(bytes: Uint8Array, count?: number): Tensor
}

/** Longer than any header that numpy writes for arrays without named columns. */
const MAX_HEADER = 2 ** 16

/** @throws {AppError} BAD_INPUT for what has no rows, or rows that do not fit the input */
export async function openRows(bytes: Gatherer, spec: TensorSpec, where: string, max: number): Promise<NpyRows> {
  return rowsOf(await headerOf(bytes, where), spec, where, max)
}

/** @throws {AppError} BAD_INPUT, as {@link openRows} */
export function rowsOf(header: NpyHeader, spec: TensorSpec, where: string, max: number): NpyRows {
  const [count, ...own] = header.shape
  if (count === undefined) throw broken(where, 'rows', 'a single value')
  if (header.fortran && own.length > 0)
    throw new AppError('BAD_INPUT', {
      where,
      expected: 'rows that lie together',
      got: "Fortran's order",
      fix: 'Save np.ascontiguousarray(array).',
    })
  const width = sizeOf(own) * npyWidth(header, where)
  if (!(width <= max))
    throw new AppError('BODY_TOO_LARGE', { where, expected: `rows of ${max} bytes`, got: `${width}` })
  if (width === 0 && count > 0) throw broken(where, 'rows of at least one element', 'empty ones')
  const shape = shapeFor(own, spec, where)
  return {
    header,
    count,
    width,
    offset: (n) => header.size + n * width,
    tensor: (bytes, n = 1) => cast(npyTensor(header, n > 1 ? [n, ...shape] : shape, bytes), spec.dtype, where),
  }
}

async function headerOf(bytes: Gatherer, where: string): Promise<NpyHeader> {
  const start = await bytes.take(NPY_START)
  const size = npyHeaderSize(start, where)
  if (size > MAX_HEADER) throw broken(where, `a header of at most ${MAX_HEADER} bytes`, `${size}`)
  return parseNpyHeader(Buffer.concat([start, await bytes.take(Math.max(0, size - start.length))]), where)
}

/** Rows may be flat where the model's are not, and the other way round; any other difference is a mistake of somebody. */
function shapeFor(own: readonly number[], { shape, dtype }: TensorSpec, where: string): readonly number[] {
  const wanted = shape?.slice(1)
  if (!wanted || fits(own, wanted)) return own
  const known = wanted.every((d) => d !== null)
  if (known && (own.length === 1 || wanted.length === 1) && sizeOf(own) === sizeOf(wanted)) return wanted
  // a column of one is a list of scalars
  if (wanted.length === 0 && own.length === 1 && own[0] === 1) return []
  throw broken(where, `rows of ${spell(dtype, wanted)}`, spell('rows of', own))
}

function fits(own: readonly number[], wanted: readonly (number | null)[]): boolean {
  return own.length === wanted.length && wanted.every((d, i) => d === null || d === own[i])
}

/** numpy's arrays are of float64 or int64 unless one says otherwise; what loses no more than precision is converted. */
export function cast(t: Tensor, dtype: DType, where: string): Tensor {
  if (t.dtype === dtype) return t
  const lossless = isFloat(dtype) ? !HALVES.has(t.dtype) : isInteger(dtype) && isInteger(t.dtype)
  if (Array.isArray(t.data) || HALVES.has(dtype) || !lossless) throw broken(where, dtype, t.dtype)
  if (isFloat(dtype) && !LONG.has(t.dtype))
    return { dtype, shape: t.shape, data: new DTYPES[dtype].array(t.data as ArrayLike<number>) }
  const data = new DTYPES[dtype].array(t.data.length) as NumericArray
  for (const [i, v] of t.data.entries()) {
    data[i] = data instanceof BigInt64Array || data instanceof BigUint64Array ? BigInt(v) : Number(v)
    if (!isFloat(dtype) && BigInt(data[i]!) !== BigInt(v))
      throw broken(where, dtype, `a number that is none of ${dtype}`)
  }
  return { dtype, shape: t.shape, data }
}

const HALVES: ReadonlySet<DType> = new Set(['float16', 'bfloat16', 'string'])
const LONG: ReadonlySet<DType> = new Set(['int64', 'uint64'])
const isFloat = (dtype: DType) => dtype === 'float32' || dtype === 'float64'
const isInteger = (dtype: DType) => /^u?int|^bool$/.test(dtype)

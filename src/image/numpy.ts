import { AppError } from '../errors.ts'
import { DTYPES, type NumericArray, sizeOf, spell, type Tensor } from '../tensor.ts'
import { Image } from './image.ts'
import { misuse } from './pixels.ts'
import type { TensorOptions } from './totensor.ts'

type Source = Tensor | Image

function flat(
  source: Source,
  where: string,
  shape: readonly number[],
): { t: Tensor; from: NumericArray; to: NumericArray } {
  const t = source instanceof Image ? source.array() : source
  if (!shape.every((d) => Number.isInteger(d) && d >= 0)) throw misuse(where, 'a shape of whole numbers', shape)
  if (Array.isArray(t.data)) throw new AppError('WRONG_DTYPE', { where, expected: 'a numeric dtype', got: t.dtype })
  const make = t.dtype === 'string' ? Uint8Array : DTYPES[t.dtype].array
  return { t, from: t.data, to: new make(sizeOf(shape)) }
}

/**
 * `ndarray.resize(shape)`, in which many ported services hide their preprocessing: NOT an image resize. The flat buffer
 * is cut, or filled up with zeros, so a 56x56 image resized to (1,784) is its first 14 rows.
 */
export function npResize(source: Source, shape: readonly number[]): Tensor {
  const { t, from, to } = flat(source, 'npResize', shape)
  copy(to, from, 0, Math.min(from.length, to.length))
  return { dtype: t.dtype, shape: [...shape], data: to }
}

/** `np.resize(array, shape)`, the function: the flat buffer is cut, or repeated from its start. */
export function npResizeRepeat(source: Source, shape: readonly number[]): Tensor {
  const { t, from, to } = flat(source, 'npResizeRepeat', shape)
  if (from.length > 0)
    for (let at = 0; at < to.length; at += from.length) copy(to, from, at, Math.min(from.length, to.length - at))
  return { dtype: t.dtype, shape: [...shape], data: to }
}

/** `np.stack`: one more leading dimension. Images become tensors by `options` first, their batch dimension being the new one. */
export function stack(items: readonly Tensor[]): Tensor
export function stack(items: readonly Image[], options?: TensorOptions): Tensor
export function stack(items: readonly Source[], options?: TensorOptions): Tensor {
  const tensors = items.map((item) => {
    const t = item instanceof Image ? item.tensor(options) : item
    const batched = item instanceof Image && options?.layout !== 'HWC' && options?.layout !== 'CHW'
    return batched ? t : { ...t, shape: [1, ...t.shape] }
  })
  return concat(tensors)
}

/** `np.concatenate` along the first dimension. */
export function concat(tensors: readonly Tensor[]): Tensor {
  const [head] = tensors
  if (!head) throw misuse('stack', 'at least one image or tensor', 0)
  const inner = head.shape.slice(1)
  let rows = 0
  for (const t of tensors) {
    const fits = t.dtype === head.dtype && t.shape.length === head.shape.length && t.shape.length > 0
    if (!fits || t.shape.slice(1).join() !== inner.join())
      throw new AppError('WRONG_SHAPE', {
        where: 'stack',
        expected: `${spell(head.dtype, [null, ...inner])} like the first`,
        got: spell(t.dtype, t.shape),
        fix: 'Resize and convert all images alike first.',
      })
    rows += t.shape[0]!
  }
  const shape = [rows, ...inner]
  if (head.dtype === 'string') return { dtype: 'string', shape, data: tensors.flatMap((t) => t.data as string[]) }
  const data = new DTYPES[head.dtype].array(sizeOf(shape))
  let at = 0
  for (const t of tensors) {
    copy(data, t.data as NumericArray, at, t.data.length)
    at += t.data.length
  }
  return { dtype: head.dtype, shape, data }
}

/** The arrays have one dtype by construction, which their union type cannot say; `set` checks bigint against number. */
function copy(to: NumericArray, from: NumericArray, at: number, n: number): void {
  const part = n === from.length ? from : from.subarray(0, n)
  if (isBig(to)) {
    if (isBig(part)) to.set(part, at)
  } else if (!isBig(part)) to.set(part, at)
}

const isBig = (a: NumericArray): a is BigInt64Array | BigUint64Array =>
  a instanceof BigInt64Array || a instanceof BigUint64Array

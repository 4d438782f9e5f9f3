import type { Builder } from '../onnx/builder.ts'
import { storageShape } from '../onnx/shapes.ts'
import type { Value } from '../onnx/value.ts'
import { storageDType } from '../onnx/values.ts'
import type { NodeCtx, Out } from './op.ts'

export const isComplex = (v: Value): boolean => v.dtype === 'complex64' || v.dtype === 'complex128'

/** The real tensor that stores a complex one, with its trailing pair. */
export function pairOf(v: Value): Value {
  return { ...v, dtype: storageDType(v.dtype), shape: storageShape(v.dtype, v.shape) }
}

/** The complex value that a tensor with a trailing pair stores. */
export function fromPair(v: Value): Value {
  return { ...v, dtype: v.dtype === 'float64' ? 'complex128' : 'complex64', shape: v.shape?.slice(0, -1) }
}

export const realOf = (v: Value, b: Builder): Value => (isComplex(v) ? b.gather(pairOf(v), b.int(0), -1) : v)

/** A real value has the imaginary part 0. */
export function imagOf(v: Value, b: Builder): Value {
  return isComplex(v) ? b.gather(pairOf(v), b.int(1), -1) : b.op('Expand', [b.scalar(v.dtype, 0), b.shapeOf(v)])
}

export function complexOf(re: Value, im: Value, b: Builder): Value {
  return fromPair(b.concat([b.unsqueeze(re, [-1]), b.unsqueeze(im, [-1])], -1))
}

type Emit = (n: NodeCtx, b: Builder) => Out | readonly Out[]

/**
 * Rows that move or add elements act on complex numbers through their real and imaginary parts, one after the other.
 * Results that are not of the parts' dtype (shapes, indices) are the same for both.
 */
export function byParts(emit: Emit): Emit {
  return (n, b) => {
    const complex = n.inputs.find((i): i is Value => i.kind === 'tensor' && isComplex(i))
    if (!complex) return emit(n, b)
    const real = storageDType(complex.dtype)
    const [re, im] = [realOf, imagOf].map((part): readonly Out[] => {
      const one = <T>(v: T): T => (isValue(v) && isComplex(v) ? ({ ...part(v, b) } as T) : v)
      const named = Object.entries(n.in).map(([k, v]) => [k, Array.isArray(v) ? v.map(one) : one(v)])
      const out = emit({ ...n, inputs: n.inputs.map(one), in: Object.fromEntries(named) }, b)
      return Array.isArray(out) ? (out as readonly Out[]) : [out as Out]
    }) as [readonly Out[], readonly Out[]]
    return re.map((r, i) => {
      const other = im[i]
      return r.kind === 'tensor' && r.dtype === real && other?.kind === 'tensor' ? complexOf(r, other, b) : r
    })
  }
}

function isValue(v: unknown): v is Value {
  return typeof v === 'object' && v !== null && 'kind' in v && v.kind === 'tensor'
}

import type { Dim, OnnxAttr, Shape, Value, ValueDType } from './value.ts'

export interface Inferred {
  readonly dtype: ValueDType
  readonly shape: Shape | undefined
  readonly sequence?: boolean
}

export interface Names {
  fresh(): string
  freshShape(rank: number): string[]
}

export type Attrs = Readonly<Record<string, OnnxAttr>>
export type Rule = (x: readonly Value[], attrs: Attrs, names: Names) => readonly Inferred[]

/** The shape that ONNX stores: complex values have a trailing pair. */
export function storageShape(dtype: ValueDType, shape: Shape | undefined): Shape | undefined {
  return shape && (dtype === 'complex64' || dtype === 'complex128') ? [...shape, 2] : shape
}

/** NumPy broadcasting over known and unknown dimensions. */
export function broadcast(shapes: readonly (Shape | undefined)[], names: Names): Shape | undefined {
  let rank = 0
  for (const s of shapes) {
    if (!s) return undefined
    rank = Math.max(rank, s.length)
  }
  return Array.from({ length: rank }, (_, i): Dim => {
    const dims = new Set<Dim>()
    for (const s of shapes) {
      const d = s![i - rank + s!.length]
      if (d !== undefined && d !== 1) dims.add(d)
    }
    if (dims.size === 0) return 1
    const known = [...dims].find((d) => typeof d === 'number')
    return known ?? (dims.size === 1 ? [...dims][0]! : names.fresh())
  })
}

export const num = (a: OnnxAttr | undefined, fallback: number): number => (typeof a === 'number' ? a : fallback)
export const list = (a: OnnxAttr | undefined): readonly number[] | undefined =>
  Array.isArray(a) ? (a as readonly number[]) : undefined
export const norm = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

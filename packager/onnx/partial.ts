import type { Inferred } from './shapes.ts'
import { constNumber, constNumbers, type Dim, type OnnxAttr, type Value } from './value.ts'

type Attrs = Readonly<Record<string, OnnxAttr>>
type Rule = (x: readonly (Value | undefined)[], attrs: Attrs) => readonly (Dim | undefined)[] | undefined

const known = (v: Value | undefined): readonly Dim[] | undefined => v?.part
const first: Rule = ([x]) => known(x)

/** Reducing one element changes nothing. */
const alone: Rule = ([x]) => (known(x)?.length === 1 ? known(x) : undefined)

/** Arithmetic on dimensions where the answer is known: numbers, and unknowns with neutral elements. */
function arithmetic(f: (a: number, b: number) => number, neutral?: number, rightOnly = false): Rule {
  return ([x, y]) => {
    const [a, b] = [known(x), known(y)]
    if (!a || !b || (a.length !== b.length && a.length !== 1 && b.length !== 1)) return undefined
    return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => {
      const [p, q] = [a[a.length === 1 ? 0 : i]!, b[b.length === 1 ? 0 : i]!]
      if (typeof p === 'number' && typeof q === 'number') return f(p, q)
      if (neutral !== undefined && q === neutral) return p
      if (neutral !== undefined && !rightOnly && p === neutral) return q
      return undefined
    })
  }
}

const RULES: Readonly<Record<string, Rule>> = {
  Shape: ([x], attrs) =>
    x?.shape?.slice(
      typeof attrs.start === 'number' ? attrs.start : 0,
      typeof attrs.end === 'number' ? attrs.end : undefined,
    ),
  Identity: first,
  Squeeze: first,
  Unsqueeze: first,
  Reshape: first,
  Cast: first,
  Concat: (xs) => {
    const lengths = xs.map((v) => v?.part?.length ?? v?.shape?.[0])
    if (!xs.some((v) => v?.part) || lengths.some((n) => typeof n !== 'number' || n > 64)) return undefined
    return xs.flatMap((v, i): readonly (Dim | undefined)[] => v?.part ?? Array(Number(lengths[i])).fill(undefined))
  },
  Gather: ([x, indices]) => {
    const i = constNumbers(indices)
    return known(x) && i ? i.map((k) => x!.part!.at(k)) : undefined
  },
  Slice: ([x, starts, ends, axes, steps]) => {
    const [s, e, step] = [constNumber(starts), constNumber(ends), steps ? constNumber(steps) : 1]
    const axis = axes ? constNumber(axes) : 0
    if (!known(x) || s === undefined || e === undefined || (axis !== 0 && axis !== -1)) return undefined
    if (step === 1) return x!.part!.slice(s, e)
    return step === -1 && s >= x!.part!.length - 1 && e <= -x!.part!.length - 1 ? [...x!.part!].reverse() : undefined
  },
  Add: arithmetic((a, b) => a + b, 0),
  Sub: arithmetic((a, b) => a - b, 0, true),
  Mul: arithmetic((a, b) => a * b, 1),
  Div: arithmetic((a, b) => (b === 0 ? Number.NaN : Math.trunc(a / b)), 1, true),
  Max: arithmetic(Math.max, 0),
  Min: arithmetic(Math.min),
  ReduceMax: alone,
  ReduceMin: alone,
  ReduceSum: alone,
  ReduceProd: alone,
  Expand: ([x, target]) => {
    const n = target?.part
    return known(x)?.length === 1 && n?.length === 1 && typeof n[0] === 'number'
      ? Array<Dim>(n[0]).fill(x!.part![0]!)
      : undefined
  },
}

/**
 * What is known of the elements of an int32 or int64 scalar or vector. An element nothing is known of gets a name of its own:
 * all of these values come from shapes, so the name stands for a size.
 */
export function partOf(
  type: string,
  inputs: readonly (Value | undefined)[],
  attrs: Attrs,
  out: Inferred,
  fresh: () => string,
): readonly Dim[] | undefined {
  if ((out.dtype !== 'int64' && out.dtype !== 'int32') || (out.shape?.length ?? 2) > 1) return undefined
  const part = RULES[type]?.(inputs, attrs)
  if (!part || part.length > 64) return undefined
  return part.map((d) => (d === undefined || Number.isNaN(d) ? fresh() : d))
}

import type { Builder } from '../onnx/builder.ts'
import type { Dim, Value } from '../onnx/value.ts'
import { complexOf, imagOf, isComplex, realOf } from './complex.ts'
import { bilinear } from './matmul.ts'
import { type AnyNode, type OpTable, op, unsupported } from './op.ts'

/** The shape of a result from its labels; broadcasting dimensions of an ellipsis keep no names. */
function shapeOf(terms: readonly string[], out: string, values: readonly Value[], b: Builder): Dim[] | undefined {
  const sizes = new Map<string, Dim>()
  let ellipsis: Dim[] = []
  for (const [i, term] of terms.entries()) {
    const shape = values[i]!.shape
    if (!shape) return undefined
    const [left, right] = term.split('...') as [string, string | undefined]
    const wide = shape.length - left.length - (right?.length ?? 0)
    for (const [k, label] of [...left].entries()) remember(sizes, label, shape[k]!)
    if (right === undefined) continue
    for (const [k, label] of [...right].entries()) remember(sizes, label, shape[left.length + wide + k]!)
    const own = shape.slice(left.length, left.length + wide)
    ellipsis = merged(ellipsis, own, b)
  }
  const labels = (text: string) => [...text].map((l) => sizes.get(l) ?? b.fresh())
  const [left, right] = out.split('...') as [string, string | undefined]
  return right === undefined ? labels(left) : [...labels(left), ...ellipsis, ...labels(right)]
}

function remember(sizes: Map<string, Dim>, label: string, d: Dim): void {
  const known = sizes.get(label)
  if (known === undefined || known === 1 || (typeof known === 'string' && typeof d === 'number' && d !== 1))
    sizes.set(label, d)
}

function merged(x: readonly Dim[], y: readonly Dim[], b: Builder): Dim[] {
  const rank = Math.max(x.length, y.length)
  return Array.from({ length: rank }, (_, i): Dim => {
    const [p, q] = [x[i - rank + x.length], y[i - rank + y.length]]
    if (p === undefined || p === 1) return q ?? 1
    if (q === undefined || q === 1 || p === q) return p
    return typeof p === 'number' ? p : typeof q === 'number' ? q : b.fresh()
  })
}

function einsum(n: AnyNode, equation: string, values: readonly Value[], b: Builder): Value {
  const clean = equation.replace(/\s/g, '')
  const [left, out] = clean.split('->') as [string, string | undefined]
  if (out === undefined) throw unsupported(n, 'an equation with ->', equation)
  const terms = left.split(',')
  const labels = out.replace('...', '')
  if (new Set(labels).size !== labels.length) throw unsupported(n, 'each label once in the result', equation)
  const emit = (xs: readonly Value[]): Value =>
    b.op('Einsum', xs, { equation: clean }, { dtype: xs[0]!.dtype, shape: shapeOf(terms, out, xs, b) })
  if (values.length === 1 && isComplex(values[0]!))
    return complexOf(emit([realOf(values[0]!, b)]), emit([imagOf(values[0]!, b)]), b)
  return values.length === 2 ? bilinear(values[0]!, values[1]!, (x, y) => emit([x, y]), b) : emit(values)
}

export const EINSUM = {
  Einsum: op({
    in: ['inputs*'],
    attrs: { equation: 'string' },
    note: 'each label at most once in the result',
    emit: (n, b) => {
      const { inputs } = n.in
      if (inputs.length > 2 && inputs.some(isComplex))
        throw unsupported(n, 'at most two complex operands', `${inputs.length}`)
      return einsum(n, n.attrs.equation, inputs, b)
    },
  }),
} satisfies OpTable

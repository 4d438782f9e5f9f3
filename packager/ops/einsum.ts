import type { Builder } from '../onnx/builder.ts'
import type { Dim, Value } from '../onnx/value.ts'
import { complexOf, imagOf, isComplex, realOf } from './complex.ts'
import { bilinear } from './matmul.ts'
import { type AnyNode, type OpTable, op, unsupported } from './op.ts'

const LETTERS = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ']

interface Equation {
  /** labels of every operand, and of the result, without dots */
  readonly terms: readonly string[]
  readonly out: string
}

/** Dots become labels of their own, aligned at the right, since onnxruntime knows them for equal ranks alone. */
function spelledOut(n: AnyNode, equation: string, values: readonly Value[], b: Builder): Equation {
  const [left, right] = equation.replace(/\s/g, '').split('->') as [string, string | undefined]
  const terms = left.split(',')
  if (right === undefined || terms.length !== values.length)
    throw unsupported(n, 'an equation with -> and a term for every operand', equation)
  if (!equation.includes('...')) return { terms, out: right }
  const free = LETTERS.filter((l) => !equation.includes(l))
  const width = (term: string, v: Value) => (term.includes('...') ? b.rank(v) - (term.length - 3) : 0)
  const widths = terms.map((t, i) => width(t, values[i]!))
  const most = Math.max(...widths)
  const dots = free.slice(0, most).join('')
  return {
    terms: terms.map((t, i) => t.replace('...', dots.slice(most - widths[i]!))),
    out: right.replace('...', dots),
  }
}

function shapeOf({ terms, out }: Equation, values: readonly Value[], b: Builder): Dim[] {
  const sizes = new Map<string, Dim>()
  for (const [i, term] of terms.entries())
    for (const [k, label] of [...term].entries()) {
      const d = values[i]!.shape?.[k]
      const known = sizes.get(label)
      if (
        d !== undefined &&
        (known === undefined || known === 1 || (typeof known === 'string' && typeof d === 'number' && d > 1))
      )
        sizes.set(label, d)
    }
  return [...out].map((label) => sizes.get(label) ?? b.fresh())
}

function einsum(n: AnyNode, equation: string, values: readonly Value[], b: Builder): Value {
  const spelled = spelledOut(n, equation, values, b)
  if (new Set(spelled.out).size !== spelled.out.length) throw unsupported(n, 'each label once in the result', equation)
  const text = `${spelled.terms.join(',')}->${spelled.out}`
  const emit = (xs: readonly Value[]): Value =>
    b.op('Einsum', xs, { equation: text }, { dtype: xs[0]!.dtype, shape: shapeOf(spelled, xs, b) })
  const [x, y] = values
  if (values.length === 1 && isComplex(x!)) return complexOf(emit([realOf(x!, b)]), emit([imagOf(x!, b)]), b)
  return values.length === 2 ? bilinear(x!, y!, (p, q) => emit([p, q]), b) : emit(values)
}

export const EINSUM = {
  Einsum: op({
    in: ['inputs*'],
    attrs: { equation: 'string' },
    note: 'each label at most once in the result',
    emit: (n, b) => einsum(n, n.attrs.equation, n.in.inputs, b),
  }),
} satisfies OpTable

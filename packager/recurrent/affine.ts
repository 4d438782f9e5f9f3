import type { Tensor } from '../../src/tensor.ts'
import type { OnnxNode, Shape } from '../onnx/value.ts'

/** A loop body as the matcher sees it: what makes a value, and which values are constant. */
export interface Body {
  producer(name: string): OnnxNode | undefined
  constant(name: string): Tensor | undefined
  shape(name: string): Shape | undefined
  /** may a product take this value as its left side: an input of this step, a state, or a gated state? */
  isSource(name: string): boolean
}

export interface Matrix {
  readonly rows: number
  readonly cols: number
  readonly at: (row: number, col: number) => number
}

/** Σ source · weight + bias, over `width` columns. A bias may be one number for all columns. */
export interface Affine {
  readonly width: number
  readonly terms: ReadonlyMap<string, Matrix>
  readonly bias: (col: number) => number
}

const none = () => 0
const last = (axis: unknown) => axis === 1 || axis === -1

function matrix(t: Tensor | undefined, transposed = false): Matrix | undefined {
  if (t?.dtype !== 'float32' || t.shape.length !== 2) return undefined
  const [r, c] = t.shape as [number, number]
  const data = t.data as Float32Array
  return transposed
    ? { rows: c, cols: r, at: (i, j) => data[j * c + i]! }
    : { rows: r, cols: c, at: (i, j) => data[i * c + j]! }
}

/** A value as an affine function of sources, or undefined where it is not one. */
export function affine(name: string, body: Body): Affine | undefined {
  const constant = body.constant(name)
  if (constant) return biasOf(constant)
  const node = body.producer(name)
  switch (node?.type) {
    case 'Identity':
      return affine(node.inputs[0]!, body)
    case 'MatMul':
      return product(node.inputs[0]!, matrix(body.constant(node.inputs[1]!)), body)
    case 'Gemm': {
      const { alpha = 1, beta = 1, transA = 0, transB = 0 } = node.attrs
      if (alpha !== 1 || beta !== 1 || transA !== 0) return undefined
      const p = product(node.inputs[0]!, matrix(body.constant(node.inputs[1]!), transB === 1), body)
      return node.inputs[2] ? sum(p, affine(node.inputs[2], body)) : p
    }
    case 'Add':
      return sum(affine(node.inputs[0]!, body), affine(node.inputs[1]!, body))
    case 'Mul':
      return scaled(node.inputs[0]!, node.inputs[1]!, body) ?? scaled(node.inputs[1]!, node.inputs[0]!, body)
    case 'Split':
      return part(affine(node.inputs[0]!, body), node, name, body)
    case 'Slice':
      return part(affine(node.inputs[0]!, body), node, name, body)
    default:
      return undefined
  }
}

function biasOf(t: Tensor): Affine | undefined {
  const width = t.data.length
  if (t.dtype !== 'float32' || t.shape.slice(0, -1).some((d) => d !== 1)) return undefined
  const data = t.data as Float32Array
  return { width, terms: new Map(), bias: (i) => data[i]! }
}

function sum(a: Affine | undefined, b: Affine | undefined): Affine | undefined {
  if (!a || !b) return undefined
  const width = Math.max(a.width, b.width)
  const spread = (x: Affine) => x.width === 1 && x.terms.size === 0
  if ((a.width !== width && !spread(a)) || (b.width !== width && !spread(b))) return undefined
  const bias = (x: Affine, i: number) => x.bias(x.width === 1 ? 0 : i)
  const terms = new Map(a.terms)
  for (const [source, m] of b.terms) {
    const other = terms.get(source)
    terms.set(source, other ? { ...m, at: (i, j) => m.at(i, j) + other.at(i, j) } : m)
  }
  return { width, terms, bias: (i) => bias(a, i) + bias(b, i) }
}

/** Times a constant number. */
function scaled(name: string, by: string, body: Body): Affine | undefined {
  const t = body.constant(by)
  const a = t?.dtype === 'float32' && t.data.length === 1 ? affine(name, body) : undefined
  if (!a) return undefined
  const k = Number(t!.data[0])
  const terms = [...a.terms].map(([s, m]) => [s, { ...m, at: (i: number, j: number) => m.at(i, j) * k }] as const)
  return { width: a.width, terms: new Map(terms), bias: (i) => a.bias(i) * k }
}

/** A source, or several side by side, times a matrix. */
function product(left: string, m: Matrix | undefined, body: Body): Affine | undefined {
  if (!m) return undefined
  if (body.isSource(left)) return { width: m.cols, terms: new Map([[left, m]]), bias: none }
  const node = body.producer(left)
  if (node?.type !== 'Concat' || !last(node.attrs.axis) || !node.inputs.every((i) => body.isSource(i))) return undefined
  const terms = new Map<string, Matrix>()
  let from = 0
  for (const source of node.inputs) {
    const rows = body.shape(source)?.at(-1)
    if (typeof rows !== 'number' || terms.has(source)) return undefined
    const start = from
    terms.set(source, { rows, cols: m.cols, at: (i, j) => m.at(start + i, j) })
    from += rows
  }
  return from === m.rows ? { width: m.cols, terms, bias: none } : undefined
}

/** The columns that a Slice or one output of a Split takes. */
export function part(a: Affine | undefined, node: OnnxNode, output: string, body: Body): Affine | undefined {
  const range = a && (node.type === 'Split' ? splitRange(a.width, node, output, body) : sliceRange(a.width, node, body))
  if (!range) return undefined
  const [from, width] = range
  const terms = [...a.terms].map(
    ([s, m]) => [s, { rows: m.rows, cols: width, at: (i: number, j: number) => m.at(i, from + j) }] as const,
  )
  return { width, terms: new Map(terms), bias: (i) => a.bias(a.width === 1 ? 0 : from + i) }
}

type Range = readonly [from: number, width: number]

const numbers = (name: string | undefined, body: Body): number[] | undefined => {
  const t = name ? body.constant(name) : undefined
  return t && Array.from(t.data as ArrayLike<number | bigint>, Number)
}

function splitRange(all: number, node: OnnxNode, output: string, body: Body): Range | undefined {
  if (!last(node.attrs.axis)) return undefined
  const index = node.outputs.indexOf(output)
  const each = Math.ceil(all / node.outputs.length)
  const sizes = node.inputs[1] ? numbers(node.inputs[1], body) : node.outputs.map(() => each)
  const from = sizes?.slice(0, index).reduce((s, n) => s + n, 0)
  return from === undefined ? undefined : [from, Math.min(sizes![index]!, all - from)]
}

function sliceRange(all: number, node: OnnxNode, body: Body): Range | undefined {
  const [starts, ends, axes, steps] = node.inputs.slice(1).map((i) => numbers(i, body))
  if (starts?.length !== 1 || ends?.length !== 1 || axes?.length !== 1 || !last(axes[0])) return undefined
  if (node.inputs[4] && steps?.[0] !== 1) return undefined
  const clamp = (v: number) => Math.min(Math.max(v < 0 ? v + all : v, 0), all)
  const [from, to] = [clamp(starts[0]!), clamp(ends[0]!)]
  return to > from ? [from, to - from] : undefined
}

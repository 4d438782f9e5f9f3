import { fromBfloat, fromHalf, toHalf } from '../../src/half.ts'
import { sizeOf, type Tensor } from '../../src/tensor.ts'
import { type Decimal, type FloatFormat, pointOf, rounded, shortest } from '../inspect/decimal.ts'
import { exponent, positional, pyString, scalarFloat } from '../inspect/python.ts'

// numpy's defaults (numpy.set_printoptions)
const PRECISION = 8
const THRESHOLD = 1000
const EDGE = 3
const LINE_WIDTH = 75

/** From where on an array is written with exponents: 10^min(8, finfo.precision) in numpy 2.4; before, 1e8 for all. */
const EXPONENT_FROM = { float16: 1e3, float32: 1e6, float64: 1e8 } as const satisfies Record<FloatFormat, number>

type Element = number | bigint | string

/** What `print(array)` prints: numpy's own layout, which is the answer of `saved_model_cli run`. Strings have one character a byte. */
export function formatArray(t: Tensor): string {
  const read = reader(t)
  if (t.shape.length === 0) return scalar(t, read(0))
  if (t.data.length === 0) return '[]'
  const summarised = sizeOf(t.shape) > THRESHOLD
  const shown = (axis: number) => indices(t.shape[axis]!, summarised)
  const corners: Element[] = []
  const collect = (axis: number, at: number): void => {
    if (axis === t.shape.length) corners.push(read(at))
    else for (const i of shown(axis)) if (i !== undefined) collect(axis + 1, at * t.shape[axis]! + i)
  }
  collect(0, 0)
  return layout(t.shape, shown, formatterOf(t, corners), read)
}

/** The indices of an axis that are printed; undefined stands for the dots. */
function indices(length: number, summarised: boolean): (number | undefined)[] {
  if (!summarised || length <= 2 * EDGE) return Array.from({ length }, (_, i) => i)
  return [0, 1, 2, undefined, length - 3, length - 2, length - 1]
}

/** Rows in brackets, elements wrapped at the line width, blank lines between blocks (numpy's _formatArray). */
function layout(
  shape: readonly number[],
  shown: (axis: number) => (number | undefined)[],
  format: (x: Element) => string,
  read: (i: number) => Element,
): string {
  const level = (axis: number, at: number, indent: string, width: number): string => {
    const left = shape.length - axis
    const items = shown(axis)
    const base = at * shape[axis]!
    if (left === 1) {
      let text = ''
      let line = indent
      for (const [n, i] of items.entries()) {
        const word = i === undefined ? '...' : format(read(base + i))
        if (line.length + word.length > width - 1 && line.length > indent.length) {
          text += `${line.trimEnd()}\n`
          line = indent
        }
        line += word + (n < items.length - 1 ? ' ' : '')
      }
      return `[${(text + line).slice(indent.length)}]`
    }
    const parts = items.map(
      (i) => indent + (i === undefined ? '...' : level(axis + 1, base + i, `${indent} `, width - 1)),
    )
    return `[${parts.join('\n'.repeat(left - 1)).slice(indent.length)}]`
  }
  return level(0, 0, ' ', LINE_WIDTH)
}

function reader(t: Tensor): (i: number) => Element {
  if (t.dtype === 'float16') return (i) => fromHalf(Number(t.data[i]))
  if (t.dtype === 'bfloat16') return (i) => fromBfloat(Number(t.data[i]))
  return (i) => t.data[i]!
}

const bytes = (x: Element) => pyString(String(x), true)

function scalar(t: Tensor, x: Element): string {
  if (t.dtype === 'string') return bytes(x)
  if (t.dtype === 'bool') return x ? 'True' : 'False'
  if (t.dtype === 'bfloat16') return general(x)
  return isFloat(t.dtype) ? scalarFloat(Number(x), t.dtype) : String(x)
}

/** C's %g, which is how bfloat16 spells itself. */
function general(x: Element): string {
  const v = Number(Number(x).toPrecision(6))
  return Math.abs(v) >= 1e6 || (v !== 0 && Math.abs(v) < 1e-4) || !Number.isFinite(v)
    ? scalarFloat(v, 'float64').replace(/\.0$/, '')
    : String(v)
}

const isFloat = (dtype: string): dtype is FloatFormat => dtype in EXPONENT_FROM

/** How every element of an array is written, from all the elements that are shown: they share one width. */
function formatterOf(t: Tensor, shown: readonly Element[]): (x: Element) => string {
  if (t.dtype === 'string') return bytes
  if (t.dtype === 'bool') return (x) => (x ? ' True' : 'False')
  if (t.dtype === 'bfloat16') return general
  if (isFloat(t.dtype)) return floatFormatter(shown.map(Number), t.dtype)
  const width = Math.max(...shown.map((x) => String(x).length))
  return (x) => String(x).padStart(width)
}

const ROUND: Readonly<Record<FloatFormat, (x: number) => number>> = {
  float16: (x) => fromHalf(toHalf(x)),
  float32: Math.fround,
  float64: (x) => x,
}

/** numpy's FloatingFormat: one exponent style and one number of digits for all. */
function floatFormatter(values: readonly number[], dtype: FloatFormat): (x: Element) => string {
  const finite = values.filter(Number.isFinite)
  const sizes = finite.filter((v) => v !== 0).map(Math.abs)
  const [most, least] = [Math.max(...sizes), Math.min(...sizes)]
  // numpy compares and divides in the dtype of the array
  const scientific =
    sizes.length > 0 &&
    (most >= EXPONENT_FROM[dtype] || least < ROUND[dtype](0.0001) || ROUND[dtype](most / least) > 1000)
  const parts = finite.map((v) => (scientific ? mantissa(v, dtype) : point(v, dtype)))
  const longest = (of: (p: Parts) => number) => parts.reduce((n, p) => Math.max(n, of(p)), 0)
  const right = longest((p) => p.part.length)
  const power = scientific
    ? Math.max(
        2,
        longest((p) => String(Math.abs(p.power)).length),
      )
    : 0
  // what follows the dot: in scientific form also e, the sign and the digits of the exponent
  const tail = right + (scientific ? power + 2 : 0)
  let left = longest((p) => p.whole.length)
  for (const v of values) if (!Number.isFinite(v)) left = Math.max(left, (v === -Infinity ? 4 : 3) - tail - 1)
  return (x) => {
    const v = Number(x)
    if (!Number.isFinite(v)) return scalarFloat(v, dtype).padStart(left + tail + 1)
    const { whole, part, power: e } = scientific ? mantissa(v, dtype, right) : point(v, dtype)
    const text = `${whole.padStart(left)}.${part.padEnd(right, scientific ? '0' : ' ')}`
    return scientific ? `${text}e${exponent(e, power)}` : text
  }
}

interface Parts {
  readonly whole: string
  readonly part: string
  readonly power: number
}

function point(v: number, dtype: FloatFormat): Parts {
  const d = shortest(v, dtype)
  const cut = d.digits.length - d.point > PRECISION ? rounded(v, PRECISION) : d
  const [whole = '', part = ''] = positional(cut).split('.')
  return { whole, part, power: 0 }
}

/** @param places digits after the dot, when they are known: Dragon4 then goes on with exact ones where the shortest are fewer */
function mantissa(v: number, dtype: FloatFormat, places?: number): Parts {
  const d = shortest(v, dtype)
  const exact = places === undefined ? d.digits.length > PRECISION + 1 : d.digits.length !== places + 1
  const cut: Decimal = exact ? rounded(v, (places ?? PRECISION) + 1 - pointOf(v)) : d
  const whole = (cut.negative ? '-' : '') + (cut.digits[0] ?? '0')
  return { whole, part: cut.digits.slice(1), power: cut.digits ? cut.point - 1 : 0 }
}

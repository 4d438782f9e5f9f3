import { type Decimal, type FloatFormat, shortest } from './decimal.ts'

/** How Python spells values: str() and repr() of what listings and arrays hold. */

/** `repr(str)` and, given bytes as one character each, `repr(bytes)` with its `b`. */
export function pyString(s: string, bytes = false): string {
  const quote = s.includes("'") && !s.includes('"') ? '"' : "'"
  let out = ''
  for (const ch of s) out += ch === quote ? `\\${ch}` : (ESCAPES[ch] ?? escaped(ch, bytes))
  return `${bytes ? 'b' : ''}${quote}${out}${quote}`
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** What Python calls unprintable: other, separators but the space. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u

function escaped(ch: string, bytes: boolean): string {
  const code = ch.codePointAt(0)!
  if (bytes ? code >= 32 && code < 127 : !UNPRINTABLE.test(ch)) return ch
  if (code < 256) return `\\x${code.toString(16).padStart(2, '0')}`
  return code < 65536 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`
}

/** `repr(float)`: the shortest digits that round-trip, exponents from 1e16 on and below 1e-4. */
export function pyFloat(x: number): string {
  return scalarFloat(x, 'float64')
}

/** From where on a scalar has an exponent (numpy 2.4; before, 1e16 for all). */
const SCALAR_EXPONENT = { float16: 1e3, float32: 1e6, float64: 1e16 } as const satisfies Record<FloatFormat, number>

/** The str() of a numpy float scalar of this dtype, which is also Python's for float64. */
export function scalarFloat(x: number, dtype: FloatFormat): string {
  if (Number.isNaN(x)) return 'nan'
  if (!Number.isFinite(x)) return x < 0 ? '-inf' : 'inf'
  const d = shortest(x, dtype)
  const abs = Math.abs(x)
  if (abs === 0 || (abs >= 1e-4 && abs < SCALAR_EXPONENT[dtype])) {
    const text = positional(d)
    return text.endsWith('.') ? `${text}0` : text
  }
  const [first, rest] = [d.digits[0], d.digits.slice(1)]
  return `${d.negative ? '-' : ''}${first}${rest && `.${rest}`}e${exponent(d.point - 1, 2)}`
}

/** Digits around a decimal point that is always there: `12.`, `0.5`. */
export function positional({ negative, digits, point }: Decimal): string {
  const whole = point > 0 ? digits.slice(0, point).padEnd(point, '0') : '0'
  const part = point > 0 ? digits.slice(point) : digits && '0'.repeat(-point) + digits
  return `${negative ? '-' : ''}${whole}.${part}`
}

export function exponent(e: number, digits: number): string {
  return `${e < 0 ? '-' : '+'}${String(Math.abs(e)).padStart(digits, '0')}`
}

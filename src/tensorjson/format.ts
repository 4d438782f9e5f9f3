import { POWER } from './decimal.ts'

/** Numbers and strings as TensorFlow Serving writes them (absl::StrCat, printf and rapidjson). */

const SHORT = 6

/**
 * Six digits where they are the number again, else as many as its dtype can need. A whole number has a point or an exponent, so that no
 * reader takes it for an integer: `0.1`, `3.0`, `9e+06`, `3e-05`, NaN, Infinity.
 */
export function formatDouble(x: number): string {
  if (!Number.isFinite(x)) return String(x)
  const short = general(x, SHORT)
  return pointed(Number(short) === x ? short : general(x, 17))
}

/** The same of a float32, in whose size doubles can do the sums: the text of an answer is most of the time of a small model. */
export function formatFloat(x: number): string {
  if (!Number.isFinite(x)) return String(x)
  const size = Math.abs(x)
  if (size >= 1e-12 && size < 1e15) {
    const exponent = exponentOf(size)
    const digits = sixDigits(size, exponent) || nineDigits(size, exponent)
    // six nines may have been rounded up to the next power of ten
    if (digits === 1e6) return pointed(layout(x < 0, '1', exponent + 1, SHORT))
    if (digits !== 0) return pointed(layout(x < 0, `${digits}`, exponent, digits < 1e6 ? SHORT : 9))
  }
  const short = general(x, SHORT)
  return pointed(Math.fround(Number(short)) === x ? short : general(x, 9))
}

function pointed(text: string): string {
  return text.includes('.') || text.includes('e') ? text : `${text}.0`
}

/** The power of ten of the first digit. */
function exponentOf(size: number): number {
  const guess = Math.floor(Math.log10(size))
  if (size < scale(1, guess)) return guess - 1
  return size < scale(1, guess + 1) ? guess : guess + 1
}

/** n × 10^power, rounded once. */
function scale(n: number, power: number): number {
  return power < 0 ? n / POWER[-power]! : n * POWER[power]!
}

/** 0: they are another float32. */
function sixDigits(size: number, exponent: number): number {
  const digits = Math.round(scale(size, SHORT - 1 - exponent))
  return Math.fround(scale(digits, exponent + 1 - SHORT)) === size ? digits : 0
}

/** 0: so near the middle of two that doubles cannot tell. */
function nineDigits(size: number, exponent: number): number {
  const scaled = scale(size, 8 - exponent)
  const digits = Math.round(scaled)
  return digits < 1e9 && Math.abs(scaled - Math.floor(scaled) - 0.5) > 1e-5 ? digits : 0
}

/** `%.{limit}g` of C: no trailing zeros, and an exponent, of a sign and two digits at least, where it is small or large. */
function layout(negative: boolean, digits: string, exponent: number, limit: number): string {
  let end = digits.length
  while (end > 1 && digits[end - 1] === '0') end--
  const sign = negative ? '-' : ''
  if (exponent < -4 || exponent >= limit) {
    const power = `${exponent < 0 ? '-' : '+'}${`${Math.abs(exponent)}`.padStart(2, '0')}`
    return `${sign}${digits[0]}${end > 1 ? `.${digits.slice(1, end)}` : ''}e${power}`
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits.slice(0, end)}`
  if (end <= exponent + 1) return sign + digits.slice(0, end).padEnd(exponent + 1, '0')
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1, end)}`
}

function general(x: number, limit: number): string {
  const [mantissa = '', power = ''] = roundEven(Math.abs(x), limit).split('e')
  return layout(x < 0 || Object.is(x, -0), mantissa.replace('.', ''), Number(power), limit)
}

/** JavaScript rounds a tie up, C to the even digit. A tie is one digit more, a five, and then zeros for as long as doubles have digits. */
function roundEven(size: number, digits: number): string {
  const up = size.toExponential(digits - 1)
  if (!size.toExponential(digits).includes('5e')) return up
  const [mantissa = '', power] = size.toExponential(digits + 50).split('e')
  const tie = /^50*$/.test(mantissa.slice(digits + 1))
  return tie && Number(mantissa[digits]) % 2 === 0 ? `${mantissa.slice(0, digits + 1)}e${power}` : up
}

/** As rapidjson escapes: what has to be, control characters in upper case; all else is UTF-8. */
export function formatString(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are the ones to escape
  return `"${text.replace(/["\\\u0000-\u001f]/g, (c) => ESCAPES[c] ?? `\\u${hex(c)}`)}"`
}

const hex = (c: string) => c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

/** A finite number in decimal: 0.DIGITS × 10^point. Zero has no digits; there are no trailing zeros. */
export interface Decimal {
  readonly negative: boolean
  readonly digits: string
  readonly point: number
}

/** Bits of the significand, and what the smallest numbers are multiples of. */
const FORMATS = {
  float16: { bits: 11, least: -24 },
  float32: { bits: 24, least: -149 },
  float64: { bits: 53, least: -1074 },
} as const

export type FloatFormat = keyof typeof FORMATS

/**
 * The shortest decimal that reads back as `x` in its own format, the closest of them, as numpy's Dragon4 in unique mode gives it.
 * @param x finite, and a value of the format
 */
export function shortest(x: number, format: FloatFormat): Decimal {
  if (format === 'float64' || x === 0) return fromText(x, String(Math.abs(x)))
  const { low, high, even } = interval(Math.abs(x), format)
  // at most 17 digits tell any two doubles apart, and the bounds of the interval are doubles
  for (let p = 1; p < 17; p++) {
    const [a = '', b = ''] = neighbours(Math.abs(x), p)
    for (const text of [a, b]) {
      const v = Number(text)
      if (even ? v >= low && v <= high : v > low && v < high) return fromText(x, text)
    }
  }
  return fromText(x, String(Math.abs(x)))
}

/** What rounds to x: from half way to the number below to half way to the one above, both included where x is even. */
function interval(x: number, format: FloatFormat): { low: number; high: number; even: boolean } {
  const { bits, least } = FORMATS[format]
  let e = Math.floor(Math.log2(x))
  if (2 ** e > x) e--
  else if (2 ** (e + 1) <= x) e++
  const unit = 2 ** Math.max(e - bits + 1, least)
  // the numbers below a power of two lie twice as dense
  const below = x === 2 ** e && e - bits + 1 > least ? unit / 2 : unit
  return { low: x - below / 2, high: x + unit / 2, even: (x / unit) % 2 === 0 }
}

/**
 * The nearest decimal of `p` digits, and the next above it: at a power of two the interval is wider on that side, and only that
 * one may lie in it.
 */
function neighbours(x: number, p: number): string[] {
  const { digits, point } = rounded(x, p - pointOf(x))
  const n = BigInt(digits.padEnd(p, '0'))
  const unit = point - Math.max(p, digits.length)
  return [`${n}e${unit}`, `${n + 1n}e${unit}`]
}

/** Where the dot of the exact value is, which its shortest spelling may have rounded up past: 0.09998 is 0.1 in half precision. */
export const pointOf = (x: number) => fromText(x, String(Math.abs(x))).point

/**
 * The exact value of `x` rounded half to even at the digit of 10^-places, as Dragon4 does where the digits are cut off.
 * @param x finite
 */
export function rounded(x: number, places: number): Decimal {
  const { numerator, shift } = exact(Math.abs(x))
  // x = numerator / 2^shift, so the digits are round(numerator × 10^places / 2^shift)
  const scaled = places >= 0 ? numerator * 10n ** BigInt(places) : numerator
  const divisor = (1n << BigInt(shift)) * (places < 0 ? 10n ** BigInt(-places) : 1n)
  let q = scaled / divisor
  const twice = (scaled % divisor) * 2n
  if (twice > divisor || (twice === divisor && q % 2n === 1n)) q++
  return fromText(x, `${q}e${-places}`)
}

function exact(x: number): { numerator: bigint; shift: number } {
  let shift = 0
  let v = x
  while (!Number.isInteger(v)) {
    v *= 2
    shift++
  }
  return { numerator: BigInt(v), shift }
}

/** From `12.5`, `1e-7` and the like, with the sign of `x`. */
function fromText(x: number, text: string): Decimal {
  const [mantissa = '', power = '0'] = text.split('e')
  const [whole = '', part = ''] = mantissa.split('.')
  const all = whole + part
  const first = all.search(/[1-9]/)
  const negative = x < 0 || Object.is(x, -0)
  if (first < 0) return { negative, digits: '', point: 1 }
  return { negative, digits: all.slice(first).replace(/0+$/, ''), point: whole.length + Number(power) - first }
}

/** Numbers as C's printf writes them, for models that turn numbers into strings. */
export interface Format {
  readonly type: 'd' | 'f' | 'e' | 'g'
  /** -1: the default of 6 */
  readonly precision: number
  /** -1: none */
  readonly width: number
  /** a flag of printf: '', '0', '-', ' ' or '+' */
  readonly fill: string
}

export function printf(value: number | bigint, f: Format): string {
  const negative = typeof value === 'bigint' ? value < 0n : value < 0 || Object.is(value, -0)
  const digits = typeof value === 'bigint' ? String(negative ? -value : value) : magnitude(Math.abs(value), f)
  const finite = typeof value === 'bigint' || Number.isFinite(value)
  const sign = negative ? '-' : f.fill === '+' ? '+' : f.fill === ' ' ? ' ' : ''
  const room = f.width - sign.length
  if (f.fill === '-') return (sign + digits).padEnd(f.width)
  return f.fill === '0' && finite ? sign + digits.padStart(room, '0') : (sign + digits).padStart(f.width)
}

function magnitude(x: number, { type, precision }: Format): string {
  if (Number.isNaN(x)) return 'nan'
  if (!Number.isFinite(x)) return 'inf'
  const p = precision < 0 ? 6 : precision
  if (type === 'd') return String(x)
  if (type === 'f') return fixed(x, p)
  if (type === 'e') return exponential(x, p)
  const significant = p === 0 ? 1 : p
  const exponent = Number(x.toExponential(significant - 1).split('e')[1])
  if (exponent >= -4 && exponent < significant) return trimmed(fixed(x, significant - 1 - exponent))
  const [mantissa, power] = exponential(x, significant - 1).split('e') as [string, string]
  return `${trimmed(mantissa)}e${power}`
}

/** toFixed is exact, but it changes to exponents at 1e21, where every double is an integer. */
function fixed(x: number, p: number): string {
  if (x < 1e21) return x.toFixed(p)
  return p === 0 ? String(BigInt(x)) : `${BigInt(x)}.${'0'.repeat(p)}`
}

function exponential(x: number, p: number): string {
  const [mantissa, power] = x.toExponential(p).split('e') as [string, string]
  return `${mantissa}e${power[0]}${power.slice(1).padStart(2, '0')}`
}

const trimmed = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)

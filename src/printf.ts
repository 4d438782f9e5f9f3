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
  if (type === 'f') return fixed(x, p)
  if (type === 'e') return exponential(x, p)
  const significant = p === 0 ? 1 : p
  const exponent = Number(exponential(x, significant - 1).split('e')[1])
  if (exponent >= -4 && exponent < significant) return trimmed(fixed(x, significant - 1 - exponent))
  const [mantissa, power] = exponential(x, significant - 1).split('e') as [string, string]
  return `${trimmed(mantissa)}e${power}`
}

/** x * 10^power as an integer, exactly, ties to even as C has it; toFixed rounds them up. */
function scaled(x: number, power: number): bigint {
  const bits = new DataView(new ArrayBuffer(8))
  bits.setFloat64(0, x)
  const raw = bits.getBigUint64(0)
  const exponent = Number((raw >> 52n) & 0x7ffn)
  const mantissa = (raw & ((1n << 52n) - 1n)) | (exponent === 0 ? 0n : 1n << 52n)
  const two = Math.max(exponent, 1) - 1075
  const over = mantissa * (power > 0 ? 10n ** BigInt(power) : 1n) * (two > 0 ? 1n << BigInt(two) : 1n)
  const under = (power < 0 ? 10n ** BigInt(-power) : 1n) * (two < 0 ? 1n << BigInt(-two) : 1n)
  const [whole, rest] = [over / under, (over % under) * 2n]
  return rest > under || (rest === under && whole % 2n === 1n) ? whole + 1n : whole
}

function pointed(n: bigint, decimals: number): string {
  const digits = String(n).padStart(decimals + 1, '0')
  return decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`
}

const fixed = (x: number, p: number): string => pointed(scaled(x, p), p)

function exponential(x: number, p: number): string {
  let exponent = x === 0 ? 0 : Number(x.toExponential(20).split('e')[1])
  let n = scaled(x, p - exponent)
  if (String(n).length > p + 1) n = scaled(x, p - ++exponent)
  const sign = exponent < 0 ? '-' : '+'
  return `${pointed(n, p)}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`
}

const trimmed = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)

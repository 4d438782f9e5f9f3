/**
 * Decimal to double, exact to the bit, without making a string of each number: twice the speed of JSON.parse on the 16 to 17 digits that
 * Python prints. Up to 15 digits and a power of ten up to 22 one operation on exact doubles is exact (Clinger). Longer ones are computed with
 * 106 bits as a sum of two doubles (Dekker); when the rest cannot decide the rounding, the native parser does.
 */

const SPLITTER = 134217729 // 2^27 + 1
/** 10^k for k ≤ 45 as an exact sum of two doubles: 5^45 has 105 bits. */
export const POWER = new Float64Array(46)
const POWER_LOW = new Float64Array(46)
POWER[0] = 1
for (let k = 1; k < 46; k++) {
  const [high, low] = [POWER[k - 1]!, POWER_LOW[k - 1]!]
  const product = high * 10
  const rest = errorOfProduct(high, 10, product) + low * 10
  POWER[k] = product + rest
  POWER_LOW[k] = rest - (POWER[k]! - product)
}
/** relative error of the two-double arithmetic below, with room to spare */
const EPSILON = 2 ** -98

/**
 * high × 10^digits + low, times 10^exponent; both parts below 10^15, digits ≤ 15.
 * NaN: not decided here, ask the native parser.
 */
export function decimal(high: number, low: number, digits: number, exponent: number): number {
  if (digits === 0 && high < 9007199254740992) {
    if (exponent === 0) return high
    if (exponent < 0 && exponent >= -22) return high / POWER[-exponent]!
    if (exponent > 0 && exponent <= 22) return high * POWER[exponent]!
  }
  if (high === 0 && low === 0) return 0
  if (exponent < -45 || exponent > 45) return Number.NaN
  // m + n = high * 10^digits + low, exactly but for 2^-106
  const power = POWER[digits]!
  const product = high * power
  const sum = product + low
  const back = sum - product
  let m = sum
  let n = errorOfProduct(high, power, product) + (product - (sum - back) + (low - back))
  if (exponent > 0) {
    const [ph, pl] = [POWER[exponent]!, POWER_LOW[exponent]!]
    const p = m * ph
    n = errorOfProduct(m, ph, p) + (m * pl + n * ph)
    m = p
  } else if (exponent < 0) {
    const [ph, pl] = [POWER[-exponent]!, POWER_LOW[-exponent]!]
    const q = m / ph
    const p = q * ph
    // the rest of the division, then its own quotient, which needs no more than a double
    const rest = m - p - errorOfProduct(q, ph, p) + n - q * pl
    m = q
    n = rest / ph
  }
  const result = m + n
  const tail = n - (result - m)
  const doubt = Math.abs(result) * EPSILON
  return result + (tail + doubt) === result + (tail - doubt) ? result : Number.NaN
}

/** a × b - p for p = fl(a × b), exactly (Dekker). */
function errorOfProduct(a: number, b: number, p: number): number {
  const c = SPLITTER * a
  const ah = c - (c - a)
  const al = a - ah
  const d = SPLITTER * b
  const bh = d - (d - b)
  const bl = b - bh
  return al * bl - (p - ah * bh - al * bh - ah * bl)
}

import { decimal, POWER } from './decimal.ts'

/** Digits that a double holds, whichever they are. */
const SURE = 15
const [ZERO, NINE, COMMA, POINT, MINUS, PLUS, UPPER_E, LOWER_E] = [48, 57, 44, 46, 45, 43, 69, 101]

/**
 * Reads JSON numbers out of bytes, exact to the bit; also NaN, Infinity, Inf and their negatives, which TensorFlow Serving takes. No string
 * is made for one, unless it is so long or so near the middle of two doubles that only the native parser can tell.
 */
export class NumberReader {
  readonly text: Uint8Array
  readonly #view: DataView
  /** where four bytes can last be read at once */
  readonly #lastFour: number
  /** first byte behind the number that was read */
  at = 0
  /** the number; a field, because a returned double is an object of its own until it is collected */
  value = Number.NaN
  /** false from the first number that has a point or an exponent, or is NaN or infinite */
  integral = true
  /** true from the first finite number that is infinite as a float32 */
  overflows = false

  constructor(text: Uint8Array) {
    this.text = text
    this.#view = new DataView(text.buffer, text.byteOffset, text.byteLength)
    this.#lastFour = text.byteLength - 4
  }

  /**
   * The number that starts at `start`; with `narrow` any double that becomes the same float32. False where there is none, or one that no
   * double can hold.
   */
  read(start: number, narrow: boolean): boolean {
    const text = this.text
    let at = start
    let c = text[at]!
    const negative = c === MINUS
    if (negative) c = text[++at]!
    if (!(c >= ZERO && c <= NINE)) return this.#word(at, negative)
    let digits = 0
    const first = at
    while (c >= ZERO && c <= NINE) {
      digits = digits * 10 + (c - ZERO)
      c = text[++at]!
    }
    let room = SURE - (at - first)
    // too long for one double, or a zero before other digits
    if (room < 0 || (text[first] === ZERO && at > first + 1)) return this.#token(start)
    if (c !== POINT && c !== LOWER_E && c !== UPPER_E) {
      return this.#found(negative ? -digits : digits, at)
    }
    let low = 0
    let lowDigits = 0
    let exponent = 0
    if (c === POINT) {
      this.integral = false
      const point = ++at
      c = text[at]!
      if (!(c >= ZERO && c <= NINE)) return false
      if (digits === 0) {
        while (c === ZERO) c = text[++at]!
        room = SURE
      }
      const view = this.#view
      while (room >= 4 && at <= this.#lastFour) {
        const group = fourDigits(view.getInt32(at, true))
        if (group < 0) break
        digits = digits * 10_000 + group
        room -= 4
        at += 4
      }
      c = text[at]!
      while (c >= ZERO && c <= NINE && room > 0) {
        digits = digits * 10 + (c - ZERO)
        room--
        c = text[++at]!
      }
      exponent = point - at
      // most numbers of a list end here
      if (c === COMMA && exponent >= -22) {
        const value = digits / POWER[-exponent]!
        return this.#found(negative ? -value : value, at)
      }
      if (c >= ZERO && c <= NINE) {
        const rest = at
        for (; c >= ZERO && c <= NINE; c = text[++at]!) low = low * 10 + (c - ZERO)
        lowDigits = at - rest
      }
    }
    if (c === LOWER_E || c === UPPER_E) {
      this.integral = false
      exponent += this.#exponent(at)
      if (Number.isNaN(exponent)) return this.#token(start)
      at = this.at
    }
    let value = Number.NaN
    if (lowDigits === 0 && exponent <= 0 && exponent >= -22) value = digits / POWER[-exponent]!
    else if (narrow && lowDigits > 0) value = sureFloat(digits, exponent)
    if (Number.isNaN(value) && lowDigits <= SURE) value = decimal(digits, low, lowDigits, exponent - lowDigits)
    if (!(value <= Number.MAX_VALUE)) return this.#token(start)
    return this.#found(negative ? -value : value, at)
  }

  #found(value: number, end: number): true {
    if (value >= OVERFLOW || value <= -OVERFLOW) this.overflows = true
    this.value = value
    this.at = end
    return true
  }

  /** The power of ten behind an e; NaN where there are no digits, or too many. */
  #exponent(e: number): number {
    const text = this.text
    let at = e + 1
    let c = text[at]!
    const sign = c === MINUS ? -1 : 1
    if (c === MINUS || c === PLUS) c = text[++at]!
    const first = at
    let power = 0
    while (c >= ZERO && c <= NINE) {
      power = power * 10 + (c - ZERO)
      c = text[++at]!
    }
    this.at = at
    return at === first || at - first > 4 ? Number.NaN : sign * power
  }

  /** What the quick way leaves: read again with the native parser. */
  #token(start: number): boolean {
    const token = tokenAt(this.text, start)
    if (token === '') return false
    const value = Number(token)
    if (!Number.isFinite(value)) return false
    if (/[.eE]/.test(token)) this.integral = false
    return this.#found(value, start + token.length)
  }

  #word(at: number, negative: boolean): boolean {
    const word = WORDS.find((w) => w.every((c, i) => this.text[at + i] === c))
    if (word === undefined) return false
    this.integral = false
    const infinite = negative ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
    this.value = word === NAN ? Number.NaN : infinite
    this.at = at + word.length
    return true
  }
}

/** Halfway between the largest float32 and what would come next. */
const OVERFLOW = 2 ** 128 - 2 ** 103

/** Four digits at once as their number; negative where one of them is none. */
function fourDigits(v: number): number {
  if ((((v & 0xf0f0f0f0) ^ 0x30303030) | (((v + 0x06060606) & 0xf0f0f0f0) ^ 0x30303030)) !== 0) return -1
  const pairs = (Math.imul(v & 0x0f0f0f0f, 10) + ((v >>> 8) & 0x000f0f0f)) & 0x00ff00ff
  return (Math.imul(pairs, 100) + (pairs >>> 16)) & 0xffff
}

/** The float32 of all numbers that begin with these fifteen digits; NaN where the digits behind them decide. */
function sureFloat(digits: number, exponent: number): number {
  const value = exponent <= 0 && exponent >= -22 ? digits / POWER[-exponent]! : decimal(digits, 0, 0, exponent)
  return Math.fround(value * BELOW) === Math.fround(value * ABOVE) ? value : Number.NaN
}
const BELOW = 1 - 2 ** -51
const ABOVE = 1 + 2 ** -45

/** The number token that starts there; empty where there is none. */
export function tokenAt(text: Uint8Array, start: number): string {
  let at = start
  const digits = () => {
    const first = at
    while (text[at]! >= ZERO && text[at]! <= NINE) at++
    return at - first
  }
  if (text[at] === MINUS) at++
  const zero = text[at] === ZERO
  const whole = digits()
  if (whole === 0 || (zero && whole > 1)) return ''
  if (text[at] === POINT) {
    at++
    if (digits() === 0) return ''
  }
  if (text[at] === LOWER_E || text[at] === UPPER_E) {
    at++
    if (text[at] === MINUS || text[at] === PLUS) at++
    if (digits() === 0) return ''
  }
  return Buffer.from(text.buffer, text.byteOffset + start, at - start).toString('latin1')
}

const NAN = codes('NaN')
const WORDS = [NAN, codes('Infinity'), codes('Inf')] as const

export function codes(word: string): readonly number[] {
  return Array.from(word, (c) => c.charCodeAt(0))
}

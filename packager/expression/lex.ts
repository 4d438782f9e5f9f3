import { ESCAPES, type Place, wrong } from './problem.ts'

export type Token =
  | { readonly kind: 'int'; readonly value: bigint; readonly at: number }
  | { readonly kind: 'float'; readonly value: number; readonly at: number }
  | { readonly kind: 'str' | 'bytes'; readonly value: string; readonly at: number }
  | { readonly kind: 'name' | 'op' | 'end'; readonly value: string; readonly at: number }

/** Digits of one integer: more would only cost time. */
const MAX_DIGITS = 400

const SPACE = /[ \t\r\n\f]*/y
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y
const STRING = /([A-Za-z]{0,2})('''|"""|'|")/y
const BASED = /0(?:[xX](?:_?[0-9a-fA-F])+|[oO](?:_?[0-7])+|[bB](?:_?[01])+)/y
const DIGITS = '[0-9](?:_?[0-9])*'
const NUMBER = new RegExp(`(?:${DIGITS}(?:\\.(?:${DIGITS})?)?|\\.${DIGITS})(?:[eE][+-]?${DIGITS})?`, 'y')
const OP = /\*\*|\/\/|\.\.\.|[-+*/%()[\]{},:=.]/y

/** Python's tokens, as far as expressions need them. Strings of bytes have one character a byte. @throws {AppError} USAGE */
export function tokens(text: string, place: Place): Token[] {
  const out: Token[] = []
  let at = 0
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    return pattern.exec(text)
  }
  for (;;) {
    at += match(SPACE)![0].length
    if (at >= text.length) return [...out, { kind: 'end', value: 'the end', at }]
    const quote = match(STRING)
    const number = quote ? null : (match(BASED) ?? match(NUMBER))
    const word = quote || number ? null : (match(NAME) ?? match(OP))
    if (quote) {
      const { token, end } = stringAt(text, at, quote[1]!, quote[2]!, place)
      out.push(token)
      at = end
    } else if (number) {
      out.push(numberOf(number[0], text[at + number[0].length] ?? '', at, place))
      at += number[0].length
    } else if (word) {
      out.push({ kind: /[A-Za-z_]/.test(word[0]) ? 'name' : 'op', value: word[0], at })
      at += word[0].length
    } else throw wrong(place, at, 'a Python literal or a call of np', `'${text[at]}'`)
  }
}

function numberOf(text: string, next: string, at: number, place: Place): Token {
  const end = at + text.length
  if (/[jJ]/.test(next)) throw wrong(place, end, 'a real number', 'a complex one')
  if (/[A-Za-z0-9_]/.test(next)) throw wrong(place, end, 'the end of the number', `'${next}'`)
  const digits = text.replaceAll('_', '')
  const based = /^0[xob]/i.test(digits)
  if (!based && /[.eE]/.test(digits)) return { kind: 'float', value: Number(digits), at }
  if (!based && /^0+[1-9]/.test(digits)) throw wrong(place, at, 'an integer without leading zeros', 'one with them')
  if (digits.length > MAX_DIGITS) throw wrong(place, at, `at most ${MAX_DIGITS} digits`, `${digits.length}`)
  return { kind: 'int', value: BigInt(digits), at }
}

function stringAt(
  text: string,
  at: number,
  prefix: string,
  quote: string,
  place: Place,
): { token: Token; end: number } {
  const kind = prefix.toLowerCase()
  if (!['', 'b', 'r', 'u', 'br', 'rb'].includes(kind))
    throw wrong(place, at, "a string '…', b'…' or r'…'", `one with the prefix ${prefix}`)
  const [bytes, raw] = [kind.includes('b'), kind.includes('r')]
  let value = ''
  for (let i = at + prefix.length + quote.length; ; ) {
    if (text.startsWith(quote, i)) return { token: { kind: bytes ? 'bytes' : 'str', value, at }, end: i + quote.length }
    const ch = String.fromCodePoint(text.codePointAt(i) ?? 10)
    if (i >= text.length || (ch === '\n' && quote.length === 1))
      throw wrong(place, at, `a string that ends with ${quote}`, 'one that does not end')
    if (bytes && ch > '\x7f') throw wrong(place, i, 'ASCII in bytes', `'${ch}'`)
    if (ch === '\\' && raw) {
      value += text.slice(i, i + 2)
      i += 2
    } else if (ch === '\\') {
      const { char, length } = escapeAt(text, i, bytes, place)
      value += char
      i += length
    } else {
      value += ch
      i += ch.length
    }
  }
}

/** Python keeps the backslash of an escape that it does not know. */
function escapeAt(text: string, i: number, bytes: boolean, place: Place): { char: string; length: number } {
  const next = text[i + 1] ?? ''
  const octal = /^[0-7]{1,3}/.exec(text.slice(i + 1, i + 4))?.[0]
  if (octal) return { char: String.fromCharCode(parseInt(octal, 8) & (bytes ? 0xff : 0x1ff)), length: 1 + octal.length }
  const width = { x: 2, u: bytes ? 0 : 4, U: bytes ? 0 : 8 }[next] ?? 0
  if (width > 0) {
    const hex = text.slice(i + 2, i + 2 + width)
    const code = /^[0-9a-fA-F]+$/.test(hex) && hex.length === width ? parseInt(hex, 16) : Number.NaN
    if (!(code <= 0x10ffff)) throw wrong(place, i, `${width} hexadecimal digits of a character`, `'${hex}'`)
    return { char: String.fromCodePoint(code), length: 2 + width }
  }
  if (next === 'N' && !bytes) throw wrong(place, i, 'an escape without names', '\\N')
  return { char: ESCAPES[next] ?? `\\${next}`, length: 1 + Math.max(1, next.length) }
}

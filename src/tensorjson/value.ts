import { textOf } from '../bytestring.ts'
import { AppError } from '../errors.ts'
import { codes, NumberReader, tokenAt } from './number.ts'
import { type Numbers, scanNumbers } from './numbers.ts'

/**
 * JSON as TensorFlow Serving tells it apart: a token without point and exponent is an integer, here a bigint, and `1.0` is not. A regular
 * nested list of numbers stays one array; {@link expand} makes lists of it where its elements have to be told.
 */
export type Json = null | boolean | bigint | number | string | readonly Json[] | JsonObject | Numbers

/** Members in their order, names as often as they came. */
export interface JsonObject {
  readonly members: readonly (readonly [name: string, value: Json])[]
}

export function isObject(v: Json): v is JsonObject {
  return typeof v === 'object' && v !== null && 'members' in v
}

export function isNumbers(v: Json): v is Numbers {
  return typeof v === 'object' && v !== null && !Array.isArray(v) && 'values' in v
}

export function isList(v: Json): v is readonly Json[] {
  return Array.isArray(v)
}

/** The first of that name, as rapidjson finds it. */
export function member(object: JsonObject, name: string): Json | undefined {
  return object.members.find(([n]) => n === name)?.[1]
}

/** The lists that a numeric array was written as. */
export function expand(numbers: Numbers): readonly Json[] {
  return new Parser(numbers.text, { at: numbers.start, numbers: false }).parse() as readonly Json[]
}

/**
 * The first whole value of a text; what follows it is not looked at. NaN, Infinity and -Infinity are numbers.
 * `narrow`: all regular lists of numbers may be read as float32.
 * @throws {AppError} BAD_JSON with rapidjson's text and offset
 */
export function parseValue(text: Uint8Array, { narrow = false } = {}): Json {
  const bom = text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf ? 3 : 0
  return new Parser(text, { at: bom, numbers: true, narrow }).parse()
}

const [QUOTE, BACKSLASH, COMMA, COLON, OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [34, 92, 44, 58, 91, 93, 123, 125]

/** A list or object that is not closed yet. */
type Open = { readonly list: Json[] } | { readonly members: [string, Json][]; name: string }

/** Without recursion: any depth is only memory. */
class Parser {
  readonly #text: Uint8Array
  readonly #numbers: boolean
  readonly #narrow: boolean
  readonly #reader: NumberReader
  #at: number
  /** lists that begin before this are no numeric arrays: one that was tried failed here */
  #tried = -1

  constructor(text: Uint8Array, { at, numbers, narrow = false }: { at: number; numbers: boolean; narrow?: boolean }) {
    this.#text = text
    this.#at = at
    this.#numbers = numbers
    this.#narrow = narrow
    this.#reader = new NumberReader(text)
  }

  parse(): Json {
    this.#space()
    if (this.#at >= this.#text.length) throw this.#fault('The document is empty.')
    const open: Open[] = []
    for (;;) {
      let value = this.#open(open)
      // closes all that ends behind this value
      while (value !== undefined) {
        const inner = open.at(-1)
        if (inner === undefined) return value
        value = 'list' in inner ? this.#afterElement(open, inner, value) : this.#afterMember(open, inner, value)
      }
    }
  }

  /** A value that is whole, or one more open list or object. */
  #open(open: Open[]): Json | undefined {
    this.#space()
    const c = this.#text[this.#at]
    if (c === OPEN_LIST) return this.#openList(open)
    if (c === OPEN) return this.#openObject(open)
    if (c === QUOTE) return this.#string()
    return this.#literal()
  }

  #openList(open: Open[]): Json | undefined {
    if (this.#numbers && this.#at >= this.#tried) {
      const numbers = scanNumbers(this.#reader, this.#at, this.#narrow)
      if ('end' in numbers) {
        this.#at = numbers.end
        return numbers
      }
      this.#tried = numbers.failed
    }
    this.#at++
    this.#space()
    if (this.#take(CLOSE_LIST)) return []
    open.push({ list: [] })
    return undefined
  }

  #openObject(open: Open[]): Json | undefined {
    this.#at++
    this.#space()
    if (this.#take(CLOSE)) return { members: [] }
    open.push({ members: [], name: this.#name() })
    return undefined
  }

  #afterElement(open: Open[], inner: { readonly list: Json[] }, value: Json): Json | undefined {
    inner.list.push(value)
    this.#space()
    if (this.#take(COMMA)) return undefined
    if (!this.#take(CLOSE_LIST)) throw this.#fault('Missing a comma or ] after an array element.')
    open.pop()
    return inner.list
  }

  #afterMember(open: Open[], inner: { members: [string, Json][]; name: string }, value: Json): Json | undefined {
    inner.members.push([inner.name, value])
    this.#space()
    if (this.#take(COMMA)) {
      this.#space()
      inner.name = this.#name()
      return undefined
    }
    if (!this.#take(CLOSE)) throw this.#fault('Missing a comma or } after an object member.')
    open.pop()
    return { members: inner.members }
  }

  #name(): string {
    if (this.#text[this.#at] !== QUOTE) throw this.#fault('Missing a name for object member.')
    const name = this.#string()
    this.#space()
    if (!this.#take(COLON)) throw this.#fault('Missing a colon after a name of object member.')
    return name
  }

  #literal(): Json {
    for (const [word, value] of LITERALS) {
      if (this.#text[this.#at] !== word[0]) continue
      for (const c of word) if (!this.#take(c)) throw this.#fault('Invalid value.')
      return value
    }
    return this.#number()
  }

  #number(): bigint | number {
    const start = this.#at
    this.#reader.integral = true
    if (!this.#reader.read(start, false)) return this.#zero(start)
    const { value } = this.#reader
    this.#at = this.#reader.at
    if (!this.#reader.integral) return value
    if (Number.isSafeInteger(value)) return BigInt(value)
    const exact = BigInt(tokenAt(this.#text, start).slice(0, 400))
    // rapidjson's integers have 64 bits; longer ones are doubles
    return exact < -(2n ** 63n) || exact >= 2n ** 64n ? value : exact
  }

  /** `01` is a 0, and then something that does not belong there. All else that is no number is a fault. */
  #zero(start: number): bigint {
    const [zero] = /^-?0(?=\d)/.exec(latin1(this.#text, start, start + 3)) ?? []
    if (zero === undefined) throw this.#numberFault(start)
    this.#at = start + zero.length
    return 0n
  }

  #numberFault(start: number): AppError {
    const token = /^-?\d+(\.\d*)?([eE][+-]?\d*)?/.exec(latin1(this.#text, start, start + 400))?.[0] ?? ''
    if (/\.$|\.[eE]/.test(token)) return this.#fault('Miss fraction part in number.', start + token.indexOf('.') + 1)
    if (/[eE][+-]?$/.test(token)) return this.#fault('Miss exponent in number.', start + token.length)
    const big = token !== '' && !Number.isFinite(Number(token))
    return this.#fault(big ? 'Number too big to be stored in double.' : 'Invalid value.', start)
  }

  /** Bytes that are no UTF-8 are taken one character each, as everywhere. */
  #string(): string {
    const text = this.#text
    const start = ++this.#at
    let pieces = ''
    let from = start
    for (;;) {
      const c = text[this.#at]
      if (c === QUOTE) {
        pieces += textOf(text.subarray(from, this.#at++))
        return pieces
      }
      if (c === BACKSLASH) {
        pieces += textOf(text.subarray(from, this.#at))
        pieces += this.#escape()
        from = this.#at
      } else if (c === undefined || c === 0) throw this.#fault('Missing a closing quotation mark in string.')
      else if (c < 32) throw this.#fault('Invalid encoding in string.')
      else this.#at++
    }
  }

  #escape(): string {
    const start = this.#at
    const c = String.fromCharCode(this.#text[start + 1] ?? 0)
    this.#at += 2
    if (c !== 'u') {
      if (!Object.hasOwn(ESCAPES, c)) throw this.#fault('Invalid escape character in string.', start)
      return ESCAPES[c]!
    }
    const high = this.#hex(start)
    if (high < 0xd800 || high > 0xdfff) return String.fromCharCode(high)
    const pair = high <= 0xdbff && this.#take(BACKSLASH) && this.#take(117) ? this.#hex(start) : 0
    if (pair < 0xdc00 || pair > 0xdfff) throw this.#fault('The surrogate pair in string is invalid.', start)
    return String.fromCharCode(high, pair)
  }

  #hex(start: number): number {
    const digits = latin1(this.#text, this.#at, this.#at + 4)
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#fault('Incorrect hex digit after \\u escape in string.', start)
    this.#at += 4
    return Number.parseInt(digits, 16)
  }

  #space(): void {
    const text = this.#text
    let c = text[this.#at]
    while (c === 32 || c === 10 || c === 13 || c === 9) c = text[++this.#at]
  }

  #take(c: number): boolean {
    if (this.#text[this.#at] !== c) return false
    this.#at++
    return true
  }

  #fault(what: string, at = this.#at): AppError {
    const got = `${what.replace(/\.$/, '')} at offset ${at}`
    return new AppError('BAD_JSON', { where: 'the body', got, reply: `JSON Parse error: ${what} at offset: ${at}` })
  }
}

const LITERALS = [
  [codes('null'), null],
  [codes('true'), true],
  [codes('false'), false],
] as const

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

function latin1(text: Uint8Array, from: number, to: number): string {
  return Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString(
    'latin1',
    from,
    Math.min(to, text.byteLength),
  )
}

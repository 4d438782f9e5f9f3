import protobuf from 'protobufjs'
import { AppError } from '../../src/errors.ts'
import { TF_DTYPE_ENUM } from './proto/tensorflow.ts'
import { messageType } from './protobuf.ts'

type Json = Record<string, unknown>

/**
 * Protocol buffer text format (`saved_model.pbtxt`, `*.pbtxt`) into the same message objects that the wire decoder yields.
 * @throws {AppError} BAD_MODEL_FILE with line and column
 */
export function decodeText<T>(type: string, text: string, where: string): T {
  return new TextReader(text, where).message(messageType(type), '') as T
}

const TOKEN =
  /\s+|#[^\n]*|"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*'|[A-Za-z_][\w.]*|[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?f?)|-\s*(?:inf(?:inity)?|nan)\b|[{}<>[\]:;,]/giy
const MAX_DEPTH = 100

class TextReader {
  private readonly tokens: string[] = []
  private readonly offsets: number[] = []
  private readonly text: string
  private readonly where: string
  private at = 0
  private depth = 0

  constructor(text: string, where: string) {
    this.text = text
    this.where = where
    TOKEN.lastIndex = 0
    while (TOKEN.lastIndex < text.length) {
      const start = TOKEN.lastIndex
      const m = TOKEN.exec(text)
      if (!m) throw this.bad('a token', text.slice(start, start + 1), start)
      if (/^[\s#]/.test(m[0])) continue
      this.tokens.push(m[0])
      this.offsets.push(start)
    }
  }

  message(type: protobuf.Type, close: string): Json {
    if (++this.depth > MAX_DEPTH) throw this.bad(`at most ${MAX_DEPTH} levels`, 'more')
    const out: Json = type.create() as protobuf.Message & Json
    while (this.at < this.tokens.length && this.tokens[this.at] !== close) {
      const name = this.next()
      const field = type.fields[name]
      if (this.peek() === ':') this.at++
      if (field) this.field(out, field)
      else this.skip()
      while (this.peek() === ',' || this.peek() === ';') this.at++
    }
    if (close && this.next() !== close) throw this.bad(`'${close}'`, 'the end')
    this.depth--
    return out
  }

  private field(out: Json, field: protobuf.Field): void {
    if (field instanceof protobuf.MapField) {
      const map = field
      const entry = this.mapEntry(map)
      if (!Object.hasOwn(out, field.name)) out[field.name] = {}
      Object.defineProperty(out[field.name] as Json, String(entry.key), {
        value: entry.value,
        enumerable: true,
        writable: true,
        configurable: true,
      })
    } else if (field.repeated) {
      if (!Object.hasOwn(out, field.name)) out[field.name] = []
      const list = out[field.name] as unknown[]
      if (this.peek() !== '[') list.push(this.value(field))
      else {
        this.at++
        while (this.peek() !== ']') {
          list.push(this.value(field))
          if (this.peek() === ',') this.at++
        }
        this.at++
      }
    } else out[field.name] = this.value(field)
  }

  private mapEntry(map: protobuf.MapField): { key: string | number; value: unknown } {
    const close = this.open()
    let key: string | number = map.keyType === 'string' ? '' : 0
    let value: unknown = map.resolvedType ? (map.resolvedType as protobuf.Type).create() : ''
    while (this.peek() !== close) {
      const name = this.next()
      if (this.peek() === ':') this.at++
      if (name === 'key') key = this.scalar(map.keyType) as string | number
      else if (name === 'value') value = this.value(map)
      else throw this.bad("'key' or 'value'", name)
      while (this.peek() === ',' || this.peek() === ';') this.at++
    }
    this.at++
    return { key, value }
  }

  private value(field: Pick<protobuf.Field, 'resolvedType' | 'type'>): unknown {
    const type = field.resolvedType as protobuf.Type | null
    if (type && 'fields' in type) return this.message(type, this.open())
    return this.scalar(field.type)
  }

  private scalar(type: string): unknown {
    const t = this.next()
    switch (type) {
      case 'string':
      case 'bytes': {
        let bytes = this.quoted(t)
        while (/^["']/.test(this.peek() ?? '')) bytes = Buffer.concat([bytes, this.quoted(this.next())])
        return type === 'bytes' ? bytes : bytes.toString('utf8')
      }
      case 'bool':
        return t === 'true' || t === 't' || t === '1'
      case 'float':
      case 'double': {
        const word = t.replace(/\s/g, '').toLowerCase()
        if (/^[-+]?inf/.test(word)) return word.startsWith('-') ? -Infinity : Infinity
        if (/nan$/.test(word)) return Number.NaN
        return this.number(word.replace(/f$/, ''))
      }
      default: {
        const named = TF_DTYPE_ENUM[t] ?? (t.endsWith('_REF') ? TF_DTYPE_ENUM[t.slice(0, -4)] : undefined)
        if (named !== undefined) return t.endsWith('_REF') ? named + 100 : named
        const n = this.number(t)
        return Number.isSafeInteger(n) ? n : { toNumber: () => n, toString: () => BigInt(t).toString() }
      }
    }
  }

  private number(t: string): number {
    const n = Number(t)
    if (Number.isNaN(n)) throw this.bad('a number', `'${t}'`)
    return n
  }

  private quoted(t: string): Buffer {
    if (!/^["']/.test(t)) throw this.bad('a quoted string', `'${t}'`)
    return unquote(t.slice(1, -1))
  }

  private open(): string {
    const t = this.next()
    if (t === '{') return '}'
    if (t === '<') return '>'
    throw this.bad("'{'", `'${t}'`)
  }

  /** A field we do not know: a scalar, a list or a whole message. */
  private skip(): void {
    let level = 0
    do {
      const t = this.next()
      if (t === '{' || t === '<' || t === '[') level++
      else if (t === '}' || t === '>' || t === ']') level--
    } while (level > 0)
    while (/^["']/.test(this.peek() ?? '')) this.at++
  }

  private peek(): string | undefined {
    return this.tokens[this.at]
  }

  private next(): string {
    const t = this.tokens[this.at++]
    if (t === undefined) throw this.bad('more text', 'the end of the file')
    return t
  }

  private bad(
    expected: string,
    got: string,
    offset = this.offsets[Math.min(this.at, this.offsets.length) - 1] ?? 0,
  ): AppError {
    const before = this.text.slice(0, offset).split('\n')
    const where = `${this.where}, line ${before.length} column ${before.at(-1)!.length + 1}`
    return new AppError('BAD_MODEL_FILE', { where, expected, got: got.slice(0, 40) })
  }
}

const ESCAPES: Readonly<Record<string, number>> = {
  n: 10,
  r: 13,
  t: 9,
  a: 7,
  b: 8,
  f: 12,
  v: 11,
  '\\': 92,
  "'": 39,
  '"': 34,
  '?': 63,
}

function unquote(s: string): Buffer {
  if (!s.includes('\\')) return Buffer.from(s, 'utf8')
  const parts: (Buffer | number)[] = []
  const re = /\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[\s\S])|[^\\]+/g
  for (const [whole, esc] of s.matchAll(re)) {
    if (esc === undefined) parts.push(Buffer.from(whole, 'utf8'))
    else if (/^[0-7]/.test(esc)) parts.push(Number.parseInt(esc, 8) & 255)
    else if (/^[xX]./.test(esc)) parts.push(Number.parseInt(esc.slice(1), 16))
    else if (/^[uU]./.test(esc))
      parts.push(Buffer.from(String.fromCodePoint(Math.min(Number.parseInt(esc.slice(1), 16), 0x10ffff)), 'utf8'))
    else parts.push(ESCAPES[esc] ?? esc.charCodeAt(0))
  }
  return Buffer.concat(parts.map((p) => (typeof p === 'number' ? Buffer.from([p]) : p)))
}

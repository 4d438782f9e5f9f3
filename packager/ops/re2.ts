/** Class members of RE2's POSIX names (all ASCII). */
const POSIX: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t ',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`\\{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '\\w',
  xdigit: '0-9A-Fa-f',
}
const SYNTAX = /[\^$\\.*+?()[\]{}|/-]/
const literal = (c: string): string => (SYNTAX.test(c) ? `\\${c}` : c).replace(/^\\-$/, '\\x2d')

export interface Translated {
  readonly pattern: string
  readonly flags: string
}

class Untranslatable extends Error {}

/**
 * A pattern of RE2 as one of JavaScript that means the same, or what stands against it. RE2 runs in linear time; JavaScript does not when
 * repetitions are nested, so those are refused rather than let a request stall the process.
 */
export function fromRe2(source: string): Translated | string {
  try {
    const out = new Translation(source).run()
    RegExp(out.pattern, out.flags)
    return out
  } catch (e) {
    if (e instanceof Untranslatable || e instanceof SyntaxError) return e.message
    throw e
  }
}

class Translation {
  private readonly text: readonly string[]
  private at = 0
  private flags = 'u'
  private dotAll = false

  constructor(source: string) {
    this.text = [...source]
  }

  run(): Translated {
    const global = /^\(\?([ims]+)\)/.exec(this.text.join(''))
    if (global) {
      this.at = global[0].length
      if (global[1]!.includes('i')) this.flags += 'i'
      if (global[1]!.includes('m')) this.flags += 'm'
      this.dotAll = global[1]!.includes('s')
    }
    const { pattern } = this.alternatives()
    if (this.at < this.text.length) throw new Untranslatable('an unopened group')
    return { pattern, flags: this.flags }
  }

  private peek(ahead = 0): string | undefined {
    return this.text[this.at + ahead]
  }

  /** Up to the end or an unmatched parenthesis; whether anything in it repeats without bound. */
  private alternatives(): { pattern: string; repeats: boolean } {
    let pattern = ''
    let repeats = false
    while (this.at < this.text.length && this.peek() !== ')') {
      if (this.peek() === '|') {
        pattern += '|'
        this.at++
        continue
      }
      const atom = this.atom()
      const quantifier = this.quantifier()
      const unbounded = /^(?:[*+]|\{\d+,\})/.test(quantifier)
      if (unbounded && atom.repeats) throw new Untranslatable('a repetition of a repetition')
      repeats ||= unbounded || atom.repeats
      pattern += atom.pattern + quantifier
    }
    return { pattern, repeats }
  }

  private quantifier(): string {
    const m = /^(?:[*+?]|\{\d+(?:,\d*)?\})\??/.exec(this.text.slice(this.at, this.at + 12).join(''))
    if (!m) return ''
    this.at += m[0].length
    return m[0]
  }

  private atom(): { pattern: string; repeats: boolean } {
    const c = this.text[this.at++]!
    const plain = (pattern: string) => ({ pattern, repeats: false })
    if (c === '(') return this.group()
    if (c === '[') return plain(this.charClass())
    if (c === '\\') return plain(this.escape(false))
    if (c === '.') return plain(this.dotAll ? '[\\s\\S]' : '[^\\n]')
    if (c === '^' || c === '$') return plain(c)
    if ('*+?'.includes(c)) throw new Untranslatable(`nothing to repeat before ${c}`)
    return plain(literal(c))
  }

  private group(): { pattern: string; repeats: boolean } {
    const head = /^\?(?:P?<([A-Za-z_]\w*)>|:)/.exec(this.text.slice(this.at, this.at + 64).join(''))
    if (this.peek() === '?' && !head) throw new Untranslatable('a group with flags')
    if (head) this.at += head[0].length
    const { pattern, repeats } = this.alternatives()
    if (this.text[this.at++] !== ')') throw new Untranslatable('an unclosed group')
    const open = !head ? '(' : head[1] ? `(?<${head[1]}>` : '(?:'
    return { pattern: `${open}${pattern})`, repeats }
  }

  private charClass(): string {
    let out = '['
    if (this.peek() === '^') {
      out += '^'
      this.at++
    }
    let first = true
    while (this.at < this.text.length && (first || this.peek() !== ']')) {
      first = false
      const c = this.text[this.at++]!
      const posix = c === '[' && /^:(\^?)(\w+):\]/.exec(this.text.slice(this.at, this.at + 12).join(''))
      if (posix) {
        const members = posix[1] ? undefined : POSIX[posix[2]!]
        if (!members) throw new Untranslatable(`the class [${posix[0]}`)
        out += members
        this.at += posix[0].length
      } else if (c === '\\') out += this.escape(true)
      else if (c === '-' && this.peek() !== ']' && !out.endsWith('[') && !out.endsWith('^')) out += '-'
      else out += literal(c)
    }
    if (this.text[this.at++] !== ']') throw new Untranslatable('an unclosed class')
    return `${out}]`
  }

  private escape(inClass: boolean): string {
    const c = this.text[this.at++]
    if (c === undefined) throw new Untranslatable('a trailing backslash')
    if ('dDwW'.includes(c) || 'tnrfv'.includes(c)) return `\\${c}`
    if (c === 's') return inClass ? '\\t\\n\\f\\r ' : '[\\t\\n\\f\\r ]'
    if (c === 'S' && !inClass) return '[^\\t\\n\\f\\r ]'
    if ((c === 'b' || c === 'B') && !inClass) return `\\${c}`
    if (c === 'A' && !inClass) return '(?<![\\s\\S])'
    if (c === 'z' && !inClass) return '(?![\\s\\S])'
    if (c === 'a') return '\\x07'
    if (c === 'x') return this.hex()
    if (c === 'p' || c === 'P') return this.property(c)
    if (/[A-Za-z0-9]/.test(c)) throw new Untranslatable(`the escape \\${c}`)
    return literal(c)
  }

  private hex(): string {
    const m = /^(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})/.exec(this.text.slice(this.at, this.at + 8).join(''))
    if (!m) throw new Untranslatable('an escape of a code point')
    this.at += m[0].length
    return `\\u{${m[1] ?? m[2]}}`
  }

  private property(c: string): string {
    const m = /^(?:([A-Z])|\{(\^?)(\w+)\})/.exec(this.text.slice(this.at, this.at + 40).join(''))
    if (!m || m[2]) throw new Untranslatable('a Unicode class')
    this.at += m[0].length
    const name = m[1] ?? m[3]!
    return name.length <= 2 ? `\\${c}{${name}}` : `\\${c}{Script=${name}}`
  }
}

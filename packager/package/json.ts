import { createScanner, type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { type Finding, finding, type Place } from './findings.ts'

/** JSON with places: every value knows its pointer, line and column. Keys live in a Map, so `__proto__` is only a key. */
export type Json = JsonObject | JsonArray | JsonScalar
export interface JsonObject extends Place {
  readonly type: 'object'
  readonly members: ReadonlyMap<string, Json>
}
export interface JsonArray extends Place {
  readonly type: 'array'
  readonly items: readonly Json[]
}
export interface JsonScalar extends Place {
  readonly type: 'string' | 'number' | 'boolean' | 'null'
  readonly value: string | number | boolean | null
}

const MAX_BYTES = 4 * 1024 * 1024
/** jsonc-parser recurses; far below where its stack would end, far above any real file */
const MAX_DEPTH = 200
const MAX_FAULTS = 5

/**
 * Strict JSON (RFC 8259) that says what else it found: a byte order mark, duplicate keys, comments, trailing commas.
 * Without a tree there is at least one error among the findings.
 */
export function readJson(bytes: Uint8Array, file: string): { tree?: Json; findings: Finding[] } {
  const findings: Finding[] = []
  if (bytes.length > MAX_BYTES) {
    const got = `${bytes.length} bytes`
    return { findings: [finding('CONFIG_LIMIT', { file, expected: `at most ${MAX_BYTES} bytes`, got })] }
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    // the decoder's only failure is invalid UTF-8
    const fix = 'Save it as UTF-8 without a byte order mark.'
    return { findings: [finding('CONFIG_ENCODING', { file, expected: 'UTF-8', got: encodingOf(bytes), fix })] }
  }
  if (text.startsWith('\ufeff')) {
    findings.push(
      finding('CONFIG_BOM', { file, line: 1, column: 1, fix: 'Save it as UTF-8 without a byte order mark.' }),
    )
    text = text.slice(1)
  }
  const place = placer(text)
  if (depth(text) > MAX_DEPTH) {
    const expected = `at most ${MAX_DEPTH} levels`
    return { findings: [...findings, finding('CONFIG_LIMIT', { file, expected, got: 'deeper nesting' })] }
  }
  const errors: ParseError[] = []
  const root = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false, allowEmptyContent: false })
  const faults = errors.filter((e, i) => e.offset !== errors[i - 1]?.offset)
  const strict = faults.length === 0 ? strictFault(text) : undefined
  if (faults.length > 0 || strict || !root) {
    const got = strict ?? 'nothing'
    const said = faults.length > 0 ? faults.map((e) => ({ ...place(e.offset), ...syntaxFault(text, e) })) : [{ got }]
    // one slip makes a parser stumble many times; the first ones are the useful ones
    return {
      findings: [...findings, ...said.slice(0, MAX_FAULTS).map((s) => finding('CONFIG_SYNTAX', { file, ...s }))],
    }
  }
  const tree = convert(root, '', place, (key, pointer, at, first) =>
    findings.push(
      finding('CONFIG_DUPLICATE', {
        ...{ file, pointer, ...at },
        got: `'${shorten(key)}' again, first in line ${first.line}`,
        fix: 'Readers disagree about which one counts; keep one.',
      }),
    ),
  )
  return { tree, findings }
}

type Locate = (offset: number) => { line: number; column: number }
type OnDuplicate = (key: string, pointer: string, at: ReturnType<Locate>, first: Place) => void

function convert(node: Node, pointer: string, place: Locate, duplicate: OnDuplicate): Json {
  const at = { pointer, ...place(node.offset) }
  if (node.type === 'array') {
    const items = (node.children ?? []).map((c, i) => convert(c, `${pointer}/${i}`, place, duplicate))
    return { type: 'array', items, ...at }
  }
  if (node.type !== 'object') return { type: node.type as JsonScalar['type'], value: node.value, ...at }
  const members = new Map<string, Json>()
  for (const property of node.children ?? []) {
    const [key, value] = property.children ?? []
    if (!key || !value) continue
    const name = String(key.value)
    const path = `${pointer}/${escapePointer(name)}`
    const first = members.get(name)
    if (first) duplicate(name, path, place(key.offset), first)
    else members.set(name, convert(value, path, place, duplicate))
  }
  return { type: 'object', members, ...at }
}

/** The plain value; own keys only, even for `__proto__`. */
export function plain(node: Json): unknown {
  if (node.type === 'object') return Object.fromEntries([...node.members].map(([k, v]) => [k, plain(v)]))
  if (node.type === 'array') return node.items.map(plain)
  return node.value
}

/** RFC 6901 */
export const escapePointer = (key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1')

export const shorten = (s: string) => (s.length > 60 ? `${s.slice(0, 57)}…` : s)

/** What came, for messages: the type, and the text where that helps. */
export function describeJson(node: Json): string {
  if (node.type === 'object') return 'an object'
  if (node.type === 'array') return 'an array'
  return node.type === 'null' ? 'null' : `${node.type} ${shorten(JSON.stringify(node.value))}`
}

function placer(text: string): Locate {
  const starts = [0]
  for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) starts.push(i + 1)
  return (offset) => {
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (starts[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: offset - starts[low]! + 1 }
  }
}

function depth(text: string): number {
  const scanner = createScanner(text, true)
  let open = 0
  let most = 0
  for (scanner.scan(); scanner.getTokenOffset() < text.length; scanner.scan()) {
    const c = text[scanner.getTokenOffset()]
    if (c === '{' || c === '[') most = Math.max(most, ++open)
    else if (c === '}' || c === ']') open--
  }
  return most
}

function syntaxFault(text: string, e: ParseError): { expected?: string; got?: string } {
  if (/[}\]]/.test(text[e.offset] ?? '') && text.slice(0, e.offset).trimEnd().endsWith(','))
    return { got: 'a trailing comma' }
  const said = words(printParseErrorCode(e.error))
  return said.endsWith(' expected') ? { expected: `a ${said.slice(0, -' expected'.length)}` } : { got: said }
}

/** What jsonc-parser lets pass and JSON does not. */
function strictFault(text: string): string | undefined {
  try {
    JSON.parse(text)
  } catch (e) {
    return e instanceof Error ? e.message : String(e)
  }
}

/** `PropertyNameExpected` → `property name expected` */
const words = (code: string) => code.replace(/(?!^)[A-Z]/g, (c) => ` ${c.toLowerCase()}`).toLowerCase()

function encodingOf(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'UTF-16 (little endian)'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'UTF-16 (big endian)'
  return 'bytes that are no UTF-8'
}

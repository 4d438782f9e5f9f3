import { type Token, tokens } from './lex.ts'
import { type Place, wrong } from './problem.ts'

/** `at` is the offset of what messages point to. */
export type Node = { readonly at: number } & (
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'str' | 'bytes' | 'name'; readonly value: string }
  | { readonly kind: 'list' | 'tuple'; readonly items: readonly Node[] }
  | { readonly kind: 'dict'; readonly entries: readonly (readonly [Node, Node])[] }
  | { readonly kind: 'attribute'; readonly of: Node; readonly name: string }
  | {
      readonly kind: 'call'
      readonly of: Node
      readonly args: readonly Node[]
      readonly named: ReadonlyMap<string, Node>
    }
  | { readonly kind: 'index'; readonly of: Node; readonly items: readonly Node[] }
  | { readonly kind: 'slice'; readonly start?: Node; readonly stop?: Node; readonly step?: Node }
  | { readonly kind: 'ellipsis' }
  | { readonly kind: 'unary'; readonly op: string; readonly of: Node }
  | { readonly kind: 'binary'; readonly op: string; readonly left: Node; readonly right: Node }
)

/** A bracket costs four levels, so about the 100 of Python; it also bounds chains of operators and calls. */
const MAX_DEPTH = 400

/**
 * The syntax tree of one Python expression without names of its own: literals, arithmetic, calls, attributes, subscripts.
 * @throws {AppError} USAGE naming the position
 */
export function parse(text: string, place: Place): Node {
  const list = tokens(text, place)
  let next = 0
  const peek = (): Token => list[next]!
  const take = (): Token => list[next++]!
  const is = (op: string) => peek().kind === 'op' && peek().value === op
  const spelled = (t: Token) => (t.kind === 'end' ? 'the end' : `'${String(t.value).slice(0, 40)}'`)
  const fail = (expected: string, t = peek()) => wrong(place, t.at, expected, spelled(t))
  const expect = (op: string): void => {
    if (!is(op)) throw fail(`'${op}'`)
    next++
  }
  /** Keeps recursion, of this parser and of what walks the tree, within the stack. */
  const nested = <T>(level: number, work: (level: number) => T): T => {
    if (level > MAX_DEPTH) throw wrong(place, peek().at, `at most ${MAX_DEPTH} levels`, 'more')
    return work(level + 1)
  }

  const sum = (level: number): Node => chain(level, ['+', '-'], product)
  const product = (level: number): Node => chain(level, ['*', '/', '//', '%'], signed)
  const chain = (level: number, ops: readonly string[], part: (level: number) => Node): Node =>
    nested(level, (inner) => {
      let left = part(inner)
      // a chain nests to the left, one level for each operator
      for (let n = 0; peek().kind === 'op' && ops.includes(String(peek().value)); n++) {
        if (n > MAX_DEPTH) throw wrong(place, peek().at, `at most ${MAX_DEPTH} operators in a row`, 'more')
        const op = take()
        left = { kind: 'binary', op: String(op.value), left, right: part(inner), at: op.at }
      }
      return left
    })
  const signed = (level: number): Node =>
    nested(level, (inner) => {
      if (!is('-') && !is('+')) return power(inner)
      const op = take()
      return { kind: 'unary', op: String(op.value), of: signed(inner), at: op.at }
    })
  /** `**` binds tighter than the sign before it and looser than the sign after it. */
  const power = (level: number): Node => {
    const left = postfix(level)
    if (!is('**')) return left
    const { at } = take()
    return { kind: 'binary', op: '**', left, right: signed(level), at }
  }
  const postfix = (level: number): Node => {
    let node = atom(level)
    for (let n = 0; ; n++) {
      if (n > MAX_DEPTH) throw wrong(place, peek().at, `at most ${MAX_DEPTH} calls in a row`, 'more')
      const { at } = peek()
      if (is('.')) {
        next++
        const name = take()
        if (name.kind !== 'name') throw fail('a name', name)
        node = { kind: 'attribute', of: node, name: name.value, at: name.at }
      } else if (is('(')) {
        next++
        node = { kind: 'call', of: node, ...args(level), at: node.at }
      } else if (is('[')) {
        next++
        node = { kind: 'index', of: node, items: series(level, ']', subscript), at }
      } else return node
    }
  }
  const args = (level: number): { args: Node[]; named: Map<string, Node> } => {
    const given: Node[] = []
    const named = new Map<string, Node>()
    series(level, ')', (inner) => {
      const [t, after] = [peek(), list[next + 1]]
      if (t.kind === 'name' && after?.kind === 'op' && after.value === '=') {
        next += 2
        if (named.has(t.value)) throw wrong(place, t.at, 'each argument once', `'${t.value}' twice`)
        named.set(t.value, sum(inner))
      } else {
        if (named.size > 0) throw fail('only named arguments after a named one')
        given.push(sum(inner))
      }
      return t
    })
    return { args: given, named }
  }
  const subscript = (level: number): Node => {
    const { at } = peek()
    if (is('...')) {
      next++
      return { kind: 'ellipsis', at }
    }
    const part = () => (is(':') || is(',') || is(']') ? undefined : sum(level))
    const start = part()
    if (!is(':')) {
      if (!start) throw fail('an index')
      return start
    }
    next++
    const stop = part()
    if (is(':')) next++
    return { kind: 'slice', start, stop, step: part(), at }
  }
  /** Items up to the closing bracket, with an optional comma at the end. */
  const series = <T>(level: number, close: string, item: (level: number) => T): T[] =>
    nested(level, (inner) => {
      const items: T[] = []
      while (!is(close)) {
        items.push(item(inner))
        if (!is(close)) expect(',')
      }
      next++
      return items
    })
  const atom = (level: number): Node => {
    const t = take()
    const { at } = t
    switch (t.kind) {
      case 'int':
        return { kind: 'int', value: t.value, at }
      case 'float':
        return { kind: 'float', value: t.value, at }
      case 'str':
      case 'bytes': {
        let value = t.value
        while (peek().kind === t.kind) value += String(take().value)
        return { kind: t.kind, value, at }
      }
      case 'name':
        return { kind: 'name', value: t.value, at }
      case 'op':
        return bracketed(level, t)
      default:
        throw fail('a value', t)
    }
  }
  const bracketed = (level: number, t: Token): Node => {
    const { at } = t
    if (t.value === '[') return { kind: 'list', items: series(level, ']', sum), at }
    if (t.value === '{') {
      const pair = (inner: number) => {
        const key = sum(inner)
        expect(':')
        return [key, sum(inner)] as const
      }
      return { kind: 'dict', entries: series(level, '}', pair), at }
    }
    if (t.value !== '(') throw fail('a value', t)
    const first = next
    const items = series(level, ')', sum)
    const comma = list[next - 2]
    const single = items.length === 1 && !(comma?.kind === 'op' && comma.value === ',' && next - 2 > first)
    return single ? items[0]! : { kind: 'tuple', items, at }
  }

  const tree = sum(0)
  if (peek().kind !== 'end') throw fail('the end of the expression or an operator: + - * / // % **')
  return tree
}

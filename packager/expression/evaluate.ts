import { bind, dtypeArg, fn, integers, numbers, rowMajor } from './args.ts'
import { binary, unary } from './arithmetic.ts'
import type { NdArray } from './ndarray.ts'
import { NUMPY } from './numpy.ts'
import { type Node, parse } from './parse.ts'
import { type Place, ValueProblem, wrong } from './problem.ts'
import { astype, repeat, reshape, squeeze, transpose } from './shapes.ts'
import { subscript } from './subscript.ts'
import { type Args, array, Budget, describeValue, type Value } from './value.ts'

/** The names that an expression may begin with. */
const NAMES: Readonly<Record<string, Value>> = {
  np: NUMPY,
  numpy: NUMPY,
  True: { kind: 'bool', value: true },
  False: { kind: 'bool', value: false },
  None: { kind: 'none' },
  int: { kind: 'dtype', value: 'int64' },
  float: { kind: 'dtype', value: 'float64' },
  bool: { kind: 'dtype', value: 'bool' },
}

/** Methods of arrays: parameters, and what they give. */
const METHODS = {
  reshape: ['shape*', (x, a) => reshape(x, flat(a.shape!))],
  transpose: ['axes*', (x, a) => transpose(x, flat(a.axes!).length > 0 ? flat(a.axes!) : undefined)],
  astype: ['dtype', (x, a, b) => astype(x, dtypeArg(a.dtype) ?? 'float64', b)],
  flatten: ['order?', inOneRow],
  ravel: ['order?', inOneRow],
  squeeze: ['axis?', (x, a) => squeeze(x, a.axis)],
  repeat: ['repeats axis?', repeat],
  copy: ['order?', (x) => x],
} as const satisfies Readonly<Record<string, readonly [string, (x: NdArray, a: Args, b: Budget) => NdArray]>>

function inOneRow(x: NdArray, a: Args): NdArray {
  rowMajor(a.order)
  return reshape(x, [-1])
}

/** Dimensions as arguments of their own or as one sequence. */
function flat(v: Value): number[] {
  const [first, ...more] = v.kind === 'tuple' ? v.items : []
  const sequence = first && more.length === 0 && first.kind !== 'int' ? first : v
  return integers(sequence, 'shape')
}

/**
 * The value of a Python expression of literals, arithmetic and a part of numpy. Nothing else is within its reach: names are looked up
 * in tables, and nothing is ever handed to an interpreter.
 * @param literals true: literals alone, as ast.literal_eval reads them. @throws {AppError} USAGE naming position and what is allowed
 */
export function evaluate(text: string, place: Place, literals = false): Value {
  const budget = new Budget()
  const at = <T>(node: Node, work: () => T): T => {
    try {
      return work()
    } catch (e) {
      if (e instanceof ValueProblem) throw wrong(place, node.at, e.expected, e.got)
      throw e
    }
  }
  const only = (node: Node): void => {
    if (literals) throw wrong(place, node.at, 'a literal: numbers, strings, lists, dictionaries', 'a computation')
  }
  const walk = (node: Node): Value => {
    switch (node.kind) {
      case 'int':
        return { kind: 'int', value: node.value }
      case 'float':
        return { kind: 'float', value: node.value }
      case 'str':
      case 'bytes':
        return { kind: node.kind, value: node.value }
      case 'list':
      case 'tuple':
        return { kind: node.kind, items: node.items.map(walk) }
      case 'dict':
        return { kind: 'dict', entries: node.entries.map(([key, value]) => [walk(key), walk(value)] as const) }
      case 'name':
        return named(node.value, node.at)
      case 'attribute':
        return attribute(node)
      case 'unary': {
        const of = walk(node.of)
        return at(node, () => unary(node.op, of, budget))
      }
      case 'binary': {
        only(node)
        const [left, right] = [walk(node.left), walk(node.right)]
        return at(node, () => binary(node.op, left, right, budget))
      }
      case 'call':
        return call(node)
      case 'index': {
        only(node)
        const of = walk(node.of)
        return at(node, () => subscript(of, node.items, walk, budget))
      }
      default:
        throw wrong(place, node.at, 'a value', `a ${node.kind}`)
    }
  }
  const named = (name: string, at: number): Value => {
    if (Object.hasOwn(NAMES, name) && (!literals || /^(True|False|None)$/.test(name))) return NAMES[name]!
    const allowed = literals ? 'a literal' : `a literal or one of ${Object.keys(NAMES).join(', ')}`
    throw wrong(place, at, allowed, `'${name}'`)
  }
  const attribute = (node: Node & { kind: 'attribute' }): Value => {
    const of = walk(node.of)
    if (of.kind === 'module') {
      if (Object.hasOwn(of.members, node.name)) return of.members[node.name]!
      const known = Object.keys(of.members).join(', ')
      throw wrong(place, node.at, `one of ${of.name}'s ${known}`.slice(0, 900), `'${node.name}'`)
    }
    if (of.kind !== 'array') throw wrong(place, node.at, 'np or an array before the dot', describeValue(of))
    if (node.name === 'T') return array(transpose(of.value))
    if (node.name === 'shape')
      return { kind: 'tuple', items: of.value.shape.map((d) => ({ kind: 'int', value: BigInt(d) })) }
    if (node.name === 'dtype') return { kind: 'dtype', value: of.value.dtype }
    if (Object.hasOwn(METHODS, node.name)) {
      const [params, method] = METHODS[node.name as keyof typeof METHODS]
      return fn(node.name, params, (a, b) => array(method(of.value, a, b)))
    }
    throw wrong(place, node.at, `T, shape, dtype, ${Object.keys(METHODS).join(', ')}`, `'${node.name}'`)
  }
  const call = (node: Node & { kind: 'call' }): Value => {
    only(node)
    const of = walk(node.of)
    const args = node.args.map(walk)
    const names = new Map([...node.named].map(([name, value]) => [name, walk(value)]))
    return at(node, () => {
      if (of.kind === 'function') return of.call(bind(of.params, args, names), budget)
      // np.float32(…) converts
      if (of.kind === 'dtype') return array(astype(numbers(bind('x', args, names).x, budget), of.value, budget))
      throw new ValueProblem('a function', describeValue(of))
    })
  }
  return walk(parse(text, place))
}

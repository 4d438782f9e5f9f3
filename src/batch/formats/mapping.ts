import { AppError } from '../../errors.ts'
import { isObject } from './value.ts'

type Cells = readonly string[]
/** SKIP where a leaf has no column. */
type Make = (cells: Cells) => unknown

const SKIP = Symbol('skip')

/**
 * ModelArts' `mapping_rule`: the schema of the request, with the `index` of a column at each leaf. A row becomes a request of that
 * schema; arrays get one element. A leaf with index -1, or with one that no row has, is left out (modelarts.md 1.6).
 * @throws {AppError} USAGE
 */
export function mappingOf(rule: unknown): (cells: Cells) => Record<string, unknown> {
  const make = compile(rule, 'mapping_rule')
  return (cells) => {
    const body = make(cells)
    if (isObject(body)) return body
    throw wrong('mapping_rule', 'a schema of type object', 'another')
  }
}

const LEAVES: Readonly<Record<string, (cell: string, where: string) => unknown>> = {
  string: (cell) => cell,
  number: (cell, where) => numberOf(cell, where, 'a number'),
  integer: (cell, where) => {
    const n = numberOf(cell, where, 'an integer')
    if (Number.isInteger(n)) return n
    throw badCell(where, 'an integer')
  },
  boolean: (cell, where) => {
    const known = { true: true, 1: true, false: false, 0: false } as Readonly<Record<string, boolean>>
    const word = cell.trim().toLowerCase()
    if (Object.hasOwn(known, word)) return known[word]
    throw badCell(where, 'true or false')
  },
}

function compile(node: unknown, where: string): Make {
  if (!isObject(node)) throw wrong(where, 'a schema', 'another value')
  const { type, properties, items, index } = node
  if (type === 'object' || properties !== undefined) return compileObject(properties, where)
  if (type === 'array' || items !== undefined) {
    const element = compile(Array.isArray(items) ? items[0] : items, `${where}.items`)
    return (cells) => {
      const value = element(cells)
      return value === SKIP ? [] : [value]
    }
  }
  const read = typeof type === 'string' && Object.hasOwn(LEAVES, type) ? LEAVES[type]! : undefined
  if (!read) throw wrong(`${where}.type`, `object, array, ${Object.keys(LEAVES).join(', ')}`, 'another')
  if (typeof index !== 'number' || !Number.isInteger(index) || index < 0) return () => SKIP
  return (cells) => (index < cells.length ? read(cells[index]!, `column ${index}`) : SKIP)
}

function compileObject(properties: unknown, where: string): Make {
  if (!isObject(properties)) throw wrong(`${where}.properties`, 'an object', 'another value')
  const members = Object.entries(properties).map(([name, p]) => [name, compile(p, `${where}.${name}`)] as const)
  return (cells) => {
    const made = members.map(([name, make]) => [name, make(cells)] as const)
    return Object.fromEntries(made.filter(([, value]) => value !== SKIP))
  }
}

function numberOf(cell: string, where: string, expected: string): number {
  const n = Number(cell)
  if (cell.trim() === '' || !Number.isFinite(n)) throw badCell(where, expected)
  return n
}

const badCell = (where: string, expected: string) => new AppError('BAD_INPUT', { where, expected, got: 'another text' })

const wrong = (where: string, expected: string, got: string) => new AppError('USAGE', { where, expected, got })

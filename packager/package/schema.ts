import { nearest } from '../../src/nearest.ts'
import type { Report } from './findings.ts'
import { describeJson, type Json, plain } from './json.ts'

/** A JSON Schema in ModelArts' dialect: draft-04, the extra type `file`, `items: [schema]` for "array of". */
export type JsonSchema = Readonly<Record<string, unknown>>

const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null', 'file']
/** types of the parameters of an older API, seen in old packages */
const OLD_TYPES: Readonly<Record<string, string>> = {
  int: 'integer',
  float: 'number',
  timestamp: 'string',
  date: 'string',
  box: 'array',
}

type Shape =
  | 'schema'
  | 'schemas'
  | 'map'
  | 'items'
  | 'type'
  | 'names'
  | 'count'
  | 'number'
  | 'flag'
  | 'text'
  | 'list'
  | 'any'

/** Keyword → what its value must be. `either` of draft-04 (flag) and later drafts (number) is accepted for the exclusive limits. */
const KEYWORDS: Readonly<Record<string, readonly Shape[]>> = {
  type: ['type'],
  properties: ['map'],
  patternProperties: ['map'],
  definitions: ['map'],
  required: ['names'],
  items: ['items'],
  additionalItems: ['flag', 'schema'],
  additionalProperties: ['flag', 'schema'],
  allOf: ['schemas'],
  anyOf: ['schemas'],
  oneOf: ['schemas'],
  not: ['schema'],
  enum: ['list'],
  const: ['any'],
  default: ['any'],
  example: ['any'],
  examples: ['list'],
  minItems: ['count'],
  maxItems: ['count'],
  minLength: ['count'],
  maxLength: ['count'],
  minProperties: ['count'],
  maxProperties: ['count'],
  uniqueItems: ['flag'],
  minimum: ['number'],
  maximum: ['number'],
  multipleOf: ['number'],
  exclusiveMinimum: ['flag', 'number'],
  exclusiveMaximum: ['flag', 'number'],
  pattern: ['text'],
  format: ['text'],
  title: ['text'],
  description: ['text'],
  id: ['text'],
  $id: ['text'],
  $schema: ['text'],
}
/** known slips: samples of the platform itself write `item` */
const MISSPELT: Readonly<Record<string, string>> = { item: 'items' }

const WORDS: Readonly<Record<Shape, string>> = {
  schema: 'a schema (an object)',
  schemas: 'a list of schemas',
  map: 'an object of schemas',
  items: 'a schema, or a list of one schema per position',
  type: `one of ${TYPES.join(', ')}`,
  names: 'a list of different property names',
  count: 'a whole number, not negative',
  number: 'a number',
  flag: 'true or false',
  text: 'text',
  list: 'a list that is not empty',
  any: 'anything',
}

/** Reports what is wrong, and gives the schema with slips mended. */
export function checkSchema(node: Json, report: Report): JsonSchema {
  if (node.type !== 'object') {
    report('CONFIG_SCHEMA', node, { expected: WORDS.schema, got: describeJson(node) })
    return {}
  }
  const made: [string, unknown][] = []
  for (const [key, value] of node.members) {
    const slip = Object.hasOwn(MISSPELT, key) ? MISSPELT[key] : undefined
    const name = slip && !node.members.has(slip) ? slip : key
    if (name !== key) report('CONFIG_MISSPELT_KEY', value, { expected: `'${name}'`, got: `'${key}'` })
    const shapes = Object.hasOwn(KEYWORDS, name) ? KEYWORDS[name] : undefined
    if (!shapes) {
      const near = nearest(key, Object.keys(KEYWORDS))
      const fix = near ? `Did you mean '${near}'?` : 'Remove it.'
      report('CONFIG_UNKNOWN', value, { expected: 'a keyword of JSON Schema', got: `'${key}'`, fix })
      continue
    }
    const shape = shapes.find((s) => fits(value, s))
    if (shape) made.push([name, build(value, shape, report)])
    else {
      const fix =
        name === 'required' && value.type === 'boolean' ? "List the property in the parent's 'required'." : undefined
      const expected = `${shapes.map((s) => WORDS[s]).join(', or ')} for '${name}'`
      report('CONFIG_SCHEMA', value, { expected, got: describeJson(value), fix })
    }
  }
  return Object.fromEntries(made)
}

function fits(node: Json, shape: Shape): boolean {
  const value = node.type === 'object' || node.type === 'array' ? undefined : node.value
  const members = node.type === 'array' ? node.items : undefined
  switch (shape) {
    case 'schema':
    case 'map':
      return node.type === 'object'
    case 'schemas':
    case 'list':
      return members !== undefined && members.length > 0
    case 'items':
      return node.type === 'object' || (members !== undefined && members.length > 0)
    case 'type':
      return members ? members.length > 0 && members.every((m) => fits(m, 'type')) : isType(value)
    case 'names':
      return members?.every((m) => m.type === 'string') === true && distinct(members)
    case 'count':
      return typeof value === 'number' && Number.isInteger(value) && value >= 0
    case 'number':
      return typeof value === 'number' && Number.isFinite(value)
    case 'flag':
      return typeof value === 'boolean'
    case 'text':
      return typeof value === 'string'
    case 'any':
      return true
  }
}

const isType = (value: unknown) =>
  typeof value === 'string' && (TYPES.includes(value) || Object.hasOwn(OLD_TYPES, value))
const distinct = (nodes: readonly Json[]) => new Set(nodes.map((n) => plain(n))).size === nodes.length

function build(node: Json, shape: Shape, report: Report): unknown {
  if (shape === 'schema' || (shape === 'items' && node.type === 'object')) return checkSchema(node, report)
  if (node.type === 'array' && (shape === 'schemas' || shape === 'items')) {
    return node.items.map((s) => checkSchema(s, report))
  }
  if (node.type === 'object' && shape === 'map') {
    return Object.fromEntries([...node.members].map(([name, s]) => [name, checkSchema(s, report)]))
  }
  if (node.type === 'string' && shape === 'type' && Object.hasOwn(OLD_TYPES, String(node.value))) {
    const right = OLD_TYPES[String(node.value)]
    report('CONFIG_MISSPELT_VALUE', node, {
      expected: `'${right}'`,
      got: `'${node.value}'`,
      fix: `It is read as '${right}'.`,
    })
    return right
  }
  return plain(node)
}

/**
 * Where `type: file` may stand: in a form ('fields') as a property of the top object, or in a list there (several
 * files in one field); in JSON ('none') nowhere. A form must be an object.
 */
export function acceptsFiles(data: Json, where: 'fields' | 'none', report: Report): void {
  if (data.type !== 'object') return
  const type = data.members.get('type')
  if (where === 'fields' && type?.type === 'string' && type.value !== 'object') {
    report('CONFIG_SCHEMA', type, { expected: "'object': a form has fields", got: describeJson(type) })
  }
  const properties = data.members.get('properties')
  const walk = (node: Json, inField: boolean): void => {
    if (node.type === 'array') for (const item of node.items) walk(item, inField)
    if (node.type !== 'object') return
    const own = node.members.get('type')
    if (own?.type === 'string' && own.value === 'file' && !(where === 'fields' && inField)) {
      const fix =
        where === 'none'
          ? "Only a request of the type 'multipart/form-data' carries files."
          : 'A file is a field of the form itself: a property of the top object.'
      report('CONFIG_SCHEMA', own, { expected: 'another type', got: "'file'", fix })
    }
    for (const [key, child] of node.members) {
      if (!VALUES.has(key)) walk(child, inField && (key === 'items' || key === 'item'))
    }
  }
  if (where === 'none') {
    walk(data, false)
    return
  }
  for (const [key, child] of data.members) {
    if (child !== properties) {
      if (!VALUES.has(key)) walk(child, false)
    } else if (child.type === 'object') for (const field of child.members.values()) walk(field, true)
  }
}

/** keywords whose values are data, not schemas */
const VALUES = new Set(['enum', 'const', 'default', 'example', 'examples', 'required'])

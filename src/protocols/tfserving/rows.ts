import { AppError, ERRORS, isAppError } from '../../errors.ts'
import type { Signature, TensorSpec } from '../../manifest.ts'
import type { Tensor } from '../../tensor.ts'
import { isBase64, toTensor } from '../../tensorjson/convert.ts'
import { quoteJson } from '../../tensorjson/spell.ts'
import { differs, stack } from '../../tensorjson/stack.ts'
import { expand, isList, isNumbers, isObject, type Json, type JsonObject, member } from '../../tensorjson/value.ts'
import type { Tensors } from '../../types.ts'
import { invalid, wrongBody } from './body.ts'

/** `instances`: values of the only input, or objects of all; each gives one tensor, and a new first dimension joins them. */
export function rows(root: JsonObject, given: Json, { inputs }: Signature): Tensors {
  if (!isList(given) && !isNumbers(given))
    throw wrongBody(root, "Excepting 'instances' to be an list/array", 'instances that are no list')
  if (isNumbers(given) ? given.shape[0] === 0 : given.length === 0)
    throw wrongBody(root, "No values in 'instances' array", 'instances without a value')
  if (isList(given) && isRow(given[0])) return objects(given, inputs)
  const [[alias, spec] = ['', undefined], ...more] = Object.entries(inputs)
  if (spec === undefined || more.length > 0)
    throw invalid(
      'instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map',
      { where: 'instances', expected: `objects with ${Object.keys(inputs).join(', ')}`, got: 'values' },
    )
  const feeds: Tensors = Object.create(null)
  feeds[alias] = values(given, spec)
  return feeds
}

function isRow(v: Json | undefined): v is JsonObject {
  return v !== undefined && isObject(v) && !isBase64(v)
}

/** The list nearly always is the tensor as it stands. If not, each element is looked at for what is wrong with it. */
function values(given: Exclude<Parameters<typeof toTensor>[0], string>, spec: TensorSpec): Tensor {
  try {
    return toTensor(given, spec)
  } catch (e) {
    if (!isAppError(e)) throw e
  }
  const tensors: Tensor[] = []
  const list = given !== null && isNumbers(given) ? expand(given) : (given as readonly Json[])
  for (const [i, element] of list.entries()) {
    if (isRow(element))
      throw invalid(`Expecting value/list but got object at item ${i} of input list`, {
        where: `instances[${i}]`,
        expected: 'a value or list',
        got: 'an object',
      })
    tensors.push(elementTensor(element, spec, { i, first: tensors[0] }))
  }
  return stack(tensors)
}

function objects(list: readonly Json[], inputs: Signature['inputs']): Tensors {
  return regularObjects(list, inputs) ?? irregularObjects(list, inputs)
}

/** Objects that each have exactly the inputs, as nearly all requests have them; undefined where anything is wrong. */
function regularObjects(list: readonly Json[], inputs: Signature['inputs']): Tensors | undefined {
  const names = Object.keys(inputs)
  const feeds: Tensors = Object.create(null)
  try {
    for (const name of names) {
      const column: Json[] = []
      for (const element of list) {
        const value = isRow(element) && element.members.length === names.length ? member(element, name) : undefined
        if (value === undefined) return undefined
        column.push(value)
      }
      // scalars are the elements of one list; of lists each may be an array already
      const scalars = column.every((v) => !isList(v) && (v === null || !isNumbers(v)))
      const tensors = scalars ? [] : column.map((v) => toTensor(v, inputs[name]!))
      if (tensors.some((t) => differs(t, tensors[0]!))) return undefined
      feeds[name] = scalars ? toTensor(column, inputs[name]!) : stack(tensors)
    }
    return feeds
  } catch (e) {
    if (isAppError(e)) return undefined
    throw e
  }
}

/** One by one, so that what is wrong can be told by its place; objects may leave out inputs that have a default. */
function irregularObjects(list: readonly Json[], inputs: Signature['inputs']): Tensors {
  const columns = new Map<string, Tensor[]>()
  for (const [i, element] of list.entries()) {
    if (!isRow(element))
      throw invalid(`Expecting object but got list at item ${i} of input list`, {
        where: `instances[${i}]`,
        expected: 'an object',
        got: 'a value',
      })
    for (const [key, value] of element.members) {
      const column = columns.get(key) ?? []
      if (!Object.hasOwn(inputs, key)) throw unknownInput(i, key, inputs)
      // of two members of a name the first counts
      if (column.length > i) continue
      column.push(elementTensor(value, inputs[key]!, { i, key, first: column[0] }))
      columns.set(key, column)
    }
    checkKeys(element, i, inputs, columns)
  }
  const feeds: Tensors = Object.create(null)
  for (const [key, column] of columns) feeds[key] = stack(column)
  return feeds
}

/** Every object has the same keys: those of the inputs. One with a default may be left out of all. */
function checkKeys(element: JsonObject, i: number, inputs: Signature['inputs'], columns: Map<string, Tensor[]>): void {
  const missing = Object.entries(inputs).filter(
    ([key, spec]) => columns.get(key)?.length !== i + 1 && !(spec.optional && !columns.has(key)),
  )
  if (missing.length === 0) return
  const keys = Object.keys(inputs).sort().join(',')
  const quoted = quoteJson(element)
  throw invalid(
    `Failed to process element: ${i} of 'instances' list. JSON object: ${quoted} must only have keys: ${keys}`,
    { where: `instances[${i}]`, expected: `the keys ${keys}`, got: `none of ${missing.map(([key]) => key)}` },
    'MISSING_INPUT',
  )
}

interface Place {
  readonly i: number
  readonly key?: string
  /** of the first element, whose shape all others have */
  readonly first: Tensor | undefined
}

function elementTensor(value: Json, spec: TensorSpec, { i, key, first }: Place): Tensor {
  const where = key === undefined ? `instances[${i}]` : `instances[${i}].${key.slice(0, 80)}`
  try {
    const t = toTensor(value, spec)
    const fault = first && differs(t, first)
    if (!fault) return t
    throw invalid(fault, { expected: `[${first.shape}] as before`, got: `[${t.shape}]` }, 'WRONG_SHAPE')
  } catch (e) {
    if (!isAppError(e)) throw e
    throw new AppError(e.code, { ...e.details, where, reply: inElement(i, key, e) })
  }
}

function inElement(i: number, key: string | undefined, error: AppError): string {
  const status = ERRORS[error.code].status === 501 ? 'UNIMPLEMENTED' : 'INVALID_ARGUMENT'
  const named = key === undefined ? '' : ` key: ${key}`
  return `Failed to process element: ${i}${named} of 'instances' list. Error: ${status}: ${error.details.reply}`
}

function unknownInput(i: number, key: string, inputs: Signature['inputs']): AppError {
  const reply = `JSON object: does not have named input: ${key}`
  const details = { where: `instances[${i}]`, expected: Object.keys(inputs).join(', '), got: key.slice(0, 80), reply }
  return new AppError('UNKNOWN_INPUT', { ...details, reply: inElement(i, key, new AppError('UNKNOWN_INPUT', details)) })
}

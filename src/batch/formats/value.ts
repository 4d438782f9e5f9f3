import { isAppError } from '../../errors.ts'
import { selector } from '../jsonpath.ts'
import type { ReadContext, RecordInput } from '../types.ts'
import { badRecord } from './limits.ts'

export interface Named {
  readonly id?: string
  readonly input: RecordInput
}

/**
 * A parsed record as input: filtered, named, and handed to `_preprocess` where that can take it. `refine` is for what no filter
 * was asked for.
 */
export async function valueReader(
  context: ReadContext,
  refine: (value: unknown) => unknown = (value) => value,
): Promise<(value: unknown) => Named> {
  const { options } = context
  const takes = takesRequests(context)
  const filter = await selector(options.inputFilter, 'inputFilter')
  return (value) => {
    const id = idOf(value, options.idField)
    const seen = filter ? filter(value) : refine(value)
    if (seen === undefined) return { ...id, input: badRecord('inputFilter', 'a part of the record', 'none') }
    const request = takes && isObject(seen)
    return { ...id, input: request ? { kind: 'data', data: seen } : { kind: 'instance', value: seen } }
  }
}

function idOf(value: unknown, field: string | undefined): { id?: string } {
  const member = field !== undefined && isObject(value) && Object.hasOwn(value, field) ? value[field] : undefined
  return typeof member === 'string' || typeof member === 'number' || typeof member === 'bigint'
    ? { id: String(member) }
    : {}
}

/** What goes wrong with one record is its own. */
export function attempt<T>(read: () => T, named: (input: RecordInput) => T): T {
  try {
    return read()
  } catch (e) {
    if (!isAppError(e)) throw e
    return named({ kind: 'bad', code: e.code, reason: e.message })
  }
}

export function isObject(v: unknown): v is Record<string, unknown> {
  return typeof v === 'object' && v !== null && !Array.isArray(v)
}

/** A row of a table, whose columns have names: a request, or values for inputs. */
export function rowValue(row: Readonly<Record<string, unknown>>, { signature, options, ...c }: ReadContext): unknown {
  if (takesRequests(c)) return row
  const inputs = Object.entries(signature.inputs)
  const needed = inputs.filter(([, i]) => !i.optional).map(([alias]) => alias)
  // columns that are no inputs (labels, names) are what joins are for
  if (needed.every((alias) => Object.hasOwn(row, alias)))
    return Object.fromEntries(Object.entries(row).filter(([name]) => Object.hasOwn(signature.inputs, name)))
  if (needed.length !== 1) return row
  return Object.entries(row).flatMap(([name, v]) => (name === options.idField ? [] : [v]))
}

/** A `_preprocess` for uploaded files has no use for rows, which then go to the model itself. */
export function takesRequests({ preprocess, fields }: Pick<ReadContext, 'preprocess' | 'fields'>): boolean {
  const all = Object.values(fields ?? {})
  return preprocess && (all.length === 0 || all.some((f) => f.kind !== 'file'))
}

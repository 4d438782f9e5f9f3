import { isAppError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { selector } from '../jsonpath.ts'
import { createRoom, type Memory, tensorsOfText } from '../numeric.ts'
import type { Decode, DecodeContext, Named, ReadContext } from '../types.ts'
import { badRecord } from './limits.ts'

/**
 * A parsed record as input: filtered, named, and handed to `_preprocess` where that can take it. `refine` is for what no filter
 * was asked for.
 */
export async function valueReader(
  context: DecodeContext,
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

/** Decodes records that are JSON, each by itself. */
export function valueDecoder(where: string): (context: DecodeContext, memory?: Memory) => Promise<Decode> {
  return async (context, memory) => {
    const { options, preprocess, signature } = context
    const direct = !preprocess && options.inputFilter === undefined && options.idField === undefined
    const read = await valueReader(context)
    const { room, used } = createRoom(signature, memory)
    return ({ bytes }) => {
      const tensors = direct ? tensorsOfText(bytes, signature, room) : undefined
      if (tensors) used(tensors)
      if (tensors) return { input: { kind: 'tensors', tensors } }
      return attempt<Named>(
        () => read(parseJson(bytes, where)),
        (input) => ({ input }),
      )
    }
  }
}

/** What goes wrong with one record is its own. */
export function attempt<T>(read: () => T, named: (input: Named['input']) => T): T {
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
export function rowValue(row: Readonly<Record<string, unknown>>, { signature, options, ...c }: DecodeContext): unknown {
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

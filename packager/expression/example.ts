import { AppError } from '../../src/errors.ts'
import { encode } from '../formats/protobuf.ts'
import { describeValue, type Value } from './value.ts'

/**
 * Serialized tf.train.Examples from a list of dictionaries, one character a byte. The kind of a feature is that of its first value,
 * as saved_model_cli has it. @throws {AppError} BAD_EXAMPLE
 */
export function serializedExamples(v: Value, input: string): string[] {
  if (v.kind !== 'list') throw bad(input, 'a list of dictionaries', describeValue(v), "Write [{'feature': [1.5]}].")
  return v.items.map((example, i) => {
    const where = `${input}[${i}]`
    if (example.kind !== 'dict') throw bad(where, 'a dictionary', describeValue(example))
    const feature: Record<string, object> = Object.create(null)
    for (const [key, values] of example.entries) {
      if (key.kind !== 'str') throw bad(where, 'feature names that are strings', describeValue(key))
      feature[key.value] = featureOf(values, `${where} feature ${key.value.slice(0, 80)}`)
    }
    return Buffer.from(encode('tensorflow.Example', { features: { feature } })).toString('latin1')
  })
}

type Kind = Value['kind']

/** By the kind of the first value: the list it goes to, what else may be in it, and how a value is written. */
const LISTS: Partial<Record<Kind, { list: string; kinds: readonly Kind[]; write: (v: Value) => unknown }>> = {
  float: { list: 'float_list', kinds: ['float', 'int', 'bool'], write: (v) => ('value' in v ? Number(v.value) : 0) },
  str: { list: 'bytes_list', kinds: ['str'], write: (v) => Buffer.from('value' in v ? String(v.value) : '', 'utf8') },
  bytes: {
    list: 'bytes_list',
    kinds: ['bytes'],
    write: (v) => Buffer.from('value' in v ? String(v.value) : '', 'latin1'),
  },
  int: { list: 'int64_list', kinds: ['int', 'bool'], write: int64 },
  bool: { list: 'int64_list', kinds: ['int', 'bool'], write: int64 },
}

function featureOf(v: Value, where: string): object {
  if (v.kind !== 'list') throw bad(where, 'a list of values', describeValue(v))
  const [first] = v.items
  if (!first) throw bad(where, 'at least one value, which tells its kind', 'an empty list', 'Leave the feature out.')
  const row = LISTS[first.kind]
  if (!row) throw bad(where, 'numbers or strings', describeValue(first))
  const other = v.items.find((x) => !row.kinds.includes(x.kind))
  if (other) throw bad(where, `values like the first, ${describeValue(first)}`, describeValue(other))
  return { [row.list]: { value: v.items.map(row.write) } }
}

/** The two halves of an int64. */
function int64(v: Value): { low: number; high: number; unsigned: boolean } {
  const n = v.kind === 'int' || v.kind === 'bool' ? BigInt(v.value) : 0n
  if (BigInt.asIntN(64, n) !== n) throw bad('an integer of a feature', 'an int64', 'a larger one')
  return { low: Number(BigInt.asIntN(32, n)), high: Number(BigInt.asIntN(32, n >> 32n)), unsigned: false }
}

function bad(where: string, expected: string, got: string, fix?: string): AppError {
  return new AppError('BAD_EXAMPLE', { where, expected, got, fix })
}

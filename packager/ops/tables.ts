import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, constStrings, type OnnxAttr, type Value } from '../onnx/value.ts'
import { expectHandle, handleOf } from './core.ts'
import { type AnyNode, type Handle, type OpRow, type OpTable, type Out, op, unsupported } from './op.ts'

interface Filled {
  keys: Value
  values: Value
}

const table: OpRow = op({
  in: [],
  attrs: { key_dtype: 'type', value_dtype: 'type' },
  emit: (n) => handleOf(n, 'table', { key: n.dtype('key_dtype'), value: n.dtype('value_dtype') }),
})

const fill: OpRow = op({
  in: ['table!', 'keys', 'values'],
  emit: (n) => {
    expectHandle(n, n.in.table, 'table').state.filled = { keys: n.in.keys, values: n.in.values } satisfies Filled
    return []
  },
})

const fillFromFile: OpRow = op({
  in: ['table!', 'filename'],
  attrs: { key_index: 'int', value_index: 'int', vocab_size: -1, delimiter: '\t' as never, offset: 0 },
  emit: (n, b) => {
    const handle = expectHandle(n, n.in.table, 'table')
    const name = constStrings(n.in.filename)?.[0] ?? ''
    const text = n.env.asset(name) ?? n.env.asset(name.split('/').at(-1) ?? '')
    if (text === undefined) throw unsupported(n, 'a vocabulary among the assets', 'none of that name')
    const lines = text.split('\n')
    if (lines.at(-1) === '') lines.pop()
    const used = (n.attrs.vocab_size > 0 ? lines.slice(0, n.attrs.vocab_size) : lines).slice(n.attrs.offset)
    const delimiter = (n.node.attrs.delimiter as string | undefined) ?? '\t'
    const column = (index: number, dtype: DType): Value => {
      const cells = used.map((line, i) =>
        index === -1 ? i : index === -2 ? line : (line.split(delimiter)[index] ?? ''),
      )
      return dtype === 'string'
        ? b.const({ dtype, shape: [cells.length], data: cells.map(String) })
        : b.filled(dtype, [cells.length], cells.map(Number))
    }
    handle.state.filled = {
      keys: column(n.attrs.key_index, handle.state.key as DType),
      values: column(n.attrs.value_index, handle.state.value as DType),
    } satisfies Filled
    return []
  },
})

/** @throws {AppError} UNSUPPORTED_OPS where nothing fills the table before inference */
export function filled(n: AnyNode, out: Out | undefined): { handle: Handle; keys: Value; values: Value } {
  const handle = expectHandle(n, out, 'table')
  if (!handle.state.filled) n.env.initialise(handle)
  const f = handle.state.filled as Filled | undefined
  if (!f) throw unsupported(n, 'a table filled by an init op', 'an empty one')
  return { handle, ...f }
}

const PLURAL = { string: 'strings', int64: 'int64s', float32: 'floats' } as const

/** LabelEncoder knows strings, int64 and float; other integers pass through int64, which holds them all. */
function lookup(n: AnyNode, from: Out | undefined, keys: Value, missing: Value, b: Builder): Value {
  const t = filled(n, from)
  const wide = (d: string): keyof typeof PLURAL =>
    d === 'string' ? 'string' : d === 'float32' || d === 'float64' || d === 'float16' ? 'float32' : 'int64'
  const [k, v] = [wide(keys.dtype), wide(t.values.dtype)]
  const list = (c: Value, kind: string): OnnxAttr | undefined => (kind === 'string' ? constStrings(c) : constNumbers(c))
  const [keyList, valueList, fallback] = [list(t.keys, k), list(t.values, v), list(missing, v)]
  if (!keyList || !valueList || !Array.isArray(fallback))
    throw unsupported(n, 'a table with constant content and default', 'computed content')
  const attrs = {
    [`keys_${PLURAL[k]}`]: keyList,
    [`values_${PLURAL[v]}`]: valueList,
    [`default_${PLURAL[v].slice(0, -1)}`]: fallback[0] as OnnxAttr,
  }
  const [found] = b.ops(
    'LabelEncoder',
    [k === keys.dtype ? keys : b.cast(keys, k)],
    attrs,
    1,
    [{ dtype: v, shape: keys.shape }],
    'ai.onnx.ml',
  )
  return b.cast(found!, t.values.dtype as DType)
}

/** Vocabularies: static hash tables become LabelEncoder. */
export const TABLES = {
  HashTable: table,
  HashTableV2: table,
  InitializeTable: fill,
  InitializeTableV2: fill,
  LookupTableImport: fill,
  LookupTableImportV2: fill,
  InitializeTableFromTextFile: fillFromFile,
  InitializeTableFromTextFileV2: fillFromFile,
  LookupTableFind: op({
    in: ['table!', 'keys', 'default_value'],
    emit: (n, b) => lookup(n, n.in.table, n.in.keys, n.in.default_value, b),
  }),
  LookupTableFindV2: op({
    in: ['table!', 'keys', 'default_value'],
    emit: (n, b) => lookup(n, n.in.table, n.in.keys, n.in.default_value, b),
  }),
  LookupTableSize: op({
    in: ['table!'],
    emit: (n, b) =>
      b.const({
        dtype: 'int64',
        shape: [],
        data: BigInt64Array.of(BigInt(filled(n, n.in.table).keys.data!.data.length)),
      }),
  }),
  LookupTableSizeV2: op({
    in: ['table!'],
    emit: (n, b) =>
      b.const({
        dtype: 'int64',
        shape: [],
        data: BigInt64Array.of(BigInt(filled(n, n.in.table).keys.data!.data.length)),
      }),
  }),
} satisfies OpTable

import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constStrings, type Value } from '../onnx/value.ts'
import { constant, expectHandle, handleOf } from './core.ts'
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
  emit: (n, b) => {
    const handle = expectHandle(n, n.in.table, 'table')
    const { keys, values } = n.in
    const count = keys.shape?.[0]
    // dense tables are stored as matrices of one column
    const column = (v: Value): Value =>
      typeof count === 'number' && v.shape?.length === 2 && v.shape[1] === 1 ? b.reshape(v, [count]) : v
    const vectors = handle.node.op.includes('OfTensors')
    const all = { keys: column(keys), values: vectors ? values : column(values) } satisfies Filled
    handle.state.filled = handle.state.reserved ? used(all, handle.state.reserved as readonly Value[], b) : all
    return []
  },
})

/** A dense table is stored with its free buckets, which have a reserved key. */
function used(all: Filled, reserved: readonly Value[], b: Builder): Filled {
  const free = new Set(reserved.map((v) => v.data?.data[0]))
  const keys = Array.from((all.keys.data?.data ?? []) as ArrayLike<number | bigint | string>)
  const places = b.ints(keys.flatMap((k, i) => (free.has(k) ? [] : [i])))
  return { keys: b.gather(all.keys, places), values: b.gather(all.values, places) }
}

const denseTable: OpRow = op({
  in: ['empty_key', 'deleted_key'],
  attrs: { value_dtype: 'type' },
  emit: (n) => {
    const reserved = [n.in.empty_key, n.in.deleted_key]
    return handleOf(n, 'table', { key: n.in.empty_key.dtype, value: n.dtype('value_dtype'), reserved })
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

/** LabelEncoder's own names for the dtypes it knows; other integers pass through int64, which holds them all. */
const wide = (d: string): 'string' | 'int64' | 'float32' =>
  d === 'string' ? 'string' : d === 'float32' || d === 'float16' ? 'float32' : 'int64'

function encoded(keys: Value, from: Value, to: Value, missing: Value, b: Builder): Value {
  const [k, v] = [wide(from.dtype), wide(to.dtype)]
  const attrs = {
    keys_tensor: b.cast(from, k).data!,
    values_tensor: b.cast(to, v).data!,
    default_tensor: b.reshape(b.cast(missing, v), [1]).data!,
  }
  const out = [{ dtype: v, shape: keys.shape }]
  return b.ops('LabelEncoder', [b.cast(keys, k)], attrs, 1, out, 'ai.onnx.ml')[0]!
}

/** The values of keys. Those that LabelEncoder cannot carry, vectors and defaults that are computed are looked up by their position. */
function lookup(n: AnyNode, from: Out | undefined, keys: Value, missing: Value, b: Builder): Value {
  const { keys: known, values } = filled(n, from)
  if (known.dtype === 'float64') throw unsupported(n, 'keys of strings, integers or float32', known.dtype)
  if (known.shape?.length !== 1) throw unsupported(n, 'keys without dimensions', `keys of rank ${known.shape?.length}`)
  if (!known.data || !values.data) throw unsupported(n, 'a table with constant content', 'computed content')
  const dtype = values.dtype as DType
  const count = known.data.data.length
  const single = missing.shape?.length === 0 || (missing.shape?.length === 1 && missing.shape[0] === 1)
  if (count > 0 && values.shape!.length === 1 && single && missing.data && dtype !== 'float64' && dtype !== 'uint64')
    return b.cast(encoded(keys, known, values, missing, b), dtype)
  const inner = values.shape!.slice(1) as number[]
  const whole = missing.shape?.length === inner.length
  const table = b.concat(
    [values, whole ? b.unsqueeze(missing, [0]) : b.op('Expand', [zero(dtype, b), b.ints([1, ...inner])])],
    0,
  )
  const places = b.const({
    dtype: 'int64',
    shape: [count],
    data: BigInt64Array.from({ length: count }, (_, i) => BigInt(i)),
  })
  const at = count > 0 ? encoded(keys, known, places, b.int(count), b) : b.op('Expand', [b.int(0), b.shapeOf(keys)])
  const found = b.gather(table, at)
  if (whole) return found
  const hit = b.op('Less', [at, b.int(count)])
  return b.op('Where', [inner.length > 0 ? b.unsqueeze(hit, [-1]) : hit, found, missing])
}

const zero = (dtype: DType, b: Builder): Value =>
  dtype === 'string' ? b.const({ dtype, shape: [], data: [''] }) : b.scalar(dtype, 0)

const find = op({
  in: ['table!', 'keys', 'default_value'],
  out: ['values'],
  note: 'of tables that initialisers or the checkpoint fill',
  emit: (n, b) => lookup(n, n.in.table, n.in.keys, n.in.default_value, b),
})

const size = op({
  in: ['table!'],
  emit: (n, b) => b.int(filled(n, n.in.table).keys.data!.data.length),
})

const exported = op({
  in: ['table!'],
  out: ['keys', 'values'],
  emit: (n) => {
    const { keys, values } = filled(n, n.in.table)
    return [keys, values]
  },
})

/** Vocabularies: tables whose content is known become LabelEncoder. */
export const TABLES = {
  HashTable: table,
  HashTableV2: table,
  AnonymousHashTable: table,
  MutableHashTable: table,
  MutableHashTableV2: table,
  AnonymousMutableHashTable: table,
  MutableHashTableOfTensors: table,
  MutableHashTableOfTensorsV2: table,
  AnonymousMutableHashTableOfTensors: table,
  MutableDenseHashTableV2: denseTable,
  InitializeTable: fill,
  InitializeTableV2: fill,
  LookupTableImport: fill,
  LookupTableImportV2: fill,
  InitializeTableFromTextFile: fillFromFile,
  InitializeTableFromTextFileV2: fillFromFile,
  RestoreV2: op({
    in: ['prefix', 'tensor_names', 'shape_and_slices'],
    out: ['tensors*dtypes'],
    attrs: { dtypes: 'types' },
    note: 'where it fills a lookup table',
    emit: (n, b) => {
      const names = constStrings(n.in.tensor_names)
      const slices = constStrings(n.in.shape_and_slices)
      if (!names || slices?.some((s) => s !== '')) throw unsupported(n, 'whole tensors by constant names', 'others')
      return names.map((name) => {
        const t = n.env.restored(name)
        if (!t) throw unsupported(n, `'${name}' in the checkpoint`, 'no such tensor')
        return constant(t, b)
      })
    },
  }),
  LookupTableFind: find,
  LookupTableFindV2: find,
  LookupTableSize: size,
  LookupTableSizeV2: size,
  LookupTableExport: exported,
  LookupTableExportV2: exported,
} satisfies OpTable

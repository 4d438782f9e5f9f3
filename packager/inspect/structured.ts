import type { Tensor } from '../../src/tensor.ts'
import { formatArray } from '../expression/numpyformat.ts'
import { tfDType } from '../formats/proto/tensorflow.ts'
import { type Int64, toNumber } from '../formats/protobuf.ts'
import { type ShapeProto, type TensorProto, tensorOf } from '../formats/tftensor.ts'
import { pyFloat, pyString } from './python.ts'

/** tensorflow.StructuredValue: Python values as an object graph keeps them. */
export interface StructuredValue {
  readonly none_value?: object
  readonly float64_value?: number
  readonly int64_value?: Int64
  readonly string_value?: string
  readonly bool_value?: boolean
  readonly tensor_shape_value?: ShapeProto
  readonly tensor_dtype_value?: number
  readonly tensor_spec_value?: SpecProto
  readonly bounded_tensor_spec_value?: SpecProto & { readonly minimum?: TensorProto; readonly maximum?: TensorProto }
  readonly type_spec_value?: {
    readonly type_spec_class?: number
    readonly type_state?: StructuredValue
    readonly type_spec_class_name?: string
  }
  readonly list_value?: { readonly values?: readonly StructuredValue[] }
  readonly tuple_value?: { readonly values?: readonly StructuredValue[] }
  readonly dict_value?: { readonly fields?: Readonly<Record<string, StructuredValue>> }
  readonly named_tuple_value?: {
    readonly name: string
    readonly values?: readonly { readonly key: string; readonly value: StructuredValue }[]
  }
}
interface SpecProto {
  readonly name: string
  readonly shape?: ShapeProto
  readonly dtype: number
}

/** Such a value as Python has it: what type() and str() and repr() say, and what it holds. */
export interface PyValue {
  readonly type: string
  readonly str: string
  readonly repr: string
  /** of a TensorSpec */
  readonly name?: string
  /** of what can be iterated and is no dict */
  readonly items?: readonly PyValue[]
  readonly fields?: readonly (readonly [string, PyValue])[]
}

const plain = (type: string, str: string, repr = str): PyValue => ({ type, str, repr })

/** One row per kind of value, under the name of its field. */
const KINDS: { readonly [K in keyof StructuredValue]-?: (v: NonNullable<StructuredValue[K]>) => PyValue } = {
  none_value: () => plain('NoneType', 'None'),
  float64_value: (v) => plain('float', pyFloat(v)),
  int64_value: (v) => plain('int', String(v)),
  string_value: (v) => plain('str', v, pyString(v)),
  bool_value: (v) => plain('bool', v ? 'True' : 'False'),
  tensor_shape_value: (v) => ({
    ...plain('TensorShape', spellShape(v), `TensorShape(${dims(v) ? `[${dims(v)!.join(', ')}]` : 'None'})`),
    items: (dims(v) ?? []).map((d) => plain('int', d)),
  }),
  tensor_dtype_value: (v) => plain('DType', `<dtype: '${tfDType(v)}'>`, `tf.${tfDType(v)}`),
  tensor_spec_value: (v) => spec('TensorSpec', v, ''),
  bounded_tensor_spec_value: (v) =>
    spec('BoundedTensorSpec', v, `, minimum=${bound(v.minimum)}, maximum=${bound(v.maximum)}`),
  type_spec_value: (v) => {
    const type = SPECS[v.type_spec_class ?? 0] ?? v.type_spec_class_name ?? 'TypeSpec'
    const state = v.type_state && pyValue(v.type_state)
    if (type !== 'VariableSpec' || !state?.items) return plain(type, `${type}${state?.repr ?? '()'}`)
    const [shape, ...rest] = state.items
    const fields = ['dtype', 'trainable', 'alias_id'].map((name, i) => `, ${name}=${rest[i]?.repr ?? 'None'}`)
    return plain(type, `VariableSpec(shape=${shape?.str}${fields.join('')})`)
  },
  list_value: (v) => sequence('list', (v.values ?? []).map(pyValue), '[', ']'),
  tuple_value: (v) => {
    const items = (v.values ?? []).map(pyValue)
    return sequence('tuple', items, '(', items.length === 1 ? ',)' : ')')
  },
  dict_value: (v) => {
    // TensorFlow lists a map of the file, whose order changes from run to run
    const keys = Object.keys(v.fields ?? {}).sort()
    const fields = keys.map((key) => [key, pyValue(v.fields![key]!)] as const)
    const text = `{${fields.map(([key, x]) => `${pyString(key)}: ${x.repr}`).join(', ')}}`
    return { ...plain('dict', text), fields }
  },
  named_tuple_value: (v) => {
    const pairs = (v.values ?? []).map((p) => [p.key, pyValue(p.value)] as const)
    const text = `${v.name}(${pairs.map(([key, x]) => `${key}=${x.repr}`).join(', ')})`
    return { ...plain(v.name, text), items: pairs.map(([, x]) => x) }
  },
}

/** struct.proto's TypeSpecClass. */
const SPECS: Readonly<Record<number, string>> = {
  1: 'SparseTensorSpec',
  2: 'IndexedSlicesSpec',
  3: 'RaggedTensorSpec',
  4: 'TensorArraySpec',
  5: 'DatasetSpec',
  6: 'IteratorSpec',
  7: 'OptionalSpec',
  8: 'PerReplicaSpec',
  9: 'VariableSpec',
  10: 'RowPartitionSpec',
}

export function pyValue(v: StructuredValue): PyValue {
  // a decoded message has the one field that is set as its own, and defaults of the others in its prototype
  const kind = Object.keys(v)[0]
  return kind !== undefined && Object.hasOwn(KINDS, kind)
    ? convert(v, kind as keyof StructuredValue)
    : plain('NoneType', 'None')
}

function convert<K extends keyof StructuredValue>(v: StructuredValue, kind: K): PyValue {
  const row = KINDS[kind] as (value: NonNullable<StructuredValue[K]>) => PyValue
  return row(v[kind] as NonNullable<StructuredValue[K]>)
}

function sequence(type: string, items: readonly PyValue[], open: string, close: string): PyValue {
  return { ...plain(type, `${open}${items.map((i) => i.repr).join(', ')}${close}`), items }
}

function spec(type: string, v: SpecProto, more: string): PyValue {
  const name = v.name ? pyString(v.name) : 'None'
  const text = `${type}(shape=${spellShape(v.shape)}, dtype=tf.${tfDType(v.dtype)}, name=${name}${more})`
  return { ...plain(type, text), name: v.name || 'None' }
}

function bound(t: TensorProto | undefined): string {
  if (!t) return 'None'
  const value = tensorOf(t, 'the bound of a TensorSpec')
  const text = formatArray(value as Tensor)
  return `array(${text}${value.dtype === 'float64' || value.dtype === 'int64' ? '' : `, dtype=${value.dtype}`})`
}

/** The dimensions as Python spells them; undefined where the rank is unknown. */
function dims(s: ShapeProto | undefined): string[] | undefined {
  if (!s || s.unknown_rank) return undefined
  return (s.dim ?? []).map((d) => (toNumber(d.size) < 0 ? 'None' : String(toNumber(d.size))))
}

/** `(None, 3)`, `(2,)`, `<unknown>` */
function spellShape(s: ShapeProto | undefined): string {
  const known = dims(s)
  return known ? `(${known.join(', ')}${known.length === 1 ? ',' : ''})` : '<unknown>'
}

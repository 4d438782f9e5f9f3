import { type TfDType, tfDType } from '../formats/proto/tensorflow.ts'
import { type ShapeProto, shapeOf } from '../formats/tftensor.ts'
import type { TfShape } from '../graph.ts'

interface SpecProto {
  name: string
  shape?: ShapeProto
  dtype: number
}
/** How a SavedModel writes the arguments and results of a function (tensorflow/core/protobuf/struct.proto). */
export interface StructuredValue {
  bool_value?: boolean
  tensor_spec_value?: SpecProto
  bounded_tensor_spec_value?: SpecProto
  type_spec_value?: { type_spec_class_name: string }
  list_value?: { values?: StructuredValue[] }
  tuple_value?: { values?: StructuredValue[] }
  dict_value?: { fields?: Record<string, StructuredValue> }
  named_tuple_value?: { values?: { key: string; value?: StructuredValue }[] }
}

/** One tensor inside a structure, with the names that lead to it. */
export interface Leaf {
  readonly path: readonly string[]
  readonly name: string
  readonly dtype: TfDType
  readonly shape: TfShape
}

/**
 * The tensors of a structure in the order in which TensorFlow flattens it: dictionaries by sorted key. Other values than tensors take no
 * place; undefined where a part is a composite (ragged, sparse, a resource), which would take several.
 */
export function leaves(v: StructuredValue | undefined, path: readonly string[] = []): Leaf[] | undefined {
  if (!v) return []
  const spec = v.tensor_spec_value ?? v.bounded_tensor_spec_value
  if (spec) return [{ path, name: spec.name, dtype: tfDType(spec.dtype), shape: shapeOf(spec.shape) }]
  if (v.type_spec_value) return undefined
  const children: [string, StructuredValue | undefined][] = v.dict_value
    ? Object.entries(v.dict_value.fields ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
    : v.named_tuple_value
      ? (v.named_tuple_value.values ?? []).map((p) => [p.key, p.value])
      : ((v.list_value ?? v.tuple_value)?.values ?? []).map((x, i) => [String(i), x])
  const out: Leaf[] = []
  for (const [key, child] of children) {
    const inner = leaves(child, [...path, key])
    if (!inner) return undefined
    out.push(...inner)
  }
  return out
}

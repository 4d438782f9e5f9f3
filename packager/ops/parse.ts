import { bytesToString } from '../../src/bytestring.ts'
import type { DType } from '../../src/tensor.ts'
import type { FeatureKind } from '../../src/tfexample/feature.ts'
import type { DenseSpec, ExampleSpec, RaggedSpec, SparseSpec } from '../../src/tfexample/spec.ts'
import type { TfShape } from '../graph.ts'
import type { Builder } from '../onnx/builder.ts'
import { constStrings, type Dim, type Value } from '../onnx/value.ts'
import { type AnyNode, type OpTable, op, unsupported } from './op.ts'

/** A name or a string of a feature as bytes, which is how the parser compares them. */
export const asBytes = (text: string): string => bytesToString(Buffer.from(text, 'utf8'))

export function kind(n: AnyNode, dtype: string): FeatureKind {
  if (dtype === 'string' || dtype === 'float32' || dtype === 'int64') return dtype
  throw unsupported(n, 'features of string, float or int64', dtype)
}

export function names(n: AnyNode, v: Value | undefined, what: string): readonly string[] {
  const list = v && constStrings(v)
  if (!list) throw unsupported(n, `constant ${what}`, 'computed ones')
  return list.map(asBytes)
}

const NAMED: Readonly<Record<string, string>> = { NaN: 'NaN', Infinity: 'Infinity', '-Infinity': '-Infinity' }

/** Values for the manifest: JSON has neither NaN nor integers past 2^53. */
function plain(x: number | bigint | string): number | string {
  if (typeof x === 'string') return asBytes(x)
  if (typeof x === 'bigint') return Number.isSafeInteger(Number(x)) ? Number(x) : String(x)
  return NAMED[String(x)] ?? x
}

export function denseSpec(
  n: AnyNode,
  name: string,
  shape: TfShape,
  dtype: string,
  fallback: Value | undefined,
): DenseSpec {
  if (!shape || shape.slice(1).includes(null))
    throw unsupported(n, 'dense shapes that are known but for their first dimension', 'another one')
  if (!fallback?.data) throw unsupported(n, 'constant default values', 'computed ones')
  const values = Array.from(fallback.data.data as ArrayLike<number | bigint | string>, plain)
  const spec = { kind: 'dense' as const, name, dtype: kind(n, dtype), shape }
  return values.length === 0 ? spec : { ...spec, default: values }
}

interface Features {
  readonly dense: readonly DenseSpec[]
  readonly sparse: readonly SparseSpec[]
  readonly ragged: readonly RaggedSpec[]
}

/** What only gives another shape to the same elements in the same order. */
const VIEWS = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Identity'])

/**
 * The value that a client sends, where the parser reads it in another shape: Keras' inputs have a dimension of 1 more.
 * The parser then takes all its elements, whatever its shape.
 */
export function sent(v: Value, b: Builder): { value: Value; flat?: true } {
  let name = v.name
  for (let made = b.nodes.find((n) => n.outputs.includes(name)); made; ) {
    if (!VIEWS.has(made.type)) return { value: v }
    name = made.inputs[0]!
    made = b.nodes.find((n) => n.outputs.includes(name))
  }
  const info = name === v.name ? undefined : b.inputs.find((i) => i.name === name)
  return info ? { value: { kind: 'tensor', ...info }, flat: true } : { value: v }
}

/** The graph is cut behind the parser; its outputs are inputs that the runtime computes from the serialized examples. */
function parse(n: AnyNode, serialized: Value, single: boolean, f: Features, b: Builder): readonly Value[] {
  const batch = single ? [] : [serialized.shape?.[0] ?? b.fresh()]
  const out = (name: string, kind: string, dtype: DType, shape: readonly Dim[]) => ({
    name: `${n.name}/${kind}/${Buffer.from(name, 'latin1').toString('utf8')}`,
    dtype,
    shape,
  })
  const counts = new Map([...f.sparse, ...f.ragged].map((s) => [s, b.fresh()]))
  const { value, ...how } = sent(serialized, b)
  const spec: ExampleSpec = { single, ...how, features: [...f.sparse, ...f.dense, ...f.ragged] }
  return n.env.cut({
    kind: 'parseExample',
    node: n.node,
    inputs: [value],
    spec: { ...spec },
    outputs: [
      ...f.sparse.map((s) => out(s.name, 'indices', 'int64', [counts.get(s)!, single ? 1 : 2])),
      ...f.sparse.map((s) => out(s.name, 'values', s.dtype, [counts.get(s)!])),
      ...f.sparse.map((s) => out(s.name, 'shape', 'int64', [single ? 1 : 2])),
      ...f.dense.map((s) => out(s.name, 'dense', s.dtype, [...batch, ...s.shape.map((d) => d ?? b.fresh())])),
      ...f.ragged.map((s) => out(s.name, 'ragged', s.dtype, [counts.get(s)!])),
      ...f.ragged.map((s) => out(s.name, 'splits', s.splits, [single ? 0 : b.fresh()])),
    ],
  })
}

/** Names, sparse keys and so on come one after the other; this hands them out. */
export function taker<T>(list: readonly T[]): (count: number) => readonly T[] {
  let at = 0
  return (count) => {
    at += count
    return list.slice(at - count, at)
  }
}

export const NOTE =
  'on an input of the signature, with constant keys and defaults; the runtime parses before the graph runs'

/** tf.Example: what ONNX has no operator for and the runtime does itself. */
export const PARSE = {
  ParseExample: op({
    in: ['serialized', 'names', 'rest*'],
    attrs: { Nsparse: 'int', Ndense: 'int', sparse_types: 'types', Tdense: 'types', dense_shapes: 'shapes' },
    out: ['sparse_indices*Nsparse', 'sparse_values*sparse_types', 'sparse_shapes*Nsparse', 'dense_values*Tdense'],
    note: NOTE,
    emit(n, b) {
      const { Nsparse, Ndense, sparse_types, Tdense, dense_shapes } = n.attrs
      const take = taker(n.in.rest)
      const key = (v: Value) => names(n, v, 'keys')[0] ?? ''
      const sparseKeys = take(Nsparse).map(key)
      const denseKeys = take(Ndense).map(key)
      const defaults = take(Ndense)
      return parse(
        n,
        n.in.serialized,
        false,
        {
          sparse: sparseKeys.map((name, i) => ({ kind: 'sparse', name, dtype: kind(n, sparse_types[i]!) })),
          dense: denseKeys.map((name, i) => denseSpec(n, name, dense_shapes[i], Tdense[i]!, defaults[i])),
          ragged: [],
        },
        b,
      )
    },
  }),
  ParseExampleV2: op({
    in: ['serialized', 'names', 'sparse_keys', 'dense_keys', 'ragged_keys', 'dense_defaults*'],
    attrs: {
      num_sparse: 'int',
      sparse_types: 'types',
      Tdense: 'types',
      dense_shapes: 'shapes',
      ragged_value_types: 'types',
      ragged_split_types: 'types',
    },
    out: [
      'sparse_indices*num_sparse',
      'sparse_values*sparse_types',
      'sparse_shapes*num_sparse',
      'dense_values*Tdense',
      'ragged_values*ragged_value_types',
      'ragged_row_splits*ragged_split_types',
    ],
    note: NOTE,
    emit(n, b) {
      const { sparse_types, Tdense, dense_shapes, ragged_value_types, ragged_split_types } = n.attrs
      return parse(
        n,
        n.in.serialized,
        n.in.serialized.shape?.length === 0,
        {
          sparse: names(n, n.in.sparse_keys, 'sparse_keys').map((name, i) => ({
            kind: 'sparse',
            name,
            dtype: kind(n, sparse_types[i]!),
          })),
          dense: names(n, n.in.dense_keys, 'dense_keys').map((name, i) =>
            denseSpec(n, name, dense_shapes[i], Tdense[i]!, n.in.dense_defaults[i]),
          ),
          ragged: names(n, n.in.ragged_keys, 'ragged_keys').map((name, i) => ({
            kind: 'ragged',
            name,
            dtype: kind(n, ragged_value_types[i]!),
            splits: ragged_split_types[i] === 'int32' ? 'int32' : 'int64',
          })),
        },
        b,
      )
    },
  }),
  ParseSingleExample: op({
    in: ['serialized', 'dense_defaults*'],
    attrs: {
      num_sparse: 'int',
      sparse_keys: 'strings',
      dense_keys: 'strings',
      sparse_types: 'types',
      Tdense: 'types',
      dense_shapes: 'shapes',
    },
    out: ['sparse_indices*num_sparse', 'sparse_values*sparse_types', 'sparse_shapes*num_sparse', 'dense_values*Tdense'],
    note: NOTE,
    emit(n, b) {
      const { sparse_keys, dense_keys, sparse_types, Tdense, dense_shapes } = n.attrs
      return parse(
        n,
        n.in.serialized,
        true,
        {
          sparse: sparse_keys.map((key, i) => ({
            kind: 'sparse',
            name: asBytes(key),
            dtype: kind(n, sparse_types[i]!),
          })),
          dense: dense_keys.map((key, i) =>
            denseSpec(n, asBytes(key), dense_shapes[i], Tdense[i]!, n.in.dense_defaults[i]),
          ),
          ragged: [],
        },
        b,
      )
    },
  }),
} satisfies OpTable

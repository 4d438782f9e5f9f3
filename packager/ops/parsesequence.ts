import type { FeatureSpec, ListSpec, SequenceSpec } from '../../src/tfexample/spec.ts'
import type { TfShape } from '../graph.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, constStrings, type Dim, type Value } from '../onnx/value.ts'
import { type AnyNode, type OpTable, op, unsupported } from './op.ts'
import { asBytes, denseSpec, kind, NOTE, names, sent, taker } from './parse.ts'

type Of<S, K> = Extract<S, { kind: K }>

function listShape(n: AnyNode, shape: TfShape): readonly number[] {
  if (shape?.every((d) => d !== null)) return shape
  throw unsupported(n, 'feature lists whose steps have a known shape', 'another one')
}

/** The graph is cut behind the parser, as for a tf.Example. The results come in the order of ParseSequenceExampleV2. */
function parse(n: AnyNode, serialized: Value, spec: SequenceSpec, b: Builder): readonly Value[] {
  const { single, context, lists } = spec
  const batch: readonly Dim[] = single ? [] : [serialized.shape?.[0] ?? b.fresh()]
  const width = single ? 0 : 1
  const of = <S extends FeatureSpec | ListSpec, K extends S['kind']>(list: readonly S[], wanted: K) =>
    list.filter((s) => s.kind === wanted) as Of<S, K>[]
  const each = <S extends FeatureSpec | ListSpec>(
    list: readonly S[],
    part: string,
    dtype: (s: S) => S['dtype'] | 'int32',
    shape: (s: S) => readonly Dim[],
  ) =>
    list.map((s) => ({
      name: `${n.name}/${part}/${Buffer.from(s.name, 'latin1').toString('utf8')}`,
      dtype: dtype(s),
      shape: shape(s),
    }))
  const own = (s: FeatureSpec | ListSpec) => s.dtype
  const long = () => 'int64' as const
  const any = () => [b.fresh()]
  const group = <S extends FeatureSpec | ListSpec>(all: readonly S[], part: string, rank: number) => [
    ...each(of(all, 'sparse' as S['kind']), `${part}/indices`, long, () => [b.fresh(), rank]),
    ...each(of(all, 'sparse' as S['kind']), `${part}/values`, own, any),
    ...each(of(all, 'sparse' as S['kind']), `${part}/shape`, long, () => [rank]),
  ]
  const { value, ...how } = sent(serialized, b)
  return n.env.cut({
    kind: 'parseSequenceExample',
    node: n.node,
    inputs: [value],
    spec: { ...spec, ...how },
    outputs: [
      ...group(context, 'context', 1 + width),
      ...each(of(context, 'dense'), 'context/dense', own, (s) => [...batch, ...s.shape.map((d) => d ?? b.fresh())]),
      ...each(of(context, 'ragged'), 'context/ragged', own, any),
      ...each(of(context, 'ragged'), 'context/splits', (s) => s.splits, any),
      ...group(lists, 'list', 2 + width),
      ...each(of(lists, 'dense'), 'list/dense', own, (s) => [...batch, b.fresh(), ...s.shape]),
      ...each(of(lists, 'dense'), 'list/length', long, () => batch),
      ...each(of(lists, 'ragged'), 'list/ragged', own, any),
      ...each(of(lists, 'ragged'), 'list/outer', (s) => s.splits, any),
      ...each(of(lists, 'ragged'), 'list/inner', (s) => s.splits, any),
    ],
  })
}

const sparse = (n: AnyNode, keys: readonly string[], types: readonly string[]) =>
  keys.map((name, i) => ({ kind: 'sparse' as const, name, dtype: kind(n, types[i]!) }))

const ragged = (n: AnyNode, keys: readonly string[], types: readonly string[], splits: readonly string[]) =>
  keys.map((name, i) => ({
    kind: 'ragged' as const,
    name,
    dtype: kind(n, types[i]!),
    splits: splits[i] === 'int32' ? ('int32' as const) : ('int64' as const),
  }))

/** What the three operators have in common once their keys are known. */
interface Keys {
  readonly attrs: {
    readonly context_sparse_types: readonly string[]
    readonly Tcontext_dense: readonly string[]
    readonly context_dense_shapes: readonly TfShape[]
    readonly feature_list_sparse_types: readonly string[]
    readonly feature_list_dense_types: readonly string[]
    readonly feature_list_dense_shapes: readonly TfShape[]
  }
  readonly contextSparse: readonly string[]
  readonly contextDense: readonly string[]
  readonly defaults: readonly Value[]
  readonly listSparse: readonly string[]
  readonly listDense: readonly string[]
  readonly mayMiss: (name: string, index: number) => boolean
}

function common(n: AnyNode, k: Keys): { context: FeatureSpec[]; lists: ListSpec[] } {
  const { attrs } = k
  return {
    context: [
      ...sparse(n, k.contextSparse, attrs.context_sparse_types),
      ...k.contextDense.map((name, i) =>
        denseSpec(n, name, attrs.context_dense_shapes[i], attrs.Tcontext_dense[i]!, k.defaults[i]),
      ),
    ],
    lists: [
      ...sparse(n, k.listSparse, attrs.feature_list_sparse_types),
      ...k.listDense.map((name, i) => ({
        kind: 'dense' as const,
        name,
        dtype: kind(n, attrs.feature_list_dense_types[i]!),
        shape: listShape(n, attrs.feature_list_dense_shapes[i]),
        mayMiss: k.mayMiss(name, i),
      })),
    ],
  }
}

const TYPES = {
  context_sparse_types: 'types',
  Tcontext_dense: 'types',
  context_dense_shapes: 'shapes',
  feature_list_sparse_types: 'types',
  feature_list_dense_types: 'types',
  feature_list_dense_shapes: 'shapes',
} as const
const CONTEXT_OUT = [
  'context_sparse_indices*Ncontext_sparse',
  'context_sparse_values*context_sparse_types',
  'context_sparse_shapes*Ncontext_sparse',
  'context_dense_values*Tcontext_dense',
] as const
const LIST_OUT = [
  'feature_list_sparse_indices*Nfeature_list_sparse',
  'feature_list_sparse_values*feature_list_sparse_types',
  'feature_list_sparse_shapes*Nfeature_list_sparse',
  'feature_list_dense_values*feature_list_dense_types',
] as const
const LENGTHS_OUT = 'feature_list_dense_lengths*Nfeature_list_dense'

/** tf.SequenceExample: a context, and lists with a feature in each step. */
export const PARSE_SEQUENCE = {
  ParseSequenceExample: op({
    in: ['serialized', 'debug_name', 'context_dense_defaults*'],
    attrs: {
      ...TYPES,
      feature_list_dense_missing_assumed_empty: 'strings',
      context_sparse_keys: 'strings',
      context_dense_keys: 'strings',
      feature_list_sparse_keys: 'strings',
      feature_list_dense_keys: 'strings',
    },
    out: [...CONTEXT_OUT, ...LIST_OUT, LENGTHS_OUT],
    note: NOTE,
    emit(n, b) {
      const { attrs } = n
      const missing = attrs.feature_list_dense_missing_assumed_empty.map(asBytes)
      const spec = common(n, {
        attrs,
        contextSparse: attrs.context_sparse_keys.map(asBytes),
        contextDense: attrs.context_dense_keys.map(asBytes),
        defaults: n.in.context_dense_defaults,
        listSparse: attrs.feature_list_sparse_keys.map(asBytes),
        listDense: attrs.feature_list_dense_keys.map(asBytes),
        mayMiss: (name) => missing.includes(name),
      })
      return parse(n, n.in.serialized, { single: n.in.serialized.shape?.length === 0, ...spec }, b)
    },
  }),
  ParseSequenceExampleV2: op({
    in: [
      'serialized',
      'debug_name',
      'context_sparse_keys',
      'context_dense_keys',
      'context_ragged_keys',
      'feature_list_sparse_keys',
      'feature_list_dense_keys',
      'feature_list_ragged_keys',
      'feature_list_dense_missing_assumed_empty',
      'context_dense_defaults*',
    ],
    attrs: {
      ...TYPES,
      context_ragged_value_types: 'types',
      context_ragged_split_types: 'types',
      feature_list_ragged_value_types: 'types',
      feature_list_ragged_split_types: 'types',
    },
    out: [
      ...CONTEXT_OUT,
      'context_ragged_values*context_ragged_value_types',
      'context_ragged_row_splits*context_ragged_split_types',
      ...LIST_OUT,
      LENGTHS_OUT,
      'feature_list_ragged_values*feature_list_ragged_value_types',
      'feature_list_ragged_outer_splits*feature_list_ragged_split_types',
      'feature_list_ragged_inner_splits*feature_list_ragged_split_types',
    ],
    note: NOTE,
    emit(n, b) {
      const { attrs } = n
      const missing = constNumbers(n.in.feature_list_dense_missing_assumed_empty) ?? []
      const { context, lists } = common(n, {
        attrs,
        contextSparse: names(n, n.in.context_sparse_keys, 'context_sparse_keys'),
        contextDense: names(n, n.in.context_dense_keys, 'context_dense_keys'),
        defaults: n.in.context_dense_defaults,
        listSparse: names(n, n.in.feature_list_sparse_keys, 'feature_list_sparse_keys'),
        listDense: names(n, n.in.feature_list_dense_keys, 'feature_list_dense_keys'),
        mayMiss: (_, i) => missing[i] === 1,
      })
      const contextRagged = names(n, n.in.context_ragged_keys, 'context_ragged_keys')
      const listRagged = names(n, n.in.feature_list_ragged_keys, 'feature_list_ragged_keys')
      const single = n.in.serialized.shape?.length === 0
      if (single && contextRagged.length + listRagged.length > 0)
        throw unsupported(n, 'ragged features of a batch', 'those of a single example')
      const { context_ragged_value_types, context_ragged_split_types } = attrs
      const { feature_list_ragged_value_types, feature_list_ragged_split_types } = attrs
      return parse(
        n,
        n.in.serialized,
        {
          single,
          context: [...context, ...ragged(n, contextRagged, context_ragged_value_types, context_ragged_split_types)],
          lists: [...lists, ...ragged(n, listRagged, feature_list_ragged_value_types, feature_list_ragged_split_types)],
        },
        b,
      )
    },
  }),
  ParseSingleSequenceExample: op({
    in: ['serialized', 'feature_list_dense_missing_assumed_empty', 'rest*'],
    attrs: {
      ...TYPES,
      Ncontext_sparse: 0,
      Ncontext_dense: 0,
      Nfeature_list_sparse: 0,
      Nfeature_list_dense: 0,
    },
    out: [...CONTEXT_OUT, ...LIST_OUT],
    note: NOTE,
    emit(n, b) {
      const { attrs } = n
      const take = taker(n.in.rest)
      const keys = (count: number) => take(count).map((v) => names(n, v, 'keys')[0] ?? '')
      const missing = (constStrings(n.in.feature_list_dense_missing_assumed_empty) ?? []).map(asBytes)
      const spec = common(n, {
        attrs,
        contextSparse: keys(attrs.Ncontext_sparse),
        contextDense: keys(attrs.Ncontext_dense),
        listSparse: keys(attrs.Nfeature_list_sparse),
        listDense: keys(attrs.Nfeature_list_dense),
        defaults: take(attrs.Ncontext_dense),
        mayMiss: (name) => missing.includes(name),
      })
      const all = parse(n, n.in.serialized, { single: true, ...spec }, b)
      // this operator has no lengths, which come last
      return all.slice(0, all.length - attrs.Nfeature_list_dense)
    },
  }),
} satisfies OpTable

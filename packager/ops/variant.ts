import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { expectHandle, handleOf } from './core.ts'
import { lengthsOf, splitsOf } from './indices.ts'
import type { TensorList } from './lists.ts'
import { type AnyNode, type Handle, type OpTable, type Out, op, unsupported } from './op.ts'

/**
 * Ragged tensors as variants, which is how map_fn moves their rows through lists. A whole one is a handle that keeps its splits and values;
 * a row without splits of its own is a plain tensor; a list of rows is a sequence.
 */
interface Ragged {
  readonly nested: readonly Value[]
  readonly values: Value
  /** a variant for each row, not one for all */
  readonly batched: boolean
}

const ragged = (n: AnyNode, out: Out | undefined): Ragged =>
  expectHandle(n, out, 'ragged tensor').state.ragged as Ragged

const handle = (n: AnyNode, r: Ragged): Handle => handleOf(n, 'ragged tensor', { ragged: r })

/** The shape of a tensor of variants. */
export function raggedShape(n: AnyNode, from: Out, b: Builder): Value {
  const { nested, batched } = ragged(n, from)
  return batched ? b.shapeOf(lengthsOf(nested[0]!, b)) : b.ints([])
}

/** The rows of a ragged tensor as a list. */
export function rowsOf(n: AnyNode, from: Out, b: Builder): TensorList {
  const { nested, values, batched } = ragged(n, from)
  if (!batched || nested.length !== 1) throw unsupported(n, 'rows that are tensors', 'rows that are ragged themselves')
  return rowList(values, lengthsOf(nested[0]!, b), b)
}

function rowList(values: Value, lengths: Value, b: Builder): TensorList {
  const elem = values.shape && [b.fresh(), ...values.shape.slice(1)]
  const type = { dtype: values.dtype, shape: elem, sequence: true }
  const value = b.op('SplitToSequence', [values, b.cast(lengths, 'int64')], { axis: 0 }, type)
  return { dtype: values.dtype, elem, grows: false, content: { kind: 'sequence', value } }
}

/** A list of so many empty rows. Its node leaves their type open, so it is the one that the model makes variants of. */
export function emptyRows(n: AnyNode, count: Value, b: Builder): TensorList {
  const types = new Set<unknown>()
  for (const node of n.env.nodesOf('RaggedTensorToVariant')) {
    const t = node.attrs.Tvalues
    if (node.attrs.batched_input === false && typeof t === 'object' && 'dtype' in t) types.add(t.dtype)
  }
  const [dtype, ...others] = types as Set<DType>
  if (!dtype || others.length > 0) throw unsupported(n, 'a list of rows of one dtype', `${types.size} of them`)
  const none = b.reshape(count, [1])
  const empty = dtype === 'string' ? b.const({ dtype, shape: [0], data: [] }) : b.filled(dtype, [0], [])
  const list = rowList(empty, b.op('Expand', [b.int(0), none]), b)
  return { ...list, elem: [b.fresh()] }
}

/** Rows joined end to end, with their lengths. */
export function raggedOf(n: AnyNode, values: Value, lengths: Value, b: Builder): Handle {
  return handle(n, { nested: [splitsOf(b.cast(lengths, 'int64'), b)], values, batched: true })
}

export const VARIANT = {
  RaggedTensorToVariant: op({
    in: ['all*'],
    attrs: { RAGGED_RANK: 'int', batched_input: 'bool' },
    note: 'where map_fn takes rows that are tensors and gives rows of one dtype',
    emit: (n) => {
      const values = n.in.all.at(-1)!
      if (n.attrs.RAGGED_RANK === 0) return values
      return handle(n, { nested: n.in.all.slice(0, -1), values, batched: n.attrs.batched_input })
    },
  }),
  RaggedTensorFromVariant: op({
    in: ['encoded_ragged!'],
    out: ['output_nested_splits*output_ragged_rank', 'output_dense_values'],
    attrs: { input_ragged_rank: 'int', output_ragged_rank: 'int', Tsplits: null },
    emit: (n, b) => {
      const from = n.in.encoded_ragged
      if (from.kind === 'tensor' && n.attrs.output_ragged_rank === 0) return from
      const { nested, values } = ragged(n, from)
      if (nested.length !== n.attrs.output_ragged_rank)
        throw unsupported(n, `a ragged tensor of rank ${n.attrs.output_ragged_rank}`, `${nested.length}`)
      const type = n.attrs.Tsplits === 'int32' ? 'int32' : 'int64'
      return [...nested.map((s) => b.cast(s, type)), values]
    },
  }),
} satisfies OpTable

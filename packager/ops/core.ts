import { type Tensor, tensor } from '../../src/tensor.ts'
import type { TfTensor } from '../graph.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { type AnyNode, type Handle, type OpTable, type Out, op, unsupported } from './op.ts'

/** A constant of either kind: complex ones keep their trailing pair in storage and lose it in shape. */
export function constant(t: TfTensor, b: Builder): Value {
  if (t.dtype !== 'complex64' && t.dtype !== 'complex128') return b.const(t as Tensor)
  const real = t.dtype === 'complex64' ? 'float32' : 'float64'
  return { ...b.const(tensor(real, [...t.shape, 2], t.data)), dtype: t.dtype, shape: t.shape }
}

export function handleOf(n: AnyNode, type: string, state: Record<string, unknown> = {}): Handle {
  return { kind: 'handle', type, node: n.node, state }
}

/** @throws {AppError} UNSUPPORTED_OPS when the input is not such a handle */
export function expectHandle(n: AnyNode, out: Out | undefined, type: string): Handle {
  if (out?.kind === 'handle' && out.type === type) return out
  throw unsupported(n, `a ${type}`, out?.kind === 'handle' ? `a ${out.type}` : `a ${out?.kind ?? 'missing input'}`)
}

const pass = op({ in: ['input!'], emit: (n) => n.inputs[0]! })
const nothing = op({ in: [], emit: () => [] })
const call = op({ in: [], attrs: { f: 'func' }, emit: (n, b) => n.call(n.attrs.f, n.inputs, b) })
const variable = op({ in: [], attrs: { dtype: 'type' }, emit: (n) => handleOf(n, 'variable') })

/** The value of a reference or resource variable: the checkpoint's. */
export function read(n: AnyNode, from: Out | undefined, b: Builder): Value {
  if (from?.kind === 'tensor') return from
  return constant(n.env.variable(expectHandle(n, from, 'variable').node), b)
}

/** What moves values around: constants, variables, calls, and what means nothing at inference. */
export const CORE = {
  Const: op({ in: [], attrs: { value: 'tensor' }, emit: (n, b) => constant(n.attrs.value, b) }),
  Identity: pass,
  RefIdentity: pass,
  Snapshot: pass,
  GuaranteeConst: pass,
  Copy: pass,
  CopyHost: pass,
  StopGradient: pass,
  PreventGradient: pass,
  CheckNumerics: pass,
  CheckNumericsV2: pass,
  DeepCopy: pass,
  Print: pass,
  PrintV2: nothing,
  IdentityN: op({ in: [], emit: (n) => n.inputs }),
  EnsureShape: op({
    in: ['input'],
    attrs: { shape: 'shape' },
    emit: (n, b) => withShape(n.in.input, n.attrs.shape, b),
  }),
  NoOp: nothing,
  Assert: nothing,
  AssignVariableOp: nothing,
  DisableCopyOnRead: nothing,
  PlaceholderWithDefault: pass,
  Placeholder: op({
    in: [],
    emit: (n) => {
      throw unsupported(n, 'an input of the signature', 'a placeholder that the signature does not feed')
    },
  }),
  VariableV2: op({ in: [], attrs: { dtype: 'type' }, emit: (n, b) => constant(n.env.variable(n.node), b) }),
  Variable: op({ in: [], attrs: { dtype: 'type' }, emit: (n, b) => constant(n.env.variable(n.node), b) }),
  VarHandleOp: variable,
  ReadVariableOp: op({ in: ['resource!'], emit: (n, b) => read(n, n.in.resource, b) }),
  VariableShape: op({
    in: ['resource!'],
    attrs: { out_type: null },
    emit: (n, b) => b.cast(b.shapeOf(read(n, n.in.resource, b)), n.attrs.out_type === 'int64' ? 'int64' : 'int32'),
  }),
  VarIsInitializedOp: op({ in: ['resource!'], emit: (_n, b) => b.scalar('bool', 1) }),
  IsVariableInitialized: op({ in: ['ref'], emit: (_n, b) => b.scalar('bool', 1) }),
  PartitionedCall: call,
  StatefulPartitionedCall: call,
  Switch: op({
    in: ['data!', 'pred'],
    out: ['output_false', 'output_true'],
    note: 'with a constant predicate; other conditionals are made into If beforehand',
    emit: (n) => {
      const taken = n.in.pred.data?.data[0]
      if (taken === undefined) throw unsupported(n, 'a conditional that ends in Merge nodes', 'a lone Switch')
      const data = n.inputs[0]!
      return taken ? [{ kind: 'dead' }, data] : [data, { kind: 'dead' }]
    },
  }),
  Merge: op({
    in: ['inputs!'],
    out: ['output', 'value_index'],
    emit: (n, b) => {
      const alive = n.inputs.findIndex((i) => i.kind !== 'dead')
      if (alive < 0) return [{ kind: 'dead' }, { kind: 'dead' }]
      return [n.inputs[alive]!, b.scalar('int32', alive)]
    },
  }),
} satisfies OpTable

/** A value whose shape is known better than it was inferred. */
export function withShape(v: Value, shape: readonly (number | null)[] | undefined, b: Builder): Value {
  if (!shape || v.data) return v
  if (v.shape && v.shape.length !== shape.length) return v
  return b.as(v, { shape: shape.map((d, i) => (d === null ? (v.shape?.[i] ?? b.fresh()) : d)) })
}

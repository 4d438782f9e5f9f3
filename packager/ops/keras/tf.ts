import { AppError } from '../../../src/errors.ts'
import { DTYPES, type DType } from '../../../src/tensor.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { OPS } from '../index.ts'
import type { AnyNode, Env, NodeCtx, Out } from '../op.ts'
import type { Call } from './layer.ts'

/** What the TensorFlow rows may ask for while they serve a layer: there are no functions, variables and files here. */
export function layerEnv(cuts: Pick<Env, 'cut' | 'isInput'>): Env {
  const none = (what: string) => (): never => {
    throw new AppError('INTERNAL', { expected: 'a TensorFlow operator that stands alone', got: `one with ${what}` })
  }
  return {
    ...cuts,
    variable: none('variables'),
    nodesOf: () => [],
    restored: () => undefined,
    asset: () => undefined,
    initialise: none('tables'),
    func: none('functions'),
    run: none('functions'),
    mark: () => 0,
    rewind: () => undefined,
  }
}

type Attrs = Readonly<Record<string, unknown>>

/** A TensorFlow op by its own name, for layers that are defined by what TensorFlow computes. */
export function tfOps(n: Pick<Call, 'env'>, name: string, inputs: readonly Value[], given: Attrs, b: Builder): Value[] {
  const row = OPS[name]
  if (!row)
    throw new AppError('UNSUPPORTED_LAYER', { where: b.at, expected: `the operator ${name}`, got: 'no row for it' })
  const attrs = Object.fromEntries(
    Object.entries(row.attrs).map(([key, kind]) => [
      key,
      given[key] ?? (Array.isArray(kind) && typeof kind[0] === 'string' ? kind[0] : (kind ?? undefined)),
    ]),
  )
  const named = Object.fromEntries(
    row.in.map((spec, i) => [spec.replace(/[?*!]$/, ''), spec.endsWith('*') ? inputs.slice(i) : inputs[i]]),
  )
  const context: AnyNode & { in: unknown; attrs: unknown } = {
    name: b.at,
    op: name,
    node: { name: b.at, op: name, inputs: [], control: [], attrs: {} },
    inputs,
    in: named,
    attrs,
    dtype: (attr) => {
      const d = String(attrs[attr])
      if (Object.hasOwn(DTYPES, d)) return d as DType
      throw new AppError('INTERNAL', { where: b.at, expected: `a dtype for ${attr}`, got: d })
    },
    call: () => {
      throw new AppError('INTERNAL', { where: b.at, expected: 'an operator without functions', got: name })
    },
    env: n.env,
  }
  const outs = row.emit(context as NodeCtx, b)
  const list = (Array.isArray(outs) ? outs : [outs]) as readonly Out[]
  return list.map((o) => {
    if (o.kind === 'tensor') return o
    throw new AppError('INTERNAL', { where: b.at, expected: `a tensor from ${name}`, got: o.kind })
  })
}

export function tfOp(n: Pick<Call, 'env'>, name: string, inputs: readonly Value[], attrs: Attrs, b: Builder): Value {
  return tfOps(n, name, inputs, attrs, b)[0]!
}

export function einsum(n: Pick<Call, 'env'>, inputs: readonly Value[], equation: string, b: Builder): Value {
  return tfOp(n, 'Einsum', inputs, { equation }, b)
}

import { AppError } from '../../../src/errors.ts'
import { DTYPES, type DType } from '../../../src/tensor.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import { OPS } from '../index.ts'
import type { NodeCtx, Out } from '../op.ts'

/** A TensorFlow op by its own name, for layers that are defined by what TensorFlow computes. */
export function tfOps(
  name: string,
  inputs: readonly Value[],
  given: Readonly<Record<string, unknown>>,
  b: Builder,
): Value[] {
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
  const none = (what: string) => (): never => {
    throw new AppError('INTERNAL', { where: b.at, expected: `an op without ${what}`, got: name })
  }
  const context = {
    name: b.at,
    op: name,
    node: { name: b.at, op: name, inputs: [], attrs: {} },
    inputs,
    in: named,
    attrs,
    dtype: (attr: string): DType => {
      const d = String(attrs[attr])
      if (Object.hasOwn(DTYPES, d)) return d as DType
      throw new AppError('INTERNAL', { where: b.at, expected: `a dtype for ${attr}`, got: d })
    },
    call: none('functions'),
    env: { variable: none('variables'), asset: () => undefined, initialise: none('tables'), cut: none('cuts') },
  }
  const outs = row.emit(context as never as NodeCtx, b)
  const list = (Array.isArray(outs) ? outs : [outs]) as readonly Out[]
  return list.map((o) => {
    if (o.kind === 'tensor') return o
    throw new AppError('INTERNAL', { where: b.at, expected: `a tensor from ${name}`, got: o.kind })
  })
}

export function tfOp(
  name: string,
  inputs: readonly Value[],
  attrs: Readonly<Record<string, unknown>>,
  b: Builder,
): Value {
  return tfOps(name, inputs, attrs, b)[0]!
}

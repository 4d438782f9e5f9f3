import { toNested } from './nested.ts'
import type { Nested, Outputs, Tensors } from './types.ts'

const tensors = new WeakMap<object, Tensors>()

/** Nested arrays by alias, each made when it is first read: a hook that takes the typed tensors pays for none. */
export function toOutputs(from: Tensors): Outputs {
  const outputs: Outputs = {}
  for (const [alias, t] of Object.entries(from)) {
    let nested: Nested | undefined
    Object.defineProperty(outputs, alias, {
      enumerable: true,
      configurable: true,
      get: () => {
        nested ??= toNested(t)
        return nested
      },
      set: (value) =>
        Object.defineProperty(outputs, alias, { value, enumerable: true, configurable: true, writable: true }),
    })
  }
  tensors.set(outputs, from)
  return outputs
}

/** The typed tensors behind outputs; none where an overridden `_inference` made its own object. */
export function tensorsOf(outputs: unknown): Tensors {
  return (typeof outputs === 'object' && outputs !== null && tensors.get(outputs)) || {}
}

import type { Builder } from '../onnx/builder.ts'
import { constNumber, type Value } from '../onnx/value.ts'

/** What each result of Erfc was computed from: Keras writes GELU as x/2 · erfc(-x/√2), which ONNX has an operator for. */
const ARGUMENT = new WeakMap<Value, Value>()

export function rememberErfc(result: Value, argument: Value): Value {
  ARGUMENT.set(result, argument)
  return result
}

/** The operator where a product is a GELU; the complementary error function that was emitted for it falls away unread. */
export function geluOf(x: Value, y: Value, b: Builder): Value | undefined {
  for (const [half, erfc] of [
    [x, y],
    [y, x],
  ] as const) {
    const argument = ARGUMENT.get(erfc)
    if (!argument || (half.dtype !== 'float32' && half.dtype !== 'float16')) continue
    const name = scaled(half, 0.5, b)
    const input = name === undefined || name !== scaled(argument, -Math.SQRT1_2, b) ? undefined : b.valueNamed(name)
    if (input) return b.op('Gelu', [input], { approximate: 'none' })
  }
  return undefined
}

/** The name of v where a value is `factor` · v, by one product or quotient and at most one Neg. */
function scaled(value: Value, factor: number, b: Builder): string | undefined {
  const made = b.producer(value)
  if (!made || (made.type !== 'Mul' && made.type !== 'Div')) return undefined
  for (const [i, other] of made.type === 'Mul' ? [[0, 1] as const, [1, 0] as const] : [[1, 0] as const]) {
    const t = b.constantNamed(made.inputs[i]!)
    const c = t && t.data.length === 1 ? Number(t.data[0]) : constNumber(b.valueNamed(made.inputs[i]!))
    if (c === undefined) continue
    const inner = b.valueNamed(made.inputs[other]!)
    const negated = inner && b.producer(inner)
    const [source, sign] = negated?.type === 'Neg' ? [negated.inputs[0]!, -1] : [made.inputs[other]!, 1]
    const actual = sign * (made.type === 'Mul' ? c : 1 / c)
    if (Math.abs(actual - factor) < 1e-6) return source
  }
  return undefined
}

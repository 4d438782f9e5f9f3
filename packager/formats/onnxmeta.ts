import type { Signature, TensorSpec } from '../../src/manifest.ts'
import { DTYPES } from '../../src/tensor.ts'

type Entry = Omit<Signature, 'graph'>

/** Under this key a file keeps what an ONNX graph cannot say: aliases of clients, and what the runtime computes before it runs. */
const KEY = 'modelayer.signature'

/** Nothing for a graph whose own inputs and outputs say it all. */
export function signatureMetadata(s: Entry): Record<string, string> {
  return s.cuts ? { [KEY]: JSON.stringify(s) } : {}
}

/** The signature that a file of ours carries; undefined for every other one, and for one that was tampered with. */
export function signatureFrom(props: readonly { key: string; value: string }[] = []): Entry | undefined {
  const text = props.find((p) => p.key === KEY)?.value
  if (text === undefined) return undefined
  try {
    const s: unknown = JSON.parse(text)
    return isEntry(s) ? s : undefined
  } catch (e) {
    if (e instanceof SyntaxError) return undefined
    throw e
  }
}

function isEntry(s: unknown): s is Entry {
  if (!isObject(s)) return false
  const specs = [s.inputs, s.outputs]
  return (
    typeof s.method === 'string' &&
    specs.every((list) => isObject(list) && Object.values(list).every(isSpec)) &&
    Array.isArray(s.cuts) &&
    s.cuts.every(
      (c: unknown) =>
        isObject(c) &&
        typeof c.kind === 'string' &&
        isObject(c.spec) &&
        Array.isArray(c.inputs) &&
        Array.isArray(c.outputs) &&
        c.outputs.every(isSpec),
    )
  )
}

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v)

const isSpec = (v: unknown): v is TensorSpec =>
  isObject(v) &&
  typeof v.name === 'string' &&
  Object.hasOwn(DTYPES, String(v.dtype)) &&
  (v.shape === null || (Array.isArray(v.shape) && v.shape.every((d) => d === null || Number.isInteger(d))))

import type { Signature } from '../../src/manifest.ts'

type Entry = Omit<Signature, 'graph'>

/** Under this key a file keeps what an ONNX graph cannot say: aliases of clients, and what the runtime computes before it runs. */
const KEY = 'modelayer.signature'

/** Nothing for a graph whose own inputs and outputs say it all. */
export function signatureMetadata(s: Entry): Record<string, string> {
  return s.cuts ? { [KEY]: JSON.stringify(s) } : {}
}

/** The signature that a file of ours carries; undefined for every other one. */
export function signatureFrom(props: readonly { key: string; value: string }[] = []): Entry | undefined {
  const text = props.find((p) => p.key === KEY)?.value
  if (text === undefined) return undefined
  try {
    const s: unknown = JSON.parse(text)
    return typeof s === 'object' && s !== null && 'inputs' in s && 'outputs' in s && 'cuts' in s
      ? (s as Entry)
      : undefined
  } catch (e) {
    if (e instanceof SyntaxError) return undefined
    throw e
  }
}

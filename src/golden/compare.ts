/** How close numbers must be: |actual - expected| <= atol + rtol * |expected|, as numpy.allclose has it. */
export interface Tolerance {
  readonly rtol: number
  readonly atol: number
  /** '0.993' is compared as a number; else strings must be equal */
  readonly numericStrings: boolean
}

export const EXACT: Tolerance = { rtol: 0, atol: 0, numericStrings: false }

export interface Difference {
  /** JSON pointer into the body */
  readonly pointer: string
  readonly expected: string
  readonly actual: string
  /** for numbers: how far apart */
  readonly off?: number
}

/** Every place where two JSON values differ. */
export function differences(expected: unknown, actual: unknown, t: Tolerance, pointer = ''): Difference[] {
  if (Array.isArray(expected) && Array.isArray(actual)) {
    const length =
      expected.length === actual.length
        ? []
        : [{ pointer, expected: `${expected.length} items`, actual: `${actual.length} items` }]
    const common = Math.min(expected.length, actual.length)
    const inside = expected.slice(0, common).flatMap((e, i) => differences(e, actual[i], t, `${pointer}/${i}`))
    return [...length, ...inside]
  }
  if (isObject(expected) && isObject(actual)) {
    const keys = [...new Set([...Object.keys(expected), ...Object.keys(actual)])]
    return keys.flatMap((key) => {
      const at = `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
      if (!Object.hasOwn(actual, key)) return [{ pointer: at, expected: show(expected[key]), actual: 'nothing' }]
      if (!Object.hasOwn(expected, key)) return [{ pointer: at, expected: 'nothing', actual: show(actual[key]) }]
      return differences(expected[key], actual[key], t, at)
    })
  }
  if (expected === actual) return []
  const [e, a] = t.numericStrings ? [numeric(expected), numeric(actual)] : [expected, actual]
  if (typeof e === 'number' && typeof a === 'number') {
    const off = Math.abs(a - e)
    if (off <= t.atol + t.rtol * Math.abs(e)) return []
    return [{ pointer, expected: show(expected), actual: show(actual), off }]
  }
  return [{ pointer, expected: show(expected), actual: show(actual) }]
}

/**
 * A body as it travelled, for comparing and for writing down: NaN, infinities and integers beyond 2^53, which JSON.parse
 * would refuse or round, become strings of their digits.
 */
export function parseBody(text: string): unknown {
  const exact = text.replaceAll(TOKEN, (token) => (token.startsWith('"') || keeps(token) ? token : `"${token}"`))
  try {
    return JSON.parse(exact)
  } catch {
    // an answer that is no JSON is compared as text
    return text
  }
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g
const keeps = (token: string) => (/^-?\d+$/.test(token) ? Number.isSafeInteger(Number(token)) : !/[NI]/.test(token))

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v)
const numeric = (v: unknown) => (typeof v === 'string' && /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(v) ? Number(v) : v)

function show(v: unknown): string {
  const text = JSON.stringify(v) ?? String(v)
  return text.length > 40 ? `${text.slice(0, 39)}…` : text
}

/** What stands before the body of a streamed answer: JSON, and eight zero bytes. */
export interface Prelude {
  readonly statusCode: number
  readonly headers?: Readonly<Record<string, string>>
  readonly cookies?: readonly string[]
}

const END = Buffer.alloc(8)

/** A streamed answer as whoever invokes the function itself gets it; undefined where it is none. */
export function splitPrelude(
  payload: Uint8Array,
): { readonly prelude: Prelude; readonly body: Uint8Array } | undefined {
  const end = Buffer.from(payload.buffer, payload.byteOffset, payload.length).indexOf(END)
  if (end < 0) return undefined
  try {
    const prelude: unknown = JSON.parse(Buffer.from(payload.subarray(0, end)).toString())
    const status = (prelude as Prelude | null)?.statusCode
    return typeof status === 'number'
      ? { prelude: prelude as Prelude, body: payload.subarray(end + END.length) }
      : undefined
  } catch (e) {
    if (e instanceof SyntaxError) return undefined
    throw e
  }
}

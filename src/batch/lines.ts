/** A line of a text object. */
export interface Line {
  /** without its line end; empty where it was too long */
  readonly bytes: Buffer
  /** first byte of the next line */
  readonly next: number
  /** longer than allowed: passed over, not held */
  readonly tooLong: boolean
}

const LF = 10
const CR = 13

/** The lines of a stream, ended by LF or CRLF; the last may have no end. Holds one line, and no more than `max` bytes of that. */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  { offset = 0, max = 64 * 2 ** 20 }: { offset?: number; max?: number } = {},
): AsyncGenerator<Line> {
  let held: Uint8Array[] = []
  let size = 0
  let at = offset
  const take = (last: Uint8Array): Line => {
    const tooLong = size + last.length > max
    let bytes = tooLong
      ? Buffer.alloc(0)
      : held.length === 0
        ? Buffer.from(last.buffer, last.byteOffset, last.length)
        : Buffer.concat([...held, last])
    if (bytes[bytes.length - 1] === CR) bytes = bytes.subarray(0, -1)
    held = []
    size = 0
    return { bytes, next: at, tooLong }
  }
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      at += end + 1 - start
      const line = chunk.subarray(start, end)
      start = end + 1
      yield take(line)
    }
    const rest = chunk.subarray(start)
    at += rest.length
    size += rest.length
    if (size > max) held = []
    else if (rest.length > 0) held.push(rest)
  }
  if (size > 0) yield take(new Uint8Array(0))
}

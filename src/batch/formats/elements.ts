import { broken } from './limits.ts'

/** An element of a JSON array, as its bytes. */
export interface Element {
  /** empty where it was too long: passed over, not held */
  readonly bytes: Buffer
  readonly tooLong: boolean
  /** behind the comma after it, or behind the array */
  readonly next: number
  /** there is nothing behind it */
  readonly last: boolean
}

const SPACE = new Set([32, 9, 10, 13])
const BOM = [0xef, 0xbb, 0xbf]
const [QUOTE, BACKSLASH, COMMA, OPEN, CLOSE, LEFT, RIGHT] = [34, 92, 44, 91, 93, 123, 125]

/**
 * The elements of the array that a stream is, or, where it is another value, that value alone. Only strings and brackets are looked
 * at: whether an element is JSON is seen by who parses it. Holds one element, and no more than `max` bytes of that. With an offset
 * the stream begins behind a comma of the array.
 * @throws {AppError} BAD_INPUT where brackets do not match, the file is cut, or goes on behind its end
 */
export async function* elementsOf(
  chunks: AsyncIterable<Uint8Array>,
  { where, max, offset = 0 }: { where: string; max: number; offset?: number },
): AsyncGenerator<Element> {
  let at = offset
  let array: boolean | undefined = offset > 0 ? true : undefined
  let ended = false
  const stack: number[] = []
  let inString = false
  let escaped = false
  let held: Uint8Array[] = []
  let size = 0
  let blank = true
  let count = 0
  const fault = (expected: string, got: string) => broken(`${where}, byte ${at}`, expected, got)
  const take = (last: Uint8Array): Element => {
    const tooLong = size + last.length > max
    const bytes = tooLong ? Buffer.alloc(0) : Buffer.concat([...held, last])
    held = []
    size = 0
    blank = true
    count++
    return { bytes, tooLong, next: at + 1, last: ended || array === false }
  }

  for await (const chunk of chunks) {
    let start = 0
    for (let i = 0; i < chunk.length; i++, at++) {
      const c = chunk[i]!
      if (inString) {
        if (escaped) escaped = false
        else if (c === BACKSLASH) escaped = true
        else if (c === QUOTE) inString = false
        continue
      }
      if (SPACE.has(c)) continue
      if (at < 3 && c === BOM[at]) {
        start = i + 1
        continue
      }
      if (ended) throw fault('the end of the file', 'something behind the array')
      if (array === undefined) {
        array = c === OPEN
        if (array) {
          start = i + 1
          continue
        }
      }
      if (array && stack.length === 0 && (c === COMMA || c === CLOSE)) {
        ended = c === CLOSE
        // only an array without elements may end here
        if (blank && !(ended && count === 0))
          throw fault('an element', c === COMMA ? 'a comma' : 'the end of the array')
        const element = blank ? undefined : take(chunk.subarray(start, i))
        start = i + 1
        if (element) yield element
        continue
      }
      blank = false
      if (c === QUOTE) inString = true
      else if (c === OPEN || c === LEFT) stack.push(c === OPEN ? CLOSE : RIGHT)
      else if ((c === CLOSE || c === RIGHT) && stack.pop() !== c) throw fault('brackets that match', 'others')
      if (stack.length > MAX_DEPTH) throw fault(`at most ${MAX_DEPTH} levels`, 'more')
    }
    const rest = chunk.subarray(start)
    size += rest.length
    if (size > max) held = []
    else if (rest.length > 0 && !ended) held.push(rest)
  }
  if (array === false && !inString && stack.length === 0) yield take(new Uint8Array(0))
  else if (!ended) throw fault(array === undefined ? 'JSON' : 'the end of the value', 'the end of the file')
}

const MAX_DEPTH = 1000

import { type NumberReader, tokenAt } from './number.ts'

/** A nested list of numbers that is regular: each level has one length. */
export interface Numbers {
  readonly shape: readonly number[]
  readonly values: Float64Array | Float32Array
  /** every token was an integer: no point, no exponent, not NaN or infinite */
  readonly integral: boolean
  /** where integers past 2^53 stand, by their index: doubles do not hold them */
  readonly long: ReadonlyMap<number, string> | undefined
  /** where it stands: what it was written as can be read again */
  readonly text: Uint8Array
  readonly start: number
  readonly end: number
}

/** Where the text turned out to be something else. */
export interface NoNumbers {
  readonly failed: number
}

/** Tensors have no more dimensions. */
const MAX_RANK = 32
const [OPEN, CLOSE, COMMA, SPACE, ZERO, NINE] = [91, 93, 44, 32, 48, 57]
const FIRST_ROOM = 16

/**
 * Reads a nested list of numbers straight into one array, with no object for any level. Where the text is anything else (strings, objects,
 * levels of several lengths, a fault), the general parser says what is there. `narrow` reads into float32, and into `room` as long as that lasts.
 */
export function scanNumbers(
  reader: NumberReader,
  start: number,
  narrow = false,
  room?: Float32Array,
): Numbers | NoNumbers {
  const { text } = reader
  reader.integral = true
  const Values = narrow ? Float32Array : Float64Array
  let values: Float64Array | Float32Array = room ?? new Values(FIRST_ROOM)
  let count = 0
  let long: Map<number, string> | undefined
  const shape: number[] = []
  /** lists so far in the open list of each level above the numbers */
  const seen: number[] = []
  /** numbers before the open list of numbers */
  let before = 0
  let depth = 0
  /** the level of the numbers, once one or an empty list was seen */
  let leaf = -1
  let at = start
  for (;;) {
    // a value: a list, or a number
    let c = text[at]!
    while (isSpace(c)) c = text[++at]!
    if (c === OPEN) {
      if (depth === leaf || depth === MAX_RANK) return { failed: at }
      seen[depth++] = 0
      before = count
      c = text[++at]!
      while (isSpace(c)) c = text[++at]!
      if (c !== CLOSE) continue
      if (leaf >= 0 && leaf !== depth) return { failed: at }
      leaf = depth
    } else {
      if (leaf !== depth) {
        if (leaf >= 0 || depth === 0) return { failed: at }
        leaf = depth
      }
      // digits by themselves: most of what images hold
      while (text[at + 1] === COMMA && c >= ZERO && c <= NINE && count < values.length) {
        values[count++] = c - ZERO
        at += 2
        c = text[at]!
        if (c === SPACE) c = text[++at]!
      }
      if (isSpace(c)) continue
      if (!reader.read(at, narrow)) return { failed: at }
      const { value } = reader
      if (count === values.length) {
        const wider = new Values(roomFor(count, at - start, text.length - start))
        wider.set(values)
        values = wider
      }
      values[count] = value
      if (!narrow && (value > Number.MAX_SAFE_INTEGER || value < -Number.MAX_SAFE_INTEGER)) {
        const token = tokenAt(text, at)
        if (/^-?\d+$/.test(token)) {
          long ??= new Map()
          long.set(count, token)
        }
      }
      count++
      at = reader.at
    }
    // behind it: a comma, or the end of one level or more
    for (;;) {
      c = text[at]!
      while (isSpace(c)) c = text[++at]!
      at++
      if (c === COMMA) break
      if (c !== CLOSE) return { failed: at }
      depth--
      const length = depth === leaf - 1 ? count - before : seen[depth]!
      if (shape[depth] === undefined) shape[depth] = length
      else if (shape[depth] !== length) return { failed: at }
      if (depth === 0) {
        const { integral } = reader
        // a view of little would keep the much that was made for more
        const kept = 2 * count < values.length ? values.slice(0, count) : values.subarray(0, count)
        return { shape, values: kept, integral, long, text, start, end: at }
      }
      seen[depth - 1]!++
    }
  }
}

function isSpace(c: number): boolean {
  return c === SPACE || c === 10 || c === 13 || c === 9
}

/** If the rest of the text is like its beginning, one copy is enough; if not, little is wasted. */
function roomFor(count: number, used: number, all: number): number {
  return Math.min(Math.ceil((count / used) * all * 1.05) + FIRST_ROOM, 8 * count)
}

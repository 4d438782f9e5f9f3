import { type Buffers, isShared } from './buffers.ts'
import type { Reuse } from './types.ts'

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

/** Lines that lie together; or one that was too long. */
export interface LineBlock {
  readonly bytes: Buffer
  /** where each begins and ends in `bytes` */
  readonly spans: Uint32Array
  /** first byte behind them */
  readonly next: number
  readonly tooLong: boolean
}

export interface BlockOptions {
  readonly offset?: number
  readonly max?: number
  /** how many lines the next block may have */
  most(): number
  /** lines without anything but blanks are none */
  readonly dense?: boolean
  /** where several lines lie that are to outlive their chunk: see {@link kept} */
  readonly buffers?: Buffers
}

/**
 * As {@link linesOf}, but many at a time and with no object for any of them. Chunks may be overwritten when the next is asked for, and the
 * bytes of blocks with them.
 */
export async function* lineBlocksOf(
  chunks: AsyncIterable<Uint8Array>,
  { offset = 0, max = 64 * 2 ** 20, most, dense = false, buffers }: BlockOptions,
): AsyncGenerator<LineBlock> {
  let held: Uint8Array[] = []
  let size = 0
  let at = offset
  /** the line that goes over the end of a chunk */
  const cut = (last: Uint8Array): LineBlock | undefined => {
    const tooLong = size + last.length > max
    const bytes = tooLong ? Buffer.alloc(0) : Buffer.concat([...held, last])
    held = []
    size = 0
    const end = endOf(bytes, 0, bytes.length, dense)
    return tooLong || end >= 0 ? { bytes, spans: Uint32Array.of(0, Math.max(0, end)), next: at, tooLong } : undefined
  }
  for await (const chunk of chunks) {
    let start = 0
    if (size > 0) {
      const end = chunk.indexOf(LF)
      if (end !== -1) {
        at += end + 1
        start = end + 1
        const line = cut(chunk.subarray(0, end))
        if (line) yield line
      }
    }
    while (size === 0 && start < chunk.length) {
      const first = start
      const spans = new Uint32Array(2 * most())
      let n = 0
      let tooLong = false
      for (let end = chunk.indexOf(LF, start); end !== -1 && n < spans.length; end = chunk.indexOf(LF, start)) {
        tooLong = end - start > max
        // what was before it goes out first
        if (tooLong && n > 0) break
        const last = tooLong ? end : endOf(chunk, start, end, dense)
        if (last >= 0) {
          spans[n++] = start - first
          spans[n++] = last - first
        }
        start = end + 1
        if (tooLong) break
      }
      if (start === first) break
      at += start - first
      if (n === 0) continue
      const alone = tooLong && n === 2 && start - first > max
      const bytes = alone ? Buffer.alloc(0) : viewOf(chunk.subarray(first, start))
      yield { bytes, spans: spans.subarray(0, n), next: at, tooLong: alone }
    }
    const rest = chunk.subarray(start)
    at += rest.length
    size += rest.length
    if (size > max) held = []
    else if (rest.length > 0) held.push(Buffer.from(rest))
    if (buffers && isShared(chunk.buffer)) buffers.give(chunk.buffer)
  }
  const line = size > 0 ? cut(new Uint8Array(0)) : undefined
  if (line) yield line
}

const viewOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

/** How much of a text is read at once. */
const PAGE = 2 ** 21

/** How a text is read whose lines go to other threads: into memory that they see too, where the store can do that. */
export function pagesOf(buffers: Buffers | undefined): Reuse {
  return buffers ? () => Buffer.from(buffers.take(PAGE)) : true
}

/** The lines of a block to be kept when the next is asked for: held where they are in shared memory, and copied elsewhere. */
export function kept(bytes: Buffer, lines: number, buffers: Buffers | undefined): Buffer {
  const { buffer } = bytes
  if (lines < 2 || !buffers) return Buffer.from(bytes)
  if (isShared(buffer)) {
    buffers.hold(buffer)
    return bytes
  }
  const copy = Buffer.from(buffers.take(bytes.length), 0, bytes.length)
  copy.set(bytes)
  return copy
}

/** Without the carriage return of CRLF; -1 for a line that is none. */
function endOf(bytes: Uint8Array, start: number, end: number, dense: boolean): number {
  if (end > start && bytes[end - 1] === CR) end--
  if (!dense) return end
  for (let i = start; i < end; i++) if (bytes[i] !== 32 && bytes[i] !== 9 && bytes[i] !== CR) return end
  return -1
}

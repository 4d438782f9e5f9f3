/** Memory that is used again: fresh pages cost several times what copying does. */
export interface Buffers<T extends ArrayBufferLike = SharedArrayBuffer> {
  /** of the pool where it has enough, and maybe larger than asked for; held once */
  take(size: number): T
  /** once more, by a record that lies in it beside others */
  hold(buffer: T): void
  /** Back to the pool, when this was the last that held it. What is never given back is collected. */
  give(buffer: T): void
}

const SMALLEST = 2 ** 16
/** what lies idle at most */
const IDLE_BYTES = 2 ** 26

export function createBuffers<T extends ArrayBufferLike>(make: (size: number) => T): Buffers<T> {
  const idle: T[] = []
  const holders = new WeakMap<T, number>()
  let bytes = 0
  const count = (buffer: T, more: number) => {
    const n = (holders.get(buffer) ?? 0) + more
    holders.set(buffer, n)
    return n
  }
  return {
    take(size) {
      const i = idle.findIndex((b) => b.byteLength >= size)
      const found = i < 0 ? undefined : idle.splice(i, 1)[0]!
      if (found) bytes -= found.byteLength
      const buffer = found ?? make(2 ** Math.ceil(Math.log2(Math.max(size, SMALLEST))))
      count(buffer, 1)
      return buffer
    },
    hold(buffer) {
      count(buffer, 1)
    },
    give(buffer) {
      if (count(buffer, -1) > 0 || bytes + buffer.byteLength > IDLE_BYTES) return
      bytes += buffer.byteLength
      idle.push(buffer)
    },
  }
}

/**
 * Memory that threads see too while records lie in it. What changes hands instead counts as new memory on each side, and the collector
 * walks the whole heap for each 64 MB of that.
 */
export const createSharedBuffers = (): Buffers => createBuffers((size) => new SharedArrayBuffer(size))

export const isShared = (buffer: ArrayBufferLike): buffer is SharedArrayBuffer => buffer instanceof SharedArrayBuffer

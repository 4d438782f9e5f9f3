/** Memory that threads see too while records lie in it, and that is used again: fresh pages cost several times what copying does. */
export interface Buffers {
  /** of the pool where it has enough, and maybe larger than asked for; held once */
  take(size: number): SharedArrayBuffer
  /** once more, by a record that lies in it beside others */
  hold(buffer: SharedArrayBuffer): void
  /** Back to the pool, when this was the last that held it. What is never given back is collected. */
  give(buffer: SharedArrayBuffer): void
}

const SMALLEST = 2 ** 16
/** what lies idle at most */
const IDLE_BYTES = 2 ** 26

/**
 * Shared, because what changes hands counts as new memory on each side, and the collector walks the whole heap for each 64 MB of that.
 */
export function createBuffers(): Buffers {
  const idle: SharedArrayBuffer[] = []
  const holders = new WeakMap<SharedArrayBuffer, number>()
  let bytes = 0
  const count = (buffer: SharedArrayBuffer, more: number) => {
    const n = (holders.get(buffer) ?? 0) + more
    holders.set(buffer, n)
    return n
  }
  return {
    take(size) {
      const i = idle.findIndex((b) => b.byteLength >= size)
      const found = i < 0 ? undefined : idle.splice(i, 1)[0]!
      if (found) bytes -= found.byteLength
      const buffer = found ?? new SharedArrayBuffer(2 ** Math.ceil(Math.log2(Math.max(size, SMALLEST))))
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

export const isShared = (buffer: ArrayBufferLike): buffer is SharedArrayBuffer => buffer instanceof SharedArrayBuffer

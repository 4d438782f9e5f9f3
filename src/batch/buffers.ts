/** Memory that goes to a thread with records and comes back with their answers: fresh pages cost several times what copying does. */
export interface Buffers {
  /** of the pool where it has enough, and maybe larger than asked for */
  take(size: number): ArrayBuffer
  give(buffer: ArrayBuffer): void
  /** it came from here */
  has(buffer: ArrayBufferLike): boolean
}

const SMALLEST = 2 ** 16
/** what lies idle at most */
const IDLE_BYTES = 2 ** 26

export function createBuffers(): Buffers {
  const idle: ArrayBuffer[] = []
  const known = new WeakSet<ArrayBufferLike>()
  let bytes = 0
  return {
    has: (buffer) => known.has(buffer),
    take(size) {
      const i = idle.findIndex((b) => b.byteLength >= size)
      const found = i < 0 ? undefined : idle.splice(i, 1)[0]!
      if (found) bytes -= found.byteLength
      const buffer = found ?? new ArrayBuffer(2 ** Math.ceil(Math.log2(Math.max(size, SMALLEST))))
      known.add(buffer)
      return buffer
    },
    give(buffer) {
      if (bytes + buffer.byteLength > IDLE_BYTES) return
      bytes += buffer.byteLength
      idle.push(buffer)
    },
  }
}

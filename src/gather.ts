/** Gathers the chunks of a stream until as many bytes are there as are wanted. */
export class Gatherer {
  private readonly source: AsyncIterator<Uint8Array>
  private chunks: Uint8Array[] = []
  private size = 0
  /** where the next byte stands */
  at: number

  constructor(source: AsyncIterator<Uint8Array>, at = 0) {
    this.source = source
    this.at = at
  }

  /** `n` bytes, or fewer where the source ends. */
  async take(n: number): Promise<Buffer> {
    while (this.size < n && (await this.more()));
    // one copy of what is taken; what is left of the last chunk stays a view of it
    const out = Buffer.allocUnsafe(Math.min(n, this.size))
    let filled = 0
    let i = 0
    for (; filled < out.length; i++) {
      const chunk = this.chunks[i]!
      const part = chunk.subarray(0, out.length - filled)
      out.set(part, filled)
      filled += part.length
      if (part.length < chunk.length) {
        this.chunks[i] = chunk.subarray(part.length)
        break
      }
    }
    this.chunks.splice(0, i)
    this.size -= out.length
    this.at += out.length
    return out
  }

  /**
   * Fills a buffer as far as the source reaches; returns how far. No chunk is held while the next is asked for. What was read into its
   * place already is not copied.
   */
  async fill(into: Uint8Array): Promise<number> {
    let filled = 0
    while (filled < into.length && (this.size > 0 || (await this.more()))) {
      const chunk = this.chunks.shift()
      if (!chunk) continue
      const part = chunk.subarray(0, into.length - filled)
      const there = part.buffer === into.buffer && part.byteOffset === into.byteOffset + filled
      if (!there) into.set(part, filled)
      filled += part.length
      this.size -= part.length
      if (part.length < chunk.length) this.chunks.unshift(chunk.subarray(part.length))
    }
    this.at += filled
    return filled
  }

  /** Waits for the next byte. False where the source has ended. */
  async ready(): Promise<boolean> {
    return this.size > 0 || this.more()
  }

  /** Passes over bytes without holding them. False where the source ends before. */
  async skip(n: number): Promise<boolean> {
    for (let left = n; left > 0; ) {
      const chunk = this.chunks.shift()
      if (!chunk) {
        if (await this.more()) continue
        return false
      }
      if (chunk.length > left) this.chunks.unshift(chunk.subarray(left))
      const passed = Math.min(left, chunk.length)
      this.size -= passed
      this.at += passed
      left -= passed
    }
    return true
  }

  /** What was gathered and not taken. */
  left(): Buffer {
    return Buffer.concat(this.chunks)
  }

  /** The source is not wanted any more. */
  async close(): Promise<void> {
    await this.source.return?.()
  }

  private async more(): Promise<boolean> {
    const next = await this.source.next()
    if (next.done) return false
    if (next.value.length > 0) this.chunks.push(next.value)
    this.size += next.value.length
    return true
  }
}

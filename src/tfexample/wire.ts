/**
 * Protocol buffer wire format over one buffer, without objects per field: a position that moves. Every method gives -1 or false where
 * the bytes end too early or make no sense, so that the hot path throws nothing.
 */
export class Wire {
  readonly bytes: Uint8Array
  at: number
  end: number

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.at = 0
    this.end = bytes.length
  }

  /** A varint as its low 32 bits, unsigned: tags, lengths and keys. -1 where it does not end. */
  varint32(): number {
    const { bytes, end } = this
    let b = this.at < end ? bytes[this.at++]! : -1
    if (b < 0 || b < 128) return b
    let value = b & 127
    for (let shift = 7; shift < 70; shift += 7) {
      if (this.at >= end) return -1
      b = bytes[this.at++]!
      if (shift < 32) value |= (b & 127) << shift
      if (b < 128) return value >>> 0
    }
    return -1
  }

  /** A 64-bit varint into two 32-bit halves. */
  varint64(out: Int32Array, at: number): boolean {
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) return false
      const b = this.bytes[this.at++]!
      const v = b & 127
      if (shift < 28) low |= v << shift
      else if (shift === 28) {
        low |= v << 28
        high |= v >>> 4
      } else if (shift < 64) high |= v << (shift - 32)
      if (b < 128) {
        out[at] = low
        out[at + 1] = high
        return true
      }
    }
    return false
  }

  /** The length of a length-delimited field whose bytes are all there, or -1. */
  length(): number {
    const n = this.varint32()
    return n >= 0 && n <= this.end - this.at ? n : -1
  }

  /**
   * The end of a message that starts here, at most the end of what there is, or -1. TensorFlow sets limits in this way: a message whose
   * length says more than is left is as long as what is left.
   */
  limit(): number {
    const n = this.varint32()
    return n < 0 ? -1 : Math.min(this.at + n, this.end)
  }

  /** Passes over a field that nobody knows. */
  skip(tag: number): boolean {
    switch (tag & 7) {
      case 0: {
        return this.varint32() >= 0
      }
      case 1:
        return this.forward(8)
      case 2: {
        const end = this.limit()
        this.at = Math.max(end, this.at)
        return end >= 0
      }
      case 5:
        return this.forward(4)
      default:
        return false
    }
  }

  private forward(n: number): boolean {
    if (n > this.end - this.at) return false
    this.at += n
    return true
  }
}

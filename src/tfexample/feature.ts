import { Wire } from './wire.ts'

/** The three lists a tf.train.Feature can hold, by their field numbers' tags. */
export const KINDS = { 10: 'string', 18: 'float32', 26: 'int64' } as const
export type FeatureKind = (typeof KINDS)[keyof typeof KINDS]

/**
 * The kind of a serialized tf.train.Feature: 'none' for an empty one (no kind set), undefined where it is not one.
 * TensorFlow looks at the first byte only (example_proto_fast_parsing.cc, Feature::ParseDataType), and so do we.
 */
export function kindOf(bytes: Uint8Array, start: number, end: number): FeatureKind | 'none' | undefined {
  if (start === end) return 'none'
  return KINDS[bytes[start] as keyof typeof KINDS]
}

/** A growing array of one kind of values, read from serialized features. */
export interface Sink {
  readonly kind: FeatureKind
  /** values so far */
  readonly size: number
  /** Appends the list of a feature (without its tag byte). False where the bytes are no such list. */
  read(bytes: Uint8Array, start: number, end: number): boolean
  /** Appends values that are already there, e.g. a default. */
  push(values: readonly (number | string)[]): void
  /** Fills up with a value to a size. */
  pad(size: number, value: number | string): void
  /** the values as a tensor's data: `string[]`, Float32Array or BigInt64Array */
  data(): string[] | Float32Array | BigInt64Array
}

/** The wire of the list inside a feature, or undefined where it has no length. */
function listOf(bytes: Uint8Array, start: number, end: number): Wire | undefined {
  const w = new Wire(bytes)
  w.at = start + 1
  w.end = end
  w.end = w.limit()
  return w.end < 0 ? undefined : w
}

export function stringSink(): Sink {
  const out: string[] = []
  return {
    kind: 'string',
    get size() {
      return out.length
    },
    read(bytes, start, end) {
      const w = listOf(bytes, start, end)
      if (!w) return false
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      while (w.at < w.end) {
        if (bytes[w.at++] !== 10) return false
        const n = w.length()
        if (n < 0) return false
        out.push(buffer.toString('latin1', w.at, w.at + n))
        w.at += n
      }
      return true
    },
    push: (values) => void out.push(...values.map(String)),
    pad(size, value) {
      while (out.length < size) out.push(String(value))
    },
    data: () => out,
  }
}

/** Packed floats are copied as bytes, so that NaN keeps its payload. */
export function floatSink(): Sink {
  let out = new Float32Array(16)
  let bytesOut = new Uint8Array(out.buffer)
  let size = 0
  const room = (n: number) => {
    if (size + n <= out.length) return
    const wider = new Float32Array(Math.max(size + n, 2 * out.length))
    wider.set(out.subarray(0, size))
    out = wider
    bytesOut = new Uint8Array(out.buffer)
  }
  return {
    kind: 'float32',
    get size() {
      return size
    },
    read(bytes, start, end) {
      const w = listOf(bytes, start, end)
      if (!w) return false
      if (w.at === w.end) return true
      if (bytes[w.at] === 10) {
        w.at++
        // a last value that is cut short is dropped, as TensorFlow does
        const whole = w.varint32() >> 2
        if (whole < 0 || 4 * whole > w.end - w.at) return false
        room(whole)
        bytesOut.set(bytes.subarray(w.at, w.at + 4 * whole), 4 * size)
        size += whole
        return true
      }
      while (w.at < w.end) {
        if (bytes[w.at] !== 13 || w.end - w.at < 5) return false
        room(1)
        bytesOut.set(bytes.subarray(w.at + 1, w.at + 5), 4 * size++)
        w.at += 5
      }
      return true
    },
    push(values) {
      room(values.length)
      for (const v of values) out[size++] = Number(v)
    },
    pad(to, value) {
      if (to <= size) return
      room(to - size)
      out.fill(Number(value), size, to)
      size = to
    },
    data: () => out.slice(0, size),
  }
}

export function int64Sink(): Sink {
  let out = new BigInt64Array(16)
  let halves = new Int32Array(out.buffer)
  let size = 0
  const room = (n: number) => {
    if (size + n <= out.length) return
    const wider = new BigInt64Array(Math.max(size + n, 2 * out.length))
    wider.set(out.subarray(0, size))
    out = wider
    halves = new Int32Array(out.buffer)
  }
  return {
    kind: 'int64',
    get size() {
      return size
    },
    read(bytes, start, end) {
      const w = listOf(bytes, start, end)
      if (!w) return false
      if (w.at === w.end) return true
      const packed = bytes[w.at] === 10
      if (packed) {
        w.at++
        w.end = w.limit()
        if (w.end < 0) return false
      }
      while (w.at < w.end) {
        if (!packed && bytes[w.at++] !== 8) return false
        room(1)
        if (!w.varint64(halves, 2 * size)) return false
        size++
      }
      return true
    },
    push(values) {
      room(values.length)
      for (const v of values) out[size++] = BigInt(v)
    },
    pad(to, value) {
      if (to <= size) return
      room(to - size)
      out.fill(BigInt(value), size, to)
      size = to
    },
    data: () => out.slice(0, size),
  }
}

export const SINKS: Readonly<Record<FeatureKind, () => Sink>> = {
  string: stringSink,
  float32: floatSink,
  int64: int64Sink,
}

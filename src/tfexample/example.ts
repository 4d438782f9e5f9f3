import { Wire } from './wire.ts'

const FEATURES = 10
const KEY = 10
const VALUE = 18

/**
 * The features of a serialized tf.train.Example in the order they stand: name, and where the serialized Feature lies. Names are one
 * character a byte. False where the bytes are no Example: TensorFlow's fast parser wants exactly a key and a value in each entry, and
 * nothing but entries among the features, though unknown fields beside them are passed over (example_proto_fast_parsing.cc).
 */
export function eachFeature(
  example: Uint8Array,
  found: (name: string, start: number, end: number) => void,
  tag = FEATURES,
): boolean {
  const w = new Wire(example)
  const all = w.end
  while (w.at < all) {
    const t = w.varint32()
    if (t !== tag) {
      if (t <= 0 || !w.skip(t)) return false
      continue
    }
    w.end = w.limit()
    if (w.end < 0 || !entries(w, found)) return false
    w.end = all
  }
  return true
}

/** The entries of a map from name to message, up to the wire's end. */
export function entries(w: Wire, found: (name: string, start: number, end: number) => void): boolean {
  const all = w.end
  const buffer = Buffer.from(w.bytes.buffer, w.bytes.byteOffset, w.bytes.byteLength)
  while (w.at < all) {
    if (w.varint32() !== FEATURES) return false
    w.end = w.limit()
    if (w.end < 0) return false
    let name: string | undefined
    let start = -1
    let end = -1
    for (let field = 0; field < 2; field++) {
      const t = w.varint32()
      const size = t === KEY || t === VALUE ? w.length() : -1
      if (size < 0) return false
      if (t === KEY) name = buffer.toString('latin1', w.at, w.at + size)
      else {
        start = w.at
        end = w.at + size
      }
      w.at += size
    }
    if (w.at !== w.end) return false
    found(name ?? '', Math.max(start, 0), Math.max(end, 0))
    w.end = all
  }
  return true
}

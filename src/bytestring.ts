/**
 * TensorFlow's strings are bytes, ours are text. Two spellings of bytes as a string are in use, and each place says which it means:
 * - *text*: UTF-8 decoded where the bytes are UTF-8, else one character a byte. What clients and onnxruntime see.
 * - *bytes*: one character (0 to 255) a byte, always. What tensors hold whose spec says `bytes`: serialized protos, image files.
 *   Base64 of a protocol becomes it by `Buffer.from(b64, 'base64').toString('latin1')`.
 */

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text of bytes that may not be text. */
export function textOf(b: Uint8Array): string {
  try {
    return utf8.decode(b)
  } catch (e) {
    if (e instanceof TypeError) return bytesToString(b)
    throw e
  }
}

/** One character a byte. */
export function bytesToString(b: Uint8Array): string {
  return Buffer.from(b.buffer, b.byteOffset, b.byteLength).toString('latin1')
}

/** The bytes of a string that spells bytes. One with other characters was plain text of a client, and TensorFlow's strings are UTF-8. */
export function bytesFromString(s: string): Uint8Array {
  return Buffer.from(s, /[^\0-\xff]/.test(s) ? 'utf8' : 'latin1')
}

import protobuf from 'protobufjs'
import { AppError } from '../../src/errors.ts'
import { ONNX_PROTO } from './proto/onnx.ts'
import { TENSORFLOW_PROTO } from './proto/tensorflow.ts'

/** A 64-bit integer as the decoder gives it: a plain number where the field is absent. */
export type Int64 = number | { toNumber(): number; toString(): string }

let root: protobuf.Root | undefined

/** The reflected message type, e.g. `tensorflow.SavedModel`. The definitions are parsed on first use. */
export function messageType(name: string): protobuf.Type {
  if (!root) {
    root = new protobuf.Root()
    for (const text of [TENSORFLOW_PROTO, ONNX_PROTO]) protobuf.parse(text, root, { keepCase: true })
    root.resolveAll()
  }
  return root.lookupType(name)
}

/**
 * Decodes wire bytes; `bytes` fields are views into `bytes`, not copies.
 * @throws {AppError} BAD_MODEL_FILE naming `where`
 */
export function decode<T>(type: string, bytes: Uint8Array, where: string): T {
  try {
    return messageType(type).decode(bytes) as T
  } catch (cause) {
    throw new AppError('BAD_MODEL_FILE', {
      where,
      expected: `a ${type} message`,
      got: `bytes that do not decode as one (${bytes.length} bytes)`,
      fix: 'Check that the file was copied whole.',
      cause,
    })
  }
}

export function encode(type: string, message: object): Uint8Array {
  return messageType(type).encode(message).finish()
}

export function toNumber(v: Int64 | undefined): number {
  return v === undefined ? 0 : typeof v === 'number' ? v : v.toNumber()
}

export function toBigInt(v: Int64 | undefined): bigint {
  return v === undefined ? 0n : BigInt(v.toString())
}

/** An own property of a decoded message; the decoder puts absent fields' defaults on the prototype. */
export function has(message: object | undefined, field: string): boolean {
  return message !== undefined && Object.hasOwn(message, field)
}

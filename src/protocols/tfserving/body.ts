import { AppError, type ErrorCode, type ErrorDetails } from '../../errors.ts'
import type { Manifest, Signature } from '../../manifest.ts'
import { quoteJson } from '../../tensorjson/spell.ts'
import { isObject, type Json, type JsonObject, member, parseValue } from '../../tensorjson/value.ts'

/** `reply` is TensorFlow Serving's text, which may quote the request; `details` are for the log, which may not. */
export function invalid(reply: string, details: ErrorDetails, code: ErrorCode = 'BAD_REQUEST'): AppError {
  return new AppError(code, { ...details, reply })
}

/** The body as an object; whatever follows it is not looked at. */
export function readBody(body: Uint8Array, options?: { narrow: boolean }): JsonObject {
  if (body.length === 0)
    throw invalid('JSON Parse error: The document is empty', { expected: 'JSON', got: 'nothing' }, 'BAD_JSON')
  const root = parseValue(body, options)
  if (!isObject(root)) throw wrongBody(root, 'Is not object', 'no object')
  return root
}

export function wrongBody(root: Json, reply: string, got: string): AppError {
  const details = { where: 'the body', expected: 'a request in the form of TensorFlow Serving', got }
  return invalid(`JSON Value: ${quoteJson(root)} ${reply}`, details)
}

const DEFAULT_SIGNATURE = 'serving_default'

/** Unlike elsewhere, the only signature is not meant by a request that names none. */
export function signatureName(root: JsonObject): string {
  const name = member(root, 'signature_name')
  if (name === undefined || name === '') return DEFAULT_SIGNATURE
  if (typeof name === 'string') return name
  const reply = "not formatted correctly. 'signature_name' key must be a string value."
  throw wrongBody(root, reply, 'a signature_name that is no string')
}

export function findSignature(manifest: Manifest, name: string, reply: string): Signature {
  if (Object.hasOwn(manifest.signatures, name)) return manifest.signatures[name]!
  const [expected, got] = [Object.keys(manifest.signatures).join(', '), name.slice(0, 80)]
  throw invalid(reply, { where: `model ${manifest.model}`, expected, got }, 'UNKNOWN_SIGNATURE')
}

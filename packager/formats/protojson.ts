import type protobuf from 'protobufjs'
import { AppError } from '../../src/errors.ts'
import { TF_DTYPE_ENUM } from './proto/tensorflow.ts'
import { messageType } from './protobuf.ts'

const MAX_DEPTH = 100

/**
 * The JSON form of a protocol buffer message (TensorFlow.js' graphs, MessageToDict of Python) as the message that the wire decoder
 * yields: names in snake or camel case, bytes in base64, 64-bit integers as strings, data types by name.
 * @throws {AppError} BAD_MODEL_FILE
 */
export function fromJson<T>(type: string, json: unknown, where: string): T {
  return message(messageType(type), json, where, 0) as T
}

function message(type: protobuf.Type, json: unknown, where: string, depth: number): object {
  if (typeof json !== 'object' || json === null || Array.isArray(json) || depth > MAX_DEPTH)
    throw bad(where, `a ${type.name} object`, depth > MAX_DEPTH ? 'deeper nesting' : kindOf(json))
  const out = type.create() as object & Record<string, unknown>
  for (const field of type.fieldsArray) {
    const name = Object.hasOwn(json, field.name) ? field.name : camel(field.name)
    const value = Object.hasOwn(json, name) ? (json as Record<string, unknown>)[name] : undefined
    if (value === undefined || value === null) continue
    const at = `${where}.${name}`
    const inner = field.resolvedType as protobuf.Type | null
    const one = (v: unknown): unknown => (inner ? message(inner, v, at, depth + 1) : scalar(field.type, v, at))
    if (field.map) {
      if (typeof value !== 'object' || Array.isArray(value)) throw bad(at, 'an object', kindOf(value))
      out[field.name] = Object.fromEntries(Object.entries(value).map(([k, v]) => [k, one(v)]))
    } else if (field.repeated) {
      if (!Array.isArray(value)) throw bad(at, 'a list', kindOf(value))
      out[field.name] = value.map(one)
    } else out[field.name] = one(value)
  }
  return out
}

function scalar(type: string, v: unknown, where: string): unknown {
  switch (type) {
    case 'string':
      return plain(v, where)
    case 'bytes':
      // old converters wrote the character codes
      return Array.isArray(v)
        ? Uint8Array.from(v, (code) => finite(code, where, code))
        : new Uint8Array(Buffer.from(plain(v, where), 'base64'))
    case 'bool':
      return v === true || v === 'true'
    case 'float':
    case 'double':
      return finite(v, where, typeof v === 'string' ? Number(v) : v)
    default: {
      const n = typeof v === 'string' ? (TF_DTYPE_ENUM[v] ?? Number(v)) : v
      if (typeof n === 'number' && !Number.isSafeInteger(n) && /^-?\d+$/.test(`${v as string | number}`))
        return { toNumber: () => n, toString: () => `${v as string | number}` }
      return finite(v, where, n)
    }
  }
}

function plain(v: unknown, where: string): string {
  if (typeof v === 'object') throw bad(where, 'a text', kindOf(v))
  return String(v)
}

function finite(v: unknown, where: string, n: unknown): number {
  if (typeof n === 'number' && (!Number.isNaN(n) || v === 'NaN')) return n
  throw bad(where, 'a number', kindOf(v))
}

const camel = (name: string): string => name.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase())
const kindOf = (v: unknown): string => (v === null ? 'null' : Array.isArray(v) ? 'a list' : `a ${typeof v}`)

function bad(where: string, expected: string, got: string): AppError {
  return new AppError('BAD_MODEL_FILE', { where, expected, got })
}

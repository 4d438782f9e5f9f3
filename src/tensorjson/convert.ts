import { textOf } from '../bytestring.ts'
import { AppError } from '../errors.ts'
import type { TensorSpec } from '../manifest.ts'
import { DTYPES, type DType, type NumericArray, type Tensor, type TensorData } from '../tensor.ts'
import { fromNumbers } from './narrow.ts'
import { kindOfJson, quoteJson } from './spell.ts'
import { expand, isList, isNumbers, isObject, type Json, type JsonObject, member } from './value.ts'

type Element = number | bigint | string
type Wanted = Pick<TensorSpec, 'dtype' | 'bytes'>

/** TensorFlow has no more dimensions. */
const MAX_RANK = 254

/**
 * The tensor that a value spells: lists are its dimensions, their lengths those of the first list at each level.
 * @throws {AppError} WRONG_DTYPE, WRONG_SHAPE, UNSUPPORTED_DTYPE with TensorFlow Serving's words
 */
export function toTensor(value: Json, wanted: Wanted): Tensor {
  if (isNumbers(value)) {
    const data = fromNumbers(value, wanted.dtype)
    if (data) return { dtype: wanted.dtype, shape: value.shape, data }
  }
  const shape = shapeOf(value)
  const elements: Element[] = []
  collect(value, 0, shape, wanted, elements)
  return { dtype: wanted.dtype, shape, data: dataOf(wanted.dtype, elements) }
}

function shapeOf(value: Json): number[] {
  const shape: number[] = []
  for (let v: Json | undefined = value; v !== undefined && (isList(v) || isNumbers(v)); ) {
    const list: readonly Json[] = elementsOf(v)
    if (shape.push(list.length) > MAX_RANK)
      throw wrongShape(`Shape has more than ${MAX_RANK} dimensions`, `at most ${MAX_RANK} dimensions`, 'more')
    v = list[0]
  }
  return shape
}

const elementsOf = (v: Exclude<Json, JsonObject | string | number | bigint | boolean | null>): readonly Json[] =>
  isNumbers(v) ? expand(v) : v

function collect(v: Json, level: number, shape: readonly number[], wanted: Wanted, out: Element[]): void {
  const rank = shape.length
  if (!isList(v) && !isNumbers(v)) {
    if (level !== rank)
      throw wrongShape(
        `JSON Value: ${quoteJson(v)} found at incorrect level: ${level + 1} in the JSON DOM. Expected at level: ${rank}`,
        `values at level ${rank}`,
        `one at level ${level + 1}`,
      )
    out.push(elementOf(v, wanted))
    return
  }
  const list = elementsOf(v)
  if (level >= rank)
    throw wrongShape(
      `Encountered list at unexpected level: ${level} expected < ${rank}`,
      `lists at levels below ${rank}`,
      `one at level ${level}`,
    )
  if (list.length !== shape[level])
    throw wrongShape(
      `Encountered list at unexpected size: ${list.length} at level: ${level} expected size: ${shape[level]}`,
      `lists of ${shape[level]} at level ${level}`,
      `one of ${list.length}`,
    )
  for (const one of list) collect(one, level + 1, shape, wanted, out)
}

/** What an element of a dtype may be; undefined refuses it. Dtypes that are not here have no form in the JSON of TensorFlow Serving. */
const ELEMENTS: Partial<Record<DType, (v: Json, wanted: Wanted) => Element | undefined>> = {
  float32: decimal,
  float64: decimal,
  int8: int32,
  int16: int32,
  int32,
  uint8: int32,
  int64: (v) => integer(v, -(2n ** 63n), 2n ** 63n),
  uint32: (v) => number(integer(v, 0n, 2n ** 32n)),
  uint64: (v) => integer(v, 0n, 2n ** 64n),
  bool: (v) => (typeof v === 'boolean' ? Number(v) : undefined),
  string: (v, { bytes }) => (typeof v === 'string' ? (bytes ? Buffer.from(v).toString('latin1') : v) : undefined),
}

function decimal(v: Json): number | undefined {
  return typeof v === 'number' ? v : typeof v === 'bigint' ? Number(v) : undefined
}

/** Also of int8, int16 and uint8: TensorFlow Serving takes 32 bits and keeps the lowest. */
function int32(v: Json): number | undefined {
  return number(integer(v, -(2n ** 31n), 2n ** 31n))
}

function integer(v: Json, low: bigint, end: bigint): bigint | undefined {
  return typeof v === 'bigint' && v >= low && v < end ? v : undefined
}

function number(v: bigint | undefined): number | undefined {
  return v === undefined ? undefined : Number(v)
}

function elementOf(v: Json, wanted: Wanted): Element {
  const read = ELEMENTS[wanted.dtype]
  if (isObject(v) && wanted.dtype === 'string') return base64Of(v, wanted)
  const name = typeName(wanted.dtype)
  if (!read && !isObject(v)) {
    const reply = `Conversion of JSON Value: ${quoteJson(v)} to type: ${name}`
    throw new AppError('UNSUPPORTED_DTYPE', { expected: 'a dtype that JSON can carry', got: name, reply })
  }
  const element = read?.(v, wanted)
  if (element !== undefined) return element
  const reply = `JSON Value: ${quoteJson(v)} Type: ${kindOfJson(v)} is not of expected type: ${name}`
  throw new AppError('WRONG_DTYPE', { expected: name, got: kindOfJson(v), reply })
}

/** `{"b64": "…"}` and nothing else. */
export function isBase64(v: Json): boolean {
  return isObject(v) && v.members.length === 1 && typeof member(v, 'b64') === 'string'
}

function base64Of(v: JsonObject, { bytes }: Wanted): string {
  if (!isBase64(v)) {
    const reply = `JSON Value: ${quoteJson(v)} not formatted correctly for base64 data`
    throw new AppError('WRONG_DTYPE', { expected: 'text or {"b64": …}', got: 'another object', reply })
  }
  const decoded = decodeBase64(v)
  return bytes ? decoded.toString('latin1') : textOf(decoded)
}

/** The standard alphabet; padding may be left out, spaces are passed over. */
export function decodeBase64(v: Json): Buffer {
  const text = String(isObject(v) && member(v, 'b64')).replace(/[ \t\n\v\f\r]/g, '')
  const [, digits = '', padding = ''] = /^([A-Za-z0-9+/]*)(=*)$/.exec(text) ?? []
  const short = digits.length % 4
  const whole = digits.length + padding.length === text.length
  if (!whole || short === 1 || (padding !== '' && padding.length !== (4 - short) % 4))
    throw new AppError('WRONG_DTYPE', {
      expected: 'base64 of the standard alphabet',
      got: 'other text',
      reply: 'Unable to base64 decode',
    })
  return Buffer.from(digits, 'base64')
}

function dataOf(dtype: DType, elements: readonly Element[]): TensorData {
  if (dtype === 'string') return elements as string[]
  const data = new (DTYPES[dtype].array as new (n: number) => NumericArray)(elements.length)
  const slots = data as { [i: number]: Element }
  for (const [i, x] of elements.entries()) slots[i] = x
  return data
}

/** TensorFlow's names of dtypes in messages. */
export function typeName(dtype: DType): string {
  return dtype === 'float32' ? 'float' : dtype === 'float64' ? 'double' : dtype === 'float16' ? 'half' : dtype
}

function wrongShape(reply: string, expected: string, got: string): AppError {
  return new AppError('WRONG_SHAPE', { expected, got, reply })
}

import { AppError } from '../errors.ts'
import type { Manifest, Signature, TensorSpec } from '../manifest.ts'
import { nearest } from '../nearest.ts'
import { DTYPES, type DType, sizeOf, type Tensor } from '../tensor.ts'
import { toTensor } from '../tensorjson/convert.ts'
import {
  expand,
  isList,
  isNumbers,
  isObject,
  type Json,
  type JsonObject,
  member,
  parseValue,
} from '../tensorjson/value.ts'
import type { HttpRequest, Tensors } from '../types.ts'
import { BINARY_ONLY, DATATYPES, datatypeOf, decodeBinary } from './oipdatatypes.ts'

export interface InferRequest {
  readonly id?: string
  readonly signature: string
  readonly feeds: Tensors
  /** requested outputs in their order; absent: all */
  readonly outputs?: readonly RequestedOutput[]
  /** request parameter binary_data_output: how outputs come that do not say it themselves */
  readonly binary: boolean
}

export interface RequestedOutput {
  readonly name: string
  readonly binary?: boolean
  /** number of classes: the classification extension */
  readonly classification?: number
}

export const HEADER_LENGTH = 'inference-header-content-length'

/** JSON, or JSON followed by the binary tensors of its inputs in order. @throws {AppError} */
export function parseInfer(req: HttpRequest, manifest: Manifest): InferRequest {
  const length = headerLength(req)
  const body = parseValue(req.body.subarray(0, length))
  if (!isObject(body)) throw bad('the body', 'a JSON object', body)
  const parameters = objectAt(body, 'parameters', 'parameters')
  const name = stringAt(parameters, 'signature_name', 'parameters.signature_name') ?? manifest.defaultSignature
  const signature = Object.hasOwn(manifest.signatures, name) ? manifest.signatures[name] : undefined
  if (!signature)
    throw new AppError('UNKNOWN_SIGNATURE', {
      where: 'parameters.signature_name',
      expected: Object.keys(manifest.signatures).join(', '),
      got: name.slice(0, 80),
    })
  const id = stringAt(body, 'id', 'id')
  const outputs = member(body, 'outputs')
  return {
    ...(id !== undefined && { id }),
    signature: name,
    feeds: readInputs(body, signature, req.body.subarray(length)),
    ...(outputs !== undefined && {
      outputs: listOf(outputs, 'outputs').map((o, i) => requested(o, `outputs[${i}]`, signature)),
    }),
    binary: booleanAt(parameters, 'binary_data_output', 'parameters.binary_data_output') ?? false,
  }
}

function headerLength(req: HttpRequest): number {
  const given = req.headers[HEADER_LENGTH]
  if (given === undefined) return req.body.length
  const length = Number(given)
  if (/^\d+$/.test(given) && length <= req.body.length) return length
  throw new AppError('BAD_REQUEST', {
    where: HEADER_LENGTH,
    expected: `the length of the JSON, at most ${req.body.length}`,
    got: given.slice(0, 20),
  })
}

function readInputs(body: JsonObject, signature: Signature, blobs: Uint8Array): Tensors {
  const feeds: Record<string, Tensor> = Object.create(null)
  let at = 0
  for (const [i, input] of listOf(member(body, 'inputs'), 'inputs').entries()) {
    const where = `inputs[${i}]`
    if (!isObject(input)) throw bad(where, 'an object', input)
    const name = stringAt(input, 'name', `${where}.name`)
    if (name === undefined) throw bad(`${where}.name`, 'a string', undefined)
    const spec = specOf(name, signature.inputs, 'UNKNOWN_INPUT', where)
    if (name in feeds) throw new AppError('BAD_REQUEST', { where, expected: 'each input once', got: `'${name}' twice` })
    const dtype = dtypeOf(input, spec, where)
    const shape = shapeOf(input, where)
    const parameters = objectAt(input, 'parameters', `${where}.parameters`)
    const size = parameters && member(parameters, 'binary_data_size')
    if (size === undefined) feeds[name] = fromJson(member(input, 'data'), { ...spec, dtype }, shape, where)
    else {
      const bytes = Number(size)
      if (typeof size !== 'bigint' || bytes < 0 || at + bytes > blobs.length)
        throw new AppError('BAD_REQUEST', {
          where: `${where}.parameters.binary_data_size`,
          expected: `at most the ${blobs.length - at} bytes that follow the JSON`,
          got: typeof size === 'bigint' ? String(size) : 'no integer',
        })
      feeds[name] = decodeBinary(dtype, shape, blobs.subarray(at, at + bytes), spec.bytes === true, where)
      at += bytes
    }
  }
  if (at !== blobs.length)
    throw new AppError('BAD_REQUEST', {
      where: 'the body',
      expected: `${at} bytes of binary tensors`,
      got: `${blobs.length}`,
    })
  return { ...feeds }
}

function dtypeOf(input: JsonObject, spec: TensorSpec, where: string): DType {
  const given = stringAt(input, 'datatype', `${where}.datatype`)
  const dtype =
    given !== undefined && Object.hasOwn(DATATYPES, given) ? DATATYPES[given as keyof typeof DATATYPES] : undefined
  if (dtype === spec.dtype) return dtype
  throw new AppError('WRONG_DTYPE', {
    where: `${where}.datatype`,
    expected: datatypeOf(spec.dtype),
    got: given?.slice(0, 20) ?? 'none',
  })
}

function shapeOf(input: JsonObject, where: string): number[] {
  const given = member(input, 'shape')
  const shape =
    given !== undefined && isNumbers(given) && given.shape.length === 1 && given.integral
      ? Array.from(given.values)
      : isList(given ?? null) && (given as readonly Json[]).length === 0
        ? []
        : undefined
  if (!shape || shape.some((d) => d < 0)) throw bad(`${where}.shape`, 'a list of sizes', given)
  return shape
}

/** Row-major values, nested or flat. */
function fromJson(data: Json | undefined, spec: TensorSpec, shape: readonly number[], where: string): Tensor {
  if (data === undefined) throw bad(`${where}.data`, 'data, or parameters.binary_data_size', undefined)
  if (BINARY_ONLY.has(spec.dtype))
    throw new AppError('WRONG_DTYPE', {
      where,
      expected: 'binary data',
      got: 'JSON',
      fix: `${datatypeOf(spec.dtype)} has no JSON form: send parameters.binary_data_size and the bytes.`,
    })
  const t = fromList(data, spec, where)
  const same = t.shape.length === shape.length && t.shape.every((d, i) => d === shape[i])
  const flat = t.shape.length === 1 && t.data.length === sizeOf(shape)
  const scalar = t.shape.length === 0 && sizeOf(shape) === 1
  if (same || flat || scalar) return { ...t, shape }
  throw new AppError('WRONG_SHAPE', {
    where: `${where}.data`,
    expected: `[${shape}] nested, or ${sizeOf(shape)} values in one list`,
    got: `[${t.shape}]`,
  })
}

/** Small integers are read as int32, which is what tells whether they fit. */
function fromList(data: Json, spec: TensorSpec, where: string): Tensor {
  const small = SMALL[spec.dtype]
  if (!small) return toTensor(data, spec)
  const wide = toTensor(data, { ...spec, dtype: 'int32' })
  const values = wide.data as Int32Array
  if (values.some((v) => v < small.low || v > small.high))
    throw new AppError('WRONG_DTYPE', {
      where: `${where}.data`,
      expected: `integers from ${small.low} to ${small.high}`,
      got: 'one outside',
    })
  return { dtype: spec.dtype, shape: wide.shape, data: DTYPES[spec.dtype as 'int8'].array.from(values) }
}

const SMALL: Partial<Record<DType, { readonly low: number; readonly high: number }>> = {
  int8: { low: -128, high: 127 },
  uint8: { low: 0, high: 255 },
  int16: { low: -32_768, high: 32_767 },
  uint16: { low: 0, high: 65_535 },
}

function requested(o: Json, where: string, signature: Signature): RequestedOutput {
  if (!isObject(o)) throw bad(where, 'an object', o)
  const name = stringAt(o, 'name', `${where}.name`)
  if (name === undefined) throw bad(`${where}.name`, 'a string', undefined)
  specOf(name, signature.outputs, 'UNKNOWN_OUTPUT', where)
  const parameters = objectAt(o, 'parameters', `${where}.parameters`)
  const binary = booleanAt(parameters, 'binary_data', `${where}.parameters.binary_data`)
  const classes = parameters && member(parameters, 'classification')
  if (classes !== undefined && (typeof classes !== 'bigint' || classes < 1n))
    throw bad(`${where}.parameters.classification`, 'a number of classes', classes)
  return {
    name,
    ...(binary !== undefined && { binary }),
    ...(classes !== undefined && Number(classes) > 0 && { classification: Number(classes) }),
  }
}

function specOf(
  name: string,
  specs: Readonly<Record<string, TensorSpec>>,
  code: 'UNKNOWN_INPUT' | 'UNKNOWN_OUTPUT',
  where: string,
): TensorSpec {
  if (Object.hasOwn(specs, name)) return specs[name]!
  const meant = nearest(name, Object.keys(specs))
  throw new AppError(code, {
    where,
    expected: Object.keys(specs).join(', '),
    got: `'${name.slice(0, 80)}'`,
    fix: meant ? `Did you mean ${meant}?` : undefined,
  })
}

function listOf(v: Json | undefined, where: string): readonly Json[] {
  if (v !== undefined && isList(v)) return v
  if (v !== undefined && isNumbers(v)) return expand(v)
  throw bad(where, 'a list of objects', v)
}

function objectAt(o: JsonObject, name: string, where: string): JsonObject | undefined {
  const v = member(o, name)
  if (v === undefined || isObject(v)) return v
  throw bad(where, 'an object', v)
}

function stringAt(o: JsonObject | undefined, name: string, where: string): string | undefined {
  const v = o && member(o, name)
  if (v === undefined || typeof v === 'string') return v
  throw bad(where, 'a string', v)
}

function booleanAt(o: JsonObject | undefined, name: string, where: string): boolean | undefined {
  const v = o && member(o, name)
  if (v === undefined || typeof v === 'boolean') return v
  throw bad(where, 'true or false', v)
}

function bad(where: string, expected: string, v: Json | undefined): AppError {
  const got =
    v === undefined
      ? 'nothing'
      : v === null
        ? 'null'
        : isObject(v)
          ? 'an object'
          : isList(v) || isNumbers(v)
            ? 'a list'
            : `a ${typeof v === 'bigint' ? 'number' : typeof v}`
  return new AppError('BAD_REQUEST', { where, expected, got })
}

import { bytesToString } from '../bytestring.ts'
import { AppError } from '../errors.ts'
import { toFeeds } from '../feeds.ts'
import type { Signature, TensorSpec } from '../manifest.ts'
import type { Model } from '../models.ts'
import type { Limits } from '../predict.ts'
import { prepare } from '../predict.ts'
import { sizeOf, type Tensor } from '../tensor.ts'
import { parseExamples } from '../tfexample/parse.ts'
import type { Feeds, Tensors } from '../types.ts'
import { upload } from '../upload.ts'
import type { Decoded } from './types.ts'

/** A record's input as `_preprocess` leaves it, or as it would. Files, requests and examples with an image pass the hook; tensors need none. */
export function makeReady(
  model: Model,
  input: Exclude<Decoded['input'], { kind: 'object' | 'bad' }>,
  limits: Limits,
  /** so many records in one, whose tensors have the batch dimension */
  count = 1,
): Feeds | Promise<Feeds> {
  const { signature } = model
  switch (input.kind) {
    case 'file': {
      const field = fileField(model)
      const file = upload(field, input.fileName, input.contentType, input.bytes)
      return prepare(model, { [field]: { [input.fileName]: file } }, limits)
    }
    case 'data':
      return prepare(model, input.data, limits)
    case 'instance':
      return toFeeds(fromInstance(input.value, signature), signature)
    case 'tensors':
      if (count > 1) return toFeeds(input.tensors, signature)
      return toFeeds(Object.fromEntries(Object.entries(input.tensors).map(([a, t]) => [a, withBatch(t)])), signature)
    case 'example':
      return fromExample(model, input.bytes, limits)
  }
}

/** The form field that takes a file: the declared one, or what a model without a declaration calls its only input. */
function fileField({ manifest, signature }: Model): string {
  const declared = Object.entries(manifest.fields ?? {}).filter(([, f]) => f.kind === 'file')
  if (declared.length > 1)
    throw new AppError('BAD_INPUT', { where: 'a file', expected: 'a model with one file field', got: 'several' })
  const [alias = 'file'] = Object.keys(signature.inputs)
  return declared[0]?.[0] ?? alias
}

/** Values of one record: by alias, or of the only input. What has no batch dimension gets one. */
export function fromInstance(value: unknown, { inputs }: Signature): Record<string, unknown> {
  const needed = Object.keys(inputs).filter((a) => !inputs[a]!.optional)
  const plain = typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)
  if (!plain && needed.length !== 1)
    throw new AppError('BAD_INPUT', { where: 'a record', expected: `values for ${needed.join(', ')}`, got: 'a list' })
  const byAlias = (plain ? value : { [needed[0]!]: value }) as Record<string, unknown>
  const feeds: Record<string, unknown> = Object.create(null)
  for (const [alias, v] of Object.entries(byAlias))
    feeds[alias] = Object.hasOwn(inputs, alias) ? shaped(v, inputs[alias]!) : v
  return feeds
}

function shaped(value: unknown, { shape, dtype }: TensorSpec): unknown {
  let depth = 0
  for (let v = value; Array.isArray(v); v = v[0]) depth++
  if (shape === null || depth === shape.length) return value
  const rest = shape.slice(1)
  const size = rest.every((d) => d !== null) ? sizeOf(rest) : undefined
  // a flat row of numbers for an image: the row of a CSV
  if (depth === 1 && rest.length !== 1 && dtype !== 'string' && Array.isArray(value) && value.length === size)
    return nest(value, rest as number[])
  return [value]
}

function nest(flat: readonly unknown[], shape: readonly number[]): unknown {
  let level: unknown[] = [...flat]
  for (let d = shape.length - 1; d >= 0; d--) {
    const n = shape[d]!
    level = Array.from({ length: level.length / n }, (_, i) => level.slice(i * n, (i + 1) * n))
  }
  return level
}

function withBatch(t: Tensor): Tensor {
  return { dtype: t.dtype, shape: [1, ...t.shape], data: t.data }
}

/**
 * A tf.Example goes to a model as the model wants it: serialized, where it parses examples itself; as the file of a form, where it
 * has a `_preprocess` and the example an encoded image; otherwise feature by feature, by the names of the inputs.
 */
function fromExample(model: Model, bytes: Uint8Array, limits: Limits): Feeds | Promise<Feeds> {
  const { signature } = model
  const inputs = Object.entries(signature.inputs)
  const parsed = new Set((signature.cuts ?? []).flatMap((c) => c.inputs))
  const serialized = inputs.find(([, i]) => parsed.has(i.name)) ?? (inputs.length === 1 ? inputs[0] : undefined)
  if (serialized && serialized[1].dtype === 'string' && (serialized[1].shape?.length ?? 1) < 2) {
    const shape = serialized[1].shape?.length === 0 ? [] : [1]
    return { [serialized[0]]: { dtype: 'string', shape, data: [bytesToString(bytes)] } }
  }
  const image = encodedImage(model, bytes)
  if (image) {
    const file = { kind: 'file', fileName: 'image', contentType: 'application/octet-stream', bytes: image } as const
    return makeReady(model, file, limits)
  }
  const wanted = inputs.filter(([, i]) => !i.optional)
  const features = wanted.map(([alias, i]) => ({
    kind: 'dense' as const,
    name: alias,
    dtype: featureKind(i),
    shape: (i.shape ?? []).slice(1),
  }))
  const values = parseExamples({ single: true, features }, [bytes])
  const feeds: Tensors = {}
  for (const [k, [alias, spec]] of wanted.entries()) feeds[alias] = cast(withBatch(values[k]!), spec)
  return toFeeds(feeds, signature)
}

function encodedImage(model: Model, bytes: Uint8Array): Uint8Array | undefined {
  const names = [...new Set(['image/encoded', fileField(model)])]
  if (!Object.values(model.manifest.fields ?? {}).some((f) => f.kind === 'file')) names.pop()
  for (const name of names) {
    try {
      const [, values] = parseExamples({ single: true, features: [{ kind: 'sparse', name, dtype: 'string' }] }, [bytes])
      const [text] = (values?.data ?? []) as string[]
      if (text !== undefined) return Buffer.from(text, 'latin1')
    } catch (e) {
      // the feature is there as numbers: then it is no file
      if (!(e instanceof AppError && e.code === 'BAD_EXAMPLE')) throw e
    }
  }
  return undefined
}

function featureKind({ dtype }: TensorSpec): 'string' | 'float32' | 'int64' {
  if (dtype === 'string') return 'string'
  return /float/.test(dtype) ? 'float32' : 'int64'
}

/** tf.Example knows three types; the model's may be narrower. */
function cast(t: Tensor, { dtype, shape }: TensorSpec): Tensor {
  if (t.dtype === dtype) return t
  const flat = Array.from(t.data as ArrayLike<number | bigint>, (v) => (dtype === 'bool' ? Number(v) !== 0 : v))
  return { ...toFeeds({ x: nest(flat, t.shape.slice(1)) }, oneInput(dtype, shape)).x!, shape: t.shape }
}

const oneInput = (dtype: TensorSpec['dtype'], shape: TensorSpec['shape']): Signature => ({
  graph: '',
  method: '',
  inputs: { x: { name: 'x', dtype, shape } },
  outputs: {},
})

import { AppError } from './errors.ts'
import type { Signature, TensorSpec } from './manifest.ts'
import { nearest } from './nearest.ts'
import { kindOf, toTensor } from './nested.ts'
import { isTensor, sizeOf, spell, type Tensor } from './tensor.ts'
import type { Tensors } from './types.ts'

/**
 * What `_preprocess` returned, or a client sent, as tensors of the declared dtypes.
 * @throws {AppError} HOOK_RESULT when it is no `{ alias: value }` object, else WRONG_DTYPE, WRONG_SHAPE, MISSING_INPUT, UNKNOWN_INPUT
 */
export function toFeeds(ready: unknown, signature: Signature): Tensors {
  if (!isRecord(ready)) throw new AppError('HOOK_RESULT', { expected: spellInputs(signature), got: kindOf(ready) })
  const feeds: Tensors = Object.create(null)
  for (const [alias, value] of Object.entries(ready)) {
    const spec = inputSpec(alias, signature)
    if (value !== undefined) feeds[alias] = toTensor(`input ${alias}`, value, spec.dtype, spec.shape)
  }
  checkFeeds(feeds, signature)
  return feeds
}

/** Anything with members by name; a Map, a Promise or a Date has none, a tensor and an array have others. */
function isRecord(v: unknown): v is Record<string, unknown> {
  if (typeof v !== 'object' || v === null || Array.isArray(v) || ArrayBuffer.isView(v) || isTensor(v)) return false
  const prototype: unknown = Object.getPrototypeOf(v)
  return prototype === null || prototype === Object.prototype || Object.keys(v).length > 0
}

/** Everything the native call would answer badly or not at all. Texts of native errors are never parsed. */
export function checkFeeds(feeds: Tensors, signature: Signature): void {
  for (const [alias, t] of Object.entries(feeds)) {
    const spec = inputSpec(alias, signature)
    if (t.dtype !== spec.dtype) throw wrong('WRONG_DTYPE', alias, spec, t)
    if (!fits(t, spec)) throw wrong('WRONG_SHAPE', alias, spec, t)
  }
  for (const [alias, spec] of Object.entries(signature.inputs))
    if (!(alias in feeds) && !spec.optional)
      throw new AppError('MISSING_INPUT', {
        where: `input ${alias}`,
        expected: spell(spec.dtype, spec.shape),
        got: list(Object.keys(feeds)) || 'no inputs',
      })
}

function wrong(code: 'WRONG_DTYPE' | 'WRONG_SHAPE', alias: string, spec: TensorSpec, t: Tensor): AppError {
  const details = { where: `input ${alias}`, expected: spell(spec.dtype, spec.shape), got: spell(t.dtype, t.shape) }
  return new AppError(code, details)
}

function fits(t: Tensor, spec: TensorSpec): boolean {
  if (t.data.length !== sizeOf(t.shape)) return false
  if (spec.shape === null) return true
  return t.shape.length === spec.shape.length && spec.shape.every((d, i) => d === null || d === t.shape[i])
}

function inputSpec(alias: string, signature: Signature): TensorSpec {
  if (Object.hasOwn(signature.inputs, alias)) return signature.inputs[alias]!
  const known = Object.keys(signature.inputs)
  const meant = nearest(alias, known)
  throw new AppError('UNKNOWN_INPUT', {
    expected: list(known),
    got: alias.slice(0, 80),
    fix: meant && `Rename it to ${meant}.`,
  })
}

/** `{ images: float32 [?,784] }` */
export function spellInputs(signature: Signature): string {
  const inputs = Object.entries(signature.inputs).map(
    ([alias, s]) => `${alias}${s.optional ? '?' : ''}: ${spell(s.dtype, s.shape)}`,
  )
  return `{ ${inputs.join(', ')} }`
}

const list = (names: readonly string[]) => names.map((n) => n.slice(0, 80)).join(', ')

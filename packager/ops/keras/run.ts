import { AppError, isAppError } from '../../../src/errors.ts'
import { type DType, spell, type Tensor } from '../../../src/tensor.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import type { Env } from '../op.ts'
import { type Arg, type Call, isKTensor, isValue, type KLayer, type KTensor, type Result, tensorsOf } from './layer.ts'
import { isModel, type LayerProblem } from './tree.ts'

/** What the layers of one file share while they are emitted. */
export interface Context {
  readonly b: Builder
  /** for TensorFlow's own rows */
  readonly env: Env
  /** Keras' major version */
  readonly keras: number
  readonly problems: LayerProblem[]
  /** a variable by its place among the layer's own */
  variable(layer: KLayer, index: number, name: string): Tensor
  asset(layer: KLayer, file: string): string | undefined
  /** models inside models */
  model(layer: KLayer, args: readonly Arg[], mask: Arg | undefined, c: Context): Result
}

const FLOATS: ReadonlySet<string> = new Set(['float16', 'bfloat16', 'float32', 'float64'])
const isHalf = (d: string): boolean => d === 'float16' || d === 'bfloat16'

/**
 * Layers in half precision: inputs and weights are rounded to it, the row works in float32, the result is rounded again. That is at
 * least as exact as Keras' own arithmetic, and onnxruntime has few kernels for float16 and next to none for bfloat16.
 */
interface Widening {
  readonly half: DType | undefined
  readonly originals: Map<Value, Value>
}

function prepared(a: Arg, layer: KLayer, w: Widening, b: Builder): Arg {
  if (isKTensor(a)) {
    if (!FLOATS.has(a.value.dtype)) return a
    const autocast = layer.row.autocast !== false && FLOATS.has(layer.dtype)
    const cast = autocast ? b.cast(a.value, layer.dtype) : a.value
    if (cast === a.value && !isHalf(cast.dtype)) return a
    if (!isHalf(cast.dtype)) return { ...a, value: cast }
    const wide = b.cast(cast, 'float32')
    w.originals.set(wide, cast)
    return { ...a, value: wide }
  }
  if (Array.isArray(a)) return (a as readonly Arg[]).map((v) => prepared(v, layer, w, b))
  if (typeof a === 'object' && a !== null && !('slice' in a))
    return Object.fromEntries(Object.entries(a).map(([k, v]) => [k, prepared(v as Arg, layer, w, b)]))
  return a
}

function finished(r: Result, layer: KLayer, mask: Value | undefined, w: Widening, b: Builder): KTensor | Result[] {
  if (Array.isArray(r)) return (r as readonly Result[]).map((v) => finished(v, layer, undefined, w, b))
  const t: KTensor = isValue(r) ? { value: r, mask: layer.row.mask === 'keep' ? mask : undefined } : (r as KTensor)
  const original = w.originals.get(t.value)
  if (original) return { ...t, value: original }
  return w.half && t.value.dtype === 'float32' ? { ...t, value: b.cast(t.value, w.half) } : t
}

/** Calls a layer. @throws {AppError} UNSUPPORTED_LAYER where the row cannot express its options */
export function runLayer(
  layer: KLayer,
  args: readonly Arg[],
  kwargs: { readonly [key: string]: Arg },
  c: Context,
): KTensor | Result[] {
  const { b } = c
  const before = b.at
  b.at = before === '' ? layer.name : `${before}/${layer.name}`
  try {
    if (isModel(layer.type))
      return finished(
        c.model(layer, args, kwargs.mask, c),
        layer,
        undefined,
        { half: undefined, originals: new Map() },
        b,
      )
    const given = tensorsOf([...args, ...Object.values(kwargs)] as Arg).find((t) => isHalf(t.value.dtype))?.value.dtype
    const half = isHalf(layer.dtype)
      ? layer.dtype
      : layer.row.autocast === false && given
        ? (given as DType)
        : undefined
    const w: Widening = { half: layer.type === 'Cast' ? undefined : half, originals: new Map() }
    const own = args.map((a) => prepared(a, layer, w, b))
    const named = prepared(kwargs, layer, w, b) as { readonly [key: string]: Arg }
    const call = contextOf(layer, own, named, c)
    return finished(layer.row.emit(call, b), layer, call.mask, w, b)
  } catch (e) {
    if (e instanceof ReferenceError || (isAppError(e) && e.code !== 'INTERNAL')) throw e
    throw new AppError('BAD_MODEL_FILE', {
      where: layer.config.where,
      expected: 'a configuration, weights and inputs that fit each other',
      got: e instanceof Error ? e.message : String(e),
      cause: e,
    })
  } finally {
    b.at = before
  }
}

function contextOf(layer: KLayer, args: readonly Arg[], kwargs: { readonly [key: string]: Arg }, c: Context): Call {
  const all = tensorsOf(args[0] ?? null)
  const first = all[0] ?? tensorsOf(args as Arg)[0] ?? tensorsOf(kwargs)[0]
  const names = layer.row.vars?.(layer.config) ?? []
  const read = (name: string): Value | undefined => {
    const index = names.findIndex((v) => v.replace(/^[~@]/, '') === name)
    return index < 0 ? undefined : weight(layer, index, name, c)
  }
  return {
    layer,
    config: layer.config,
    args,
    kwargs,
    get x() {
      if (first) return first.value
      throw new AppError('UNSUPPORTED_LAYER', { where: layer.config.where, expected: 'a tensor as input', got: 'none' })
    },
    mask: isKTensor(kwargs.mask) ? kwargs.mask.value : first?.mask,
    all,
    env: c.env,
    keras: c.keras,
    w: (name) => {
      const v = read(name)
      if (v) return v
      throw new AppError('INTERNAL', {
        where: layer.config.where,
        expected: `a variable '${name}'`,
        got: 'none in the row',
      })
    },
    maybe: read,
    child: (attr) => {
      const child = layer.children.get(attr)
      if (child) return child
      throw new AppError('INTERNAL', { where: layer.config.where, expected: `a layer '${attr}' inside`, got: 'none' })
    },
    run: (child, inputs, named = {}, inner) => runLayer(child, inputs, named, inner ? { ...c, b: inner } : c),
    inside: (child, inputs) => contextOf(child, inputs ?? args, {}, c),
    asset: c.asset,
  }
}

function weight(layer: KLayer, index: number, name: string, c: Context): Value {
  const { b } = c
  const stored = c.variable(layer, index, name)
  const wanted = layer.row.fits?.(layer.config)[name]
  if (wanted && (wanted.length !== stored.shape.length || wanted.some((d, i) => d !== null && d !== stored.shape[i])))
    throw new AppError('CHECKPOINT_MISMATCH', {
      where: `${name} of ${layer.config.where}`,
      expected: spell(stored.dtype, wanted),
      got: spell(stored.dtype, stored.shape),
      fix: 'Architecture and weights must come from the same model.',
    })
  const value = b.const(stored)
  if (!FLOATS.has(value.dtype)) return value
  const working = isHalf(layer.dtype) || !FLOATS.has(layer.dtype) ? 'float32' : layer.dtype
  const rounded = isHalf(layer.dtype) && layer.row.exact !== true ? b.cast(value, layer.dtype) : value
  return b.cast(rounded, working)
}

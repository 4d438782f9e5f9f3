import { AppError } from '../../../src/errors.ts'
import type { DType } from '../../../src/tensor.ts'
import type { Json, JsonObject } from '../../formats/jsonvalue.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import type { Env } from '../op.ts'
import type { Config } from './config.ts'

/** A tensor between layers with the mask that travels with it, true where a step counts. */
export interface KTensor {
  readonly value: Value
  /** not readonly: MultiHeadAttention takes the masks off its inputs, for the layers after it too */
  mask?: Value | undefined
}

/** An argument of a layer call: tensors, and what the model file says literally, in any nesting. */
export type Arg = KTensor | Slice | null | boolean | number | string | readonly Arg[] | { readonly [key: string]: Arg }

/** `start:stop:step` of a GetItem. */
export interface Slice {
  readonly slice: readonly [Arg, Arg, Arg]
}

/** What a row yields: a bare value takes the mask that the row's `mask` says. */
export type Result = Value | KTensor | readonly Result[]

/** A layer of the model with the layers inside it. */
export interface KLayer {
  readonly type: string
  readonly name: string
  readonly config: Config
  readonly row: LayerRow
  /** in order of creation, which is the order of weights in .h5 files */
  readonly children: ReadonlyMap<string, KLayer>
  /** group of its variables in a .weights.h5 file */
  readonly path: string
  /** dtype it computes in: where that is half as wide, its row works in float32 and the result is rounded */
  readonly dtype: DType
  readonly trainable: boolean
  /** what the file says beside the config, e.g. build_config */
  readonly json: JsonObject
}

export type MakeChild = (
  attr: string,
  json: JsonObject,
  container?: { readonly name: string; readonly used: Map<string, number> },
) => void

export interface LayerRow {
  /** own variables in order of creation, '~' before those that are not trained; they depend on the config alone */
  vars?(c: Config): readonly string[]
  /** what the config says of the shapes of variables, null where it leaves a dimension open; only what disagrees is refused */
  fits?(c: Config): Readonly<Record<string, readonly (number | null)[]>>
  /** the layers inside, in order of creation */
  children?(c: Config, make: MakeChild): void
  /** 'keep' hands the mask of the first input on; without it the mask ends here, as in Keras for layers that do not know masks */
  readonly mask?: 'keep'
  /** false: inputs stay in the dtype they have */
  readonly autocast?: false
  /** true: variables keep their precision where the layer computes in half */
  readonly exact?: true
  /** one sentence for the docs where the row has limits */
  readonly note?: string
  emit(n: Call, b: Builder): Result
}

export type LayerTable = Readonly<Record<string, LayerRow>>

/** One call of a layer as its row sees it. */
export interface Call {
  readonly layer: KLayer
  readonly config: Config
  readonly args: readonly Arg[]
  readonly kwargs: { readonly [key: string]: Arg }
  /** the first tensor */
  readonly x: Value
  /** its mask, or the one given as `mask=` */
  readonly mask: Value | undefined
  /** all tensors of the first argument: the inputs of a merge */
  readonly all: readonly KTensor[]
  /** for TensorFlow's own rows */
  readonly env: Env
  /** Keras' major version that wrote the file: 'hard_sigmoid' has changed its meaning */
  readonly keras: number
  /** a variable by its name in the row */
  w(name: string): Value
  /** a variable that the config may leave out */
  maybe(name: string): Value | undefined
  child(attr: string): KLayer
  /** calls a layer inside */
  run(layer: KLayer, args: readonly Arg[], kwargs?: { readonly [key: string]: Arg }, b?: Builder): Result
  /** another layer's context, for rows that use the variables of the layers inside (cells) */
  inside(layer: KLayer, args?: readonly Arg[]): Call
  /** text of a file among the assets of a .keras archive */
  asset(layer: KLayer, file: string): string | undefined
}

/** The refusal of one layer, collected with all others. */
export function unsupported(n: { readonly layer: KLayer }, expected: string, got: string, fix?: string): AppError {
  return new AppError('UNSUPPORTED_LAYER', {
    where: `${n.layer.type} layer '${n.layer.name}'`,
    expected,
    got,
    ...(fix && { fix }),
  })
}

export function isKTensor(a: Arg | undefined): a is KTensor {
  return typeof a === 'object' && a !== null && !Array.isArray(a) && 'value' in a && isValue((a as KTensor).value)
}

export function isValue(v: unknown): v is Value {
  return typeof v === 'object' && v !== null && (v as Value).kind === 'tensor'
}

/** All tensors inside an argument, in order. */
export function tensorsOf(a: Arg | undefined): KTensor[] {
  if (isKTensor(a)) return [a]
  if (Array.isArray(a)) return (a as readonly Arg[]).flatMap(tensorsOf)
  if (typeof a === 'object' && a !== null && !('slice' in a))
    return Object.keys(a)
      .sort()
      .flatMap((k) => tensorsOf((a as { readonly [key: string]: Arg })[k]))
  return []
}

/** A keyword argument, or the positional one at `index`. */
export function argument(n: Call, name: string, index: number): Arg | undefined {
  return n.kwargs[name] ?? n.args[index]
}

export function tensorArg(n: Call, name: string, index: number): KTensor | undefined {
  const a = argument(n, name, index)
  return isKTensor(a) ? a : undefined
}

/** The single value of a result. */
export function only(r: Result): Value {
  const first = Array.isArray(r) ? (r as readonly Result[])[0] : (r as Value | KTensor)
  if (first === undefined) throw new AppError('INTERNAL', { expected: 'a value', got: 'none' })
  return Array.isArray(first) ? only(first) : isValue(first) ? first : (first as KTensor).value
}

/** Keras' data_format as the layout helpers spell it. */
export function formatOf(c: Config): 'NHWC' | 'NCHW' {
  return c.word('data_format', ['channels_last', 'channels_first'], 'channels_last') === 'channels_last'
    ? 'NHWC'
    : 'NCHW'
}

export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis
}

export type { Json, JsonObject }

import { AppError } from '../../src/errors.ts'
import type { DType } from '../../src/tensor.ts'
import type { TfDType } from '../formats/proto/tensorflow.ts'
import type { Attr, Ref, TfFunction, TfNode, TfShape, TfTensor } from '../graph.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Value } from '../onnx/value.ts'
import { byParts } from './complex.ts'

/** What flows along an edge while importing. */
export type Out = Value | Handle | Dead | Poison

/** A thing without a tensor: a variable, a lookup table, a tensor list, a ragged variant. Rows that make and take them agree on `type`. */
export interface Handle {
  readonly kind: 'handle'
  readonly type: string
  readonly node: TfNode
  /** whatever the family keeps; mutable, since TensorFlow's resources are */
  readonly state: Record<string, unknown>
}

/** The untaken side of a Switch whose predicate is constant. */
export interface Dead {
  readonly kind: 'dead'
}

/** The result of a node that cannot be imported; everything behind it is passed over so that all problems are found in one walk. */
export interface Poison {
  readonly kind: 'poison'
}

/**
 * Inputs by name: 'x' required, 'x?' optional, 'x*' the rest, 'x!' anything that is not necessarily a tensor (handles).
 * Attributes: a kind for a required one, a default otherwise; a list of strings is an enum whose first member is the default.
 */
export type AttrKind =
  | 'int'
  | 'float'
  | 'bool'
  | 'string'
  | 'type'
  | 'shape'
  | 'tensor'
  | 'func'
  | 'ints'
  | 'floats'
  | 'strings'
  | 'types'
  | 'shapes'
  | 'funcs'
export type AttrSpec = Readonly<
  Record<string, AttrKind | number | boolean | readonly number[] | readonly [string, ...string[]] | null>
>

interface KindTypes {
  int: number
  float: number
  bool: boolean
  string: string
  type: TfDType
  shape: TfShape
  tensor: TfTensor
  func: FuncAttr
  ints: readonly number[]
  floats: readonly number[]
  strings: readonly string[]
  types: readonly TfDType[]
  shapes: readonly TfShape[]
  funcs: readonly FuncAttr[]
}
export interface FuncAttr {
  readonly func: string
  readonly attrs: Readonly<Record<string, Attr>>
}

type AttrType<S> = S extends AttrKind
  ? KindTypes[S]
  : S extends boolean
    ? boolean
    : S extends number
      ? number
      : S extends readonly number[]
        ? readonly number[]
        : S extends readonly string[]
          ? S[number]
          : Attr | undefined

export type AttrsOf<A extends AttrSpec> = { readonly [K in keyof A]: AttrType<A[K]> }

type InputName<K extends string> = K extends `${infer N}?` | `${infer N}*` | `${infer N}!` ? N : K
type InputType<K extends string> = K extends `${string}*`
  ? readonly Value[]
  : K extends `${string}?`
    ? Value | undefined
    : K extends `${string}!`
      ? Out
      : Value
export type InputsOf<I extends readonly string[]> = { readonly [K in I[number] as InputName<K>]: InputType<K> }

/** One TensorFlow node, as far as helpers shared by rows need it. */
export interface AnyNode {
  readonly name: string
  readonly op: string
  readonly node: TfNode
  /** all inputs in order */
  readonly inputs: readonly Out[]
  /** the imported dtype of a type attribute; @throws UNSUPPORTED_OPS for resource and variant */
  dtype(attr: string): DType
  /** emits a function of the library into `b` and gives its results */
  call(func: FuncAttr | string, args: readonly Out[], b: Builder): Out[]
  readonly env: Env
}

/** One TensorFlow node as its row sees it: inputs by name, attributes typed by the row's own spec. */
export interface NodeCtx<I extends readonly string[] = readonly string[], A extends AttrSpec = AttrSpec>
  extends AnyNode {
  readonly in: InputsOf<I>
  readonly attrs: AttrsOf<A>
}

/** The refusal of one node: attribute values, ranks or forms that a row cannot express. */
export function unsupported(n: Pick<AnyNode, 'op' | 'name'>, expected: string, got: string): AppError {
  return new AppError('UNSUPPORTED_OPS', { where: `${n.op} node ${n.name}`, expected, got })
}

/** What rows may ask of the model; they touch no files. */
export interface Env {
  variable(node: TfNode): TfTensor
  /** all nodes of an op, functions included: what a row may look at when its own node leaves a type open */
  nodesOf(op: string): Iterable<TfNode>
  /** a tensor of the checkpoint by its key, for restore ops that fill tables */
  restored(key: string): TfTensor | undefined
  /** text of the asset file whose path a tensor carries */
  asset(fileName: string): string | undefined
  /** runs the initialisers that fill a lookup table */
  initialise(table: Handle): void
  /** a function of the library */
  func(f: FuncAttr | string): TfFunction
  /** any values inside a function's body, given values for its arguments */
  run(f: TfFunction, args: readonly Out[], refs: readonly Ref[], b: Builder): Out[]
  /** how much has been reported; {@link rewind} takes back what came after, for bodies that are emitted anew */
  mark(): number
  rewind(mark: number): void
  /** whether clients send this value or an earlier cut makes it, so that another cut may read it */
  isInput(v: Value): boolean
  /** cuts the graph at `outs`: they become graph inputs computed by `kind` in the runtime from the raw input */
  readonly cut: (request: Cut) => readonly Value[]
}

/** A piece of the graph that ONNX cannot express and the runtime computes before session.run, e.g. parsing tf.Example. */
export interface Cut {
  readonly kind: string
  readonly node: TfNode
  /** graph inputs it reads */
  readonly inputs: readonly Value[]
  readonly outputs: readonly {
    readonly name: string
    readonly dtype: DType
    readonly shape: readonly (number | string)[] | undefined
  }[]
  /** all the runtime needs to know; goes into the manifest as it is */
  readonly spec: Readonly<Record<string, unknown>>
}

export interface OpRow {
  readonly in: readonly string[]
  readonly attrs: AttrSpec
  /** names of the output arguments where there are several; 'name*attr': a list as long as the attribute says (a number, or a list's length) */
  readonly out?: readonly string[]
  /** one sentence for docs/ops.md where the row has limits */
  readonly note?: string
  emit(n: NodeCtx, b: Builder): Out | readonly Out[]
}

/** Checks a row's literal and types its emit function from it. */
export function op<const I extends readonly string[], const A extends AttrSpec = Record<never, never>>(row: {
  in: I
  attrs?: A
  out?: readonly string[]
  note?: string
  /** complex inputs are taken apart, the row emits for real and imaginary parts alike: what moves or adds elements */
  parts?: boolean
  emit(n: NodeCtx<I, A>, b: Builder): Out | readonly Out[]
}): OpRow {
  const { parts, ...rest } = { attrs: {}, ...row } as OpRow & { parts?: boolean }
  return parts ? { ...rest, emit: byParts(rest.emit) } : rest
}

export type OpTable = Readonly<Record<string, OpRow>>

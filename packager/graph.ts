import type { DType, Tensor } from '../src/tensor.ts'
import type { TfDType } from './formats/proto/tensorflow.ts'

/** A TensorFlow graph as the readers hand it over: names resolved, control edges apart, attributes decoded, nothing rewritten yet. */
export interface TfGraph {
  readonly nodes: ReadonlyMap<string, TfNode>
  readonly functions: ReadonlyMap<string, TfFunction>
}

export interface TfNode {
  readonly name: string
  readonly op: string
  readonly inputs: readonly Ref[]
  /** names of nodes that must run before; only followed for table initialisers */
  readonly control: readonly string[]
  readonly attrs: Readonly<Record<string, Attr>>
}

/** `node:index`; inside a function body `node:arg:index`, where `arg` names an output of the op. */
export interface Ref {
  readonly node: string
  readonly index: number
  readonly arg?: string
}

export interface TfFunction {
  readonly name: string
  /** a function body is a graph whose arguments are named like nodes */
  readonly args: readonly { readonly name: string; readonly dtype: TfDType }[]
  readonly returns: readonly { readonly name: string; readonly ref: Ref }[]
  readonly nodes: ReadonlyMap<string, TfNode>
}

/** A decoded attribute; lists of any kind are arrays. int64 beyond 2^53 stay bigint. */
export type Attr =
  | number
  | bigint
  | boolean
  | string
  | { readonly dtype: TfDType }
  | { readonly shape: TfShape }
  | { readonly tensor: TfTensor }
  | { readonly func: string; readonly attrs: Readonly<Record<string, Attr>> }
  | readonly Attr[]

/** undefined: unknown rank; null: unknown dimension. */
export type TfShape = readonly (number | null)[] | undefined

/** A constant of a TensorFlow graph; complex numbers have a trailing pair in `data`. Byte strings that are not UTF-8 keep their bytes as latin1. */
export type TfTensor =
  | Tensor
  | {
      readonly dtype: 'complex64' | 'complex128'
      readonly shape: readonly number[]
      readonly data: Float32Array | Float64Array
    }

/** A named model entry: what a client calls. Aliases map to tensors of the graph. */
export interface TfSignature {
  readonly method: string
  readonly inputs: Readonly<Record<string, SignatureTensor>>
  readonly outputs: Readonly<Record<string, SignatureTensor>>
}

export interface SignatureTensor {
  /** TensorFlow's tensor name, `x:0` */
  readonly tensor: string
  readonly dtype: TfDType
  readonly shape: TfShape
  /** value used when a client sends none */
  readonly default?: TfTensor
}

/** What a reader of a TensorFlow format yields. Weights are read only when a node asks for them. */
export interface TfModel {
  readonly graph: TfGraph
  readonly signatures: Readonly<Record<string, TfSignature>>
  /** the op that fills tables, which SavedModels of TensorFlow 2 list among their signatures */
  readonly initOp?: string
  /** the value of a variable node (VariableV2, VarHandleOp) @throws {AppError} CHECKPOINT_MISMATCH */
  readonly variable: (node: TfNode) => TfTensor
  /** a tensor of the checkpoint by its key, where there is a checkpoint */
  readonly restored?: (key: string) => TfTensor | undefined
  /** text of an asset file by the name of the node or tensor that carries its path */
  readonly assets: ReadonlyMap<string, string>
}

export type { DType }

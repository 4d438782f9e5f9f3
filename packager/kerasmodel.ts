import type { Tensor } from '../src/tensor.ts'
import type { JsonObject } from './formats/jsonvalue.ts'

/** Where the weights of a Keras model are, in the three layouts there are. Nothing is read before it is asked for. */
export type WeightStore =
  /** Keras 3: groups by the path of attributes, `layers/dense/vars/0` */
  | { readonly kind: 'paths'; readonly file: string; has(path: string): boolean; read(path: string): Tensor }
  /** .h5 of Keras 2 and 3: an ordered list for each layer of the model */
  | { readonly kind: 'layers'; readonly file: string; readonly layers: ReadonlyMap<string, readonly Variable[]> }
  /** TensorFlow.js: variables by name, `dense/kernel` */
  | { readonly kind: 'names'; readonly file: string; readonly variables: readonly Variable[] }

export interface Variable {
  readonly name: string
  read(): Tensor
}

/** A Keras model as its files hold it: architecture, weights, and the files beside them. */
export interface KerasModel {
  readonly name: string
  readonly config: JsonObject
  /** major version of the Keras that wrote it */
  readonly keras: number
  readonly weights: WeightStore
  /** text of an asset by its path in the archive */
  asset(path: string): string | undefined
}

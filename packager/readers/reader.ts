import type { Signature } from '../../src/manifest.ts'
import type { TfModel } from '../graph.ts'
import type { KerasModel } from '../kerasmodel.ts'

export interface ReadOptions {
  /** tags of the MetaGraph of a SavedModel; default: the only one's, or `serve` */
  readonly tags?: readonly string[]
  /** tensors to compute, for graphs without a signature */
  readonly outputs?: readonly string[]
  /** the weights of an architecture in JSON: a .weights.h5 file or the prefix of a checkpoint; default: the ones beside it */
  readonly weights?: string
}

/** What a reader yields, by the kind of graph that is inside. */
export type ModelSource =
  | { readonly kind: 'tensorflow'; readonly model: TfModel }
  | { readonly kind: 'keras'; readonly model: KerasModel }
  | { readonly kind: 'file'; readonly path: string; readonly signature: Omit<Signature, 'graph'> }

/** One row per model format. `match` is cheap and looks at names and magic bytes only. */
export interface Reader {
  readonly name: string
  /** how the format is recognised, for error messages and docs */
  readonly files: string
  match(path: string): boolean
  open(path: string, options: ReadOptions): Promise<ModelSource> | ModelSource
}

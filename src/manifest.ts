import type { DType } from './tensor.ts'

/**
 * The contract between packager and runtime: written once as `manifest.json` into the model layer, read at init.
 * Clients speak aliases (`images`); `name` is the name in the ONNX graph.
 */
export interface Manifest {
  readonly format: 1
  readonly model: string
  readonly version: string
  /** signature used when a request names none: the only one, or `serving_default` */
  readonly defaultSignature: string
  readonly signatures: Readonly<Record<string, Signature>>
  /** name of the op that TensorFlow 2 lists among the signatures and nobody can call; only metadata tells it */
  readonly initOp?: string
  /** fields of the multipart form or JSON body as config.json declares them, for error messages and checks */
  readonly fields?: Readonly<Record<string, FieldSpec>>
  /** request content type as config.json declares it; absent: a form where a field is a file, else JSON */
  readonly requestType?: 'application/json' | 'multipart/form-data'
  /** file name of the bundled hooks beside the manifest; absent: tensors are the API */
  readonly hooks?: string
  /** files that hooks may read through this.modelPath, and the graphs: path → sha256 */
  readonly files: Readonly<Record<string, string>>
  readonly session?: SessionSpec
}

export interface Signature {
  /** ONNX file beside the manifest */
  readonly graph: string
  /** TensorFlow's method name, e.g. `tensorflow/serving/predict` */
  readonly method: string
  readonly inputs: Readonly<Record<string, TensorSpec>>
  readonly outputs: Readonly<Record<string, TensorSpec>>
  /** what ONNX cannot express and the runtime computes before session.run, in order; see cuts.ts */
  readonly cuts?: readonly CutSpec[]
}

/** A piece of the TensorFlow graph that is computed outside of the ONNX graph, e.g. the parsing of tf.Example. */
export interface CutSpec {
  /** a row of CUTS */
  readonly kind: string
  /** names of inputs of the signature or outputs of earlier cuts; an input that only cuts read is no input of the graph */
  readonly inputs: readonly string[]
  /** inputs of the graph that it computes */
  readonly outputs: readonly {
    readonly name: string
    readonly dtype: DType
    readonly shape: readonly (number | null)[] | null
  }[]
  /** all the row needs to know */
  readonly spec: Readonly<Record<string, unknown>>
}

export interface TensorSpec {
  /** name in the graph */
  readonly name: string
  /** name in the TensorFlow model, e.g. `x:0` */
  readonly source?: string
  readonly dtype: DType
  /** null: rank unknown; a null dimension: free */
  readonly shape: readonly (number | null)[] | null
  /** what the signature of the source says where the import found out more; only metadata tells it */
  readonly declared?: readonly (number | null)[] | null
  /** strings that are bytes (serialized protos, image files), one character a byte: see bytestring.ts */
  readonly bytes?: boolean
  /** true where the model has a default for it */
  readonly optional?: boolean
  /**
   * The default itself. The graph has a plain input for it and the runtime feeds it: onnxruntime-node silently ignores
   * a feed for an input that is also an initializer. Integers past 2^53 are written as strings.
   */
  readonly default?: { readonly shape: readonly number[]; readonly values: readonly (number | string | boolean)[] }
}

export interface FieldSpec {
  readonly kind: 'file' | 'json'
  readonly required: boolean
}

export interface SessionSpec {
  /** graphs are optimised ahead of time, so 'disabled'; 'extended' for a graph that was not */
  readonly level: 'disabled' | 'basic' | 'extended'
  /** 'skip' answers an empty batch without running the graph, where a kernel of it dies on one (Resize: SIGFPE) */
  readonly zeroBatch?: 'run' | 'skip'
}

/** Beside a manifest whose large files are not: what the runtime fetches before it opens the model. */
export interface FetchList {
  /** path as in {@link Manifest.files}; an object's name is its sha256 */
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly bytes: number }>>
}

export const FETCH_FILE = 'fetch.json'

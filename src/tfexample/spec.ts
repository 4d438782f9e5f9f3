import type { FeatureKind } from './feature.ts'

/** One feature that a model parses. Names and strings are one character a byte; integers past 2^53 and NaN are written as strings. */
export type FeatureSpec = DenseSpec | SparseSpec | RaggedSpec

export interface DenseSpec {
  readonly kind: 'dense'
  readonly name: string
  readonly dtype: FeatureKind
  /** of one example; a null first dimension is as long as the longest example, the shorter ones padded with the default */
  readonly shape: readonly (number | null)[]
  /** absent: required */
  readonly default?: readonly (number | string)[]
}

export interface SparseSpec {
  readonly kind: 'sparse'
  readonly name: string
  readonly dtype: FeatureKind
}

export interface RaggedSpec {
  readonly kind: 'ragged'
  readonly name: string
  readonly dtype: FeatureKind
  readonly splits: 'int32' | 'int64'
}

export interface ExampleSpec {
  /** true: one example, whose outputs have no batch dimension */
  readonly single: boolean
  /** the examples come in another shape, which only counts its elements */
  readonly flat?: boolean
  readonly features: readonly FeatureSpec[]
}

/** One list of a SequenceExample: a feature in each step. */
export type ListSpec =
  | (SparseSpec | RaggedSpec)
  | {
      readonly kind: 'dense'
      readonly name: string
      readonly dtype: FeatureKind
      /** of one step */
      readonly shape: readonly number[]
      /** a list that is not there counts as empty */
      readonly mayMiss: boolean
    }

export interface SequenceSpec {
  readonly single: boolean
  readonly flat?: boolean
  readonly context: readonly FeatureSpec[]
  readonly lists: readonly ListSpec[]
}

export const strideOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)

/** Elements of one example, or of one step where the first dimension is open. */
export function stride(f: DenseSpec): number {
  return f.shape.reduce<number>((n, d, i) => n * (i === 0 && d === null ? 1 : (d ?? 1)), 1)
}

export function isOpen(f: DenseSpec): boolean {
  return f.shape[0] === null
}

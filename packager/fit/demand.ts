import type { WeightsKind } from '../shrink/kinds.ts'

export interface FileSize {
  /** inside the folder of the model */
  readonly path: string
  readonly sha256: string
  readonly bytes: number
}

/** What became of an attempt to keep weights in fewer bits. */
export type Attempt = { readonly files: readonly FileSize[] } | { readonly refused: string }

export interface ModelDemand {
  readonly name: string
  readonly version: string
  readonly files: readonly FileSize[]
  /** of the weights as they are computed with, which is what memory has to hold */
  readonly weights: number
  /** what the author allows, in config.json */
  readonly allows: readonly WeightsKind[]
  readonly golden: boolean
  readonly attempts: { readonly [K in WeightsKind]?: Attempt }
}

export const STORAGES = ['auto', 'layer', 's3', 'efs', 'image'] as const
/** Where models go: `auto` moves what does not fit, the others are the author's choice. */
export type Storage = (typeof STORAGES)[number]

/** Everything the solver knows: sizes, permissions, and what was tried. */
export interface Demand {
  /** of the function and its native layers on the larger architecture */
  readonly fixed: { readonly bytes: number; readonly layers: number }
  readonly models: readonly ModelDemand[]
  readonly storage: Storage
  /** there is a file system to move to */
  readonly efs: boolean
  /** MB, where the service file says so */
  readonly memory?: number
}

export const idOf = ({ name, version }: Pick<ModelDemand, 'name' | 'version'>): string => `${name}@${version}`

/** Files up to here stay with the manifest: an object each would cost more than it saves. */
export const SMALL = 2 ** 20
export const largeFiles = (files: readonly FileSize[]): FileSize[] => files.filter((f) => f.bytes > SMALL)
export const sum = (files: readonly { readonly bytes: number }[]): number => files.reduce((n, f) => n + f.bytes, 0)

import type { FieldSpec } from '../../src/manifest.ts'
import type { Config } from './config.ts'
import type { Finding } from './findings.ts'

/** A model directory after validation. */
export interface ModelPackage {
  /** the folder of this version; `dir` = `modelDir` where the files lie at the top */
  readonly dir: string
  /** where config.json, the hooks and the model are; what hooks know as this.modelPath */
  readonly modelDir: string
  readonly name: string
  /** a number as text, as TensorFlow Serving has it; '1' where the source has no versions */
  readonly version: string
  readonly model: ModelFile
  /** absent for a bare model */
  readonly config?: Config
  /** absolute path of customize_service.ts | .mts | .js | .mjs */
  readonly hooksFile?: string
  /** what hooks may read through this.modelPath: relative path (with /) → absolute path */
  readonly assets: Readonly<Record<string, string>>
  readonly goldenDir?: string
  /** fields of a request as config.json declares them */
  readonly fields?: Readonly<Record<string, FieldSpec>>
  /** warnings and notes; a package with errors is never made */
  readonly findings: readonly Finding[]
}

/** What bundling and checking hooks needs of a package. */
export type HookSource = Pick<ModelPackage, 'modelDir' | 'hooksFile' | 'config'>

export type ModelKind = 'savedmodel' | 'onnx' | 'keras' | 'h5' | 'frozen' | 'checkpoint' | 'tfjs' | 'architecture'

export interface ModelFile {
  /** a SavedModel's folder, a file, or the prefix of a checkpoint */
  readonly path: string
  readonly kind: ModelKind
}

export interface OpenOptions {
  /** which version, where there are several; newest otherwise */
  readonly version?: string
  readonly name?: string
}

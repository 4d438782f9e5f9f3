import { existsSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { TfModel } from '../graph.ts'
import { readSavedModel } from './savedmodel.ts'

export interface ReadOptions {
  readonly tags?: readonly string[]
  /** tensors to compute, for graphs without a signature */
  readonly outputs?: readonly string[]
}

/** What a reader yields, by the kind of graph that is inside. */
export type ModelSource = { readonly kind: 'tensorflow'; readonly model: TfModel }

/** One row per model format. `match` is cheap and looks at names and magic bytes only. */
export interface Reader {
  readonly name: string
  /** how the format is recognised, for error messages and docs */
  readonly files: string
  match(path: string): boolean
  open(path: string, options: ReadOptions): Promise<ModelSource> | ModelSource
}

const isDir = (path: string) => statSync(path).isDirectory()
const holds = (path: string, file: string) => isDir(path) && existsSync(join(path, file))

export const READERS: readonly Reader[] = [
  {
    name: 'SavedModel',
    files: 'a folder with saved_model.pb or saved_model.pbtxt',
    match: (path) => holds(path, 'saved_model.pb') || holds(path, 'saved_model.pbtxt'),
    open: (path, options) => ({ kind: 'tensorflow', model: readSavedModel(path, options) }),
  },
]

/** @throws {AppError} MODEL_NOT_FOUND when no reader recognises the path */
export async function openSource(
  path: string,
  options: ReadOptions = {},
): Promise<{ format: string; source: ModelSource }> {
  if (!existsSync(path))
    throw new AppError('MODEL_NOT_FOUND', { where: path, expected: 'a model', got: 'nothing at this path' })
  const reader = READERS.find((r) => r.match(path))
  if (!reader)
    throw new AppError('MODEL_NOT_FOUND', {
      where: basename(path),
      expected: READERS.map((r) => r.files).join('; or '),
      got: isDir(path) ? 'a folder without any of them' : 'another kind of file',
    })
  return { format: reader.name, source: await reader.open(path, options) }
}

import { existsSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { CHECKPOINT } from './checkpoint.ts'
import { FROZEN } from './frozen.ts'
import { KERAS, KERAS_ARCHITECTURE } from './keras.ts'
import { ONNX } from './onnx.ts'
import type { ModelSource, Reader, ReadOptions } from './reader.ts'
import { SAVED_MODEL } from './savedmodel.ts'
import { TFJS_GRAPH } from './tfjs.ts'
import { TFJS_LAYERS } from './tfjslayers.ts'

export type { ModelSource, ReadOptions } from './reader.ts'

/** A checkpoint comes last: its path is a prefix, which other formats' files may have too. */
export const READERS: readonly Reader[] = [
  SAVED_MODEL,
  KERAS,
  TFJS_GRAPH,
  TFJS_LAYERS,
  KERAS_ARCHITECTURE,
  FROZEN,
  ONNX,
  CHECKPOINT,
]

/** @throws {AppError} MODEL_NOT_FOUND when no reader recognises the path */
export async function openSource(
  path: string,
  options: ReadOptions = {},
): Promise<{ format: string; source: ModelSource }> {
  const reader = READERS.find((r) => r.match(path))
  if (reader) return { format: reader.name, source: await reader.open(path, options) }
  if (!existsSync(path))
    throw new AppError('MODEL_NOT_FOUND', { where: path, expected: 'a model', got: 'nothing at this path' })
  throw new AppError('MODEL_NOT_FOUND', {
    where: basename(path),
    expected: READERS.map((r) => r.files).join('; or '),
    got: statSync(path).isDirectory() ? 'a folder without any of them' : 'another kind of file',
  })
}

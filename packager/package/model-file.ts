import { readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { KERAS_ARCHITECTURE } from '../readers/keras.ts'
import { TFJS_GRAPH } from '../readers/tfjs.ts'
import { TFJS_LAYERS } from '../readers/tfjslayers.ts'
import type { FolderFile } from './folder.ts'
import type { ModelFile, ModelKind } from './types.ts'

const BY_ENDING: Readonly<Record<string, ModelKind>> = {
  '.onnx': 'onnx',
  '.keras': 'keras',
  '.h5': 'h5',
  '.hdf5': 'h5',
  '.pb': 'frozen',
  '.pbtxt': 'frozen',
  '.meta': 'checkpoint',
}
/** `.pb` files beside a SavedModel that hold no graph of their own */
const COMPANIONS = new Set(['fingerprint.pb', 'keras_metadata.pb'])
/** main model files of engines that are not run here */
const FOREIGN = /\.(pth|pt|ckpt|om|m|caffemodel|params|tflite|mlmodel|mar)$/i

export interface ModelFiles {
  readonly candidates: readonly ModelFile[]
  /** files of other engines, for the message when there is no candidate */
  readonly foreign: readonly string[]
  /** is this file (relative path) part of a model, not an asset? */
  isModelPart(path: string): boolean
}

/** Every main model file of a folder, one level deep at most. */
export function findModels(files: readonly FolderFile[]): ModelFiles {
  const saved = files.filter((f) => /^saved_model\.pb(txt)?$/.test(basename(f.path)) && depth(f.path) <= 1)
  const folders = [...new Set(saved.map((f) => dirname(f.path)))]
  const single = files.filter((f) => depth(f.path) === 0 && kindOf(f.path) !== undefined && !isSaved(f.path))
  const checkpoints = newestCheckpoint(files, single)
  const described = files.filter((f) => depth(f.path) === 0).flatMap((f) => describedBy(f, files) ?? [])
  const plain = single.filter((f) => kindOf(f.path) !== 'checkpoint')
  const candidates: ModelFile[] = [
    ...folders.map((d) => ({
      path: dirname(saved.find((f) => dirname(f.path) === d)!.file),
      kind: 'savedmodel' as const,
    })),
    ...plain.map((f) => ({ path: f.file, kind: kindOf(f.path)! })),
    ...described.map((f) => ({ path: f.kind === 'tfjs' ? dirname(f.file) : f.file, kind: f.kind })),
    ...checkpoints.map((f) => ({ path: f.file.replace(/\.meta$/, ''), kind: 'checkpoint' as const })),
  ]
  const parts = [
    ...plain.map((f) => f.path),
    ...described.map((f) => f.path),
    ...single.map((f) => f.path.replace(/\.meta$/, '')),
  ]
  return {
    candidates,
    foreign: files
      .filter((f) => depth(f.path) === 0 && (FOREIGN.test(f.path) || (isWeights(f.path) && described.length === 0)))
      .map((f) => f.path),
    isModelPart: (path) =>
      folders.some((d) => inSavedModel(d, path)) ||
      parts.some((p) => path === p || path.startsWith(`${p}.`)) ||
      (path === 'checkpoint' && checkpoints.length > 0) ||
      (described.length > 0 && (isWeights(path) || /\.bin$|-shard\d+of\d+/.test(path))) ||
      (/\.(data|bin|weights)$|\.onnx_data$/.test(path) && plain.some((f) => f.path.endsWith('.onnx'))),
  }
}

/** A JSON file that describes a model whose weights are in other files: TensorFlow.js' model.json, or a Keras architecture beside its weights. */
function describedBy(
  f: FolderFile,
  files: readonly FolderFile[],
): (FolderFile & { readonly kind: 'tfjs' | 'architecture' }) | undefined {
  if (basename(f.path) === 'config.json' || !f.path.endsWith('.json')) return undefined
  if (basename(f.path) === 'model.json' && TFJS.some((r) => r.match(f.file))) return { ...f, kind: 'tfjs' }
  const weights = files.some((w) => depth(w.path) === 0 && isWeights(w.path))
  return weights && KERAS_ARCHITECTURE.match(f.file) ? { ...f, kind: 'architecture' } : undefined
}

const TFJS = [TFJS_GRAPH, TFJS_LAYERS]

/** What a path names when it is a model by itself. */
export function modelFileOf(path: string): ModelFile | undefined {
  if (/\.(index|data-\d{5}-of-\d{5})$/.test(path))
    return { path: path.replace(/\.(index|data-[^.]*)$/, ''), kind: 'checkpoint' }
  if (isSaved(path)) return { path: dirname(path), kind: 'savedmodel' }
  if (basename(path) === 'model.json' && TFJS.some((r) => r.match(path))) return { path: dirname(path), kind: 'tfjs' }
  if (KERAS_ARCHITECTURE.match(path)) return { path, kind: 'architecture' }
  const kind = kindOf(path)
  if (kind === 'checkpoint') return { path: path.replace(/\.meta$/, ''), kind }
  return kind && { path, kind }
}

const depth = (path: string) => path.split('/').length - 1
const isSaved = (path: string) => /^saved_model\.pb(txt)?$/.test(basename(path))
/** Keras writes weights without architecture under this name */
const isWeights = (path: string) => /\.weights\.h5$/i.test(path)

function kindOf(path: string): ModelKind | undefined {
  const name = basename(path)
  if (name.startsWith('.') || COMPANIONS.has(name) || isWeights(name) || isSaved(name)) return undefined
  const dot = name.lastIndexOf('.')
  return dot < 0 ? undefined : BY_ENDING[name.slice(dot).toLowerCase()]
}

function inSavedModel(folder: string, path: string): boolean {
  const inside = folder === '.' ? path : path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : undefined
  if (inside === undefined) return false
  return isSaved(inside) || inside.startsWith('variables/') || (depth(inside) === 0 && COMPANIONS.has(inside))
}

/** A training folder keeps several checkpoints; TensorFlow's `checkpoint` file names the latest one. */
function newestCheckpoint(files: readonly FolderFile[], single: readonly FolderFile[]): FolderFile[] {
  const all = single.filter((f) => kindOf(f.path) === 'checkpoint')
  const state = files.find((f) => f.path === 'checkpoint')
  if (all.length < 2 || !state) return all
  const latest = /^model_checkpoint_path:\s*"([^"]+)"/m.exec(readFileSync(state.file, 'utf8'))?.[1]
  const named = all.find((f) => latest && f.path === `${basename(latest)}.meta`)
  return named ? [named] : all
}

/** for messages: as the author sees it */
export const relativeTo = (dir: string, m: ModelFile) =>
  m.path === dir ? 'saved_model.pb' : m.path.slice(join(dir, '/').length)

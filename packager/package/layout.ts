import { existsSync, readdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { isFile, isFolder } from './folder.ts'
import { modelFileOf } from './model-file.ts'
import type { OpenOptions } from './types.ts'

/** Where things are, before anything is read. */
export interface Layout {
  readonly dir: string
  readonly modelDir: string
  readonly name: string
  readonly version: string
  /** the folder of this version inside modelDir, where config.json stands above several versions of the model */
  readonly inside?: string
}

/** `1`, `1570635852` (TensorFlow Serving) or `V0001` (ModelArts training) */
const VERSION = /^(?:V(?=\d{4}$))?0*(\d{1,18})$/
const versionOf = (folder: string) => VERSION.exec(folder)?.[1]

/**
 * Finds version and model folder. `path` may be the package, one of its versions, its `model` folder, or `path@version`;
 * files are in `model/` or at the top, versions are `1/` or `V0001/` with either.
 */
export function findLayout(path: string, options: OpenOptions = {}): Layout {
  const { path: given, version: suffix } = splitVersion(path)
  const start = resolve(given)
  if (!existsSync(start)) {
    throw new AppError('MODEL_NOT_FOUND', { where: path, expected: 'a folder or a model file', got: 'nothing' })
  }
  if (!isFolder(start)) {
    throw new AppError('MODEL_NOT_FOUND', { where: path, expected: 'the folder of a package', got: 'a file' })
  }
  const wanted = options.version ?? suffix
  const at = locate(start, wanted)
  const inner = pick(at.modelDir, holdsModelFile(at.modelDir) ? [] : listVersions(at.modelDir), wanted)
  const { name, version = inner?.version ?? '1' } = identify(at.dir)
  if (wanted !== undefined && normal(wanted) !== version) {
    throw new AppError('UNKNOWN_VERSION', { where: path, got: `version ${wanted}; there is only ${version}` })
  }
  return { ...at, name: options.name ?? name, version, ...(inner && { inside: inner.folder }) }
}

/** The version folders of a base folder, newest first. */
export function listVersions(dir: string): { folder: string; version: string }[] {
  return readdirSync(dir)
    .flatMap((folder) => {
      const version = versionOf(folder)
      return version !== undefined && holdsModel(join(dir, folder)) ? [{ folder, version }] : []
    })
    .sort((a, b) => Number(BigInt(b.version) - BigInt(a.version)))
}

/** `mnist@2` → mnist, 2; a folder that really has an @ in its name wins */
export function splitVersion(path: string): { path: string; version?: string } {
  const match = /^(.+)@(V?\d+)$/.exec(path)
  return match && !existsSync(path) ? { path: match[1]!, version: match[2]! } : { path }
}

function locate(start: string, wanted: string | undefined): { dir: string; modelDir: string } {
  const direct = modelFolder(start)
  if (direct) return { dir: isModelFolder(start) ? dirname(start) : start, modelDir: direct }
  const chosen = pick(start, listVersions(start), wanted)
  if (chosen) {
    const dir = join(start, chosen.folder)
    return { dir, modelDir: modelFolder(dir) ?? dir }
  }
  // nothing recognisable: let the checks of the package say what is missing here
  const model = join(start, 'model')
  return { dir: start, modelDir: isFolder(model) ? model : start }
}

function pick(where: string, versions: ReturnType<typeof listVersions>, wanted: string | undefined) {
  if (wanted === undefined || versions.length === 0) return versions[0]
  const chosen = versions.find((v) => v.version === normal(wanted))
  if (chosen) return chosen
  throw new AppError('UNKNOWN_VERSION', {
    where,
    expected: `one of ${versions.map((v) => v.version).join(', ')}`,
    got: wanted,
  })
}

const normal = (version: string) => versionOf(version) ?? version

/** `model/` where it is the real thing, the folder itself where its files are at the top */
function modelFolder(dir: string): string | undefined {
  const inner = join(dir, 'model')
  if (isFolder(inner) && holdsFiles(inner)) return inner
  return holdsFiles(dir) ? dir : undefined
}

const holdsFiles = (dir: string) =>
  readdirSync(dir).some((f) => (f === 'config.json' || modelFileOf(f) !== undefined) && isFile(join(dir, f)))

const holdsModelFile = (dir: string) =>
  readdirSync(dir).some((f) => modelFileOf(f) !== undefined && isFile(join(dir, f)))

const holdsModel = (dir: string) => isFolder(dir) && modelFolder(dir) !== undefined

const isModelFolder = (dir: string) => basename(dir) === 'model' && basename(dirname(dir)) !== ''

/** The name is the folder's; where the folder is `model` or a version, its parent's. */
function identify(dir: string): { name: string; version?: string } {
  const folder = basename(dir)
  if (isModelFolder(dir)) return identify(dirname(dir))
  const version = versionOf(folder)
  if (version === undefined || basename(dirname(dir)) === '') return { name: folder }
  return { name: basename(dirname(dir)), version }
}

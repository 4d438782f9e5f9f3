import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, isAppError } from './errors.ts'
import { BaseService, createService } from './hooks.ts'
import * as api from './index.ts'
import { checkLabels, type Labels } from './labels.ts'
import { loadHooks } from './loadhooks.ts'
import type { Manifest, Signature } from './manifest.ts'
import { memo } from './memo.ts'
import { nearest } from './nearest.ts'
import { createSession, type Session } from './session.ts'
import { compareVersions, versionNumber } from './version.ts'

/** One version of one model. What is heavy is loaded on first use and shared. */
export interface Model {
  readonly manifest: Manifest
  readonly dir: string
  /** the signature that hooks work with */
  readonly signature: Signature
  /** path of the bundled hooks, for trimming stacks */
  readonly hooks: string | undefined
  service(): Promise<BaseService>
  session(signature?: string): Promise<Session>
}

export interface ModelStore {
  /** every version, newest first */
  readonly models: readonly Model[]
  /** @throws {AppError} UNKNOWN_MODEL, UNKNOWN_VERSION, UNKNOWN_LABEL */
  get(name?: string, version?: string, label?: string): Model
  /** names of versions, by model */
  readonly labels: Labels
}

export interface StoreOptions {
  /** folders that hold `models/<name>/<version>/manifest.json` and `hooks/` */
  readonly roots: readonly string[]
  /** what a request means that names no model; not needed when there is one */
  readonly defaultModel?: string
  readonly threads?: number
  readonly labels?: Labels
  readonly place?: Place
}

/** The folder with the files of a model, given the folder of its manifest: another one where they have to be fetched first. */
export type Place = (dir: string) => Promise<string>

const beside: Place = async (dir) => dir

export function openStore({ roots, defaultModel, threads = 1, labels = {}, place }: StoreOptions): ModelStore {
  const models = roots
    .flatMap((root) => manifestsUnder(join(root, 'models')))
    .map((dir) => openModel(dir, roots, threads, place))
    .sort((a, b) => compareVersions(b.manifest.version, a.manifest.version))
  const names = [...new Set(models.map((m) => m.manifest.model))]
  checkLabels(
    labels,
    models.map((m) => m.manifest),
  )

  return {
    models,
    labels,
    get(name = names.length === 1 ? names[0] : defaultModel, version, label) {
      const versions = models.filter((m) => m.manifest.model === name)
      if (versions.length === 0) throw unknownModel(name, names)
      if (label !== undefined) version = labelled(labels, versions[0]!.manifest.model, label)
      const found =
        version === undefined
          ? versions[0]
          : (versions.find((m) => m.manifest.version === version) ??
            versions.find((m) => versionNumber(m.manifest.version) === version))
      if (found) return found
      throw new AppError('UNKNOWN_VERSION', {
        where: `model ${name}`,
        expected: versions.map((m) => m.manifest.version).join(', '),
        got: version?.slice(0, 80),
      })
    },
  }
}

/** A single model at its folder, without a store: what golden requests and the command line run. */
export function openModel(dir: string, roots: readonly string[] = [], threads = 1, place = beside): Model {
  const manifest = readManifest(dir)
  const signature = manifest.signatures[manifest.defaultSignature]!
  const hooks = manifest.hooks === undefined ? undefined : findHooks(manifest.hooks, dir, roots)
  const sessions = new Map<string, () => Promise<Session>>()
  const files = memo(() => place(dir))

  const session = (name = manifest.defaultSignature) => {
    if (!Object.hasOwn(manifest.signatures, name))
      throw new AppError('UNKNOWN_SIGNATURE', {
        where: `model ${manifest.model}`,
        expected: Object.keys(manifest.signatures).join(', '),
        got: name.slice(0, 80),
      })
    const load =
      sessions.get(name) ??
      memo(async () => createSession(await files(), manifest.signatures[name]!, manifest.session, threads))
    sessions.set(name, load)
    return load()
  }

  const service = memo(async () => {
    const Class = hooks === undefined ? BaseService : loadHooks(hooks, api)
    const home = await files()
    try {
      return createService(Class, manifest.model, home, {
        signature,
        run: async (feeds) => (await session()).run(feeds),
      })
    } catch (cause) {
      throw isAppError(cause) ? cause : new AppError('HOOK_FAILED', { where: 'constructor', data: { hooks }, cause })
    }
  })

  return { manifest, dir, signature, hooks, service, session }
}

/** The function zip carries hooks in its own hooks/ folder; a package that is served as it lies has them beside the manifest. */
function findHooks(file: string, dir: string, roots: readonly string[]): string {
  const places = [...roots.map((root) => join(root, 'hooks', file)), join(dir, file)]
  const found = places.find((place) => existsSync(place))
  if (found) return found
  throw new AppError('LOAD_FAILED', { where: dir, expected: `hooks at ${places.join(' or ')}`, got: 'no such file' })
}

function readManifest(dir: string): Manifest {
  const file = join(dir, 'manifest.json')
  const fail = (got: string, cause?: unknown) =>
    new AppError('LOAD_FAILED', {
      where: file,
      expected: 'a manifest of format 1',
      got,
      fix: 'Package the model again.',
      cause,
    })
  let manifest: Manifest
  try {
    manifest = JSON.parse(readFileSync(file, 'utf8')) as Manifest
  } catch (cause) {
    throw fail('a file that cannot be read', cause)
  }
  if (manifest?.format !== 1) throw fail('another format')
  if (!manifest.signatures?.[manifest.defaultSignature]) throw fail('no default signature')
  return manifest
}

function manifestsUnder(dir: string): string[] {
  return folders(dir)
    .flatMap((model) => folders(model))
    .filter((version) => existsSync(join(version, 'manifest.json')))
}

function folders(dir: string): string[] {
  if (!existsSync(dir)) return []
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .map((entry) => join(dir, entry.name))
}

function labelled(labels: Labels, model: string, label: string): string {
  const known = Object.hasOwn(labels, model) ? labels[model]! : {}
  if (Object.hasOwn(known, label)) return known[label]!
  throw new AppError('UNKNOWN_LABEL', {
    where: `model ${model}`,
    expected: Object.keys(known).join(', ') || 'no label: it has none',
    got: label.slice(0, 80),
  })
}

function unknownModel(name: string | undefined, names: readonly string[]): AppError {
  const meant = name && nearest(name, names)
  return new AppError('UNKNOWN_MODEL', {
    expected: names.length > 0 ? names.join(', ') : 'a model layer',
    got: name?.slice(0, 80) ?? 'a request that names none',
    fix: meant ? `Did you mean ${meant}?` : undefined,
  })
}

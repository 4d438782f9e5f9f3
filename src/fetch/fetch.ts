import { createHash } from 'node:crypto'
import { copyFile, link, mkdir, mkdtemp, readdir, readFile, rename, rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AppError, isAppError } from '../errors.ts'
import { FETCH_FILE, type FetchList } from '../manifest.ts'
import { type Blob, download, isThere } from './download.ts'
import { openStore, placeOf, type Store } from './get.ts'
import { locked } from './lock.ts'

export interface FetchSettings {
  /** undefined: nobody said where the files are */
  readonly store: Store | undefined
  /** /tmp/modelayer, or a folder on a file system that environments share */
  readonly root: string
  readonly shared: boolean
}

export interface Fetched {
  /** a folder with the manifest and every file of the model */
  readonly dir: string
  /** that came over the network this time */
  readonly bytes: number
  readonly ms: number
}

/** What is left for whoever else writes there. */
const SPARE = 16 * 2 ** 20

/**
 * The files of a model that are too large for a layer: fetched once per environment, or once for all that share a file system. Files
 * are kept by their hash, so models and versions that share one fetch it once.
 * @throws {AppError} MODEL_UNREACHABLE, MODEL_MISPLACED, NO_ROOM
 */
export async function fetchModel(layer: string, s: FetchSettings): Promise<Fetched> {
  const start = performance.now()
  const text = await readFile(join(layer, FETCH_FILE))
  const { files } = JSON.parse(text.toString()) as FetchList
  // the manifest holds the hash of every file, so its own names them all
  const manifest = await readFile(join(layer, 'manifest.json'))
  const dir = join(s.root, 'models', createHash('sha256').update(manifest).digest('hex').slice(0, 32))
  const took = (bytes: number): Fetched => ({ dir, bytes, ms: performance.now() - start })
  if (await exists(dir)) return took(0)
  if (!s.store)
    throw new AppError('MODEL_MISPLACED', {
      where: layer,
      expected: 'MODELAYER_MODELS=s3://BUCKET/PREFIX/ in the environment',
      got: 'none',
      fix: 'The files of this model are fetched: deploy with modelayer/serverless, or upload models/ of the build and say where.',
    })
  const { store } = s
  const blobs = new Map(Object.values(files).map((f) => [f.sha256, f]))
  const kept = (b: Blob) => join(s.root, 'files', b.sha256)
  try {
    await mkdir(join(s.root, 'files'), { recursive: true })
    await mkdir(join(s.root, 'models'), { recursive: true })
    const missing: Blob[] = []
    for (const b of blobs.values()) if (!(await isThere(kept(b), b))) missing.push(b)
    await room(s.root, missing)
    const source = await openStore(store)
    try {
      // one after the other: each alone fills the line
      for (const b of missing.sort((x, y) => y.bytes - x.bytes)) {
        const work = () => download(source.get, b, kept(b))
        await (s.shared ? locked(`${kept(b)}.lock`, () => isThere(kept(b), b), work) : work())
      }
    } finally {
      source.close()
    }
    await assemble(layer, files, dir, kept)
    return took(missing.reduce((n, b) => n + b.bytes, 0))
  } catch (cause) {
    throw isAppError(cause) ? cause : diskError(cause, s.root, placeOf(store))
  }
}

async function assemble(layer: string, files: FetchList['files'], dir: string, kept: (b: Blob) => string) {
  const aside = await mkdtemp(`${dir}.`)
  try {
    for (const entry of await readdir(layer, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.name === FETCH_FILE) continue
      const from = join(entry.parentPath, entry.name)
      await put(join(aside, from.slice(layer.length)), (to) => copyFile(from, to))
    }
    for (const [path, blob] of Object.entries(files)) await put(join(aside, path), (to) => link(kept(blob), to))
    await rename(aside, dir).catch(async (e: NodeJS.ErrnoException) => {
      // another environment was first
      if (e.code !== 'ENOTEMPTY' && e.code !== 'EEXIST') throw e
    })
  } finally {
    await rm(aside, { recursive: true, force: true })
  }
}

async function put(to: string, write: (to: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  await write(to)
}

/** A part that is there already is counted again: too much room is no fault. */
async function room(root: string, missing: readonly Blob[]): Promise<void> {
  if (missing.length === 0) return
  const { bavail, bsize } = await statfs(root)
  const needed = missing.reduce((n, b) => n + b.bytes, 0) + SPARE
  if (bavail * bsize < needed) throw noRoom(root, `${needed} bytes free`, `${bavail * bsize}`)
}

const noRoom = (root: string, expected: string, got: string, cause?: unknown) =>
  new AppError('NO_ROOM', {
    where: root,
    expected,
    got,
    fix: 'Give the function more ephemeral storage (at most 10,240 MB), or a file system: docs/deploy.md.',
    cause,
  })

function diskError(cause: unknown, root: string, store: string): AppError {
  const code = (cause as NodeJS.ErrnoException).code ?? ''
  if (code === 'ENOSPC' || code === 'EDQUOT') return noRoom(root, 'room for the model', code, cause)
  return new AppError('LOAD_FAILED', { where: root, expected: `files of ${store}`, got: code || 'an error', cause })
}

const exists = (dir: string): Promise<boolean> =>
  readdir(dir).then(
    () => true,
    () => false,
  )

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, copyFile, link, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { unzipSync } from 'fflate'
import { AppError } from '../../src/errors.ts'
import { FETCH_FILE, type FetchList, type Manifest } from '../../src/manifest.ts'
import { LIMITS } from '../fit/limits.ts'
import { sha256File } from '../layers/fetch.ts'
import { filesBelow } from '../layers/files.ts'

/** The folder with a zip's files, made once per content. A folder is taken as it is. */
export async function unpack(zip: string, cache: string): Promise<string> {
  const info = await stat(zip).catch((cause: unknown) => {
    throw new AppError('BAD_ARTIFACT', { where: zip, expected: 'a zip', got: 'no such file', cause })
  })
  if (info.isDirectory()) return zip
  return once(join(cache, 'unpacked', await sha256File(zip)), async (dir) => {
    const files = readZip(await readFile(zip), zip)
    for (const [name, data] of files) {
      const path = join(dir, name)
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, data)
    }
    await checkModels(dir, zip)
  })
}

/** /opt: the layers over each other, later ones winning. Hard links, because the libraries are large and never written to. */
export async function unpackLayers(zips: readonly string[], cache: string): Promise<string> {
  const dirs: string[] = []
  for (const zip of zips) dirs.push(await unpack(zip, cache))
  const key = createHash('sha256').update(dirs.join('\n')).digest('hex')
  return once(join(cache, 'opt', key), async (opt) => {
    for (const dir of dirs) {
      for (const { name, path } of await filesBelow(dir, '.')) {
        const target = join(opt, name)
        await mkdir(dirname(target), { recursive: true })
        await rm(target, { force: true })
        await link(path, target).catch((e: NodeJS.ErrnoException) => {
          if (e.code !== 'EXDEV' && e.code !== 'EPERM') throw e
          return copyFile(path, target)
        })
      }
    }
  })
}

/** Made aside and renamed, so that a folder under its good name is whole, also with two processes at it. */
export async function once(dir: string, make: (aside: string) => Promise<void>): Promise<string> {
  if (existsSync(dir)) return dir
  await mkdir(dirname(dir), { recursive: true })
  const aside = await mkdtemp(`${dir}.`)
  try {
    await make(aside)
    await openUp(aside)
    await rename(aside, dir)
  } catch (e) {
    await rm(aside, { recursive: true, force: true })
    if (!existsSync(dir)) throw e
  }
  return dir
}

/** The box runs as another user, whatever the umask here is. */
async function openUp(dir: string): Promise<void> {
  await chmod(dir, 0o755)
  for (const e of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, e.name)
    if (e.isDirectory()) await openUp(path)
    else if (e.isFile()) await chmod(path, 0o755)
  }
}

function readZip(data: Uint8Array, where: string): [string, Uint8Array][] {
  let total = 0
  const seen = new Set<string>()
  const bad = (got: string) => new AppError('BAD_ARTIFACT', { where, expected: 'a zip of plain files', got })
  try {
    const files = unzipSync(data, {
      filter: ({ name, originalSize }) => {
        const path = posix.normalize(name)
        if (name.startsWith('/') || name.includes('\\') || /^[a-z]:/i.test(name) || path.split('/').includes('..'))
          throw bad(`the path ${name}, which leaves the folder`)
        if (seen.has(path)) throw bad(`${name} twice`)
        seen.add(path)
        total += originalSize
        if (total > LIMITS.unzipped) throw bad(`more than ${LIMITS.unzipped} bytes unzipped`)
        return !name.endsWith('/')
      },
    })
    return Object.entries(files)
  } catch (e) {
    if (e instanceof AppError) throw e
    throw new AppError('BAD_ARTIFACT', { where, expected: 'a whole zip', got: String(e), cause: e })
  }
}

/** The files of each model are those its manifest lists, byte for byte. */
async function checkModels(dir: string, where: string): Promise<void> {
  for (const { name, path } of await filesBelow(dir, 'models')) {
    if (!/^models\/[^/]+\/[^/]+\/manifest\.json$/.test(name)) continue
    const { files = {} } = JSON.parse(await readFile(path, 'utf8')) as Partial<Manifest>
    const elsewhere = await fetchedFiles(dirname(path))
    for (const [file, wanted] of Object.entries(files)) {
      if (elsewhere.has(file)) continue
      const full = join(dirname(path), file)
      const got = existsSync(full) ? await sha256File(full) : 'no such file'
      if (got !== wanted)
        throw new AppError('BAD_ARTIFACT', {
          where: `${where}: ${dirname(name)}/${file}`,
          expected: `sha256 ${wanted}`,
          got,
        })
    }
  }
}

/** What the function fetches is checked when it does. */
async function fetchedFiles(model: string): Promise<Set<string>> {
  const list = join(model, FETCH_FILE)
  if (!existsSync(list)) return new Set()
  return new Set(Object.keys((JSON.parse(await readFile(list, 'utf8')) as FetchList).files))
}

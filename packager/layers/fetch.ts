import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { AppError } from '../../src/errors.ts'
import { projectRoot } from '../root.ts'
import type { Arch, LayerFile } from './definition.ts'

export interface SourceFile extends LayerFile {
  /** where its verified bytes are on this machine */
  readonly path: string
}

/** Finds every file, fetching packages of another platform when they are not installed, and checks size and hash. */
export async function layerSources(
  files: readonly LayerFile[],
  arch: Arch,
  cache: string,
  progress?: (detail: string) => void,
): Promise<SourceFile[]> {
  const found: SourceFile[] = []
  for (const file of files) {
    const dir = file.package
      ? await packageDir(file.package, file.version!, arch, cache, progress)
      : join(projectRoot(), 'layers')
    found.push({ ...file, path: await verified(join(dir, file.from), file) })
  }
  return found
}

async function verified(path: string, file: LayerFile): Promise<string> {
  const from = file.package ? `${file.package}@${file.version}/${file.from}` : `layers/${file.from}`
  const size = await stat(path).then(
    (s) => s.size,
    () => undefined,
  )
  const got = size === undefined ? 'no such file' : size === file.bytes ? await sha256File(path) : `${size} bytes`
  if (got === file.sha256) return path
  throw new AppError('LAYER_FILE', {
    where: from,
    expected: `${file.bytes} bytes with sha256 ${file.sha256.slice(0, 16)}…`,
    got: got.length === 64 ? `sha256 ${got.slice(0, 16)}…` : got,
    fix: 'Run npm ci. After a deliberate upgrade of the package run: npx tsx scripts/layers-update.ts',
    data: { path },
  })
}

export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}

/**
 * The folder of a package at exactly this version: node_modules when npm installed it for this machine, else the cache, else
 * the registry through npm itself, which checks the tarball's integrity and honours the user's proxy and mirror settings.
 */
export async function packageDir(
  name: string,
  version: string,
  arch: Arch,
  cache: string,
  progress?: (detail: string) => void,
): Promise<string> {
  const local = installed(name, version)
  if (local) return local
  const kept = join(cache, 'npm', `${name.replace('/', '+')}@${version}`)
  const dir = join(kept, 'node_modules', name)
  if (existsSync(join(dir, 'package.json'))) return dir
  progress?.(`fetching ${name}@${version}`)
  await mkdir(dirname(kept), { recursive: true })
  // fetched aside and renamed: a second build at the same time, or an interrupted one, never sees half a package
  const aside = await mkdtemp(`${kept}-`)
  try {
    await install(`${name}@${version}`, arch, aside)
    await rename(aside, kept)
  } catch (e) {
    await rm(aside, { recursive: true, force: true })
    if (!existsSync(join(dir, 'package.json'))) throw e
  }
  return dir
}

function installed(name: string, version: string): string | undefined {
  // npm may hoist our packages above our own folder, so every node_modules upwards counts
  for (let up = projectRoot(); ; up = dirname(up)) {
    const dir = join(up, 'node_modules', name)
    const file = join(dir, 'package.json')
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version === version)
      return dir
    if (up === dirname(up)) return undefined
  }
}

async function install(spec: string, arch: Arch, dir: string): Promise<void> {
  await writeFile(join(dir, 'package.json'), '{"private":true}\n')
  const args = ['install', spec, '--no-save', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund']
  const platform = ['--force', '--os=linux', `--cpu=${arch}`, '--libc=glibc', '--loglevel=error']
  // npm's own patience offline is more than a minute
  const patience = ['--fetch-retries=1', '--fetch-retry-mintimeout=1000']
  // npm is a .cmd file on Windows, which only a shell starts; nothing here comes from outside this project
  const shell = process.platform === 'win32'
  try {
    await promisify(execFile)('npm', [...args, ...platform, ...patience], { cwd: dir, shell, timeout: 300_000 })
  } catch (e) {
    const { stderr, code } = e as { stderr?: string; code?: string }
    const line = stderr?.split('\n').find((l) => /npm (error|ERR!)/.test(l))
    throw new AppError('FETCH_FAILED', {
      where: spec,
      expected: 'a package from the npm registry',
      got: code === 'ENOENT' ? 'npm is not on the PATH' : (line?.replace(/^npm (error|ERR!)\s*/, '') ?? 'no answer'),
      fix: `Native code for linux-${arch} is not installed on this machine and must be fetched once: go online, or set npm's proxy or registry, and try again; or build for this machine's architecture.`,
      cause: e,
    })
  }
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError, isAppError } from '../../src/errors.ts'
import { createApp } from '../../src/http/app.ts'
import { openStore } from '../../src/models.ts'
import { type Reporter, silent } from '../cli/reporter.ts'
import type { ModelPackage } from '../package/types.ts'
import { defaultCache } from '../root.ts'
import { type Staged, stagePackage } from '../stage.ts'
import { type GoldenResult, goldenError, runGolden } from '../verify/golden.ts'
import { type BuildOptions, type Built, buildLayers } from './build.ts'
import { ARCHS, type Arch, loadDefinition, NATIVE_LAYERS } from './definition.ts'
import { layerSources } from './fetch.ts'

export interface PackOptions extends Pick<BuildOptions, 'out' | 'image' | 'cache' | 'functions'> {
  /** absent: every architecture whose native code is here or can be fetched, and always this machine's */
  readonly arch?: readonly Arch[]
  readonly reporter?: Reporter
}

export interface Packed extends Built {
  readonly golden: readonly (GoldenResult & { readonly model: string })[]
}

/**
 * Packages → staging → golden requests → zips. Golden requests run on the staged files by the code that runs in Lambda, so nothing
 * is built that no longer answers as recorded.
 */
export async function pack(packages: readonly ModelPackage[], o: PackOptions): Promise<Packed> {
  const io = o.reporter ?? silent
  distinct(packages)
  const staging = mkdtempSync(join(tmpdir(), 'modelayer-stage-'))
  try {
    const golden: Packed['golden'][number][] = []
    for (const pkg of packages) {
      for (const f of pkg.findings) if (f.severity === 'warning') io.warn(f.message)
      const staged = await stagePackage(pkg, staging, io)
      for (const r of await reproduce(pkg, staged, io)) golden.push({ ...r, model: `${pkg.name}@${pkg.version}` })
    }
    const arch = o.arch ?? (await reachable(o, io))
    const built = await buildLayers({ ...o, arch, staging, reporter: io })
    return { ...built, golden }
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** @throws {AppError} GOLDEN_DIFFERS */
async function reproduce(pkg: ModelPackage, staged: Staged, io: Reporter): Promise<GoldenResult[]> {
  const dir = pkg.goldenDir
  if (!dir) {
    io.note(`${pkg.name} has no golden requests: whether it answers as it did in training is not known.`)
    return []
  }
  return io.step(`Golden requests of ${pkg.name}`, async (progress) => {
    // this version and no other, whatever else is staged
    const store = openStore({ roots: [staged.root], defaultModel: pkg.name })
    const model = store.get(pkg.name, pkg.version)
    const app = createApp({ ...store, get: () => model }, { log: (line) => io.debug(JSON.stringify(line)) })
    const onResult = (done: number, of: number) => progress(`${done} of ${of}`)
    const results = await runGolden(app, dir, { root: pkg.dir, onResult })
    const error = goldenError(results)
    if (error) throw error
    return results
  })
}

/** Without --arch a machine that is offline still builds for itself. */
async function reachable(o: PackOptions, io: Reporter): Promise<Arch[]> {
  return io.step('Native code', async (progress) => {
    const found: Arch[] = []
    for (const arch of ARCHS) {
      try {
        for (const name of NATIVE_LAYERS)
          if (name !== 'image' || o.image !== false)
            await layerSources(loadDefinition(name).files[arch], arch, o.cache ?? defaultCache(), progress)
        found.push(arch)
      } catch (e) {
        if (!isAppError(e) || e.code !== 'FETCH_FAILED' || arch === process.arch) throw e
        io.warn(`No layers for ${arch}. ${e.message}`)
      }
    }
    progress(found.join(', '))
    return found
  })
}

function distinct(packages: readonly ModelPackage[]): void {
  const seen = new Map<string, string>()
  for (const { name, version, dir } of packages) {
    const key = `${name}@${version}`
    const other = seen.get(key)
    if (other !== undefined)
      throw new AppError('MODEL_AMBIGUOUS', {
        where: key,
        expected: 'one package of this name and version',
        got: `${other} and ${dir}`,
        fix: 'Rename a folder, or put the versions into numbered folders.',
      })
    seen.set(key, dir)
  }
}

import { mkdtempSync, rmSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError, isAppError } from '../../src/errors.ts'
import { createApp } from '../../src/http/app.ts'
import { openModel } from '../../src/models.ts'
import { type Reporter, silent } from '../cli/reporter.ts'
import { attemptRoot } from '../fit/apply.ts'
import { type Attempt, idOf, type ModelDemand } from '../fit/demand.ts'
import { demandOf, type FitOptions, type Permit } from '../fit/fit.ts'
import type { ModelPackage } from '../package/types.ts'
import { defaultCache } from '../root.ts'
import type { WeightsKind } from '../shrink/kinds.ts'
import { shrinkStaged } from '../shrink/shrink.ts'
import { type Staged, stagePackage } from '../stage.ts'
import { type GoldenResult, goldenError, runGolden } from '../verify/golden.ts'
import { type BuildOptions, type Built, buildLayers } from './build.ts'
import { ARCHS, type Arch, loadDefinition, NATIVE_LAYERS } from './definition.ts'
import { layerSources } from './fetch.ts'

export interface PackOptions extends Pick<BuildOptions, 'out' | 'image' | 'cache' | 'functions'> {
  /** absent: every architecture whose native code is here or can be fetched, and always this machine's */
  readonly arch?: readonly Arch[]
  readonly reporter?: Reporter
  /** what the deployment says of where models go */
  readonly fit?: Pick<FitOptions, 'storage' | 'efs' | 'memory' | 'limits'>
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
    const permits = new Map<string, Permit>()
    for (const pkg of packages) {
      for (const f of pkg.findings) if (f.severity === 'warning') io.warn(f.message)
      const staged = await stagePackage(pkg, staging, io)
      const results = await reproduce(pkg, staged, io)
      for (const r of results) golden.push({ ...r, model: idOf(pkg) })
      permits.set(idOf(pkg), { allows: pkg.config?.weights ?? [], golden: results.length > 0 })
    }
    const arch = o.arch ?? (await reachable(o, io))
    const attempt = (m: ModelDemand, kind: WeightsKind) =>
      tryWeights(packages.find((p) => idOf(p) === idOf(m))!, staging, kind, io)
    const built = await buildLayers({ ...o, arch, staging, reporter: io, fit: { ...o.fit, permits, attempt } })
    return { ...built, golden }
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** @throws {AppError} GOLDEN_DIFFERS */
async function reproduce(pkg: ModelPackage, staged: Staged, io: Reporter): Promise<GoldenResult[]> {
  if (!pkg.goldenDir) {
    io.note(`${pkg.name} has no golden requests: whether it answers as it did in training is not known.`)
    return []
  }
  const results = await answers(pkg, staged.dir, staged.root, `Golden requests of ${pkg.name}`, io)
  const error = goldenError(results)
  if (error) throw error
  return results
}

/** The staged model once more with its weights in fewer bits, aside: whether it is taken is the solver's decision. */
async function tryWeights(pkg: ModelPackage, staging: string, kind: WeightsKind, io: Reporter): Promise<Attempt> {
  const root = attemptRoot(staging, kind)
  const dir = join(root, 'models', pkg.name, pkg.version)
  await cp(join(staging, 'models', pkg.name, pkg.version), dir, { recursive: true })
  await io.step(`Weights of ${pkg.name} as ${kind}`, async () => shrinkStaged(dir, kind))
  const results = await answers(pkg, dir, staging, `Golden requests of ${pkg.name} as ${kind}`, io)
  const failed = results.filter((r) => r.differences.length > 0)
  if (failed.length > 0)
    return { refused: `${failed.length} of ${results.length} golden requests differ, by ${furthest(failed)} at most` }
  return { files: (await demandOf(root, pkg)).files }
}

const furthest = (results: readonly GoldenResult[]): string =>
  Math.max(0, ...results.flatMap((r) => r.differences.map((d) => d.off ?? 0))).toExponential(1)

/** This version and no other, whatever else is staged. @param root where the hooks are */
async function answers(
  pkg: ModelPackage,
  dir: string,
  root: string,
  label: string,
  io: Reporter,
): Promise<GoldenResult[]> {
  return io.step(label, async (progress) => {
    const model = openModel(dir, [root])
    const store = { models: [model], labels: {}, get: () => model }
    const app = createApp(store, { log: (line) => io.debug(JSON.stringify(line)) })
    const onResult = (done: number, of: number) => progress(`${done} of ${of}`)
    return runGolden(app, pkg.goldenDir!, { root: pkg.dir, onResult })
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

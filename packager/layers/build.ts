import { existsSync } from 'node:fs'
import { access, constants, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError, isAppError } from '../../src/errors.ts'
import type { Manifest } from '../../src/manifest.ts'
import { bundleFunction, functionEntry } from '../bundle/function.ts'
import { type Reporter, silent } from '../cli/reporter.ts'
import { bytes } from '../cli/table.ts'
import { applyPlan } from '../fit/apply.ts'
import { type FitOptions, fit } from '../fit/fit.ts'
import type { Plan } from '../fit/solve.ts'
import { isImage, storedFiles } from '../fit/state.ts'
import { defaultCache } from '../root.ts'
import { fixedOf, handlerOf, layersOf, placed, type StagedModel } from './arrange.ts'
import { type Budget, type BudgetRow, budgetOf } from './budget.ts'
import { type Arch, loadDefinition, NATIVE_LAYERS } from './definition.ts'
import { type DistIndex, type FunctionEntry, INDEX, type LayerEntry, readDist, STORES } from './dist.ts'
import { layerSources } from './fetch.ts'
import { filesBelow } from './files.ts'
import { writeImage } from './image.ts'
import { writeZip, type ZipEntry, type ZipFile } from './zip.ts'

export interface BuildOptions {
  /** models/NAME/VERSION/{manifest.json,…} and hooks/NAME@VERSION.js, as packager/stage.ts writes them */
  readonly staging: string
  /** DIST: the zips of a build before are replaced, anything else stays */
  readonly out: string
  readonly arch: readonly Arch[]
  /** false leaves the image layer out: no hook reads images */
  readonly image?: boolean
  readonly cache?: string
  readonly reporter?: Reporter
  /** entry points by function name; the project's own when absent */
  readonly functions?: Readonly<Record<string, string>>
  /** how models are made to fit */
  readonly fit?: FitOptions
}

export interface Built {
  readonly index: DistIndex
  readonly budgets: readonly Budget[]
  readonly plan: Plan
}

/** Staging → zips, index and budget. The unzipped sizes are checked before anything is compressed. */
export async function buildLayers(o: BuildOptions): Promise<Built> {
  const io = o.reporter ?? silent
  const cache = o.cache ?? defaultCache()
  const functions = o.functions ?? { predict: functionEntry('predict'), batch: functionEntry('batch') }
  const models = await stagedModels(o.staging)
  const hooks = await filesBelow(o.staging, 'hooks')

  const before = await openOut(o.out)
  const work = await mkdtemp(join(tmpdir(), 'modelayer-functions-'))
  try {
    const plans: ZipPlan[] = []
    for (const name of NATIVE_LAYERS) {
      if (name === 'image' && o.image === false) continue
      for (const arch of o.arch) plans.push(await nativePlan(name, arch, cache, io))
    }
    for (const [name, entry] of Object.entries(functions)) {
      const { files } = await bundleFunction(name, entry, join(work, name))
      plans.push(plan('function', name, [...files, ...hooks]))
    }
    const solved = await fit(o.staging, models, fixedOf(plans, o.arch), o.fit ?? {})
    await applyPlan(o.staging, solved.state, join(o.out, STORES))
    for (const [name, members] of layersOf(models, solved.state)) {
      const files = await Promise.all(members.map((m) => filesBelow(o.staging, `models/${m}`)))
      plans.push(plan('layer', name, files.flat()))
    }

    const images = isImage(solved.state) ? await imagesOf(plans, o, models) : undefined

    const layers: LayerEntry[] = []
    const made: FunctionEntry[] = []
    const rows: BudgetRow[] = []
    for (const p of plans) {
      // an image has its layers inside
      if (images && p.kind === 'layer') continue
      const file = `${p.kind}s/${p.name}${p.arch ? `-${p.arch}` : ''}.zip`
      const zip: ZipFile = await io.step(file, async (progress) => {
        const written = await writeZip(p.entries, join(o.out, file), { cache, progress })
        progress(bytes(written.zipped))
        return written
      })
      rows.push({ name: p.name, kind: p.kind, ...(p.arch && { arch: p.arch }), ...zip })
      if (p.kind === 'layer') layers.push({ name: p.name, file, ...(p.arch && { arch: p.arch }), ...zip })
      else made.push({ name: p.name, file, handler: handlerOf(p.name, solved.state), ...zip })
    }
    const { tmp, memory, lines } = solved
    const index: DistIndex = {
      format: 1,
      arch: o.arch,
      layers,
      functions: made,
      // sharing weights moves graphs
      models: (await stagedModels(o.staging)).map((m) => placed(m, solved.state)),
      plan: { tmp, memory, lines },
      fetched: storedFiles(solved.state),
      ...(images && { images }),
    }
    await writeFile(join(o.out, INDEX), `${JSON.stringify(index, null, 2)}\n`)
    const written = new Set(filesIn(index))
    for (const file of before) if (!written.has(file)) await rm(join(o.out, file), { force: true })
    const budgets = made.flatMap((f) => o.arch.map((arch) => budgetOf(f.name, arch, rows)))
    return { index, budgets, plan: solved }
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The zips of the build before: only these are ever removed, since -o may name a folder that holds other things. */
async function openOut(out: string): Promise<string[]> {
  try {
    await mkdir(out, { recursive: true })
    await access(out, constants.W_OK)
  } catch (cause) {
    throw new AppError('USAGE', { where: out, expected: 'a folder that can be written', got: String(cause), cause })
  }
  if (!existsSync(join(out, INDEX))) return []
  const index = await readDist(out).catch((e: unknown) => {
    // damaged, or not ours: this build writes a good one, and what the old one named stays
    if (isAppError(e) && e.code === 'BAD_ARTIFACT') return undefined
    throw e
  })
  return index ? filesIn(index).filter((f) => /^((layers|functions)\/[^/]+\.zip|models\/[0-9a-f]{64})$/.test(f)) : []
}

async function imagesOf(plans: readonly ZipPlan[], o: BuildOptions, models: readonly StagedModel[]) {
  const files = await Promise.all(
    [...new Set(models.map((m) => m.name))].map((m) => filesBelow(o.staging, `models/${m}`)),
  )
  const functions = plans.filter((p) => p.kind === 'function').map((p) => p.entries)
  const images: { [A in Arch]?: string } = {}
  for (const arch of o.arch) {
    const native = plans.filter((p) => p.kind === 'layer' && p.arch === arch).flatMap((p) => p.entries)
    images[arch] = `image-${arch}`
    await writeImage(join(o.out, images[arch]), arch, [...native, ...files.flat()], functions)
  }
  return images
}

const filesIn = ({ layers, functions, fetched = [] }: Pick<DistIndex, 'layers' | 'functions'> & Partial<DistIndex>) => [
  ...[...layers, ...functions].map((z) => z.file),
  ...fetched.map((f) => `${STORES}/${f.sha256}`),
]

interface ZipPlan extends BudgetRow {
  readonly entries: readonly ZipEntry[]
}

function plan(
  kind: ZipPlan['kind'],
  name: string,
  entries: readonly (ZipEntry & { bytes: number })[],
  arch?: Arch,
): ZipPlan {
  return { kind, name, entries, unzipped: entries.reduce((n, e) => n + e.bytes, 0), ...(arch && { arch }) }
}

async function nativePlan(name: (typeof NATIVE_LAYERS)[number], arch: Arch, cache: string, io: Reporter) {
  const sources = await io.step(`Files of the ${name} layer, ${arch}`, (progress) =>
    layerSources(loadDefinition(name).files[arch], arch, cache, progress),
  )
  return plan(
    'layer',
    name,
    sources.map((s) => ({ name: s.to, path: s.path, bytes: s.bytes, sha256: s.sha256 })),
    arch,
  )
}

async function stagedModels(staging: string): Promise<StagedModel[]> {
  const found: StagedModel[] = []
  const folder = join(staging, 'models')
  for (const name of await names(folder)) {
    for (const version of await names(join(folder, name))) {
      const file = join(folder, name, version, 'manifest.json')
      const manifest = JSON.parse(await readFile(file, 'utf8')) as Manifest
      const { signatures, defaultSignature } = manifest
      found.push({ name, version, defaultSignature, signatures })
    }
  }
  if (found.length > 0) return found
  throw new AppError('MODEL_NOT_FOUND', { where: folder, expected: 'NAME/VERSION/manifest.json', got: 'none' })
}

async function names(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch((e: NodeJS.ErrnoException) => {
    if (e.code === 'ENOENT') return []
    throw e
  })
  return entries
    .filter((e) => e.isDirectory())
    .map((e) => e.name)
    .sort()
}

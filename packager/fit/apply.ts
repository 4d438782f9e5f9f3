import { copyFile, mkdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FETCH_FILE, type FetchList, type Manifest } from '../../src/manifest.ts'
import { WEIGHTS } from '../onnx/weightsfile.ts'
import type { WeightsKind } from '../shrink/kinds.ts'
import { idOf, largeFiles, type ModelDemand } from './demand.ts'
import { filesOf, modelsAt, type State } from './state.ts'

type Named = Pick<ModelDemand, 'name' | 'version'>

const folderOf = (staging: string, { name, version }: Named) => join(staging, 'models', name, version)

/** Where a model is tried with its weights in fewer bits; beside the folders that become zips. */
export const attemptRoot = (staging: string, kind: WeightsKind): string => join(staging, 'attempts', kind)

/** Does to staged files what a plan says. What is fetched is moved to `stores`, named by its hash. */
export async function applyPlan(staging: string, s: State, stores: string): Promise<void> {
  for (const m of s.demand.models) {
    const kind = s.weights.get(idOf(m))
    if (!kind) continue
    await rm(folderOf(staging, m), { recursive: true })
    await rename(folderOf(attemptRoot(staging, kind), m), folderOf(staging, m))
  }
  if (s.shared) await shareWeights(staging, s)
  for (const m of [...modelsAt(s, 's3'), ...modelsAt(s, 'efs')]) await leaveList(staging, s, m, stores)
}

/** The graphs of whoever comes later move beside the weights of the first: a graph finds its weights in its own folder only. */
async function shareWeights(staging: string, s: State): Promise<void> {
  const first = new Map<string, ModelDemand>()
  for (const m of modelsAt(s, 'layer')) {
    const weights = filesOf(s, m).find((f) => f.path === WEIGHTS)
    if (!weights) continue
    const owner = first.get(weights.sha256)
    if (owner) await moveGraphs(staging, m, owner)
    else first.set(weights.sha256, m)
  }
}

async function moveGraphs(staging: string, from: Named, to: Named): Promise<void> {
  const [mine, theirs] = [await readManifest(staging, from), await readManifest(staging, to)]
  const home = to.name === from.name ? `../${to.version}` : `../../${to.name}/${to.version}`
  const placed: Record<string, string> = {}
  const files: Record<string, string> = { ...mine.files }
  const signatures: Record<string, Manifest['signatures'][string]> = {}
  for (const [name, signature] of Object.entries(mine.signatures)) {
    const file = `${from.name}@${from.version}-${signature.graph}`
    if (!(file in placed)) {
      await rename(join(folderOf(staging, from), signature.graph), join(folderOf(staging, to), file))
      placed[file] = files[signature.graph]!
      delete files[signature.graph]
    }
    signatures[name] = { ...signature, graph: `${home}/${file}` }
  }
  await unlink(join(folderOf(staging, from), WEIGHTS))
  delete files[WEIGHTS]
  await writeManifest(staging, from, { ...mine, signatures, files })
  await writeManifest(staging, to, { ...theirs, files: { ...theirs.files, ...placed } })
}

async function leaveList(staging: string, s: State, m: ModelDemand, stores: string): Promise<void> {
  const large = largeFiles(filesOf(s, m))
  const list: FetchList = {
    files: Object.fromEntries(large.map(({ path, sha256, bytes }) => [path, { sha256, bytes }])),
  }
  await mkdir(stores, { recursive: true })
  for (const f of large) await move(join(folderOf(staging, m), f.path), join(stores, f.sha256))
  await writeFile(join(folderOf(staging, m), FETCH_FILE), `${JSON.stringify(list, null, 1)}\n`)
}

/** Staging may be on another disk. */
export async function move(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  await rename(from, to).catch(async (e: NodeJS.ErrnoException) => {
    if (e.code !== 'EXDEV') throw e
    await copyFile(from, to)
    await unlink(from)
  })
}

const manifestOf = (staging: string, m: Named) => join(folderOf(staging, m), 'manifest.json')

async function readManifest(staging: string, m: Named): Promise<Manifest> {
  return JSON.parse(await readFile(manifestOf(staging, m), 'utf8')) as Manifest
}

async function writeManifest(staging: string, m: Named, manifest: Manifest): Promise<void> {
  await writeFile(manifestOf(staging, m), `${JSON.stringify(manifest, null, 1)}\n`)
}

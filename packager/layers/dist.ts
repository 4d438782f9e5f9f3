import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { Signature } from '../../src/manifest.ts'
import type { FileSize } from '../fit/demand.ts'
import type { Needs, PlanLine } from '../fit/solve.ts'
import type { Spot } from '../fit/state.ts'
import { ARCHS, type Arch } from './definition.ts'
import type { ZipFile } from './zip.ts'

/** DIST/modelayer.json: what was built, for the sandbox, the deployment and whoever wants to compare two builds. */
export interface DistIndex {
  readonly format: 1
  readonly arch: readonly Arch[]
  readonly layers: readonly LayerEntry[]
  readonly functions: readonly FunctionEntry[]
  readonly models: readonly ModelEntry[]
  /** what the models ask of a function, and how they came to be where they are */
  readonly plan: Needs & { readonly lines: readonly PlanLine[] }
  /** files that are in no layer, below {@link STORES} and named by their hash: what is fetched, from S3 or by way of a file system */
  readonly fetched: readonly FileSize[]
  /** build contexts of container images, by architecture */
  readonly images?: { readonly [A in Arch]?: string }
}

export interface LayerEntry extends ZipFile {
  readonly name: string
  /** relative to the index, with forward slashes */
  readonly file: string
  /** absent: the same for both */
  readonly arch?: Arch
}

export interface FunctionEntry extends ZipFile {
  readonly name: string
  readonly file: string
  readonly handler: string
}

export interface ModelEntry {
  readonly name: string
  readonly version: string
  readonly layer: string
  readonly spot: Spot
  readonly defaultSignature: string
  readonly signatures: Readonly<Record<string, Signature>>
}

export const INDEX = 'modelayer.json'
/** Below the folder of a build: what functions fetch, under its hash. */
export const STORES = 'models'

/** @throws {AppError} BAD_ARTIFACT */
export async function readDist(dir: string): Promise<DistIndex> {
  const path = join(dir, INDEX)
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError('BAD_ARTIFACT', { where: path, expected: 'the index of a built package', got: 'no file', cause })
  })
  const index = parse(text)
  if (index?.format === 1 && Array.isArray(index.layers) && Array.isArray(index.functions)) return index
  throw new AppError('BAD_ARTIFACT', { where: path, expected: 'format 1', fix: 'Build it again: modelayer package' })
}

function parse(text: string): DistIndex | undefined {
  try {
    return JSON.parse(text) as DistIndex
  } catch (e) {
    if (e instanceof SyntaxError) return undefined
    throw e
  }
}

/** The layers a function needs on one architecture, in the order Lambda unpacks them. */
export function layersFor(index: DistIndex, arch: Arch): LayerEntry[] {
  if (!index.arch.includes(arch))
    throw new AppError('BAD_ARTIFACT', {
      where: INDEX,
      expected: `layers for ${arch}`,
      got: index.arch.join(', '),
      fix: `Build with --arch ${arch}; known are ${ARCHS.join(' and ')}.`,
    })
  return index.layers.filter((l) => (l.arch ?? arch) === arch)
}

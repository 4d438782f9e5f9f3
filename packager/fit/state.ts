import { WEIGHTS } from '../onnx/weightsfile.ts'
import type { WeightsKind } from '../shrink/kinds.ts'
import { type Demand, type FileSize, idOf, largeFiles, type ModelDemand, sum } from './demand.ts'
import type { Limits } from './limits.ts'

export type Spot = 'layer' | 's3' | 'efs' | 'image'

/** A partial solution: where each model is, in which form. Moves make another one of it. */
export interface State {
  readonly demand: Demand
  readonly limits: Limits
  readonly spots: ReadonlyMap<string, Spot>
  readonly weights: ReadonlyMap<string, WeightsKind>
  /** files that several models in layers hold are there once */
  readonly shared: boolean
  /** names whose models are in one layer together */
  readonly merged: readonly string[]
}

export function start(demand: Demand, limits: Limits): State {
  const spots = new Map(demand.models.map((m) => [idOf(m), 'layer' as Spot]))
  return { demand, limits, spots, weights: new Map(), shared: false, merged: [] }
}

export const modelsAt = (s: State, spot: Spot): ModelDemand[] =>
  s.demand.models.filter((m) => s.spots.get(idOf(m)) === spot)

export function filesOf(s: State, m: ModelDemand): readonly FileSize[] {
  const kind = s.weights.get(idOf(m))
  const attempt = kind && m.attempts[kind]
  return attempt && 'files' in attempt ? attempt.files : m.files
}

/** What a version has in a layer; what is elsewhere leaves its small files and the list of the large ones. */
function inLayer(s: State): FileSize[] {
  return s.demand.models.flatMap((m) => {
    const files = filesOf(s, m)
    return s.spots.get(idOf(m)) === 'layer' ? files : files.filter((f) => !largeFiles(files).includes(f))
  })
}

export const layerBytes = (s: State): number => s.demand.fixed.bytes + sum(inLayer(s)) - (s.shared ? sharedBytes(s) : 0)

/** What versions and models hold again: weights only, since a graph finds them in its own folder and can be put into another's. */
export function sharedBytes(s: State): number {
  const weights = modelsAt(s, 'layer').flatMap((m) => filesOf(s, m).filter((f) => f.path === WEIGHTS))
  return sum(weights) - sum([...new Map(weights.map((f) => [f.sha256, f])).values()])
}

/** One for each name, or one for all that are merged. */
export function layerCount(s: State): number {
  const names = new Set(s.demand.models.map((m) => m.name))
  return s.demand.fixed.layers + names.size - Math.max(0, s.merged.length - 1)
}

/** An image has no layers, and a limit of its own. */
export const isImage = (s: State): boolean => [...s.spots.values()].includes('image')

export const fits = (s: State): boolean =>
  isImage(s)
    ? s.demand.fixed.bytes + sum(s.demand.models.flatMap((m) => filesOf(s, m))) <= s.limits.image
    : layerBytes(s) <= s.limits.unzipped && layerCount(s) <= s.limits.layers

/** Bytes that come over the network: each content once. */
export const fetchedBytes = (s: State, spot: 's3' | 'efs'): number => sum(storedFiles(s, [spot]))

export function storedFiles(s: State, spots: readonly Spot[] = ['s3', 'efs']): FileSize[] {
  const files = spots.flatMap((spot) => modelsAt(s, spot)).flatMap((m) => largeFiles(filesOf(s, m)))
  return [...new Map(files.map((f) => [f.sha256, f])).values()]
}

export function moved(s: State, m: ModelDemand, spot: Spot): State {
  return { ...s, spots: new Map(s.spots).set(idOf(m), spot) }
}

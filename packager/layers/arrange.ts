import { type Demand, idOf, sum } from '../fit/demand.ts'
import { isImage, type State, storedFiles } from '../fit/state.ts'
import type { BudgetRow } from './budget.ts'
import type { Arch } from './definition.ts'
import type { ModelEntry } from './dist.ts'

export type StagedModel = Omit<ModelEntry, 'layer' | 'spot'>

/** Of the function and the architecture that leave the least room. */
export function fixedOf(plans: readonly BudgetRow[], archs: readonly Arch[]): Demand['fixed'] {
  const layers = (arch: Arch) => plans.filter((p) => p.kind === 'layer' && p.arch === arch)
  return {
    bytes:
      Math.max(0, ...archs.map((a) => sum(layers(a).map((p) => ({ bytes: p.unzipped }))))) +
      Math.max(0, ...plans.filter((p) => p.kind === 'function').map((p) => p.unzipped)),
    layers: Math.max(0, ...archs.map((a) => layers(a).length)),
  }
}

const MERGED = 'models'
const layerOf = (name: string, s: State) => (s.merged.includes(name) ? MERGED : `model-${name}`)

/** Layer → names of the models in it. An image holds them itself. */
export function layersOf(models: readonly StagedModel[], s: State): Map<string, string[]> {
  const found = new Map<string, string[]>()
  if (isImage(s)) return found
  for (const name of new Set(models.map((m) => m.name)))
    found.set(layerOf(name, s), [...(found.get(layerOf(name, s)) ?? []), name])
  return found
}

export function placed(m: StagedModel, s: State): ModelEntry {
  return { ...m, layer: layerOf(m.name, s), spot: s.spots.get(idOf(m)) ?? 'layer' }
}

/** Fetching is for the init phase, which ends when the module is loaded: it has to wait. */
export function handlerOf(name: string, s: State): string {
  return name === 'predict' && storedFiles(s).length > 0 ? 'prepared.handler' : `${name}.handler`
}

import { bytes } from '../cli/table.ts'
import { SHARE, WEIGHTS_KINDS, type WeightsKind } from '../shrink/kinds.ts'
import { type Demand, idOf, largeFiles, type ModelDemand, sum } from './demand.ts'
import {
  fetchedBytes,
  filesOf,
  fits,
  layerBytes,
  layerCount,
  modelsAt,
  moved,
  type Spot,
  type State,
  sharedBytes,
} from './state.ts'

/** What a move came to. `wants`: it cannot be judged before somebody has tried. */
export type Outcome =
  | { readonly state: State; readonly models: readonly string[]; readonly reason: string }
  | { readonly refused: string }
  | { readonly wants: readonly { readonly model: ModelDemand; readonly kind: WeightsKind }[] }

export interface Move {
  readonly name: string
  /** what it costs when an environment starts */
  readonly cold: string
  apply(s: State): Outcome
}

/** S3 to a function of a vCPU, for the estimates of a plan; what it really took is in the log line `Model fetched`. */
export const FETCH_BYTES_PER_SECOND = 100e6

const largestFirst = (s: State): ModelDemand[] =>
  [...modelsAt(s, 'layer')].sort((a, b) => sum(filesOf(s, b)) - sum(filesOf(s, a)))

const over = (s: State): string => {
  const [bytesOver, layersOver] = [layerBytes(s) - s.limits.unzipped, layerCount(s) - s.limits.layers]
  const parts = [
    ...(bytesOver > 0 ? [`${bytes(bytesOver)} too much`] : []),
    ...(layersOver > 0 ? [`${layersOver} layer${layersOver > 1 ? 's' : ''} too many`] : []),
  ]
  return parts.join(' and ')
}

/** Fewer layers: the smallest models share one, so that a change of a large one uploads no other. */
const merge: Move = {
  name: 'one layer for several models',
  cold: 'none',
  apply(s) {
    const excess = layerCount(s) - s.limits.layers
    if (excess <= 0) return { refused: 'there are not too many layers' }
    const size = (name: string) => sum(s.demand.models.filter((m) => m.name === name).flatMap((m) => filesOf(s, m)))
    const names = [...new Set(s.demand.models.map((m) => m.name))].sort((a, b) => size(a) - size(b))
    const merged = names.slice(0, excess + 1)
    if (merged.length <= excess) return { refused: `${layerCount(s)} layers with ${names.length} models` }
    return {
      state: { ...s, merged },
      models: merged,
      reason: `${layerCount(s)} layers, and a function has at most ${s.limits.layers}`,
    }
  },
}

const dedupe: Move = {
  name: 'weights that are the same, once',
  cold: 'none',
  apply(s) {
    const saved = sharedBytes(s)
    if (saved === 0) return { refused: 'no two versions or models have the same weights' }
    const reason = `${over(s)}; ${bytes(saved)} are there more than once`
    return { state: { ...s, shared: true }, models: modelsAt(s, 'layer').map(idOf), reason }
  },
}

/** Loses precision, so it is done only where it is enough, and only to as many models as it takes. */
const shrink = (kind: WeightsKind): Move => ({
  name: `${kind} weights`,
  cold: { float16: '0.5 ms per MB', int8: '1.4 ms per MB' }[kind],
  apply(s) {
    const allowed = largestFirst(s).filter((m) => m.allows.includes(kind))
    if (allowed.length === 0) return { refused: `no author allows it ("weights" in config.json)` }
    const judged = allowed.filter((m) => m.golden)
    if (judged.length === 0)
      return { refused: `${allowed.map(idOf).join(', ')}: without golden requests nobody would see what it changes` }
    const small = (m: ModelDemand) => ({ ...m, attempts: { ...m.attempts, [kind]: estimate(m, kind) } })
    const hoped = apply(
      { ...s, demand: { ...s.demand, models: s.demand.models.map((m) => (judged.includes(m) ? small(m) : m)) } },
      judged,
      kind,
    )
    if (!fits(hoped)) return { refused: `it would leave ${over(hoped)} all the same` }
    const tried: ModelDemand[] = []
    const refusals: string[] = []
    for (const m of judged) {
      const attempt = m.attempts[kind]
      if (!attempt) return { wants: [{ model: m, kind }] }
      if ('refused' in attempt) refusals.push(`${idOf(m)}: ${attempt.refused}`)
      else tried.push(m)
      const state = apply(s, tried, kind)
      if (fits(state))
        return {
          state,
          models: tried.map(idOf),
          reason: `${over(s)}; the author allows it and the golden requests pass`,
        }
    }
    return { refused: refusals.join('; ') || `it leaves ${over(apply(s, tried, kind))}` }
  },
})

const apply = (s: State, models: readonly ModelDemand[], kind: WeightsKind): State => ({
  ...s,
  weights: new Map([...s.weights, ...models.map((m) => [idOf(m), kind] as const)]),
})

/** The best that can come of it: all large files are weights. */
function estimate(m: ModelDemand, kind: WeightsKind) {
  const large = largeFiles(m.files)
  return {
    files: m.files.map((f) =>
      large.includes(f) ? { ...f, sha256: `${f.sha256}:${kind}`, bytes: f.bytes * SHARE[kind] } : f,
    ),
  }
}

/** Model by model, the largest first, until the rest fits. */
const fetched = (spot: 's3' | 'efs', name: string, cold: string, may: (s: State) => string | undefined): Move => ({
  name,
  cold,
  apply(s) {
    const byChoice = s.demand.storage === spot
    const no = may(s)
    if (no !== undefined) return { refused: no }
    const reason = byChoice ? 'by choice of the author' : over(s)
    const gone: string[] = []
    let state = s
    for (const m of largestFirst(s)) {
      if (!byChoice && fits(state)) break
      if (largeFiles(filesOf(s, m)).length === 0) continue
      const next = moved(state, m, spot)
      const room = ROOM[spot](next)
      if (room !== undefined && !byChoice) return { refused: room }
      if (room !== undefined) return { refused: `${idOf(m)}: ${room}` }
      state = next
      gone.push(idOf(m))
    }
    if (gone.length === 0) return { refused: 'no model has a large file' }
    return { state, models: gone, reason }
  },
})

/** MB that a function needs on its own disk, with room for what hooks write. */
export const tmpFor = (s: State): number => {
  const most = fetchedBytes(s, 's3')
  return most === 0 ? s.limits.tmp.given : Math.max(s.limits.tmp.given, Math.ceil(most / 2 ** 20) + 128)
}

const ROOM: Readonly<Record<'s3' | 'efs', (s: State) => string | undefined>> = {
  s3: (s) =>
    tmpFor(s) > s.limits.tmp.most
      ? `it needs ${tmpFor(s)} MB of /tmp, and a function has at most ${s.limits.tmp.most}`
      : undefined,
  efs: () => undefined,
}

const image: Move = {
  name: 'a container image',
  cold: 'the image is loaded on demand, slower than layers',
  apply(s) {
    const state: State = { ...s, spots: new Map(s.demand.models.map((m) => [idOf(m), 'image' as Spot])) }
    if (!fits(state)) return { refused: `more than the ${bytes(s.limits.image)} of an image` }
    const reason = s.demand.storage === 'image' ? 'by choice of the author' : `${over(s)}, and nothing else is left`
    return { state, models: s.demand.models.map(idOf), reason }
  },
}

/** From the cheapest on. That graphs are optimised is no choice: every model is, before it is measured. */
export const MOVES: readonly Move[] = [
  merge,
  dedupe,
  ...WEIGHTS_KINDS.map(shrink),
  fetched('s3', 'fetched from S3', `about ${(1e9 / FETCH_BYTES_PER_SECOND).toFixed(0)} s per GB`, () => undefined),
  fetched(
    'efs',
    'on a shared file system',
    'the first environment fetches, all others read it over the network',
    (s) => (s.demand.efs ? undefined : 'no access point is given (efs)'),
  ),
  image,
]

/** The moves a choice of storage leaves. */
export const movesFor = (storage: Demand['storage']): readonly Move[] => {
  const by = (...names: string[]) => MOVES.filter((m) => names.includes(m.name))
  return {
    auto: MOVES,
    layer: MOVES.slice(0, -3),
    s3: [...by('fetched from S3'), ...MOVES.slice(0, 2)],
    efs: [...by('on a shared file system'), ...MOVES.slice(0, 2)],
    image: by('a container image'),
  }[storage]
}

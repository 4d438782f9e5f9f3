import { bytes } from '../cli/table.ts'
import type { WeightsKind } from '../shrink/kinds.ts'
import { type Demand, idOf, type ModelDemand } from './demand.ts'
import type { Limits } from './limits.ts'
import { FETCH_BYTES_PER_SECOND, movesFor, tmpFor } from './moves.ts'
import { fetchedBytes, fits, isImage, layerBytes, layerCount, type State, start } from './state.ts'

/** One line of a plan: what was done, or why it was not. */
export interface PlanLine {
  readonly move: string
  readonly done: boolean
  /** names or name@version */
  readonly models: readonly string[]
  readonly reason: string
  /** bytes that layers no longer hold */
  readonly saves?: number
  readonly cold?: string
}

/** What a plan says in a file. */
export interface Needs {
  /** MB of /tmp */
  readonly tmp: number
  /** MB of memory without which it does not start */
  readonly memory: number
}

export interface Plan extends Needs {
  readonly lines: readonly PlanLine[]
  readonly fits: boolean
  readonly state: State
  /** to be tried before there is a plan */
  readonly wants: readonly { readonly model: ModelDemand; readonly kind: WeightsKind }[]
}

/** Node and onnxruntime, beside the weights: less does not start. Measured by test/deploy/big.ts. */
const BASE_MB = 64
/** For requests, when it is ours to choose. */
export const ROOM_MB = 128

/** Sizes in, moves out: the cheapest that make everything fit, each with its reason. */
export function solve(demand: Demand, limits: Limits): Plan {
  let state = start(demand, limits)
  const lines: PlanLine[] = []
  const byChoice = demand.storage !== 'auto' && demand.storage !== 'layer'
  const needed = () => !fits(state)
  for (const [i, move] of movesFor(demand.storage).entries()) {
    // what the author chose is done whether it is needed or not
    if (!needed() && !(byChoice && i === 0)) break
    const out = move.apply(state)
    if ('wants' in out) return { ...summary(state, lines), wants: out.wants }
    if ('refused' in out) {
      lines.push({ move: move.name, done: false, models: [], reason: out.refused })
      continue
    }
    const saves = layerBytes(state) - layerBytes(out.state)
    const cold = move.cold === 'none' ? {} : { cold: move.cold }
    lines.push({ move: move.name, done: true, models: out.models, reason: out.reason, saves, ...cold })
    state = out.state
  }
  if (lines.length === 0)
    lines.push({ move: 'as it is', done: true, models: demand.models.map(idOf), reason: fitting(state) })
  return { ...summary(state, [...lines, ...resources(state)]), wants: [] }
}

function summary(state: State, lines: readonly PlanLine[]) {
  const memory = memoryFor(state)
  return { lines, state, fits: fits(state) && memory <= state.limits.memory, tmp: tmpFor(state), memory }
}

const fitting = (s: State): string =>
  `${bytes(layerBytes(s))} of ${bytes(s.limits.unzipped)} in ${layerCount(s)} of ${s.limits.layers} layers`

/** onnxruntime copies weights into the order its kernels read, so the largest model has to fit beside everything else. */
export const memoryFor = (s: State): number =>
  BASE_MB + Math.ceil(Math.max(0, ...s.demand.models.map((m) => m.weights)) / 2 ** 20)

/** What else the function needs then. */
function resources(s: State): PlanLine[] {
  const lines: PlanLine[] = []
  const all = s.demand.models.map(idOf)
  const fetchedFrom = fetchedBytes(s, 's3')
  if (tmpFor(s) > s.limits.tmp.given)
    lines.push({
      move: `${tmpFor(s)} MB of /tmp`,
      done: true,
      models: all.filter((id) => s.spots.get(id) === 's3'),
      reason: `${bytes(fetchedFrom)} are fetched, and a function has ${s.limits.tmp.given} MB without asking`,
    })
  if (fetchedFrom > 0)
    lines.push({
      move: 'time',
      done: true,
      models: [],
      reason: `fetching takes about ${(fetchedFrom / FETCH_BYTES_PER_SECOND).toFixed(1)} s once per environment, if a function receives ${bytes(FETCH_BYTES_PER_SECOND)} a second`,
    })
  const memory = memoryFor(s)
  const weights = bytes(Math.max(0, ...s.demand.models.map((m) => m.weights)))
  if (memory > s.limits.memory)
    lines.push({
      move: 'memory',
      done: false,
      models: all,
      reason: `${weights} of weights need ${memory} MB, and a function has at most ${s.limits.memory}`,
    })
  else if (s.demand.memory !== undefined && memory > s.demand.memory)
    lines.push({
      move: `${memory + ROOM_MB} MB of memory`,
      done: true,
      models: all,
      reason: `${weights} of weights do not fit into ${s.demand.memory} MB`,
    })
  return isImage(s) ? lines.filter((l) => l.move !== 'time') : lines
}

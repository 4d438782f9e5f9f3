import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../../src/errors.ts'
import type { Manifest } from '../../src/manifest.ts'
import type { ModelEntry } from '../layers/dist.ts'
import { filesBelow } from '../layers/files.ts'
import { WEIGHTS } from '../onnx/weightsfile.ts'
import type { WeightsKind } from '../shrink/kinds.ts'
import { type Attempt, type Demand, idOf, type ModelDemand, type Storage } from './demand.ts'
import { LIMITS, type Limits } from './limits.ts'
import { type Plan, solve } from './solve.ts'
import { planTable } from './table.ts'

/** What the author of a model allows and has. */
export interface Permit {
  readonly allows: readonly WeightsKind[]
  readonly golden: boolean
}

export interface FitOptions {
  /** where models go; `auto` when absent */
  readonly storage?: Storage
  /** there is a file system to move them to */
  readonly efs?: boolean
  /** MB of memory of the function, where it is known */
  readonly memory?: number
  /** by name@version; a model without one allows nothing */
  readonly permits?: ReadonlyMap<string, Permit>
  /** keeps the weights of a staged model in fewer bits, and tells whether it still answers as recorded */
  readonly attempt?: (model: ModelDemand, kind: WeightsKind) => Promise<Attempt>
  /** Lambda's, but for tests */
  readonly limits?: Limits
}

/** Solves, tries what the solver wants to know, and solves again. @throws {AppError} LAYER_TOO_BIG with the plan that did not work out */
export async function fit(
  staging: string,
  models: readonly Pick<ModelEntry, 'name' | 'version'>[],
  fixed: Demand['fixed'],
  o: FitOptions,
): Promise<Plan> {
  const limits = o.limits ?? LIMITS
  let demands = await Promise.all(models.map((m) => demandOf(staging, m, o.permits?.get(idOf(m)))))
  for (;;) {
    const demand: Demand = {
      fixed,
      models: demands,
      storage: o.storage ?? 'auto',
      efs: o.efs ?? false,
      ...(o.memory !== undefined && { memory: o.memory }),
    }
    const plan = solve(demand, limits)
    if (plan.wants.length === 0) {
      if (!plan.fits) throw tooBig(plan)
      return plan
    }
    for (const { model, kind } of plan.wants) {
      const result = (await o.attempt?.(model, kind)) ?? { refused: 'it cannot be tried here' }
      demands = demands.map((m) => (m === model ? { ...m, attempts: { ...m.attempts, [kind]: result } } : m))
    }
  }
}

export async function demandOf(
  staging: string,
  m: Pick<ModelEntry, 'name' | 'version'>,
  { allows, golden }: Permit = { allows: [], golden: false },
): Promise<ModelDemand> {
  const dir = join(staging, 'models', m.name, m.version)
  const { files } = JSON.parse(await readFile(join(dir, 'manifest.json'), 'utf8')) as Manifest
  const found = await filesBelow(dir, '.')
  const weights = found.some((f) => f.name === WEIGHTS) ? (await stat(join(dir, WEIGHTS))).size : 0
  return {
    name: m.name,
    version: m.version,
    // the manifest itself is the one file it does not list
    files: found.map((f) => ({ path: f.name, sha256: files[f.name] ?? `${idOf(m)}/${f.name}`, bytes: f.bytes })),
    weights,
    allows,
    golden,
    attempts: {},
  }
}

function tooBig(plan: Plan): AppError {
  const { demand, limits } = plan.state
  const size = demand.fixed.bytes.toLocaleString('en-US')
  return new AppError('LAYER_TOO_BIG', {
    expected: `at most ${limits.unzipped.toLocaleString('en-US')} bytes unzipped in ${limits.layers} layers`,
    got: `models of ${demand.models
      .reduce((n, m) => n + m.files.reduce((k, f) => k + f.bytes, 0), 0)
      .toLocaleString('en-US')} bytes beside ${size} of the function and its libraries`,
    fix: `What was considered:\n${planTable(plan)}\nPackage models separately or fewer versions of one, leave the image layer out when no hook reads images, build for arm64 (20 MB smaller), or give another storage: docs/deploy.md.`,
    data: { plan: plan.lines },
  })
}

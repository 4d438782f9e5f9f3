import { AppError } from '../../src/errors.ts'
import { bytes, table } from '../cli/table.ts'
import type { Arch } from './definition.ts'

/** Lambda's limits: function with all its layers unzipped, layers of a function, and a zip sent without S3 in between. */
export const LIMITS = { unzipped: 262_144_000, layers: 5, upload: 50 * 1024 * 1024 } as const

export interface BudgetRow {
  readonly name: string
  readonly kind: 'layer' | 'function'
  /** absent: the same for both */
  readonly arch?: Arch
  readonly unzipped: number
  /** known once the zip is written */
  readonly zipped?: number
}

export interface Budget {
  readonly function: string
  readonly arch: Arch
  readonly rows: readonly BudgetRow[]
  readonly unzipped: number
  readonly zipped: number
  /** of the 262,144,000 bytes, 0 to 1 */
  readonly share: number
}

/** One function on one architecture: its own zip and every layer it needs. */
export function budgetOf(fn: string, arch: Arch, rows: readonly BudgetRow[]): Budget {
  const mine = rows.filter((r) => (r.arch ?? arch) === arch && (r.kind === 'layer' || r.name === fn))
  const unzipped = mine.reduce((n, r) => n + r.unzipped, 0)
  const zipped = mine.reduce((n, r) => n + (r.zipped ?? 0), 0)
  return { function: fn, arch, rows: mine, unzipped, zipped, share: unzipped / LIMITS.unzipped }
}

/** @throws {AppError} LAYER_TOO_BIG with the table, before time is spent on a deployment that Lambda would refuse. */
export function checkBudget(b: Budget): void {
  const layers = b.rows.filter((r) => r.kind === 'layer')
  if (layers.length > LIMITS.layers)
    throw new AppError('LAYER_TOO_BIG', {
      where: `function ${b.function} (${b.arch})`,
      expected: `at most ${LIMITS.layers} layers`,
      got: `${layers.length}`,
      fix: `Package fewer models into one deployment.\n\n${budgetTable([b])}`,
      data: { budget: b },
    })
  if (b.unzipped > LIMITS.unzipped)
    throw new AppError('LAYER_TOO_BIG', {
      where: `function ${b.function} (${b.arch})`,
      expected: `at most ${LIMITS.unzipped.toLocaleString('en-US')} bytes unzipped with all layers`,
      got: `${b.unzipped.toLocaleString('en-US')}`,
      fix: `${advice(b)}\n\n${budgetTable([b])}`,
      data: { budget: b },
    })
}

function advice(b: Budget): string {
  const models = b.rows.filter((r) => r.name.startsWith('model-'))
  const largest = [...models].sort((x, y) => y.unzipped - x.unzipped)[0]
  const room = LIMITS.unzipped - (b.unzipped - models.reduce((n, r) => n + r.unzipped, 0))
  return [
    `Models may take ${bytes(Math.max(room, 0))} beside the rest`,
    largest ? `; the largest is ${largest.name}` : '',
    '. Package models separately or fewer versions of one, leave the image layer out when no hook reads images, build for arm64 (20 MB smaller), or run the container.',
  ].join('')
}

const percent = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)} %`

export function budgetTable(budgets: readonly Budget[]): string {
  const line = (name: string, arch: string, unzipped: number, zipped: number | undefined) => [
    name,
    arch,
    unzipped,
    percent(unzipped, LIMITS.unzipped),
    zipped ?? '',
    zipped === undefined ? '' : zipped > LIMITS.upload ? 'through S3' : percent(zipped, LIMITS.upload),
  ]
  const seen = new Set<BudgetRow>()
  const rows = budgets.flatMap((b) => b.rows.filter((r) => !seen.has(r) && seen.add(r)))
  return table(
    ['', 'arch', 'unzipped', 'of 262,144,000', 'zipped', 'of 50 MB upload'],
    [
      ...rows.map((r) => line(`${r.kind} ${r.name}`, r.arch ?? 'both', r.unzipped, r.zipped)),
      // the upload limit holds for each zip, not for their sum
      ...budgets.map((b) => [
        ...line(`= ${b.function} in all`, b.arch, b.unzipped, b.zipped || undefined).slice(0, 5),
        '',
      ]),
    ],
  )
}

import { table } from '../cli/table.ts'
import { LIMITS } from '../fit/limits.ts'
import type { Arch } from './definition.ts'

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

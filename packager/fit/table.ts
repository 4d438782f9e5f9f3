import { bytes, table } from '../cli/table.ts'
import type { Plan } from './solve.ts'

/** What moves, what it saves and costs, and why; and what was passed over. */
export function planTable({ lines }: Pick<Plan, 'lines'>): string {
  return table(
    ['plan', 'models', 'saves', 'cold start', 'reason'],
    lines.map((l) => [
      l.done ? l.move : `not: ${l.move}`,
      l.models.join(', '),
      l.saves ? bytes(l.saves) : '',
      l.cold ?? '',
      l.reason,
    ]),
  )
}

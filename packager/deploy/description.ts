import { createHash } from 'node:crypto'
import type { ModelEntry } from '../layers/dist.ts'

/** Lambda's limit */
const MOST = 256

/** What a version says of itself in lists: its models, and a digest of everything it is made of. */
export function describe(models: readonly ModelEntry[], zips: readonly { readonly sha256: string }[]): string {
  const digest = createHash('sha256')
  for (const hash of zips.map((z) => z.sha256).sort()) digest.update(hash)
  const end = `; content ${digest.digest('hex').slice(0, 12)}`
  const list = models.map((m) => `${m.name}@${m.version}`).join(', ')
  const room = MOST - end.length
  return `${list.length > room ? `${list.slice(0, room - 1)}…` : list}${end}`
}

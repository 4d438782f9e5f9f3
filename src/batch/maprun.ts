import type { Outcome } from './run.ts'

export type Reported = Outcome | { readonly status: 'ERROR'; readonly code: string; readonly reason: string }

export interface Report {
  readonly key: string
  readonly outcome: Reported
}

/** A state of Step Functions holds 256 KiB, and its input is in it already. */
const RESULTS_BYTES = 32 * 2 ** 10

/**
 * What the batch of a Distributed Map hears. An object failed where it could not be read (FAILED) or could not be worked on (ERROR);
 * one with bad records did not: they are named beside its result. A child execution counts all its items as failed or none, so it
 * fails where more of them failed than the map tolerates.
 * @param tolerated percent of the objects
 */
export function mapAnswer(reports: readonly Report[], tolerated: number) {
  const objects = { done: 0, failed: 0, skipped: 0, open: 0 }
  const records = { records: 0, answered: 0, failed: 0 }
  for (const { outcome: o } of reports) {
    objects[KIND[o.status]]++
    if (!('done' in o)) continue
    for (const k of ['records', 'answered', 'failed'] as const) records[k] += o.done.counts[k]
  }
  const tooMany = objects.failed * 100 > tolerated * reports.length
  return { open: objects.open, tooMany, objects, records, results: fitting(reports) }
}

const KIND = {
  DONE: 'done',
  FAILED: 'failed',
  ERROR: 'failed',
  SKIPPED: 'skipped',
  PAUSED: 'open',
  BUSY: 'open',
} as const

/** As many as fit, those that somebody may have to look at first. */
function fitting(reports: readonly Report[]) {
  const rank = { failed: 0, open: 1, skipped: 2, done: 3 }
  const kind = (r: Report) => rank[KIND[r.outcome.status]]
  const results: object[] = []
  let bytes = 0
  for (const report of [...reports].sort((a, b) => kind(a) - kind(b))) {
    const result = summary(report)
    bytes += Buffer.byteLength(JSON.stringify(result))
    if (bytes > RESULTS_BYTES) break
    results.push(result)
  }
  return results
}

export function summary({ key, outcome }: Report) {
  if (outcome.status === 'DONE' || outcome.status === 'FAILED')
    return { key, status: outcome.status, ...outcome.done.counts, fresh: outcome.fresh }
  return { key, ...outcome }
}

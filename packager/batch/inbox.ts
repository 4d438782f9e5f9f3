import { setTimeout as sleep } from 'node:timers/promises'
import { type Job, type Outcome, runObject } from '../../src/batch/run.ts'
import { toAppError } from '../../src/log.ts'

export interface InboxOptions {
  readonly signal: AbortSignal
  /** between two looks at the folder */
  readonly everyMs?: number
  told(key: string, outcome: Outcome | { readonly status: 'ERROR'; readonly reason: string }): void
}

/** A file that is still growing changes between two looks; S3 shows whole objects only. */
const CALM_MS = 1000
/** What failed is tried again, later each time. */
const PAUSE_MS = { first: 1000, most: 60_000 } as const

/** Answers each file that appears in the input folder, as S3 would start the function for it, until the signal. */
export async function watchInbox(job: Job, { signal, everyMs = 500, told }: InboxOptions): Promise<void> {
  const { bucket, prefix } = job.input!
  const seen = new Map<string, string>()
  const failed = new Map<string, { readonly until: number; readonly pause: number }>()
  while (!signal.aborted) {
    for await (const { key, etag, size, modified } of job.store.list(bucket, prefix)) {
      if (signal.aborted) return
      const now = Date.now()
      const version = `${key}\0${etag}`
      const before = failed.get(version)
      if (seen.get(key) === etag || now - modified < CALM_MS || now < (before?.until ?? 0)) continue
      try {
        const outcome = await runObject(job, { bucket, key, etag, size }, { signal, takeOver: true })
        if (outcome.status !== 'PAUSED') seen.set(key, etag)
        failed.delete(version)
        told(key, outcome)
      } catch (e) {
        const pause = before ? Math.min(2 * before.pause, PAUSE_MS.most) : PAUSE_MS.first
        failed.set(version, { until: Date.now() + pause, pause })
        told(key, { status: 'ERROR', reason: toAppError(e).message })
      }
    }
    // an abort ends the sleep, and then the loop
    await sleep(everyMs, undefined, { signal }).catch(() => undefined)
  }
}

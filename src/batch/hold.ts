import { setTimeout as sleep } from 'node:timers/promises'
import type { Delivery } from './events.ts'
import { type GiveBack, tried } from './giveback.ts'
import { LEASE_MS } from './ledger.ts'

/** Longer than the lease of a process that ended by at least a beat, so that what comes back then is free. */
const HOLD = { seconds: (1.5 * LEASE_MS) / 1000, everyMs: LEASE_MS / 2, patienceMs: 1000 }

export interface Hold {
  /** The queue hears nothing more of this. */
  end(): void
}

/**
 * Keeps the messages in hand hidden for as long as this process lives, and little longer. The queue hides them for six times the
 * function's timeout, 90 minutes as deployed: that long would those of a process that ended be away, once for each attempt.
 */
export function createHolds(o: GiveBack, { seconds, everyMs, patienceMs } = HOLD) {
  const { queue } = o
  let patient = true
  let said = false
  return async (deliveries: readonly Delivery[]): Promise<Hold> => {
    const receipts = new Map<string, string[]>()
    for (const { message } of deliveries)
      if (message) receipts.set(message.arn, [...(receipts.get(message.arn) ?? []), message.receipt])
    if (receipts.size === 0 || !queue) return { end: () => undefined }
    const stop = new AbortController()
    const log: GiveBack['log'] = (line) => {
      // what was given up is no failure
      if (said || stop.signal.aborted) return
      said = true
      o.log(line)
    }
    const beat = () =>
      Promise.all([...receipts].map(([arn, own]) => tried(() => queue(arn).hide(own, seconds, stop.signal), { log })))
    const timer = setInterval(beat, everyMs)
    const first = beat().then((told) => !told.includes(false))
    // a record may end the process at once; but a queue that is slow or out of reach holds up one invocation, not each
    if (patient) patient = await Promise.race([first, sleep(patienceMs, false, { ref: false })])
    return {
      end() {
        clearInterval(timer)
        stop.abort()
      },
    }
  }
}

import { AppError } from '../errors.ts'
import { type Log, logged } from '../log.ts'
import type { Delivery } from './events.ts'
import { LEASE_MS } from './ledger.ts'
import type { Report } from './maprun.ts'
import { eachOf } from './pool.ts'
import type { Queue } from './queue.ts'

export interface GiveBack {
  readonly log: Log
  readonly queue?: (arn: string) => Queue
}

/** Seconds until a message is delivered again whose attempt failed: twice as many each time. */
const BACKOFF = { first: 10, most: 900 }
/** after an attempt that did not get anywhere, and has no error */
const SOON = 5
/** by then whoever holds the object is done, or has renewed its lease, or is dead; after the second receive that is one lease */
const BUSY = { first: LEASE_MS / 2000, most: 900 }

/**
 * What SQS hears. Each receive of a message counts towards its end as a dead letter, and an object that is paused often enough
 * would get there while all goes well. So a message that only needs more time goes out anew, and the old one counts as done: whoever
 * gets both finds the state of the object. What failed comes back, and what did not move on: those receives shall run out.
 */
export async function giveBack(reports: ReadonlyMap<Delivery, readonly Report[]>, o: GiveBack) {
  const moved = [...reports.values()].flat().some(isMoved)
  const failed: Delivery[] = []
  await eachOf(reports, 10, async ([delivery, own]) => {
    const statuses = own.map((r) => r.outcome.status)
    const has = (status: Report['outcome']['status']) => statuses.includes(status)
    const queue = delivery.message && o.queue?.(delivery.message.arn)
    if (has('ERROR')) {
      failed.push(delivery)
      const { first, most } = BACKOFF
      await tried(
        () => queue?.hide([delivery.message!.receipt], Math.min(most, first * 2 ** (delivery.receives - 1))),
        o,
      )
    } else if (has('PAUSED')) {
      // anew it would look as if nobody had tried it
      const inWork = own.some((r) => 'tried' in r.outcome)
      if (queue && moved && !inWork && (await tried(() => queue.send(delivery.message!.body, 0), o))) return
      failed.push(delivery)
      await tried(() => queue?.hide([delivery.message!.receipt], SOON), o)
    } else if (has('BUSY')) {
      // it counts: an object that ends each process that takes it is found busy in between, and shall not come back for ever
      failed.push(delivery)
      const { first, most } = BUSY
      await tried(
        () => queue?.hide([delivery.message!.receipt], Math.min(most, first * 2 ** (delivery.receives - 1))),
        o,
      )
    }
  })
  return { batchItemFailures: failed.map((d) => ({ itemIdentifier: d.id })) }
}

const isMoved = ({ outcome: o }: Report) => ('fresh' in o && o.fresh) || ('moved' in o && o.moved)

/** A message for which it fails comes back when its visibility timeout ends. */
export async function tried(work: () => Promise<void> | undefined, { log }: GiveBack): Promise<boolean> {
  try {
    await work()
    return true
  } catch (cause) {
    const error = new AppError('STORE_FAILED', { where: 'the queue', got: (cause as Error).name, cause })
    log({ level: 'warn', message: 'batch: the queue cannot be told', error: logged(error) })
    return false
  }
}

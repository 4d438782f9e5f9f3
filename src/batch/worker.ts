import type { AppError } from '../errors.ts'
import { type LogLine, logged, toAppError } from '../log.ts'
import { type BatchEvent, type Delivery, readEvent, type Work } from './events.ts'
import { type GiveBack, giveBack } from './giveback.ts'
import { createHolds } from './hold.ts'
import { type Lot, takeLot } from './lot.ts'
import { mapAnswer, type Report, summary } from './maprun.ts'
import { keyBelow, refuseOverlap } from './names.ts'
import { eachOf } from './pool.ts'
import { retryOf } from './replay.ts'
import { type Control, type Job, type Outcome, runObject } from './run.ts'
import { createTurns, PLACES, singlesFirst } from './turns.ts'

export interface WorkerOptions extends GiveBack {
  /** a message received this often goes to the dead-letter queue next; the reason is written beside the output before */
  readonly maxReceives?: number
  /** starts the function again with an event, where nothing else would: an object that came without a queue */
  readonly again?: (event: object) => Promise<void>
}

export type Worker = (event: unknown, control: Control) => Promise<unknown>

/** Events in, what their source wants to hear out. Small objects several at a time: they wait for the store. */
export function createWorker(job: Job, options: WorkerOptions): Worker {
  const turns = createTurns()
  const hold = createHolds(options)
  const { log, maxReceives = Number.POSITIVE_INFINITY } = options

  async function one(work: Work, { receives, last, message }: Delivery, control: Control): Promise<Report> {
    const { item } = work
    const { key } = item
    const own: Job = { ...job, ...(work.input && { input: work.input }), ...(work.output && { output: work.output }) }
    const start = Date.now()
    try {
      if (own.input) refuseOverlap(own.input, own.output)
      const wanted = work.only ? await retryOf(own, item) : item
      const outcome: Outcome = wanted
        ? await runObject(own, wanted, { ...control, turns, first: control.first ?? (message && receives === 1) })
        : { status: 'SKIPPED', reason: 'nothing of it failed' }
      log({ ...nameOf(job), ...lineOf(key, outcome, Date.now() - start) })
      return { key, outcome }
    } catch (e) {
      const error = toAppError(e)
      log({
        level: 'error',
        message: `batch ${key}`,
        ...nameOf(job),
        error: logged(error),
        batch: { object: key, status: 'ERROR' },
      })
      if (last || receives >= maxReceives)
        await bury(own, work, receives, error).catch((e: unknown) => {
          log({ level: 'error', message: `batch ${key}: its reason cannot be written`, error: logged(toAppError(e)) })
        })
      return { key, outcome: { status: 'ERROR', code: error.code, reason: error.message } }
    }
  }

  /** Nobody counts how often a map tries its items. */
  function lotOf({ source }: BatchEvent, all: readonly { readonly work: Work }[]): Promise<Lot> | undefined {
    if (source !== 'map' || all.length === 0) return undefined
    const items = all.map(({ work }) => work.item)
    return takeLot(job.store, all[0]!.work.output ?? job.output, items)
  }

  return async (event, control) => {
    const read = readEvent(event)
    const reports = new Map<Delivery, Report[]>(read.deliveries.map((d) => [d, []]))
    const all: { readonly delivery: Delivery; readonly work: Work }[] = []
    for (const delivery of read.deliveries) {
      const { work, skipped, error } = delivery
      for (const { key, reason } of skipped) log({ level: 'info', message: `batch ${key} SKIPPED: ${reason}` })
      if (error) {
        log({ level: 'error', message: 'batch: a message cannot be read', error: logged(error) })
        reports.get(delivery)!.push({ key: '', outcome: { status: 'ERROR', code: error.code, reason: error.message } })
      }
      all.push(...work.map((w) => ({ delivery, work: w })))
    }
    const lot = await lotOf(read, all)
    const held = await hold(read.deliveries)
    const done = async ({ delivery, work }: (typeof all)[number]) => {
      reports.get(delivery)!.push(await one(work, delivery, { ...control, ...(lot && { first: lot.first }) }))
    }
    await eachOf(
      singlesFirst(all, ({ work }) => work.item.key, job.format),
      PLACES.all,
      done,
    ).finally(held.end)
    const reported = [...reports.values()].flat()
    if (lot && !reported.some((r) => 'tried' in r.outcome)) await lot.end(reported.some(isOpen))
    return answer(read, reports, options)
  }
}

/** A handler cannot write on the message that goes to the dead-letter queue, so the reason stands beside the output. */
async function bury({ store, input, output }: Job, { item }: Work, receives: number, { code, message }: AppError) {
  const { bucket, key } = item
  const ref = { bucket: output.bucket, key: `${output.prefix}${keyBelow(input, item)}.failed.json` }
  const bytes = Buffer.from(`${JSON.stringify({ bucket, key, receives, code, reason: message }, null, 2)}\n`)
  await store.put(ref, bytes, { contentType: 'application/json' })
}

const isOpen = ({ outcome: { status } }: Report) => status === 'ERROR' || status === 'PAUSED' || status === 'BUSY'

async function answer(
  { source, deliveries }: BatchEvent,
  reports: ReadonlyMap<Delivery, readonly Report[]>,
  options: WorkerOptions,
): Promise<unknown> {
  const { again } = options
  const all = [...reports.values()].flat()
  switch (source) {
    case 'sqs':
      return giveBack(reports, options)
    case 's3':
    case 'eventbridge': {
      const failed = all.find((r) => r.outcome.status === 'ERROR' || r.outcome.status === 'BUSY')
      const paused = all.filter((r) => r.outcome.status === 'PAUSED')
      if (again)
        for (const { work } of deliveries) for (const w of work) if (isPaused(w, paused)) await again(eventOf(w))
      // asynchronous invocations are repeated twice; a throw is all they hear
      if (failed || (paused.length > 0 && !again)) throw unfinished(failed ?? paused[0]!)
      return { done: all.length - paused.length, paused: paused.length }
    }
    case 'map': {
      const [{ last = false, tolerated = 0 } = {}] = deliveries
      const failed = all.find((r) => r.outcome.status === 'ERROR')
      // the map repeats it, later and less often; what is done stays done
      if (failed && !last) throw unfinished(failed)
      return mapAnswer(all, tolerated)
    }
    case 'manual': {
      const failed = all.find((r) => r.outcome.status === 'ERROR')
      if (failed) throw unfinished(failed)
      // whoever called calls again while something is open
      return { open: all.filter(isOpen).length, results: all.map(summary) }
    }
  }
}

const isPaused = (w: Work, paused: readonly Report[]) => paused.some((r) => r.key === w.item.key)

function eventOf({ item: { bucket, key, versionId } }: Work): object {
  return { input: `s3://${bucket}/${key}`, ...(versionId !== undefined && { versionId }) }
}

function unfinished({ key, outcome }: Report): Error {
  const detail = 'reason' in outcome ? outcome.reason : outcome.status
  return new Error(`${key}: ${detail}`)
}

const nameOf = ({ model: { manifest } }: Job) => ({ model: manifest.model, version: manifest.version })

function lineOf(key: string, o: Outcome, ms: number): LogLine {
  const done = o.status === 'DONE' || o.status === 'FAILED' ? o.done : undefined
  const said =
    o.status === 'DONE' || o.status === 'FAILED'
      ? `${o.done.counts.records} records, ${o.done.counts.failed} failed${o.fresh ? '' : ', earlier'}`
      : o.status === 'SKIPPED'
        ? o.reason
        : o.status === 'PAUSED'
          ? `after ${o.counts.records} records`
          : 'another process works on it'
  const { error, counts } = done ?? {}
  return {
    level: o.status === 'FAILED' ? 'warn' : 'info',
    message: `batch ${key} ${o.status}: ${said}`,
    ms: { total: ms },
    ...(error && { error: { code: error.code, message: error.reason } }),
    // what an earlier invocation has answered is counted there
    ...(!('fresh' in o && !o.fresh) && {
      batch: { object: key, status: o.status, ...(counts && { answered: counts.answered, failed: counts.failed }) },
    }),
  }
}

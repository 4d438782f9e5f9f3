import type { Prices } from './prices.ts'
import { ASSUMED, QUOTAS } from './quotas.ts'

/** Objects of one type, and what some of them took. */
export interface Work {
  readonly objects: number
  readonly bytes: number
  /** bytes of the largest object */
  readonly largest: number
  /** each object is one record, so that several are under way at once */
  readonly single: boolean
  readonly rate: Rate
}

export interface Rate {
  /** milliseconds per byte: of one whole vCPU, or of the function itself where `earlier` runs of it say so */
  readonly busyPerByte: number
  readonly earlier: boolean
  /** requests to S3 per object */
  readonly reads: number
  readonly writes: number
  /** how many objects were measured, and how many of them could not be read */
  readonly objects: number
  readonly failed: number
}

export interface Setting {
  /** MB */
  readonly memory: number
  readonly arch: 'arm64' | 'x64'
  /** of the function, in seconds */
  readonly timeout: number
  /** of the account: what all functions may use together */
  readonly concurrency: number
  /** prefixes that S3 has divided the objects into: each has its own limits */
  readonly prefixes: number
  /** bytes of a key, at most */
  readonly keyBytes: number
  readonly prices: Prices
}

export interface Plan {
  /** objects of one child execution */
  readonly items: number
  readonly concurrency: number
  /** percent of the objects */
  readonly tolerated: number
  readonly batches: number
  readonly invocations: number
  /** of all environments together */
  readonly lambdaSeconds: number
  readonly secondsPerBatch: number
  readonly wallSeconds: number
  /** what keeps it from being faster; `objects`: all of them are under way at once */
  readonly bound: 'concurrency' | 'starts' | 'S3 reads' | 'S3 writes' | 'objects'
  readonly requests: { readonly reads: number; readonly writes: number }
  readonly cost: {
    readonly lambda: number
    readonly s3: number
    readonly stepFunctions: number
    readonly total: number
  }
  /** map runs it takes: one holds a hundred million objects */
  readonly runs: number
}

/** Between these a batch is long enough to be worth its transitions, and short enough that a repetition is cheap. */
const BATCH_SECONDS = { least: 10, most: 120 }
/** batches for each environment, so that the last ones do not keep a run waiting */
const PER_ENVIRONMENT = 4
/** bytes of an item beside its key: the bucket's name, the etag, the size and JSON's own */
const ITEM_BYTES = 160
/** of a state's 256 KiB; the rest is for the answer that joins it */
export const BATCH_BYTES = 200_000
/** a child execution enters Answer, Open and Done, and is started */
const TRANSITIONS = 4
/** objects of a page of a listing */
const LIST = 1000
/** of a result that is as large as its input (src/batch/s3store.ts) */
const PART = 8 * 2 ** 20
/** percent; a sample of fewer objects tells nothing about the share that fails */
const TOLERATED = { least: 1, unknown: 5, most: 25, sample: 20 }

/** From what is there and what a part of it took to how a Distributed Map should run it. Pure arithmetic: docs/scaling.md. */
export function plan(work: readonly Work[], s: Setting): Plan {
  const objects = sum(work, (w) => w.objects)
  const requests = {
    reads: sum(work, (w) => w.objects * w.rate.reads),
    writes: sum(work, (w) => w.objects * w.rate.writes + w.bytes / PART),
  }
  const seconds = sum(work, (w) => secondsOf(w, s))
  const perObject = seconds / Math.max(objects, 1)
  const available = Math.max(1, Math.floor(Math.min(QUOTAS.map.concurrency, s.concurrency * (1 - ASSUMED.spared))))

  const fits = Math.max(1, Math.floor(BATCH_BYTES / (s.keyBytes + ITEM_BYTES)))
  const least = Math.max(BATCH_SECONDS.least, available / QUOTAS.map.starts)
  const most = Math.min(BATCH_SECONDS.most, s.timeout / 2)
  const wanted = Math.min(Math.max(seconds / (available * PER_ENVIRONMENT), least), Math.max(most, 1))
  const items = clamp(Math.floor(wanted / Math.max(perObject, 1e-9)), 1, Math.min(fits, Math.max(objects, 1)))
  const batches = Math.ceil(objects / items)

  // what S3 answers at most, as environments that are busy at once
  const answered = {
    reads: requests.reads / (QUOTAS.s3.reads * s.prefixes),
    writes: requests.writes / (QUOTAS.s3.writes * s.prefixes),
  }
  const s3 = Math.max(answered.reads, answered.writes)
  const busy = s3 === 0 ? available : seconds / s3
  const concurrency = Math.max(1, Math.floor(Math.min(available, batches, busy)))

  const atOnce = batches <= concurrency
  const cold = (concurrency * ASSUMED.coldMs) / 1000
  const lambdaSeconds = seconds + cold
  const secondsPerBatch = perObject * items
  const largest = Math.max(0, ...work.map((w) => (w.largest / Math.max(w.bytes, 1)) * secondsOf(w, s)))
  const times = {
    // all at once, or one round after the other with half a batch at the end
    concurrency: atOnce
      ? concurrency / QUOTAS.lambda.ramp + ASSUMED.coldMs / 1000 + secondsPerBatch
      : ramped(lambdaSeconds, concurrency) + secondsPerBatch / 2,
    starts: batches / QUOTAS.map.starts,
    'S3 reads': answered.reads,
    'S3 writes': answered.writes,
    objects: largest,
  }
  const wallSeconds = Math.max(...Object.values(times))
  const longest = (Object.keys(times) as (keyof typeof times)[]).find((k) => times[k] === wallSeconds)!
  const held = answered.reads > answered.writes ? 'S3 reads' : 'S3 writes'
  const bound = longest !== 'concurrency' ? longest : atOnce ? 'objects' : busy < available ? held : longest

  const pauses = sum(work, (w) => Math.floor(secondsOf(w, s) / Math.max(w.objects, 1) / s.timeout) * w.objects)
  const invocations = batches + pauses
  const lambda = lambdaSeconds * (s.memory / 1024) * s.prices.lambda[s.arch] + invocations * s.prices.lambdaRequest
  const s3Cost = requests.reads * s.prices.s3Read + (requests.writes + objects / LIST) * s.prices.s3Write
  // each pause is a wait and another round
  const stepFunctions = (batches * TRANSITIONS + pauses * (TRANSITIONS - 1)) * s.prices.transition
  return {
    items,
    concurrency,
    tolerated: toleratedOf(work),
    batches,
    invocations,
    lambdaSeconds,
    secondsPerBatch,
    wallSeconds,
    bound,
    requests,
    cost: { lambda, s3: s3Cost, stepFunctions, total: lambda + s3Cost + stepFunctions },
    runs: Math.ceil(objects / QUOTAS.map.items),
  }
}

/** What one environment needs for all of it: its share of a processor, and waiting for S3. */
export function secondsOf({ objects, bytes, single, rate }: Work, { memory }: Pick<Setting, 'memory'>): number {
  const share = rate.earlier ? 1 : Math.min(1, memory / ASSUMED.vcpuMemory)
  const waiting = (objects * (rate.reads + rate.writes) * ASSUMED.requestMs) / (single ? ASSUMED.overlap : 1)
  return ((bytes * rate.busyPerByte) / share + waiting) / 1000
}

/** Percent: the share of objects that failed in the sample, at the upper end of what chance allows (Wilson, 95 %). */
export function toleratedOf(work: readonly Pick<Work, 'rate'>[]): number {
  const n = sum(work, (w) => w.rate.objects)
  if (n < TOLERATED.sample) return TOLERATED.unknown
  const share = sum(work, (w) => w.rate.failed) / n
  const z = 1.96
  const middle = share + (z * z) / (2 * n)
  const half = z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n))
  return clamp(Math.ceil((100 * (middle + half)) / (1 + (z * z) / n)), TOLERATED.least, TOLERATED.most)
}

/** Until `n` environments are there they come at the rate that Lambda starts them: work is the area below that line. */
export function ramped(seconds: number, n: number, perSecond: number = QUOTAS.lambda.ramp): number {
  const ramp = n / perSecond
  const area = (n * ramp) / 2
  return seconds <= area ? Math.sqrt((2 * seconds) / perSecond) : ramp + (seconds - area) / n
}

const sum = <T>(list: readonly T[], of: (t: T) => number) => list.reduce((n, t) => n + of(t), 0)
const clamp = (n: number, low: number, high: number) => Math.min(Math.max(n, low), high)

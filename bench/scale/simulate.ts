import { QUOTAS } from '../../packager/batch/quotas.ts'
import { Heap } from './heap.ts'

/** What happens to so many objects, by a Distributed Map or through a queue, with what goes wrong on the way. */
export interface Scene {
  readonly way: 'map' | 'queue'
  readonly objects: number
  /** of one environment, on average */
  readonly secondsPerObject: number
  /** requests to S3 of one object */
  readonly reads: number
  readonly writes: number
  /** prefixes that S3 counts apart */
  readonly prefixes: number
  /** objects of one invocation */
  readonly items: number
  /** of the map or of the queue's mapping */
  readonly concurrency: number
  /** what the account has left for this function */
  readonly room: number
  /** starting an environment, in seconds */
  readonly cold: number
  readonly trouble: Trouble
  readonly random: () => number
  /** most invocations that are looked at one by one; of more, several in a row are one event */
  readonly events?: number
}

/** Each a share between 0 and 1. */
export interface Trouble {
  /** invocations whose process ends in passing */
  readonly crash: number
  /** objects at which S3 or something else fails in passing, after the repetitions of the function itself */
  readonly error: number
  /** objects that end the process whenever they are tried */
  readonly poison: number
  /** messages that are delivered twice */
  readonly double: number
}

export interface Outcome {
  readonly seconds: number
  /** until 99 of 100 objects were answered */
  readonly mostSeconds: number
  readonly answered: number
  /** objects that ended the process until they were named */
  readonly named: number
  /** messages in the dead-letter queue, or batches that found no room at all */
  readonly lost: number
  readonly invocations: number
  readonly retries: number
  /** invocations that found no room (429) */
  readonly throttled: number
  /** requests that S3 refused for their rate (503) */
  readonly slowdowns: number
  /** deliveries that found their work done */
  readonly doubles: number
  /** what is paid */
  readonly lambdaSeconds: number
  /** of environments or children, waiting included */
  readonly heldSeconds: number
  readonly meanHeld: number
  readonly peak: number
}

const EVENTS = 100_000
/** Of one object's time: most take less, some much more. */
const SPREAD = 0.5
/** as in packager/deploy/map.ts, src/batch/ledger.ts, src/batch/giveback.ts and src/batch/hold.ts; in seconds */
const RETRY = { first: 2, most: 120, attempts: 2 * 100 }
const LEASE = 75
const BACKOFF = { first: 10, most: 900 }
const HOLD = { least: 60, most: 90 }
/** one without a claim, and five with it */
const POISON_ATTEMPTS = 6
const MAX_RECEIVES = 10
/** finding that an object is done */
const SEEN = 0.1

interface Slot {
  free: number
  fresh: boolean
  task?: Task
}

interface Task {
  readonly ready: number
  readonly objects: number
  readonly batches: number
  /** of the objects, those known to end the process */
  readonly poison: number
  /** receives before this one */
  readonly receives: number
  throttles: number
}

export function simulate(s: Scene): Outcome {
  const { random, trouble, items } = s
  const { starts, children } = { starts: QUOTAS.map.starts, children: s.way === 'map' }
  const batches = Math.ceil(s.objects / items)
  const grouped = Math.max(1, Math.ceil(batches / (s.events ?? EVENTS)))

  const slots = new Heap<Slot>((x) => x.free)
  for (let i = 0; i < Math.min(s.concurrency, batches); i++) slots.push({ free: opens(s.way, i), fresh: true })
  const again = new Heap<Task>((t) => t.ready)
  const running = new Heap<number>((end) => end)
  const buckets = [
    { perObject: s.reads, perSecond: QUOTAS.s3.reads * s.prefixes, until: 0 },
    { perObject: s.writes, perSecond: QUOTAS.s3.writes * s.prefixes, until: 0 },
  ]
  const o = { answered: 0, named: 0, lost: 0, invocations: 0, retries: 0, throttled: 0, slowdowns: 0, doubles: 0 }
  let [lambdaSeconds, heldSeconds, area, peak, at, seconds, startable] = [0, 0, 0, 0, 0, 0, 0]
  let left = s.objects
  const ends: (readonly [at: number, answered: number])[] = []

  /** Time goes on, and with it the area below the number of what is under way. */
  const until = (t: number) => {
    while (running.size > 0 && running.peek()! <= t) {
      const end = running.pop()!
      area += (end - at) * (running.size + 1)
      at = end
    }
    area += (t - at) * running.size
    at = t
  }

  const next = (now: number): Task | undefined => {
    const waiting = again.peek()
    if (waiting && (waiting.ready <= now || left === 0)) return again.pop()
    if (left === 0) return undefined
    const objects = Math.min(left, grouped * items)
    left -= objects
    return {
      ready: now,
      objects,
      batches: Math.ceil(objects / items),
      poison: count(objects, trouble.poison, random),
      receives: 0,
      throttles: 0,
    }
  }

  for (let slot = slots.pop(); slot; slot = slots.pop()) {
    const task = slot.task ?? next(slot.free)
    if (!task) {
      // a later failure may bring work for this one; without any under way there is none
      if (running.size === 0 && again.size === 0) continue
      const wake = Math.min(running.peek() ?? Number.POSITIVE_INFINITY, again.peek()?.ready ?? Number.POSITIVE_INFINITY)
      slots.push({ ...slot, free: Math.max(wake, slot.free + 1e-6) })
      until(Math.max(at, Math.min(slot.free, wake)))
      continue
    }
    const now = Math.max(slot.free, task.ready, children ? startable : 0)
    if (now > slot.free) {
      slots.push({ ...slot, free: now, task })
      continue
    }
    until(now)
    if (running.size >= s.room) {
      o.throttled++
      const pause = random() * Math.min(RETRY.most, RETRY.first * 2 ** Math.min(task.throttles++, 10))
      // it holds its place meanwhile; a queue's reader asks until there is room
      if (!children || task.throttles <= RETRY.attempts)
        slots.push({ ...slot, free: now + Math.max(pause, 1e-3), task })
      else {
        o.lost += task.objects
        slots.push({ free: now, fresh: slot.fresh })
      }
      continue
    }
    if (children) startable = Math.max(startable, now) + task.batches / starts
    const before = o.answered
    const done = work(task, now, slot.fresh)
    ends.push([now + done.held, o.answered - before])
    running.push(now + done.held)
    peak = Math.max(peak, running.size)
    heldSeconds += done.held
    lambdaSeconds += done.paid
    seconds = Math.max(seconds, now + done.held)
    slots.push({ free: now + done.held, fresh: false })
  }
  until(seconds)
  return {
    ...o,
    seconds,
    mostSeconds: most(ends, 0.99 * s.objects),
    lambdaSeconds,
    heldSeconds,
    meanHeld: seconds === 0 ? 0 : area / seconds,
    peak,
  }

  function work(task: Task, now: number, fresh: boolean) {
    const { objects, batches: invocations, poison, receives } = task
    o.invocations += invocations
    const crashes = Math.min(count(invocations, trouble.crash, random), invocations)
    const errors = Math.min(count(objects - poison, trouble.error, random), objects - poison)
    const busy = sumOf(objects - poison, s.secondsPerObject, random) + (fresh ? s.cold : 0)
    const paced = throughS3(objects, now, busy)
    return children ? inChild(paced) : fromQueue(paced)

    /** A child execution repeats what is left until nothing is, and holds its place. */
    function inChild(time: number) {
      const repeats = crashes + errors + poison * POISON_ATTEMPTS
      o.retries += repeats
      o.invocations += repeats
      o.named += poison
      o.answered += objects - poison
      // a crash leaves a lease behind, and takes the environment with it; half of what it had in hand is done again
      const lost = (crashes + poison * POISON_ATTEMPTS) * (s.cold + s.secondsPerObject / 2)
      const paid = time + lost + errors * s.secondsPerObject + repeats * SEEN
      const waited = (crashes + poison * POISON_ATTEMPTS) * LEASE + errors * RETRY.first * random()
      return { paid, held: paid + waited }
    }

    /** What fails, and what a process that ended had in hand, is invisible for a while and comes again to whoever is free. */
    function fromQueue(time: number) {
      const doubles = count(objects, trouble.double, random)
      o.doubles += doubles
      const dead = receives + 1 >= MAX_RECEIVES
      // the rest of a batch whose process ended, half of it on average, goes back with it
      const torn = Math.min(objects - poison - errors, Math.round((crashes + poison) * (items / 2)))
      const known = poison > 0 && receives + 1 >= POISON_ATTEMPTS ? poison : 0
      const stuck = poison - known
      o.named += known
      const back = errors + torn + stuck
      o.answered += objects - known - back
      if (dead) o.lost += back
      else {
        o.retries += back
        comesBack(errors, 0, Math.min(BACKOFF.most, BACKOFF.first * 2 ** receives))
        comesBack(torn + stuck, stuck, HOLD.least + (HOLD.most - HOLD.least) * random())
      }
      const paid =
        Math.max(time * (1 - back / Math.max(objects, 1)), SEEN) + (crashes + poison) * s.cold + doubles * SEEN
      return { paid, held: paid }
    }

    function comesBack(some: number, poison: number, seconds: number) {
      if (some === 0) return
      const batches = Math.ceil(some / items)
      again.push({ ready: now + seconds, objects: some, batches, poison, receives: receives + 1, throttles: 0 })
    }
  }

  /** S3 answers so many requests a second; more are told to slow down, and asked again. */
  function throughS3(objects: number, now: number, busy: number): number {
    let end = now + busy
    for (const b of buckets) {
      b.until = Math.max(b.until, now) + (objects * b.perObject) / b.perSecond
      if (b.until > now + busy) o.slowdowns += Math.round(objects * b.perObject * (1 - busy / (b.until - now)))
      end = Math.max(end, b.until)
    }
    return end - now
  }
}

/** When so many were answered. */
function most(ends: (readonly [at: number, answered: number])[], wanted: number): number {
  let answered = 0
  for (const [at, n] of ends.sort(([a], [b]) => a - b)) {
    answered += n
    if (answered >= wanted) return at
  }
  return Number.POSITIVE_INFINITY
}

/** When the i-th place opens: children and environments come at a rate, and a queue's readers at a lower one. */
function opens(way: Scene['way'], i: number): number {
  const { first, ramp } = QUOTAS.sqs
  return way === 'map' ? i / QUOTAS.lambda.ramp : Math.max(0, i - first + 1) / ramp
}

/** How many of n happen: Poisson, which for many is normal. */
export function count(n: number, share: number, random: () => number): number {
  const mean = n * share
  if (mean === 0) return 0
  if (mean > 50) return Math.min(n, Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random))))
  let found = 0
  for (let p = random(); p > Math.exp(-mean); p *= random()) found++
  return Math.min(found, n)
}

/** The time of n objects, each log-normal around the mean; of many the sum is normal. */
function sumOf(n: number, mean: number, random: () => number): number {
  if (n > 30) return mean * Math.max(n / 2, n + Math.sqrt(n * (Math.exp(SPREAD ** 2) - 1)) * normal(random))
  let sum = 0
  for (let i = 0; i < n; i++) sum += mean * Math.exp(SPREAD * normal(random) - SPREAD ** 2 / 2)
  return sum
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

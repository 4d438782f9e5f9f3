import type { Item, Job } from '../../src/batch/run.ts'
import type { Done, ObjectStore } from '../../src/batch/types.ts'
import { runLocal } from './local.ts'
import type { Rate } from './plan.ts'
import type { Found } from './survey.ts'

/** What a part of the objects of one type took. */
export interface Measured {
  readonly objects: number
  /** of them, those that could not be read */
  readonly failed: number
  readonly records: number
  readonly bytes: number
  /** of all threads of this process; of earlier runs all of their steps, and at least as long as they took */
  readonly cpuMs: number
  readonly wallMs: number
  readonly requests: { readonly reads: number; readonly writes: number }
  readonly from: 'a sample on this machine' | 'earlier runs'
}

/**
 * Answers some objects by the very code of a batch, into a folder that is thrown away. The first object is answered twice: loading
 * the model and compiling are no part of the rate.
 */
export async function measure(job: Job, { sample }: Found, ms: number, scratch: string): Promise<Measured> {
  await timed(job, sample.slice(0, 1), ms / 4, `${scratch}/warm`)
  return timed(job, sample, ms, `${scratch}/sample`)
}

async function timed(job: Job, items: readonly Item[], ms: number, scratch: string): Promise<Measured> {
  const { store, read, requests } = counted(job.store)
  const stop = new AbortController()
  const timer = setTimeout(() => stop.abort(), ms)
  const begin = { cpu: process.cpuUsage(), wall: performance.now() }
  try {
    const output = { bucket: scratch, prefix: '' }
    const { counts, objects } = await runLocal({ ...job, store, output }, { items, signal: stop.signal })
    const { user, system } = process.cpuUsage(begin.cpu)
    // one that was not finished counts with what was read of it
    const begun = items.flatMap(({ key, size = 0 }) => (read.has(key) ? [{ size, read: read.get(key)! }] : []))
    const wholes = begun.reduce((n, i) => n + Math.min(1, i.read / i.size), 0)
    return {
      objects: Math.max(1, Math.floor(wholes)),
      failed: objects.failed,
      records: counts.records,
      bytes: begun.reduce((n, i) => n + Math.min(i.size, i.read), 0),
      cpuMs: (user + system) / 1000,
      wallMs: performance.now() - begin.wall,
      requests: { ...requests },
      from: 'a sample on this machine',
    }
  } finally {
    clearTimeout(timer)
  }
}

/** How many requests S3 would be asked, and how much of each object was read. */
export function counted(store: ObjectStore) {
  const requests = { reads: 0, writes: 0 }
  const read = new Map<string, number>()
  const counting: ObjectStore = {
    ...store,
    stat: (ref) => {
      requests.reads++
      return store.stat(ref)
    },
    async *read(ref, options) {
      requests.reads++
      for await (const chunk of store.read(ref, options)) {
        read.set(ref.key, (read.get(ref.key) ?? 0) + chunk.length)
        yield chunk
      }
    },
    put: (ref, bytes, options) => {
      requests.writes++
      return store.put(ref, bytes, options)
    },
    upload: (ref, options) => {
      const upload = store.upload(ref, options)
      let begun = false
      return {
        ...upload,
        part: (number, bytes) => {
          requests.writes += begun ? 1 : 2
          begun = true
          return upload.part(number, bytes)
        },
        complete: (parts, o) => {
          requests.writes++
          return upload.complete(parts, o)
        },
      }
    },
  }
  return { store: counting, read, requests }
}

/** What earlier runs wrote about themselves: the time is theirs, wherever they ran. */
export async function measuredBefore(dones: AsyncIterable<Done>, most: number): Promise<Record<string, Measured>> {
  const found: Record<string, Measured> = {}
  let n = 0
  for await (const { format, counts, input, ms, status } of dones) {
    const m = found[format]
    const { total = 0, prepare = 0, infer = 0, finish = 0 } = ms
    found[format] = {
      objects: (m?.objects ?? 0) + 1,
      failed: (m?.failed ?? 0) + (status === 'FAILED' ? 1 : 0),
      records: (m?.records ?? 0) + counts.records,
      bytes: (m?.bytes ?? 0) + input.size,
      // several threads are busy for longer than it takes
      cpuMs: (m?.cpuMs ?? 0) + Math.max(total, prepare + infer + finish),
      wallMs: (m?.wallMs ?? 0) + total,
      requests: { reads: 0, writes: 0 },
      from: 'earlier runs',
    }
    if (++n >= most) break
  }
  return found
}

/** Requests of one small object, where none were counted: see the test that counts them. */
export const REQUESTS = { reads: 7, writes: 4 } as const

export function rateOf(m: Measured): Rate {
  const earlier = m.from === 'earlier runs'
  const bytes = Math.max(m.bytes, 1)
  const each = (n: number) => n / Math.max(m.objects, 1)
  return {
    busyPerByte: m.cpuMs / bytes,
    earlier,
    objects: m.objects,
    failed: m.failed,
    reads: earlier ? REQUESTS.reads : each(m.requests.reads),
    writes: earlier ? REQUESTS.writes : each(m.requests.writes),
  }
}

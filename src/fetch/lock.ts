import { open, rename, rm, stat, utimes } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

export interface LockTimes {
  /** how often a holder says that it lives */
  readonly beatMs: number
  /** a lock older than this belongs to nobody */
  readonly staleMs: number
  readonly pollMs: number
}

const TIMES: LockTimes = { beatMs: 5000, staleMs: 30_000, pollMs: 250 }

/** One environment of many does the work in a shared folder; the others wait until it is `done`, or take over from one that died. */
export async function locked(
  lock: string,
  done: () => Promise<boolean>,
  work: () => Promise<void>,
  { beatMs, staleMs, pollMs }: LockTimes = TIMES,
): Promise<void> {
  while (!(await done())) {
    if (await taken(lock)) {
      const beat = setInterval(() => void utimes(lock, new Date(), new Date()).catch(() => undefined), beatMs)
      try {
        // between the look and the lock somebody may have finished
        if (!(await done())) await work()
      } finally {
        clearInterval(beat)
        await rm(lock, { force: true })
      }
      return
    }
    const age = await stat(lock).then(
      (s) => Date.now() - s.mtimeMs,
      () => 0,
    )
    if (age > staleMs) await steal(lock)
    else await sleep(pollMs)
  }
}

const taken = (lock: string): Promise<boolean> =>
  open(lock, 'wx').then(
    async (f) => {
      await f.close()
      return true
    },
    (e: NodeJS.ErrnoException) => {
      if (e.code === 'EEXIST') return false
      throw e
    },
  )

/** Of several that find it stale, one renames it. */
async function steal(lock: string): Promise<void> {
  const aside = `${lock}.${process.pid}.${Math.random().toString(36).slice(2)}`
  await rename(lock, aside).then(
    () => rm(aside, { force: true }),
    (e: NodeJS.ErrnoException) => {
      if (e.code !== 'ENOENT') throw e
    },
  )
}

import { open, rm, stat, utimes } from 'node:fs/promises'
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
    if ((await age(lock)) > staleMs) await steal(lock, staleMs)
    await sleep(pollMs)
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

/** Of several that find it stale one looks again and takes it away: whoever is late would take that of the next holder. */
async function steal(lock: string, staleMs: number): Promise<void> {
  const turn = `${lock}.steal`
  if (!(await taken(turn))) {
    // whoever had the turn may have died in it
    if ((await age(turn)) > staleMs) await rm(turn, { force: true })
    return
  }
  try {
    if ((await age(lock)) > staleMs) await rm(lock, { force: true })
  } finally {
    await rm(turn, { force: true })
  }
}

/** Milliseconds since the last sign of life; 0 where there is no such file. */
function age(file: string): Promise<number> {
  return stat(file).then(
    (s) => Date.now() - s.mtimeMs,
    () => 0,
  )
}

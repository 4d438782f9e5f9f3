import { createHash } from 'node:crypto'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, isAppError } from '../errors.ts'
import type { GetRange } from './get.ts'

export interface Blob {
  readonly sha256: string
  readonly bytes: number
}

const RANGE = 8 * 2 ** 20
/** One connection to S3 gives a fraction of what a function can receive. */
const PARALLEL = 8
const ATTEMPTS = 5
const HASHED_AT_ONCE = 2 ** 20

/**
 * An object → a file, by ranges in parallel, each written where it belongs. The file has its name only when its hash is right. Which
 * ranges are there is kept beside it: Lambda keeps /tmp when an invocation runs into its timeout, and the next one goes on.
 */
export async function download(get: GetRange, blob: Blob, file: string): Promise<void> {
  const kept = await attempt(get, blob, file)
  if (kept === 'right') return
  // left by a process that was killed at a bad moment; what comes from the store alone is judged once more
  const again = kept === 'wrong, resumed' ? await attempt(get, blob, file) : kept
  if (again === 'right') return
  throw new AppError('MODEL_MISPLACED', {
    where: blob.sha256,
    expected: 'the content that its name says',
    got: 'another',
    fix: 'Delete the object and deploy again.',
  })
}

async function attempt(get: GetRange, blob: Blob, file: string): Promise<'right' | 'wrong' | 'wrong, resumed'> {
  const [part, journal] = [`${file}.part`, `${file}.ranges`]
  const count = Math.ceil(blob.bytes / RANGE)
  const data = await open(part, 'a+').then(async (f) => {
    await f.close()
    return open(part, 'r+')
  })
  const log = await open(journal, 'a+').then(async (f) => {
    await f.close()
    return open(journal, 'r+')
  })
  let right: boolean
  let resumed: boolean
  try {
    const done = await doneRanges(log, data, blob, count)
    resumed = done.includes(true)
    await data.truncate(blob.bytes)
    right = (await fill(get, blob, data, log, done)) === blob.sha256
  } finally {
    await Promise.all([data.close(), log.close()])
  }
  if (right) await rename(part, file)
  else await rm(part, { force: true })
  await rm(journal, { force: true })
  return right ? 'right' : resumed ? 'wrong, resumed' : 'wrong'
}

/** A byte for each range, 1 where it is written. */
async function doneRanges(log: FileHandle, data: FileHandle, blob: Blob, count: number): Promise<boolean[]> {
  const bytes = Buffer.alloc(count)
  if ((await data.stat()).size === blob.bytes) await log.read(bytes, 0, count, 0)
  return Array.from(bytes, (b) => b === 1)
}

/** The hash of the whole, computed behind the ranges as they come in. */
async function fill(get: GetRange, blob: Blob, data: FileHandle, log: FileHandle, done: boolean[]): Promise<string> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(HASHED_AT_ONCE)
  const stop = new AbortController()
  const bounds = (i: number) => [i * RANGE, Math.min((i + 1) * RANGE, blob.bytes)] as const
  let hashed = 0
  let hashing = Promise.resolve()

  async function advance(): Promise<void> {
    for (; done[hashed]; hashed++) {
      const [from, to] = bounds(hashed)
      for (let at = from; at < to; ) {
        const { bytesRead } = await data.read(buffer, 0, Math.min(HASHED_AT_ONCE, to - at), at)
        if (bytesRead === 0) throw new AppError('INTERNAL', { where: blob.sha256, got: 'a file that shrinks' })
        hash.update(buffer.subarray(0, bytesRead))
        at += bytesRead
      }
    }
  }
  async function range(i: number): Promise<void> {
    const [from, to] = bounds(i)
    for (let tries = 1; ; tries++) {
      let at = from
      const take = async (chunk: Uint8Array) => {
        await data.write(chunk, 0, chunk.length, at)
        at += chunk.length
      }
      try {
        await get(blob.sha256, from, to, take, stop.signal)
        break
      } catch (e) {
        if (!isAppError(e) || e.code !== 'MODEL_UNREACHABLE' || tries === ATTEMPTS) throw e
        await sleep(100 * 2 ** tries * (0.5 + Math.random()), undefined, { signal: stop.signal })
      }
    }
    await log.write(Uint8Array.of(1), 0, 1, i)
    done[i] = true
    hashing = hashing.then(advance)
    await hashing
  }

  const waiting = done.flatMap((there, i) => (there ? [] : [i])).values()
  const worker = async () => {
    for (const i of waiting) {
      if (stop.signal.aborted) return
      await range(i)
    }
  }
  const workers = Array.from({ length: PARALLEL }, worker)
  try {
    await Promise.all(workers)
  } catch (e) {
    // nothing is written behind the back of whoever tries again
    stop.abort()
    await Promise.allSettled(workers)
    throw e
  }
  await hashing.then(advance)
  return hash.digest('hex')
}

/** A file under its good name was right when it got it. */
export async function isThere(file: string, { bytes }: Blob): Promise<boolean> {
  return stat(file).then(
    (s) => s.size === bytes,
    () => false,
  )
}

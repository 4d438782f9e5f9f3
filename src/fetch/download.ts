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

/** How much of a range may be written before it is noted: what a process that is killed has to fetch again. */
const NOTED = 2 ** 18

/**
 * An object → a file, by ranges in parallel, each written where it belongs. The file has its name only when its hash is right. How much
 * of each range is there is kept beside it: Lambda keeps /tmp when an invocation runs into its timeout, and the next one goes on.
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
    const have = await written(log, data, blob, count)
    resumed = have.some((n) => n > 0)
    await data.truncate(blob.bytes)
    right = (await fill(get, blob, data, log, have)) === blob.sha256
  } finally {
    await Promise.all([data.close(), log.close()])
  }
  if (right) await rename(part, file)
  else await rm(part, { force: true })
  await rm(journal, { force: true })
  return right ? 'right' : resumed ? 'wrong, resumed' : 'wrong'
}

/** Bytes of each range that an earlier process wrote. */
async function written(log: FileHandle, data: FileHandle, blob: Blob, count: number): Promise<Uint32Array> {
  const have = new Uint32Array(count)
  if ((await data.stat()).size === blob.bytes) await log.read(have, 0, have.byteLength, 0)
  // a damaged note is found by the hash; it must not lead out of the file
  return have.map((n, i) => Math.min(n, Math.min((i + 1) * RANGE, blob.bytes) - i * RANGE))
}

/** The hash of the whole, computed behind the ranges as they come in. */
async function fill(get: GetRange, blob: Blob, data: FileHandle, log: FileHandle, have: Uint32Array): Promise<string> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(HASHED_AT_ONCE)
  const stop = new AbortController()
  const bounds = (i: number) => [i * RANGE, Math.min((i + 1) * RANGE, blob.bytes)] as const
  const missing = (i: number) => bounds(i)[1] - bounds(i)[0] - have[i]!
  let hashed = 0
  let hashing = Promise.resolve()

  async function advance(): Promise<void> {
    for (; hashed < have.length && missing(hashed) === 0; hashed++) {
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
    let noted = have[i]!
    const take = async (chunk: Uint8Array) => {
      await data.write(chunk, 0, chunk.length, from + have[i]!)
      have[i]! += chunk.length
      if (have[i]! - noted < NOTED && missing(i) > 0) return
      noted = have[i]!
      await log.write(have, 4 * i, 4, 4 * i)
    }
    for (let tries = 1; missing(i) > 0; tries++) {
      try {
        await get(blob.sha256, from + have[i]!, to, take, stop.signal)
      } catch (e) {
        if (!isAppError(e) || e.code !== 'MODEL_UNREACHABLE' || tries === ATTEMPTS) throw e
        await sleep(100 * 2 ** tries * (0.5 + Math.random()), undefined, { signal: stop.signal })
      }
    }
    hashing = hashing.then(advance)
    await hashing
  }

  const waiting = [...have.keys()].filter((i) => missing(i) > 0).values()
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

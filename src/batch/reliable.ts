import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, isAppError } from '../errors.ts'
import type { ObjectRef, ObjectStore, ReadOptions } from './types.ts'

export interface Patience {
  readonly tries?: number
  /** of the first pause, in milliseconds; doubled each time, with jitter */
  readonly pause?: number
}

/** A pause after what failed in passing. @throws what does not pass, or has not after so many attempts */
async function again(e: unknown, attempt: number, { tries = 6, pause = 50 }: Patience = {}): Promise<void> {
  if (!(isAppError(e) && e.code === 'STORE_FAILED') || attempt >= tries) throw e
  await sleep(pause * 2 ** (attempt - 1) * (0.5 + Math.random()))
}

/** The same work until it has not failed in passing. */
export async function repeated<T>(work: () => Promise<T>, patience?: Patience): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (e) {
      await again(e, attempt, patience)
    }
  }
}

/** The same store, repeating what failed in passing. A body that ends early goes on where it ended, on the same version. */
export function reliable(store: ObjectStore, patience: Patience = {}): ObjectStore {
  const repeat = <T>(work: () => Promise<T>) => repeated(work, patience)

  async function* read(ref: ObjectRef, options: ReadOptions = {}): AsyncGenerator<Uint8Array> {
    let { start = 0 } = options
    for (let attempt = 1; ; attempt++) {
      try {
        for await (const chunk of store.read(ref, { ...options, start })) {
          start += chunk.length
          attempt = 1
          yield chunk
        }
        return
      } catch (e) {
        await again(e, attempt, patience)
      }
    }
  }

  async function* list(bucket: string, prefix: string, after?: string) {
    let last = after
    for (let attempt = 1; ; attempt++) {
      try {
        for await (const info of store.list(bucket, prefix, last)) {
          last = info.key
          attempt = 1
          yield info
        }
        return
      } catch (e) {
        await again(e, attempt, patience)
      }
    }
  }

  return {
    stat: (ref) => repeat(() => store.stat(ref)),
    read,
    file: (info) => store.file?.(info),
    list,
    put: (ref, bytes, options) => repeat(() => store.put(ref, bytes, options)),
    remove: (ref) => repeat(() => store.remove(ref)),
    upload(ref, options) {
      const upload = store.upload(ref, options)
      return {
        partSize: upload.partSize,
        id: () => repeat(() => upload.id()),
        part: (number, bytes) => repeat(() => upload.part(number, bytes)),
        complete: (parts, o) => repeat(() => upload.complete(parts, o)),
        abort: () => repeat(() => upload.abort()),
      }
    },
  }
}

/** A whole object that is known to be small. */
export async function readWhole(store: ObjectStore, ref: ObjectRef, max = 64 * 2 ** 20): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of store.read(ref)) {
    size += chunk.length
    if (size > max)
      throw new AppError('BODY_TOO_LARGE', { where: ref.key, expected: `at most ${max} bytes`, got: 'more' })
    chunks.push(chunk)
  }
  return chunks.length === 1 ? Buffer.from(chunks[0]!) : Buffer.concat(chunks)
}

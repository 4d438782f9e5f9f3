import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, isAppError } from '../errors.ts'
import type { ObjectRef, ObjectStore, ReadOptions } from './types.ts'

export interface Patience {
  readonly tries?: number
  /** of the first pause, in milliseconds; doubled each time, with jitter */
  readonly pause?: number
}

/** The same store, repeating what failed in passing. A body that ends early goes on where it ended, on the same version. */
export function reliable(store: ObjectStore, { tries = 6, pause = 50 }: Patience = {}): ObjectStore {
  const again = async (e: unknown, attempt: number): Promise<void> => {
    if (!(isAppError(e) && e.code === 'STORE_FAILED') || attempt >= tries) throw e
    await sleep(pause * 2 ** (attempt - 1) * (0.5 + Math.random()))
  }
  const repeat = async <T>(work: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (e) {
        await again(e, attempt)
      }
    }
  }

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
        await again(e, attempt)
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
        await again(e, attempt)
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

import { AppError, isAppError } from '../errors.ts'
import type { ObjectRef, ObjectStore } from './types.ts'

/** What file systems refuse, and what to do about it. */
const FIXES: Readonly<Record<string, string>> = {
  ENOSPC: 'Make room on the disk; the same command goes on where it was.',
  EDQUOT: 'Make room on the disk; the same command goes on where it was.',
  EACCES: 'Check who may read and write there.',
  EPERM: 'Check who may read and write there.',
  EROFS: 'Name a folder that can be written.',
  ENAMETOOLONG: 'The name of a result is that of its input and some 40 letters; write to s3://, or shorten the name.',
  EISDIR: 'Move what has this name away.',
  ENOTDIR: 'Move what has this name away.',
  EEXIST: 'Move what has this name away.',
}

/** What passes when fewer files are open, or the disk answers again. */
const PASSING = new Set(['EMFILE', 'ENFILE', 'EIO', 'EAGAIN', 'EBUSY'])

/** What a file system says in our terms; our own errors, and what no file system says, as they are. */
export function ownError(cause: unknown, where: string): unknown {
  const { code } = cause as NodeJS.ErrnoException
  if (isAppError(cause) || typeof code !== 'string') return cause
  return new AppError(PASSING.has(code) ? 'STORE_FAILED' : 'STORE_REFUSED', {
    where,
    got: code,
    fix: FIXES[code],
    cause,
  })
}

/** The same store, whose errors are those of {@link ObjectStore}. */
export function withOwnErrors(store: ObjectStore): ObjectStore {
  const told =
    (ref: ObjectRef) =>
    (cause: unknown): never => {
      throw ownError(cause, `${ref.bucket}/${ref.key}`)
    }
  async function* passed<T>(items: AsyncIterable<T>, ref: ObjectRef): AsyncGenerator<T> {
    try {
      yield* items
    } catch (e) {
      told(ref)(e)
    }
  }
  return {
    stat: (ref) => store.stat(ref).catch(told(ref)),
    read: (ref, o) => passed(store.read(ref, o), ref),
    file: (info) => store.file?.(info),
    list: (bucket, prefix, after) => passed(store.list(bucket, prefix, after), { bucket, key: prefix }),
    put: (ref, bytes, o) => store.put(ref, bytes, o).catch(told(ref)),
    remove: (ref) => store.remove(ref).catch(told(ref)),
    upload(ref, o) {
      const upload = store.upload(ref, o)
      return {
        partSize: upload.partSize,
        id: () => upload.id().catch(told(ref)),
        part: (number, bytes) => upload.part(number, bytes).catch(told(ref)),
        complete: (parts, options) => upload.complete(parts, options).catch(told(ref)),
        abort: () => upload.abort().catch(told(ref)),
      }
    },
  }
}

import type { BigIntStats } from 'node:fs'
import { open } from 'node:fs/promises'
import { AppError } from '../errors.ts'
import { createBuffers } from './buffers.ts'
import { ownError } from './folderrors.ts'
import { repeated } from './reliable.ts'
import type { LocalFile } from './types.ts'

/** Reads spans of a file, each into memory that is used again. */
export interface FileReader {
  /** @throws {AppError} INPUT_CHANGED where the file is another by now, or ends before */
  read(start: number, size: number): Promise<Uint8Array>
  /** Takes back what `read` returned. */
  give(bytes: Uint8Array): void
  close(): Promise<void>
}

/** Tells a file from any other, and from itself after it was written again, unless that was within the same tick of its clock. */
export function etagOf({ size, mtimeNs, ino }: BigIntStats): string {
  return [size, mtimeNs, ino].map((n) => n.toString(16)).join('-')
}

/** Opened once, so that it stays the file it was, whatever takes its name; what fails in passing is tried again. @throws {AppError} INPUT_CHANGED, or what the disk says */
export async function openLocalFile({ path, etag }: LocalFile): Promise<FileReader> {
  const changed = () => new AppError('INPUT_CHANGED', { where: path })
  const told = (cause: unknown): never => {
    throw (cause as NodeJS.ErrnoException).code === 'ENOENT' ? changed() : ownError(cause, path)
  }
  const file = await repeated(() => open(path).catch(told))
  const buffers = createBuffers((size) => new ArrayBuffer(size))
  try {
    if (etagOf(await repeated(() => file.stat({ bigint: true }).catch(told))) !== etag) throw changed()
  } catch (e) {
    await file.close()
    throw e
  }
  return {
    async read(start, size) {
      const bytes = new Uint8Array(buffers.take(size), 0, size)
      for (let at = 0; at < size; ) {
        const { bytesRead } = await repeated(() => file.read(bytes, at, size - at, start + at).catch(told))
        if (bytesRead === 0) throw changed()
        at += bytesRead
      }
      return bytes
    },
    give: ({ buffer }) => buffers.give(buffer as ArrayBuffer),
    close: () => file.close(),
  }
}

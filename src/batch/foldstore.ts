import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { link, mkdir, open, readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { alive } from '../alive.ts'
import { AppError } from '../errors.ts'
import { withOwnErrors } from './folderrors.ts'
import { etagOf } from './localfile.ts'
import type { ObjectInfo, ObjectRef, ObjectStore, PartUpload, WriteOptions, Written } from './types.ts'

/** Names that begin so are ours and no objects: files being written, parts of uploads, locks. */
const ASIDE = '.modelayer-'
/** S3's smallest part, so that what works here works there. */
const PART = 5 * 2 ** 20
const PAGE = 2 ** 21
/** Up to this size the etag is of the content; file systems tell times too coarsely for files that are rewritten often. */
const HASHED = 2 ** 20

/** Folders as buckets. A file appears whole or not at all, whatever kills the process. */
export function createFolderStore(): ObjectStore {
  const path = ({ bucket, key }: ObjectRef) => {
    if (key === '' || key.endsWith('/') || key.split('/').some((s) => s === '' || s === '.' || s === '..'))
      throw new AppError('STORE_REFUSED', {
        where: key,
        expected: 'a path inside the folder',
        got: 'another',
        fix: 'Folders have no place for such a key; S3 has.',
      })
    return join(bucket, key)
  }

  async function info(ref: ObjectRef): Promise<ObjectInfo | undefined> {
    const file = path(ref)
    const s = await stat(file, { bigint: true }).catch(none)
    if (!s?.isFile()) return undefined
    const size = Number(s.size)
    const bytes = size <= HASHED ? await readFile(file).catch(none) : undefined
    const etag = bytes ? hash(bytes) : etagOf(s)
    return { bucket: ref.bucket, key: ref.key, size, etag, modified: Number(s.mtimeMs) }
  }

  /** `file` is whole and lies in the folder of its target. */
  async function publish(ref: ObjectRef, file: string, { only }: WriteOptions): Promise<Written> {
    const target = path(ref)
    if (only === undefined) await rename(file, target)
    else if (only === 'absent') {
      const made = await link(file, target).then(() => true, exists)
      await unlink(file)
      if (!made) return { written: false }
    } else {
      const swapped = await locked(target, async () => {
        if ((await info(ref))?.etag !== only.etag) return false
        await rename(file, target)
        return true
      })
      if (!swapped) {
        await unlink(file)
        return { written: false }
      }
    }
    return { written: true, etag: (await info(ref))?.etag ?? '' }
  }

  async function aside(ref: ObjectRef): Promise<string> {
    const folder = dirname(path(ref))
    await mkdir(folder, { recursive: true })
    return join(folder, `${ASIDE}${randomUUID()}`)
  }

  function upload(ref: ObjectRef, known?: string): PartUpload {
    let id = known
    const folder = async () => {
      id ??= randomUUID()
      const dir = join(dirname(path(ref)), `${ASIDE}parts-${id}`)
      await mkdir(dir, { recursive: true })
      return dir
    }
    return {
      partSize: PART,
      async id() {
        await folder()
        return id!
      },
      async part(number, bytes) {
        const dir = await folder()
        const file = join(dir, randomUUID())
        await writeFile(file, bytes)
        await rename(file, join(dir, String(number)))
        return { size: bytes.length, etag: hash(bytes) }
      },
      async complete(parts, options = {}) {
        const dir = await folder()
        const file = await aside(ref)
        await pipeline(joined(dir, parts, ref), createWriteStream(file))
        const done = await publish(ref, file, options)
        await rm(dir, { recursive: true, force: true })
        return done
      },
      async abort() {
        await rm(await folder(), { recursive: true, force: true })
      },
    }
  }

  return withOwnErrors({
    stat: info,
    async *read(ref, { start = 0, end, ifMatch, reuse } = {}) {
      const now = await info(ref)
      if (!now) throw notFound(ref)
      if (ifMatch !== undefined && ifMatch !== now.etag) throw changed(ref)
      const last = Math.min(end ?? now.size, now.size)
      // the file that was opened stays the one that is read, also when another takes its name
      if (reuse && start < last) yield* readReusing(path(ref), start, last, ref, reuse === true ? undefined : reuse)
      else if (start < last) yield* createReadStream(path(ref), { start, end: last - 1, highWaterMark: 2 ** 18 })
    },
    file: (of) => (of.size > HASHED ? { path: path(of), etag: of.etag } : undefined),
    async *list(bucket, prefix, after) {
      for await (const key of keysUnder(bucket, '', prefix)) {
        if (after !== undefined && byBytes(key, after) <= 0) continue
        const found = await info({ bucket, key })
        if (found) yield found
      }
    },
    async put(ref, bytes, options = {}) {
      const file = await aside(ref)
      await writeFile(file, bytes)
      return publish(ref, file, options)
    },
    async remove(ref) {
      await rm(path(ref), { force: true })
    },
    upload: (ref, options = {}) => upload(ref, options.id),
  })
}

/** One buffer is read into while the one before is looked at: those that are given, or two that take turns. */
async function* readReusing(
  path: string,
  start: number,
  end: number,
  ref: ObjectRef,
  given?: () => Uint8Array,
): AsyncGenerator<Uint8Array> {
  const file = await open(path)
  const pages = given ? [] : [Buffer.allocUnsafeSlow(PAGE), Buffer.allocUnsafeSlow(PAGE)]
  const read = (at: number, turn: number) => {
    if (at >= end) return undefined
    const into = given?.() ?? pages[turn % 2]!
    return file.read(into, 0, Math.min(into.length, end - at), at)
  }
  try {
    let at = start
    let next = read(at, 0)
    for (let turn = 0; next; turn++) {
      const { bytesRead, buffer } = await next
      if (bytesRead === 0) throw changed(ref)
      at += bytesRead
      next = read(at, turn + 1)
      // told when its turn comes
      next?.catch(() => undefined)
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

async function* joined(dir: string, parts: readonly { readonly etag: string }[], ref: ObjectRef) {
  for (const [i, { etag }] of parts.entries()) {
    const bytes = await readFile(join(dir, String(i))).catch(none)
    if (!bytes || hash(bytes) !== etag)
      throw new AppError('NO_OBJECT', { where: ref.key, expected: `part ${i} of the upload`, got: 'none' })
    yield bytes
  }
}

/** Depth first with each level sorted as `name/` sorts, which is the order of whole keys. */
async function* keysUnder(bucket: string, folder: string, prefix: string): AsyncGenerator<string> {
  const entries = (await readdir(join(bucket, folder), { withFileTypes: true }).catch(none)) ?? []
  const names = entries
    .filter((e) => !e.name.startsWith(ASIDE) && (e.isFile() || e.isDirectory()))
    .map((e) => `${folder}${e.name}${e.isDirectory() ? '/' : ''}`)
    .sort(byBytes)
  for (const name of names) {
    const inside = name.startsWith(prefix)
    if (name.endsWith('/')) {
      if (inside || prefix.startsWith(name)) yield* keysUnder(bucket, name, prefix)
    } else if (inside) yield name
  }
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** Compare-and-swap needs more than rename. A lock whose process is gone does not count. */
async function locked<T>(target: string, work: () => Promise<T>): Promise<T> {
  const lock = join(dirname(target), `${ASIDE}lock-${hash(Buffer.from(target))}`)
  for (;;) {
    const file = await open(lock, 'wx').catch(exists)
    if (file) {
      try {
        await file.writeFile(String(process.pid))
        await file.close()
        return await work()
      } finally {
        await rm(lock, { force: true })
      }
    }
    const pid = Number((await readFile(lock, 'utf8').catch(none)) || Number.NaN)
    if (pid > 0 && !alive(pid)) await rm(lock, { force: true })
    else if (Number.isNaN(pid) && Date.now() - ((await stat(lock).catch(none))?.mtimeMs ?? Date.now()) > 1000)
      await rm(lock, { force: true })
    await sleep(5)
  }
}

function hash(bytes: Uint8Array): string {
  // twice as fast as md5 where the CPU has instructions for it
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32)
}

function none(e: NodeJS.ErrnoException): undefined {
  if (e.code !== 'ENOENT' && e.code !== 'ENOTDIR') throw e
}

function exists(e: NodeJS.ErrnoException): false {
  if (e.code !== 'EEXIST') throw e
  return false
}

export function notFound(ref: ObjectRef): AppError {
  return new AppError('NO_OBJECT', { where: `${ref.bucket}/${ref.key}`, expected: 'an object', got: 'none' })
}

export function changed(ref: ObjectRef): AppError {
  return new AppError('INPUT_CHANGED', { where: `${ref.bucket}/${ref.key}` })
}

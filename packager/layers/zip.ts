import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { copyFile, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Zip, ZipDeflate } from 'fflate'
import { sha256File } from './fetch.ts'

/** What goes into a zip, under which name. `sha256` where it is already known. */
export interface ZipEntry {
  readonly name: string
  readonly path: string
  readonly sha256?: string
}

export interface ZipFile {
  readonly sha256: string
  /** bytes of the zip */
  readonly zipped: number
  /** bytes of its files, which is what Lambda's limit counts */
  readonly unzipped: number
}

/**
 * 6, not 9: 0.1 % larger and a third faster on the native libraries. Float weights are deflated too: 7 % smaller at 30 MB a
 * second, which a model near the upload limit needs, and one rule holds for all files.
 */
const LEVEL = 6
/** Part of the cache key: change it when the same entries would give other bytes. */
const FORMAT = 'zip-1'
const CHUNK = 1 << 20

/**
 * Writes the same bytes for the same entries on every machine: entries sorted by name, one date, one mode, and a deflate in
 * JavaScript (zlib's output differs between builds of zlib). Finished zips are kept by the hash of what went in.
 */
export async function writeZip(
  entries: readonly ZipEntry[],
  out: string,
  options: { cache?: string; progress?: (detail: string) => void } = {},
): Promise<ZipFile> {
  const sorted = await Promise.all(
    [...entries]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(async (e) => ({ ...e, bytes: (await stat(e.path)).size })),
  )
  const unzipped = sorted.reduce((n, e) => n + e.bytes, 0)
  await mkdir(dirname(out), { recursive: true })
  if (!options.cache) {
    await deflateTo(sorted, unzipped, out, options.progress)
  } else {
    const kept = join(options.cache, 'zips', `${await contentKey(sorted)}.zip`)
    if (!(await exists(kept))) {
      await mkdir(dirname(kept), { recursive: true })
      // written aside and renamed: an interrupted build leaves no half zip under a good name
      const aside = `${kept}.${randomUUID()}`
      try {
        await deflateTo(sorted, unzipped, aside, options.progress)
        await rename(aside, kept)
      } finally {
        await rm(aside, { force: true })
      }
    }
    await copyFile(kept, out)
  }
  return { sha256: await sha256File(out), zipped: (await stat(out)).size, unzipped }
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

async function contentKey(entries: readonly ZipEntry[]): Promise<string> {
  const hash = createHash('sha256').update(`${FORMAT} ${LEVEL}\n`)
  for (const e of entries) hash.update(`${e.sha256 ?? (await sha256File(e.path))} ${e.name}\n`)
  return hash.digest('hex')
}

async function deflateTo(
  entries: readonly (ZipEntry & { bytes: number })[],
  total: number,
  out: string,
  progress?: (detail: string) => void,
): Promise<void> {
  const file = createWriteStream(out)
  const finished = once(file, 'close')
  let full = false
  const zip = new Zip((error, chunk, final) => {
    if (error) file.destroy(error)
    else {
      full = !file.write(chunk)
      if (final) file.end()
    }
  })
  let done = 0
  const buffer = Buffer.alloc(CHUNK)
  for (const e of entries) {
    const entry = new ZipDeflate(e.name, { level: LEVEL })
    // the zip format has local time without a zone: the constructor with local fields gives the same bytes everywhere
    entry.mtime = new Date(1980, 0, 1)
    // Unix, an ordinary file that everybody may read: Lambda's user is not the one who built
    entry.os = 3
    entry.attrs = 0o100644 << 16
    zip.add(entry)
    const source = await open(e.path)
    try {
      for (;;) {
        const { bytesRead } = await source.read(buffer, 0, CHUNK)
        // fflate keeps what it is given, so each chunk needs its own memory
        entry.push(new Uint8Array(buffer.subarray(0, bytesRead)), bytesRead === 0)
        if (bytesRead === 0) break
        done += bytesRead
        progress?.(`${Math.round((100 * done) / total)} %`)
        if (full) await once(file, 'drain')
        full = false
      }
    } finally {
      await source.close()
    }
  }
  zip.end()
  await finished
}

import { createHash } from 'node:crypto'
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AppError, isAppError } from '../../src/errors.ts'
import { bytes } from '../cli/table.ts'
import { defaultCache } from '../root.ts'

/** What is needed of an object store. */
export interface ObjectSource {
  list(prefix: string): AsyncIterable<StoredObject>
  read(key: string): Promise<AsyncIterable<Uint8Array>>
}
export interface StoredObject {
  readonly key: string
  readonly size: number
  readonly etag: string
}

export interface FetchOptions {
  readonly cache?: string
  readonly progress?: (detail: string) => void
  readonly connect: (bucket: string) => Promise<ObjectSource>
}

/** as a package of the platform: 20 GB of model files */
const MAX_BYTES = 20e9

export const isRemote = (source: string): boolean => /^s3:\/\//.test(source)

/**
 * `s3://bucket/prefix` → a local folder of the same content; anything else is a path already. The folder's name follows
 * from the listing, so an unchanged prefix is downloaded once, and one that changed is downloaded anew.
 */
export async function fetchSource(source: string, options: FetchOptions): Promise<string> {
  if (!isRemote(source)) return source
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(source)
  if (!match) throw new AppError('USAGE', { where: source, expected: 's3://bucket/prefix' })
  const [, bucket = '', path = ''] = match
  // `mnist@2` stays a version, for the layout to resolve
  const [, prefix = '', version = ''] = /^(.*?)\/*(@V?\d+)?$/.exec(path) ?? []
  try {
    const store = await options.connect(bucket)
    const objects = await listAll(store, source, prefix === '' ? '' : `${prefix}/`)
    const listing = objects.map((o) => `${o.key} ${o.size} ${o.etag}`).join('\n')
    const hash = createHash('sha256').update(`${bucket}\n${listing}`).digest('hex').slice(0, 16)
    // the last folder carries the prefix's name: it is the model's name
    const dir = join(options.cache ?? defaultCache(), 's3', hash, prefix.split('/').at(-1) || bucket)
    if (!existsSync(dir)) await download(store, objects, prefix, dir, options.progress)
    return dir + version
  } catch (cause) {
    if (isAppError(cause)) throw cause
    const { name, message } = cause instanceof Error ? cause : { name: 'Error', message: String(cause) }
    const fix = 'Check bucket, region and credentials (AWS_REGION, AWS_PROFILE; AWS_ENDPOINT_URL_S3 for another store).'
    throw new AppError('SOURCE_FAILED', { where: source, got: `${name} ${message}`.trim(), fix, cause })
  }
}

async function listAll(store: ObjectSource, source: string, prefix: string): Promise<StoredObject[]> {
  const objects: StoredObject[] = []
  let total = 0
  for await (const o of store.list(prefix)) {
    // consoles make folders as empty objects whose key ends in /
    if (o.key.endsWith('/')) continue
    const parts = o.key.slice(prefix.length).split('/')
    if (parts.some((p) => p === '' || p === '.' || p === '..' || p.includes('\\') || p.includes('\0'))) {
      throw new AppError('SOURCE_FAILED', { where: source, expected: 'keys that are file names', got: `'${o.key}'` })
    }
    objects.push(o)
    total += o.size
    if (total > MAX_BYTES) {
      throw new AppError('SOURCE_FAILED', { where: source, expected: `at most ${bytes(MAX_BYTES)}`, got: 'more' })
    }
  }
  if (objects.length > 0) return objects.sort((a, b) => (a.key < b.key ? -1 : 1))
  throw new AppError('SOURCE_FAILED', { where: source, expected: 'objects under this prefix', got: 'none' })
}

async function download(
  store: ObjectSource,
  objects: readonly StoredObject[],
  prefix: string,
  dir: string,
  progress: FetchOptions['progress'],
): Promise<void> {
  mkdirSync(dirname(dir), { recursive: true })
  const fresh = mkdtempSync(`${dir}-`)
  try {
    const total = objects.reduce((sum, o) => sum + o.size, 0)
    let done = 0
    for (const { key, size } of objects) {
      const file = join(fresh, prefix === '' ? key : key.slice(prefix.length + 1))
      mkdirSync(dirname(file), { recursive: true })
      let read = 0
      const counted = async function* () {
        for await (const chunk of await store.read(key)) {
          read += chunk.length
          progress?.(`${bytes(done + read)} of ${bytes(total)}`)
          yield chunk
        }
      }
      await pipeline(Readable.from(counted()), createWriteStream(file))
      if (read !== size) {
        throw new AppError('SOURCE_FAILED', {
          where: key,
          expected: `${size} bytes`,
          got: `${read}`,
          fix: 'Try again.',
        })
      }
      done += size
    }
    renameSync(fresh, dir)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

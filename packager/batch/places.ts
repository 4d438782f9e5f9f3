import { existsSync, mkdirSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { type Place, refuseOverlap } from '../../src/batch/names.ts'
import type { Item } from '../../src/batch/run.ts'
import type { ObjectInfo, ObjectStore } from '../../src/batch/types.ts'
import { AppError } from '../../src/errors.ts'

/** Folders are buckets, so that keys are paths below them. */
export interface Places {
  readonly input: Place
  readonly output: Place
  /** a file or an object alone; otherwise all that lies in the input */
  readonly item?: Item
}

/**
 * Input and output of a command, each a folder or an `s3://` prefix; the input may be one file or object. What cannot be reached
 * is told before anything else is done. A folder for the output is made where there is none, unless nothing shall be written.
 */
export async function openPlaces(store: ObjectStore, from: string, to: string, { make = true } = {}): Promise<Places> {
  const { place: input, item } = isFolder(from) ? localInput(from) : await remoteInput(store, from)
  const output: Place = isFolder(to) ? { bucket: resolve(to), prefix: '' } : s3Place(to, '<output>')
  // one file cannot be joined by its own results; in a bucket, a function may watch what lies beside it
  if (!item || !isFolder(from)) refuseOverlap(slashed(input), slashed(output))
  if (isFolder(to) && make) makeFolder(output.bucket)
  await first(store, output)
  return { input, output, ...(item && { item }) }
}

/** Everything but what begins like a web address; one letter is a drive. */
function isFolder(text: string): boolean {
  return !/^[a-z][a-z0-9+.-]+:\//i.test(text)
}

function localInput(text: string): { place: Place; item?: Item } {
  const path = resolve(text)
  if (!existsSync(path))
    throw new AppError('USAGE', {
      where: '<input>',
      expected: 'a folder, a file or s3://bucket/prefix/',
      got: `nothing at ${path}`,
    })
  const stat = statSync(path)
  if (stat.isDirectory()) return { place: { bucket: path, prefix: '' } }
  const bucket = dirname(path)
  return { place: { bucket, prefix: '' }, item: { bucket, key: basename(path), size: stat.size } }
}

/** What ends with a slash is a prefix; else it may be the key of an object. */
async function remoteInput(store: ObjectStore, text: string): Promise<{ place: Place; item?: Item }> {
  const place = s3Place(text, '<input>')
  const key = place.prefix.slice(0, -1)
  const info = text.endsWith('/') || key === '' ? undefined : await store.stat({ bucket: place.bucket, key })
  if (!info) return { place }
  return { place: { bucket: place.bucket, prefix: key.slice(0, key.lastIndexOf('/') + 1) }, item: itemOf(info) }
}

export function itemOf({ bucket, key, size, etag }: ObjectInfo): Item {
  return { bucket, key, size, etag }
}

function s3Place(text: string, where: string): Place {
  const [, bucket, prefix] = /^s3:\/\/([a-z0-9][a-z0-9._-]{1,62})(?:\/(.*))?$/is.exec(text) ?? []
  if (bucket === undefined)
    throw new AppError('USAGE', { where, expected: 'a folder or s3://bucket/prefix/', got: `'${text.slice(0, 80)}'` })
  return { bucket, prefix: !prefix || prefix.endsWith('/') ? (prefix ?? '') : `${prefix}/` }
}

/** One folder may be inside of the other: as places of one bucket they can be compared. */
export function slashed(p: Place): Place {
  return p.bucket.startsWith('/') ? { bucket: '/', prefix: `${p.bucket.slice(1)}/` } : p
}

export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true })
  } catch (cause) {
    const got = (cause as NodeJS.ErrnoException).code
    throw new AppError('USAGE', { where: path, expected: 'a folder that can be made', got, cause })
  }
}

/** @throws {AppError} what the store says of a bucket that is not there or may not be listed */
async function first(store: ObjectStore, { bucket, prefix }: Place): Promise<void> {
  for await (const _ of store.list(bucket, prefix)) return
}

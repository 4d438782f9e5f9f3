import { pipeline, Readable } from 'node:stream'
import { createInflateRaw } from 'node:zlib'
import { isAppError } from '../../errors.ts'
import { Gatherer } from '../../gather.ts'
import type { ReadContext } from '../types.ts'
import { between, broken } from './limits.ts'

/** An entry as a zip's central directory has it. */
export interface ZipEntry {
  readonly name: string
  readonly method: number
  readonly encrypted: boolean
  readonly crc: number
  readonly packed: number
  readonly size: number
  /** of its local header */
  readonly offset: number
  /** where the next entry of the directory stands */
  readonly next: number
}

const END = { signature: 0x06054b50, size: 22, search: 22 + 0xffff } as const
const LOCATOR = { signature: 0x07064b50, size: 20 } as const
const END64 = { signature: 0x06064b50, size: 56 } as const
const CENTRAL = { signature: 0x02014b50, size: 46 } as const
const LOCAL = { signature: 0x04034b50, size: 30 } as const
const FULL = 0xffffffff

export const isZip = (head: Uint8Array): boolean =>
  head[0] === 0x50 && head[1] === 0x4b && ((head[2] === 3 && head[3] === 4) || (head[2] === 5 && head[3] === 6))

/**
 * The entries of a zip in the order of its directory, which is streamed itself; `from` is where to go on.
 * @throws {AppError} BAD_INPUT where there is no directory or it is damaged
 */
export async function* entriesOf(context: ReadContext, from?: number): AsyncGenerator<ZipEntry> {
  const { start, end } = await findDirectory(context)
  const first = from ?? start
  const where = `${context.info.key}, its directory`
  if (first < start || first > end) throw broken(where, 'a place inside', 'one outside')
  if (first === end) return
  const bytes = new Gatherer(context.bytes(first, end)[Symbol.asyncIterator](), first)
  try {
    while (bytes.at < end) {
      const head = await bytes.take(CENTRAL.size)
      if (head.length < CENTRAL.size || head.readUInt32LE() !== CENTRAL.signature)
        throw broken(`${where}, byte ${bytes.at}`, 'an entry', 'other bytes')
      const [nameSize, extraSize, commentSize] = [28, 30, 32].map((at) => head.readUInt16LE(at)) as [
        number,
        number,
        number,
      ]
      const rest = await bytes.take(nameSize + extraSize + commentSize)
      if (rest.length < nameSize + extraSize + commentSize) throw broken(where, 'a whole entry', 'its beginning')
      const flags = head.readUInt16LE(8)
      const sizes = wide(
        { size: head.readUInt32LE(24), packed: head.readUInt32LE(20), offset: head.readUInt32LE(42) },
        rest.subarray(nameSize, nameSize + extraSize),
      )
      yield {
        name: rest.toString(
          (flags & 0x800) !== 0 || isUtf8(rest.subarray(0, nameSize)) ? 'utf8' : 'latin1',
          0,
          nameSize,
        ),
        method: head.readUInt16LE(10),
        encrypted: (flags & 1) !== 0,
        crc: head.readUInt32LE(16),
        ...sizes,
        next: bytes.at,
      }
    }
  } finally {
    await bytes.close()
  }
}

async function findDirectory(context: ReadContext): Promise<{ start: number; end: number }> {
  const { size, key } = context.info
  const from = Math.max(0, size - END.search - LOCATOR.size)
  const tail = await readRange(context, from, size)
  for (let at = tail.length - END.size; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END.signature) continue
    if (at + END.size + tail.readUInt16LE(at + 20) > tail.length) continue
    const found = at >= LOCATOR.size && tail.readUInt32LE(at - LOCATOR.size) === LOCATOR.signature
    const directory = found
      ? await findDirectory64(context, Number(tail.readBigUInt64LE(at - LOCATOR.size + 8)))
      : { start: tail.readUInt32LE(at + 16), end: tail.readUInt32LE(at + 16) + tail.readUInt32LE(at + 12) }
    if (directory.start <= directory.end && directory.end <= from + at) return directory
  }
  throw broken(key, 'a zip with its directory at the end', 'none, so the file is cut or damaged')
}

async function findDirectory64(context: ReadContext, at: number): Promise<{ start: number; end: number }> {
  const { size, key } = context.info
  const bytes = at + END64.size <= size ? await readRange(context, at, at + END64.size) : Buffer.alloc(0)
  if (bytes.length < END64.size || bytes.readUInt32LE() !== END64.signature)
    throw broken(key, 'the end of a zip64 directory', 'other bytes')
  const start = Number(bytes.readBigUInt64LE(48))
  return { start, end: start + Number(bytes.readBigUInt64LE(40)) }
}

type Sizes = Pick<ZipEntry, 'size' | 'packed' | 'offset'>

/** What does not fit 32 bits stands in an extra field, in this order, if at all. */
function wide(sizes: Sizes, extra: Buffer): Sizes {
  const out = { ...sizes }
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue
    const end = Math.min(extra.length, at + 4 + extra.readUInt16LE(at + 2))
    let field = at + 4
    for (const key of ['size', 'packed', 'offset'] as const)
      if (sizes[key] === FULL && field + 8 <= end) {
        out[key] = Number(extra.readBigUInt64LE(field))
        field += 8
      }
  }
  return out
}

function isUtf8(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString('utf8')).equals(bytes)
}

export async function readRange({ bytes }: Pick<ReadContext, 'bytes'>, start: number, end: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytes(start, end)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Where the data of an entry begin, from its local header. */
export function dataStart(entry: ZipEntry, local: Buffer): number {
  if (local.length < LOCAL.size || local.readUInt32LE() !== LOCAL.signature)
    throw broken(entry.name, 'a local header', 'other bytes')
  return entry.offset + LOCAL.size + local.readUInt16LE(26) + local.readUInt16LE(28)
}

export const LOCAL_SIZE = LOCAL.size

/** @throws {AppError} BAD_INPUT for what cannot be unpacked */
export function checkMethod({ name, method, encrypted }: ZipEntry): void {
  if (encrypted) throw broken(name, 'an entry without a password', 'an encrypted one')
  if (method !== 0 && method !== 8) throw broken(name, 'deflate or no compression', `method ${method}`)
}

/** The unpacked bytes of an entry from an offset, streamed. */
export async function* openEntry(context: ReadContext, entry: ZipEntry, offset = 0): AsyncGenerator<Uint8Array> {
  checkMethod(entry)
  const start = dataStart(entry, await readRange(context, entry.offset, entry.offset + LOCAL.size))
  const end = start + entry.packed
  if (end > context.info.size) throw broken(entry.name, 'an entry inside the file', 'one behind its end')
  if (entry.method === 0) {
    if (start + offset < end) yield* context.bytes(start + offset, end)
    return
  }
  const inflate = createInflateRaw()
  pipeline(Readable.from(context.bytes(start, end)), inflate, () => undefined)
  try {
    yield* between(inflate, offset)
  } catch (e) {
    if (isAppError(e)) throw e
    throw broken(entry.name, 'whole compressed data', 'damaged or cut data', e)
  }
}

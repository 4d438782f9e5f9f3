import { crc32, inflateRawSync } from 'node:zlib'
import { isAppError } from '../../errors.ts'
import { Gatherer } from '../../gather.ts'
import type { BatchRecord, Decode, DecodeContext, Named, ReadContext, RecordFormat, RecordInput } from '../types.ts'
import { checkMethod, dataStart, entriesOf, isZip, LOCAL_SIZE, type ZipEntry } from './central.ts'
import { archived, isLeftover } from './image.ts'
import { broken, maxOf, tooLarge } from './limits.ts'
import { attempt } from './value.ts'

/** A file in the archive is a record, in the order of the archive's directory. Only what the directory names is looked at. */
export const zip = {
  name: 'zip',
  suffixes: ['.zip'],
  match: isZip,
  read: readFiles,
  decode: fileDecoder,
} as const satisfies RecordFormat

async function* readFiles(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from } = context
  const cursor = createCursor(context)
  let record = from?.record ?? 0
  try {
    for await (const entry of entriesOf(context, from?.extra as number | undefined)) {
      if (isLeftover(entry.name)) continue
      const { input, size } = await readEntry(entry, cursor, context)
      const next = {
        record: record + 1,
        offset: Math.min(entry.offset + entry.packed, context.info.size),
        extra: entry.next,
      }
      yield { record, id: entry.name, input, bytes: size, next }
      record++
    }
  } finally {
    await cursor.close()
  }
}

async function readEntry(entry: ZipEntry, cursor: Cursor, context: ReadContext) {
  const max = maxOf(context)
  // deflate makes nothing longer than a few bytes a block
  if (entry.size > max || entry.packed > max + 2 ** 16) return { input: tooLarge(entry.name), size: 0 }
  try {
    checkMethod(entry)
    const local = await cursor.read(entry.offset, LOCAL_SIZE)
    const packed = await cursor.read(dataStart(entry, local), entry.packed)
    if (packed.length < entry.packed) throw broken(entry.name, `${entry.packed} bytes`, `${packed.length}`)
    const input: RecordInput = { kind: 'raw', bytes: packed, about: entry }
    return { input, size: entry.size }
  } catch (e) {
    if (!isAppError(e) || e.code !== 'BAD_INPUT') throw e
    return { input: { kind: 'bad', code: e.code, reason: e.message } as const, size: 0 }
  }
}

async function fileDecoder(context: DecodeContext): Promise<Decode> {
  const max = maxOf(context)
  return (raw) =>
    attempt<Named>(
      () => {
        const entry = raw.about as ZipEntry
        const packed = Buffer.from(raw.bytes.buffer, raw.bytes.byteOffset, raw.bytes.length)
        const bytes = entry.method === 0 ? packed : inflated(entry, packed)
        if (bytes.length !== entry.size || crc32(bytes) !== entry.crc)
          throw broken(entry.name, 'data with the size and checksum of the directory', 'other data')
        return { input: archived(entry.name, bytes, max) }
      },
      (input) => ({ input }),
    )
}

function inflated(entry: ZipEntry, packed: Buffer): Buffer {
  try {
    // never more than the directory says, however much there is
    return inflateRawSync(packed, { maxOutputLength: Math.max(1, entry.size) })
  } catch (cause) {
    throw broken(entry.name, `compressed data of ${entry.size} bytes`, 'damaged data, or data of another size', cause)
  }
}

interface Cursor {
  read(start: number, size: number): Promise<Buffer>
  close(): Promise<void>
}

/** Smaller gaps are read over: that costs less than another request. */
const GAP = 2 ** 18

/** Entries mostly lie in the order of the directory, so that one stream serves them all; a jump opens another. */
function createCursor(context: ReadContext): Cursor {
  let bytes: Gatherer | undefined
  return {
    async read(start, size) {
      if (bytes && (start < bytes.at || start > bytes.at + GAP)) {
        await bytes.close()
        bytes = undefined
      }
      if (start >= context.info.size) return Buffer.alloc(0)
      bytes ??= new Gatherer(context.bytes(start)[Symbol.asyncIterator](), start)
      await bytes.skip(start - bytes.at)
      return bytes.take(size)
    },
    async close() {
      await bytes?.close()
    },
  }
}

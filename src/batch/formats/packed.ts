import { pipeline, Readable } from 'node:stream'
import * as zlib from 'node:zlib'
import { AppError, isAppError } from '../../errors.ts'
import type { BatchRecord, Position, ReadContext, RecordFormat } from '../types.ts'
import { between, broken } from './limits.ts'

type Chunks = AsyncIterable<Uint8Array>

const CODECS = {
  gzip: { suffix: '.gz', magic: [0x1f, 0x8b], open: gunzip },
  zstd: { suffix: '.zst', magic: [0x28, 0xb5, 0x2f, 0xfd], open: unzstd },
} as const satisfies Record<string, { suffix: string; magic: readonly number[]; open(chunks: Chunks): Chunks }>

const SHORT: Readonly<Record<string, readonly string[]>> = { 'tar.gz': ['.tgz'], 'tar.zst': ['.tzst'] }

/**
 * The rows for compressed files of a type. Their offsets count unpacked bytes, so that they are
 * no offsets of the object; to go on, what is before one is unpacked again.
 */
export function packed(row: RecordFormat): RecordFormat[] {
  return Object.entries(CODECS).map(([codec, { suffix, magic, open }]) => ({
    name: `${row.name}${suffix}`,
    suffixes: [...row.suffixes.map((s) => s + suffix), ...(SHORT[row.name + suffix] ?? [])],
    match: (head) => magic.every((byte, i) => head[i] === byte),
    read: (context) => readPacked(row, context, codec, open),
    ...(row.decode && { decode: row.decode }),
  }))
}

/** The unpacked bytes of an object, as {@link ReadContext.bytes} gives the bytes themselves. */
export function unpack(context: ReadContext, codec: keyof typeof CODECS): ReadContext['bytes'] {
  return (start, end) => between(checked(CODECS[codec].open(context.bytes()), codec, context), start, end)
}

async function* readPacked(
  row: RecordFormat,
  context: ReadContext,
  codec: string,
  open: (chunks: Chunks) => Chunks,
): AsyncGenerator<BatchRecord> {
  const bytes: ReadContext['bytes'] = (start, end) =>
    between(checked(open(context.bytes()), codec, context), start, end)
  const inside = { ...context, bytes, file: undefined }
  if (!context.from) {
    const head: Uint8Array[] = []
    for await (const chunk of bytes(0, 512)) head.push(chunk)
    if (!row.match(Buffer.concat(head)))
      throw broken(context.info.key, `${codec} of a file of type ${row.name}`, 'another')
  }
  const from = context.from && { ...(context.from.extra as Omit<Position, 'record'>), record: context.from.record }
  for await (const r of row.read({ ...inside, from })) {
    const { record, ...extra } = r.next
    yield { ...r, next: { record, extra } }
  }
}

async function* checked(chunks: Chunks, codec: string, { info }: ReadContext): AsyncGenerator<Uint8Array> {
  let at = 0
  try {
    for await (const chunk of chunks) {
      yield chunk
      at += chunk.length
    }
  } catch (e) {
    // what the store says is told as it is; the rest comes from the unpacker
    if (isAppError(e)) throw e
    throw broken(info.key, `whole ${codec} data`, `damaged or cut data behind ${at} unpacked bytes`, e)
  }
}

async function* gunzip(chunks: Chunks): AsyncGenerator<Uint8Array> {
  const stream = zlib.createGunzip()
  // errors of both sides come out of the iteration
  pipeline(Readable.from(chunks), stream, () => undefined)
  yield* stream
}

/** A block of a few bytes can stand for 128 KiB, so an unpacker that answers at once is fed in small bites. */
const BITE = 1024

async function* unzstd(chunks: Chunks): AsyncGenerator<Uint8Array> {
  if (typeof zlib.createZstdDecompress === 'function') {
    const stream = zlib.createZstdDecompress()
    pipeline(Readable.from(chunks), stream, () => undefined)
    yield* stream
    return
  }
  const { Decompress } = await import('fzstd')
  let head: Uint8Array | undefined = new Uint8Array(0)
  const out: Uint8Array[] = []
  const stream = new Decompress((chunk) => void out.push(Uint8Array.from(chunk)))
  for await (const chunk of chunks) {
    if (head) {
      head = Buffer.concat([head, chunk.subarray(0, 14)])
      if (head.length >= 14) head = void checkWindow(head)
    }
    for (let i = 0; i < chunk.length; i += BITE) {
      stream.push(chunk.subarray(i, i + BITE))
      yield* out.splice(0)
    }
  }
  stream.push(new Uint8Array(0), true)
  yield* out.splice(0)
}

/** What zstd itself unpacks without being asked twice. */
const MAX_WINDOW = 2 ** 27

/** fzstd holds the window that a frame claims to need (RFC 8878, 3.1.1.1). */
function checkWindow(head: Uint8Array): void {
  const single = (head[4]! & 0x20) !== 0
  const exponent = head[5]! >> 3
  const claimed = single ? contentSize(Buffer.from(head), 5) : 2 ** (10 + exponent) * (1 + (head[5]! & 7) / 8)
  if (claimed > MAX_WINDOW)
    throw new AppError('BAD_INPUT', { where: 'zstd data', expected: `a window of ${MAX_WINDOW} bytes`, got: 'more' })
}

function contentSize(head: Buffer, at: number): number {
  const flags = head[4]! >> 6
  const start = at + [0, 1, 2, 4][head[4]! & 3]!
  if (flags === 0) return head[start]!
  if (start + 2 ** flags > head.length) return 0
  return flags === 1
    ? head.readUInt16LE(start) + 256
    : flags === 2
      ? head.readUInt32LE(start)
      : Number(head.readBigUInt64LE(start))
}

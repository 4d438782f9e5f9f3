import { maskedCrc32c } from '../crc32c.ts'
import { AppError } from '../errors.ts'
import { Gatherer } from '../gather.ts'

/** length, checksum of the length; then the data and its checksum (tensorflow/core/lib/io/record_writer.h) */
const HEADER = 12
const FOOTER = 4

export interface TfRecordOptions {
  /** the file's name, for messages */
  readonly where?: string
  /** a record larger than this is refused before it is gathered */
  readonly maxBytes?: number
}

/**
 * The records of a TFRecord file, one after the other as its chunks arrive; gzip and zlib are recognised by their first bytes.
 * Each record is a fresh buffer. @throws {AppError} BAD_RECORD for wrong checksums, files that are cut and other kinds of files
 */
export async function* readTfRecords(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { where = 'TFRecord file', maxBytes = 2 ** 28 }: TfRecordOptions = {},
): AsyncGenerator<Buffer> {
  for await (const { data, fault } of readFrames(new Gatherer(await plain(chunks, where)), { where, maxBytes })) {
    if (fault) throw fault
    yield data
  }
}

/** A record as it stands in a file. */
export interface Frame {
  /** empty where there is a fault */
  readonly data: Buffer
  /** this record is damaged or too large; those behind it can be read */
  readonly fault?: AppError
  /** where the next one begins */
  readonly next: number
}

/**
 * The frames of a TFRecord file that is not compressed.
 * @throws {AppError} BAD_RECORD where a length is damaged or the file is cut: nobody knows where the next record begins
 */
export async function* readFrames(
  bytes: Gatherer,
  { where = 'TFRecord file', maxBytes = 2 ** 28, record = 0 }: TfRecordOptions & { readonly record?: number } = {},
): AsyncGenerator<Frame> {
  for (; ; record++) {
    const at = `record ${record} of ${where}`
    const start = await bytes.take(HEADER)
    if (start.length === 0) return
    if (start.length < HEADER) throw bad(at, `${HEADER} bytes of a header`, `${start.length}`)
    if (!isHeader(start)) throw bad(at, 'a length with the right checksum', 'damaged bytes')
    const length = start.readBigUInt64LE()
    if (length > BigInt(maxBytes)) {
      const fault = bad(at, `at most ${maxBytes} bytes`, `${length}`)
      if (length > BigInt(Number.MAX_SAFE_INTEGER)) throw fault
      const rest = Number(length) + FOOTER
      yield { data: Buffer.alloc(0), fault, next: bytes.at + rest }
      if (!(await bytes.skip(rest))) throw bad(at, `${length} bytes and a checksum`, 'the end of the file')
      continue
    }
    const body = await bytes.take(Number(length) + FOOTER)
    if (body.length < Number(length) + FOOTER) throw bad(at, `${length} bytes and a checksum`, `${body.length} bytes`)
    const data = body.subarray(0, Number(length))
    const whole = maskedCrc32c(data) === body.readUInt32LE(Number(length))
    if (whole) yield { data, next: bytes.at }
    else {
      const fault = bad(at, 'data with the right checksum', 'damaged data')
      yield { data: Buffer.alloc(0), fault, next: bytes.at }
    }
  }
}

/** A file that begins so is one of TFRecords. */
export const isTfRecord = (head: Uint8Array): boolean =>
  head.length >= HEADER && isHeader(Buffer.from(head.buffer, head.byteOffset, HEADER))

const isHeader = (b: Buffer): boolean => maskedCrc32c(b.subarray(0, 8)) === b.readUInt32LE(8)

/** The first bytes decide: a header with the right checksum is a record, whatever else it looks like. */
async function plain(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  where: string,
): Promise<AsyncIterator<Uint8Array>> {
  const source = iteratorOf(chunks)
  const first = new Gatherer(source)
  const head = await first.take(HEADER)
  const rest = joined(head, first.left(), source)
  const packed = (head[0] === 0x1f && head[1] === 0x8b) || (head[0] === 0x78 && head.readUInt16BE(0) % 31 === 0)
  if (!packed || (head.length === HEADER && isHeader(head))) return rest
  return inflated(rest, where)
}

async function* joined(...parts: (Uint8Array | AsyncIterator<Uint8Array>)[]): AsyncGenerator<Uint8Array> {
  for (const p of parts) {
    if (p instanceof Uint8Array) yield p
    else for (let next = await p.next(); !next.done; next = await p.next()) yield next.value
  }
}

async function* inflated(source: AsyncGenerator<Uint8Array>, where: string): AsyncGenerator<Uint8Array> {
  const [{ createUnzip }, { Readable, pipeline }] = await Promise.all([import('node:zlib'), import('node:stream')])
  const unzip = createUnzip()
  // errors of both sides come out of the iteration below
  pipeline(Readable.from(source), unzip, () => undefined)
  try {
    yield* unzip
  } catch (cause) {
    const zlib =
      cause instanceof Error && 'code' in cause && /^Z_|^ERR_STREAM_PREMATURE_CLOSE$/.test(String(cause.code))
    if (!zlib) throw cause
    throw new AppError('BAD_RECORD', { where, expected: 'whole gzip data', got: 'damaged or cut data', cause })
  }
}

function iteratorOf(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncIterator<Uint8Array> {
  return Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : joined(...chunks)
}

function bad(where: string, expected: string, got: string): AppError {
  return new AppError('BAD_RECORD', { where, expected, got, fix: 'Write the file again, or send it whole.' })
}

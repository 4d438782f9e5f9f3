import { maskedCrc32c } from '../../src/crc32c.ts'
import { AppError } from '../../src/errors.ts'

const FOOTER = 48
const MAGIC = 0xdb4775248b80fb57n

/**
 * All entries of a LevelDB-style table, the container of `*.index` files (tensorflow/tsl/lib/io/table.cc).
 * Keys are latin1 text, since slice keys are bytes. @throws {AppError} BAD_MODEL_FILE
 */
export function readTable(file: Uint8Array, where: string): Map<string, Uint8Array> {
  const bad = (expected: string, got: string) =>
    new AppError('BAD_MODEL_FILE', { where, expected, got, fix: 'Check that the checkpoint was copied whole.' })
  const buf = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  if (buf.length < FOOTER) throw bad(`a checkpoint index of at least ${FOOTER} bytes`, `${buf.length}`)
  if (buf.readBigUInt64LE(buf.length - 8) !== MAGIC)
    throw bad('a checkpoint index (table magic at its end)', 'another kind of file')

  const block = (offset: number, size: number): Buffer => {
    if (offset + size + 5 > buf.length) throw bad('blocks inside the file', `offset ${offset} size ${size}`)
    if (maskedCrc32c(buf.subarray(offset, offset + size + 1)) !== buf.readUInt32LE(offset + size + 1))
      throw bad('blocks with the right checksum', `a damaged block at offset ${offset}`)
    if (buf[offset + size] !== 0) throw bad('uncompressed blocks', `compression type ${buf[offset + size]}`)
    return buf.subarray(offset, offset + size)
  }
  const footer = new Cursor(buf.subarray(buf.length - FOOTER), bad)
  footer.varint()
  footer.varint()
  const out = new Map<string, Uint8Array>()
  for (const [, handle] of entries(block(footer.varint(), footer.varint()), bad)) {
    const h = new Cursor(handle, bad)
    for (const [key, value] of entries(block(h.varint(), h.varint()), bad)) out.set(key, value)
  }
  return out
}

type Bad = (expected: string, got: string) => AppError

function* entries(block: Buffer, bad: Bad): Generator<[string, Buffer]> {
  if (block.length < 4) throw bad('a block with restart points', `${block.length} bytes`)
  const end = block.length - 4 - 4 * block.readUInt32LE(block.length - 4)
  if (end < 0) throw bad('a block with restart points', 'more of them than fit')
  const c = new Cursor(block.subarray(0, end), bad)
  let key = ''
  while (c.at < end) {
    const shared = c.varint()
    const rest = c.varint()
    const size = c.varint()
    if (shared > key.length) throw bad('keys that share what was there', `${shared} of ${key.length} characters`)
    key = key.slice(0, shared) + c.take(rest).toString('latin1')
    yield [key, c.take(size)]
  }
}

/** A reader of varints and byte runs that never leaves its buffer. */
export class Cursor {
  at = 0
  private readonly buf: Buffer
  private readonly bad: Bad
  constructor(buf: Buffer, bad: Bad) {
    this.buf = buf
    this.bad = bad
  }
  varint(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const b = this.buf[this.at++]
      if (b === undefined || scale > 2 ** 49) throw this.bad('a varint', 'bytes that end or overflow')
      value += (b & 127) * scale
      if (b < 128) return value
    }
  }
  take(n: number): Buffer {
    if (this.at + n > this.buf.length) throw this.bad(`${n} bytes`, `${this.buf.length - this.at}`)
    this.at += n
    return this.buf.subarray(this.at - n, this.at)
  }
}

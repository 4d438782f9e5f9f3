import { Gatherer } from '../../gather.ts'
import type { BatchRecord, ReadContext, RecordFormat } from '../types.ts'
import { archived, isLeftover } from './image.ts'
import { broken, maxOf, tooLarge } from './limits.ts'

const BLOCK = 512

/** A file in the archive is a record (POSIX.1-2001 pax, ustar and GNU's long names); links and devices are none. */
export const tar = {
  name: 'tar',
  suffixes: ['.tar'],
  match: (head) => head.length >= BLOCK && isHeader(Buffer.from(head.buffer, head.byteOffset, BLOCK)),
  read: readFiles,
} as const satisfies RecordFormat

async function* readFiles(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, info } = context
  const offset = from?.offset ?? 0
  const max = maxOf(context)
  const bytes = new Gatherer(context.bytes(offset)[Symbol.asyncIterator](), offset)
  let record = from?.record ?? 0
  // what the entry before says about this one
  let said: Pax = {}
  try {
    for (;;) {
      const at = bytes.at
      const head = await bytes.take(BLOCK)
      if (head.length === 0 || head.every((b) => b === 0)) return
      if (head.length < BLOCK || !isHeader(head)) throw broken(`${info.key}, byte ${at}`, 'a header', 'other bytes')
      const type = String.fromCharCode(head[156]!)
      const size = said.size ?? sizeIn(head)
      const padded = Math.ceil(size / BLOCK) * BLOCK
      if (!Number.isSafeInteger(padded)) throw broken(`${info.key}, byte ${at}`, 'a size', 'another number')
      const take = async (): Promise<Buffer> => {
        const body = await bytes.take(padded)
        if (body.length < size) throw broken(`${info.key}, byte ${at}`, `${size} bytes`, `${body.length}, and the end`)
        return body.subarray(0, size)
      }
      const pass = async () => {
        if (!(await bytes.skip(padded))) throw broken(`${info.key}, byte ${at}`, `${size} bytes`, 'fewer, and the end')
      }
      if (SAYS.has(type)) {
        if (size > MAX_SAID) throw broken(`${info.key}, byte ${at}`, `names of ${MAX_SAID} bytes`, `${size}`)
        said = { ...said, ...saidBy(type, await take()) }
        continue
      }
      const name = said.path ?? nameIn(head)
      said = {}
      if (!FILES.has(type) || isLeftover(name)) {
        // a link has a size, but no data
        if (type !== '1' && type !== '2') await pass()
        continue
      }
      const large = size > max
      const body = large ? undefined : await take()
      if (large) await pass()
      const next = { record: record + 1, offset: bytes.at }
      yield {
        record,
        id: name,
        input: body ? archived(name, body, max) : tooLarge(name),
        bytes: body?.length ?? 0,
        next,
      }
      record++
    }
  } finally {
    await bytes.close()
  }
}

interface Pax {
  readonly path?: string
  readonly size?: number
}

/** files, in the spelling of 1979 too; 7 is a contiguous file */
const FILES = new Set(['0', '\0', '7'])
const SAYS = new Set(['x', 'L'])
const MAX_SAID = 2 ** 16

function saidBy(type: string, body: Buffer): Pax {
  if (type === 'L') return { path: text(body) }
  const pax: { path?: string; size?: number } = {}
  // `length key=value\n`
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(32, at)
    const length = space === -1 ? Number.NaN : Number(body.toString('latin1', at, space))
    if (!(length > space - at) || at + length > body.length) break
    const line = body.toString('utf8', space + 1, at + length - 1)
    const [key] = line.split('=', 1)
    const value = line.slice(key!.length + 1)
    if (key === 'path') pax.path = value
    if (key === 'size' && /^\d{1,15}$/.test(value)) pax.size = Number(value)
    at += length
  }
  return pax
}

/** The sum of all bytes, with the checksum itself taken as spaces. */
function isHeader(head: Buffer): boolean {
  let sum = 8 * 32
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += head[i]!
  return sum === octal(head.subarray(148, 156))
}

function octal(field: Buffer): number {
  const digits = /^ *([0-7]+)[ \0]*$/.exec(field.toString('latin1'))
  return digits ? Number.parseInt(digits[1]!, 8) : Number.NaN
}

/** Sizes that octal digits cannot hold are big-endian, with the first bit set. */
function sizeIn(head: Buffer): number {
  const field = head.subarray(124, 136)
  return field[0]! & 0x80 ? Number(field.readBigUInt64BE(4)) : octal(field)
}

function nameIn(head: Buffer): string {
  const prefix = head.toString('latin1', 257, 262) === 'ustar' ? text(head.subarray(345, 500)) : ''
  const name = text(head.subarray(0, 100))
  return prefix === '' || head.toString('latin1', 262, 264) === ' \0' ? name : `${prefix}/${name}`
}

function text(field: Buffer): string {
  const end = field.indexOf(0)
  return field.toString('utf8', 0, end === -1 ? field.length : end)
}

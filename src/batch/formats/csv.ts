import { parseCsv } from '../../csv.ts'
import { AppError } from '../../errors.ts'
import type { Signature } from '../../manifest.ts'
import { kept, type Line, type LineBlock, lineBlocksOf, pagesOf } from '../lines.ts'
import { createRoom, type Memory, scalarsOfRow, tensorsOfText } from '../numeric.ts'
import type { BatchRecord, Decode, DecodeContext, Named, Position, ReadContext, RecordFormat } from '../types.ts'
import { maxOf, tooLarge } from './limits.ts'
import { mappingOf } from './mapping.ts'
import { attempt, rowValue, takesRequests, valueReader } from './value.ts'

/** Comma-separated rows (RFC 4180), UTF-8; the first may be a header. Empty lines are no rows. */
export const csv = {
  name: 'csv',
  suffixes: ['.csv'],
  match: (head) => !head.includes(0),
  read: readRows,
  decode: rowDecoder,
} as const satisfies RecordFormat

/** What the first row told, for those who go on behind it. */
interface Table {
  readonly names?: readonly string[]
  readonly width: number
}

async function* readRows(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from, source } = context
  let table = from?.extra as Table | undefined
  let record = from?.record ?? 0
  const most = () => (source || !table ? 1 : (context.block?.(record) ?? 1))
  for await (const { bytes: read, spans, next, tooLong } of rowsOf(context, from, most)) {
    if (tooLong) {
      yield { record, input: tooLarge('the row'), bytes: 0, next: { record: ++record, offset: next, extra: table } }
      continue
    }
    if (table === undefined) {
      table = tableOf(read.subarray(spans[0], spans[1]), context)
      if (table.names) continue
    }
    const count = spans.length / 2
    const bytes = kept(read, count, context.buffers)
    const row = bytes.subarray(spans[0], spans[1])
    yield {
      record,
      ...(count > 1 && { count }),
      input: count > 1 ? { kind: 'raw', bytes, spans, about: table } : { kind: 'raw', bytes: row, about: table },
      bytes: count > 1 ? bytes.length : row.length,
      next: { record: record + count, offset: next, extra: table },
      ...(source && { source: row.toString() }),
    }
    record += count
  }
}

async function rowDecoder(context: DecodeContext, memory?: Memory): Promise<Decode> {
  const read = await rowReader(context)
  const numbers = numberReader(context, memory)
  return ({ bytes, about }) => {
    const table = about as Table
    const direct = numbers?.(bytes, table)
    if (direct) return { input: direct }
    return attempt<Named>(
      () => {
        const cells = cellsOf(bytes)
        if (cells.length === table.width) return read(cells, table)
        throw new AppError('BAD_INPUT', { where: 'the row', expected: `${table.width} cells`, got: `${cells.length}` })
      },
      (input) => ({ input }),
    )
  }
}

/** Rows: blocks of lines, and lines joined where a quoted cell goes over several. */
async function* rowsOf(
  context: ReadContext,
  from: Position | undefined,
  most: () => number,
): AsyncGenerator<LineBlock> {
  const offset = from?.offset ?? 0
  const max = maxOf(context)
  let held: Buffer[] = []
  let size = 0
  let open = false
  let next = offset
  const chunks = context.bytes(offset, undefined, pagesOf(context.buffers))
  for await (const block of lineBlocksOf(chunks, { offset, max, most, buffers: context.buffers })) {
    if (!open && !block.tooLong && !block.bytes.includes(QUOTE)) {
      const spans = filled(block.spans)
      if (spans.length > 0) yield { ...block, spans }
      continue
    }
    // a row may end in a later block
    for (const line of linesIn({ ...block, bytes: Buffer.from(block.bytes) })) {
      next = line.next
      if (!open && line.bytes.length === 0 && !line.tooLong) continue
      size += line.bytes.length + 1
      if (line.tooLong || size > max) {
        yield { bytes: Buffer.alloc(0), spans: Uint32Array.of(0, 0), next, tooLong: true }
        held = []
        size = 0
        open = false
        continue
      }
      open = staysOpen(line.bytes, open)
      if (held.length > 0) held.push(NEWLINE)
      held.push(line.bytes)
      if (open) continue
      yield row(held, next)
      held = []
      size = 0
    }
  }
  if (held.length > 0) yield row(held, next)
}

function row(lines: readonly Buffer[], next: number): LineBlock {
  const bytes = lines.length === 1 ? lines[0]! : Buffer.concat(lines)
  return { bytes, spans: Uint32Array.of(0, bytes.length), next, tooLong: false }
}

/** Without empty lines. */
function filled(spans: Uint32Array): Uint32Array {
  const kept = spans.filter((_, i) => spans[i & ~1] !== spans[i | 1])
  return kept.length < spans.length ? kept : spans
}

function* linesIn({ bytes, spans, next, tooLong }: LineBlock): Generator<Line> {
  const start = next - bytes.length
  for (let i = 0; i < spans.length; i += 2) {
    const behind = i + 2 < spans.length ? start + spans[i + 2]! : next
    yield { bytes: bytes.subarray(spans[i], spans[i + 1]), next: behind, tooLong }
  }
}

const NEWLINE = Buffer.from('\n')
const [QUOTE, COMMA] = [34, 44]

/** Whether a quoted cell is open at the end of a line. A quote begins such a cell only where a cell begins. */
function staysOpen(line: Buffer, open: boolean): boolean {
  if (!line.includes(QUOTE)) return open
  let start = true
  for (let i = 0; i < line.length; i++) {
    const c = line[i]
    // a doubled quote closes and opens again
    if (open) {
      if (c === QUOTE) {
        open = false
        start = true
      }
    } else if (c === QUOTE && start) open = true
    else start = c === COMMA
  }
  return open
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function cellsOf(bytes: Uint8Array): string[] {
  let text: string
  try {
    // a byte order mark, at the start of the file, is dropped
    text = utf8.decode(bytes)
  } catch (cause) {
    throw new AppError('BAD_INPUT', { where: 'the row', expected: 'UTF-8', got: 'other bytes', cause })
  }
  return text.includes('"') ? (parseCsv(text)[0] ?? ['']) : text.split(',')
}

function tableOf(first: Buffer, { options }: ReadContext): Table {
  const cells = cellsOf(first)
  const told = options.header ?? (options.mappingRule === undefined && !cells.some((c) => NUMBER.test(c.trim())))
  const named = told && (options.header === true || new Set(cells).size === cells.length)
  return { width: cells.length, ...(named && { names: cells }) }
}

const NUMBER = /^(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|[-+]?inf(?:inity)?)$/i

async function rowReader(context: DecodeContext): Promise<(cells: readonly string[], table: Table) => Named> {
  const { options } = context
  if (options.mappingRule !== undefined) {
    const body = mappingOf(options.mappingRule)
    return (cells) => ({ input: { kind: 'data', data: body(cells) } })
  }
  const { inputs } = context.signature
  const aliases = Object.keys(inputs)
  const text = (name: string | undefined) =>
    name !== undefined &&
    (name === options.idField || (Object.hasOwn(inputs, name) && inputs[name]!.dtype === 'string'))
  const allText = aliases.length > 0 && aliases.every((a) => inputs[a]!.dtype === 'string')
  const cast = (cell: string, name: string | undefined) => (text(name) || allText ? cell : guessed(cell))
  const valueReads = await valueReader(context, (row) =>
    Array.isArray(row) ? byOrder(row, aliases) : rowValue(row as Record<string, unknown>, context),
  )
  return (cells, { names }) => {
    if (!names) return valueReads(cells.map((c) => cast(c, undefined)))
    const row: Record<string, unknown> = Object.create(null)
    for (const [i, name] of names.entries()) row[name] = cast(cells[i]!, name)
    return valueReads(row)
  }
}

/**
 * A row of nothing but numbers that JSON spells in the same way, several times as fast; undefined sends the row the general way, which says
 * what is wrong with it.
 */
function numberReader({ options, signature, ...c }: DecodeContext, memory: Memory | undefined) {
  if (options.inputFilter !== undefined || options.mappingRule !== undefined || options.idField !== undefined)
    return undefined
  if (takesRequests(c)) return undefined
  const { room, used } = createRoom(signature, memory)
  const tables = new WeakMap<Table, readonly (string | undefined)[] | undefined>()
  const columns = (table: Table) => {
    if (!tables.has(table)) tables.set(table, columnsOf(table, signature))
    return tables.get(table)
  }
  let row = Buffer.alloc(2 ** 10)
  return (bytes: Uint8Array, table: Table): Named['input'] | undefined => {
    if (row.length < bytes.length + 2) row = Buffer.alloc(2 * bytes.length + 2)
    row[0] = OPEN
    row.set(bytes, 1)
    row[bytes.length + 1] = CLOSE
    const text = row.subarray(0, bytes.length + 2)
    const scalars = columns(table)
    const tensors = scalars
      ? scalarsOfRow(text, scalars, room)
      : table.names
        ? undefined
        : tensorsOfText(text, signature, room)
    if (!tensors) return undefined
    const [only] = Object.values(tensors)
    if (!scalars && only!.data.length !== table.width) return undefined
    used(tensors)
    return { kind: 'tensors', tensors }
  }
}

const [OPEN, CLOSE] = [91, 93]

/** Which column is which input, where each input is one number of a row; a column may be none. */
function columnsOf({ names, width }: Table, { inputs }: Signature): (string | undefined)[] | undefined {
  const aliases = Object.keys(inputs)
  const scalar = aliases.every((a) => inputs[a]!.dtype === 'float32' && inputs[a]!.shape?.length === 1)
  if (!scalar || (!names && (aliases.length < 2 || aliases.length !== width))) return undefined
  const found = names ? names.map((n) => aliases.find((a) => a === n)) : aliases
  const needed = aliases.filter((a) => !inputs[a]!.optional)
  return needed.every((a) => found.includes(a)) ? found : undefined
}

/** Cells without names: all of them are the only input, or each is one of several, in their order. */
function byOrder(cells: readonly unknown[], aliases: readonly string[]): unknown {
  if (aliases.length < 2 || aliases.length !== cells.length) return cells
  return Object.fromEntries(aliases.map((alias, i) => [alias, cells[i]]))
}

const SPECIAL: Readonly<Record<string, number>> = { nan: Number.NaN, inf: Number.POSITIVE_INFINITY }

/** What a cell looks like: a number (exactly, where it is a large integer), a list of JSON, or text. */
function guessed(cell: string): unknown {
  const text = cell.trim()
  if (text === '') return cell
  if (NUMBER.test(text)) {
    const special = SPECIAL[text.toLowerCase().replace(/^[-+]/, '').slice(0, 3)]
    if (special !== undefined) return text.startsWith('-') ? -special : special
    const n = Number(text)
    return Number.isSafeInteger(n) || !/^[-+]?\d+$/.test(text) ? n : BigInt(text.replace('+', ''))
  }
  if (!text.startsWith('[')) return cell
  try {
    return JSON.parse(text)
  } catch {
    // a text that begins like a list
    return cell
  }
}

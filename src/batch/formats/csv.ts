import { parseCsv } from '../../csv.ts'
import { AppError } from '../../errors.ts'
import { type Line, linesOf } from '../lines.ts'
import { tensorsOfText } from '../numeric.ts'
import type { BatchRecord, Position, ReadContext, RecordFormat, RecordInput } from '../types.ts'
import { maxOf, tooLarge } from './limits.ts'
import { mappingOf } from './mapping.ts'
import { attempt, type Named, rowValue, valueReader } from './value.ts'

/** Comma-separated rows (RFC 4180), UTF-8; the first may be a header. Empty lines are no rows. */
export const csv = {
  name: 'csv',
  suffixes: ['.csv'],
  match: (head) => !head.includes(0),
  read: readRows,
} as const satisfies RecordFormat

/** What the first row told, for those who go on behind it. */
interface Table {
  readonly names?: readonly string[]
  readonly width: number
}

async function* readRows(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { from } = context
  const read = await rowReader(context)
  const numbers = numberReader(context)
  let table = from?.extra as Table | undefined
  let record = from?.record ?? 0
  for await (const row of rowsOf(context, from)) {
    if (row.tooLong) {
      yield { record, input: tooLarge('the row'), bytes: 0, next: { record: ++record, offset: row.next, extra: table } }
      continue
    }
    const fresh = table === undefined
    const named = attempt<Named | undefined>(
      () => {
        const direct = table && !table.names && numbers?.(row.bytes, table.width)
        if (direct) return { input: direct }
        const cells = cellsOf(row.bytes)
        table ??= tableOf(cells, context)
        if (fresh && table.names) return undefined
        if (cells.length !== table.width)
          throw new AppError('BAD_INPUT', {
            where: 'the row',
            expected: `${table.width} cells`,
            got: `${cells.length}`,
          })
        return read(cells, table)
      },
      (input) => ({ input }),
    )
    if (!named) continue
    yield {
      record,
      ...named,
      bytes: row.bytes.length,
      next: { record: ++record, offset: row.next, extra: table },
      ...(context.source && { source: row.bytes.toString() }),
    }
  }
}

/** Lines, joined where a quoted cell goes over several. */
async function* rowsOf(context: ReadContext, from: Position | undefined): AsyncGenerator<Line> {
  const offset = from?.offset ?? 0
  const max = maxOf(context)
  let held: Buffer[] = []
  let size = 0
  let open = false
  let next = offset
  for await (const line of linesOf(context.bytes(offset), { offset, max })) {
    next = line.next
    if (!open && line.bytes.length === 0 && !line.tooLong) continue
    size += line.bytes.length + 1
    if (line.tooLong || size > max) {
      yield { bytes: Buffer.alloc(0), next, tooLong: true }
      held = []
      size = 0
      open = false
      continue
    }
    open = staysOpen(line.bytes, open)
    if (held.length > 0) held.push(NEWLINE)
    held.push(line.bytes)
    if (open) continue
    yield { bytes: held.length === 1 ? held[0]! : Buffer.concat(held), next, tooLong: false }
    held = []
    size = 0
  }
  if (held.length > 0) yield { bytes: Buffer.concat(held), next, tooLong: false }
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

function cellsOf(bytes: Buffer): string[] {
  let text: string
  try {
    // a byte order mark, at the start of the file, is dropped
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new AppError('BAD_INPUT', { where: 'the row', expected: 'UTF-8', got: 'other bytes', cause })
  }
  return text.includes('"') ? (parseCsv(text)[0] ?? ['']) : text.split(',')
}

function tableOf(cells: readonly string[], { options }: ReadContext): Table {
  const told = options.header ?? (options.mappingRule === undefined && !cells.some((c) => NUMBER.test(c.trim())))
  const named = told && (options.header === true || new Set(cells).size === cells.length)
  return { width: cells.length, ...(named && { names: cells }) }
}

const NUMBER = /^(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|[-+]?inf(?:inity)?)$/i

async function rowReader(context: ReadContext): Promise<(cells: readonly string[], table: Table) => Named> {
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
 * A row of nothing but numbers that JSON spells in the same way, twice as fast; undefined sends the row the general way, which says
 * what is wrong with it.
 */
function numberReader({ options, signature }: ReadContext) {
  if (options.inputFilter !== undefined || options.mappingRule !== undefined) return undefined
  return (row: Buffer, width: number): RecordInput | undefined => {
    const tensors = tensorsOfText(Buffer.concat([LIST, row, LIST_END]), signature)
    const [only] = Object.values(tensors ?? {})
    return tensors && only?.data.length === width ? { kind: 'tensors', tensors } : undefined
  }
}

const [LIST, LIST_END] = [Buffer.from('['), Buffer.from(']')]

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

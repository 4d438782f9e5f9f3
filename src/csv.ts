import { AppError } from './errors.ts'

/**
 * Rows of fields by RFC 4180; LF and CR end a line too, empty lines are no rows. Our own thirty lines because `file.csv()` is
 * synchronous: a library could only be loaded with the runtime, and would cost each cold start 0.8 ms for what most never use.
 */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  let at = 0
  while (at < text.length) {
    const quoted = text[at] === '"'
    const end = quoted ? closingQuote(text, at, rows.length + 1) : plainEnd(text, at)
    row.push(quoted ? text.slice(at + 1, end - 1).replaceAll('""', '"') : text.slice(at, end))
    at = end
    if (text[at] === ',') {
      at++
      if (at < text.length) continue
      row.push('')
    } else if (at < text.length && text[at] !== '\n' && text[at] !== '\r')
      throw bad(`row ${rows.length + 1}`, 'a comma or the end of the line after a closing quote', 'other text')
    if (text[at] === '\r' && text[at + 1] === '\n') at++
    at++
    if (quoted || row.length > 1 || row[0] !== '') rows.push(row)
    row = []
  }
  return rows
}

/** One object per row, keyed by the first row; without prototype, since a column may be called `__proto__`. */
export function parseCsvObjects(text: string): Record<string, string>[] {
  const [header = [], ...rows] = parseCsv(text)
  return rows.map((row, i) => {
    if (row.length !== header.length)
      throw bad(`row ${i + 2}`, `${header.length} fields, as the header has`, `${row.length}`)
    const record: Record<string, string> = Object.create(null)
    for (const [j, name] of header.entries()) record[name] = row[j]!
    return record
  })
}

/** The index behind the closing quote. */
function closingQuote(text: string, from: number, row: number): number {
  for (let at = text.indexOf('"', from + 1); at !== -1; at = text.indexOf('"', at + 2))
    if (text[at + 1] !== '"') return at + 1
  throw bad(`row ${row}`, 'a closing quote', 'the end of the file')
}

function plainEnd(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const c = text.charCodeAt(at)
    if (c === 44 || c === 10 || c === 13) return at
  }
  return text.length
}

function bad(where: string, expected: string, got: string): AppError {
  return new AppError('BAD_REQUEST', { where: `the CSV file, ${where}`, expected, got })
}

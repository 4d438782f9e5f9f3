import { AppError } from '../errors.ts'

/** One part of a form; `bytes` is a view of the body. A part with a file name is a file, even an empty one. */
export interface Part {
  readonly name: string
  readonly fileName: string | undefined
  readonly contentType: string
  readonly bytes: Uint8Array
}

export const LIMITS = { parts: 1000, headerBytes: 16_384, boundary: 200 }

const [CR, LF, DASH, SPACE, TAB] = [13, 10, 45, 32, 9]

/**
 * RFC 7578 over a complete body: in Lambda it always is, so a search at memory speed does what stream parsers take ten times
 * as long for. Preamble and epilogue are skipped, lines may end in LF alone if all do.
 * @throws {AppError} BAD_MULTIPART naming the part, never quoting the body
 */
export function parseMultipart(body: Uint8Array, contentType: string): Part[] {
  const boundary = boundaryOf(contentType)
  const buffer = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const first = firstDelimiter(buffer, boundary)
  const delimiter = `${first.eol}--${boundary}`
  const parts: Part[] = []
  let at = first.end
  while (!first.last) {
    const number = parts.length + 1
    if (number > LIMITS.parts) throw bad({ expected: `at most ${LIMITS.parts} parts`, got: 'more' })
    const { headers, start } = headersAt(buffer, at, first.eol, number)
    const end = nextDelimiter(buffer, start - first.eol.length, delimiter)
    const part = partOf(headers, number)
    if (!end)
      throw bad({
        where: `part ${number} (${part.name})`,
        expected: 'the boundary behind it',
        got: 'the end of the body',
        fix: 'The request was cut off: send it again whole.',
      })
    parts.push({ ...part, bytes: body.subarray(start, Math.max(start, end.start)) })
    if (end.last) break
    at = end.end
  }
  return parts
}

function boundaryOf(contentType: string): string {
  const boundary = parameters(contentType).boundary
  if (!boundary || boundary.length > LIMITS.boundary)
    throw bad({
      where: 'content-type',
      expected: `a boundary of 1 to ${LIMITS.boundary} characters`,
      got: boundary ? 'a longer one' : 'none',
      fix: 'Let the HTTP client set the content-type of the form itself.',
    })
  return boundary
}

interface Delimiter {
  /** where the line break before it starts */
  readonly start: number
  /** behind its line */
  readonly end: number
  /** `--boundary--` */
  readonly last: boolean
}

function firstDelimiter(buffer: Buffer, boundary: string): Delimiter & { eol: string } {
  const line = `--${boundary}`
  for (let at = buffer.indexOf(line); at !== -1; at = buffer.indexOf(line, at + 1)) {
    if (at > 0 && buffer[at - 1] !== LF) continue
    const tail = tailOf(buffer, at + line.length)
    if (tail) return { ...tail, start: at, eol: buffer[tail.end - 2] === CR ? '\r\n' : '\n' }
  }
  throw bad({
    expected: 'the boundary that content-type names',
    got: buffer.length === 0 ? 'an empty body' : buffer[0] === DASH ? 'another boundary' : 'a body without it',
  })
}

/** From the line break before `from`, so that an empty part is found too. */
function nextDelimiter(buffer: Buffer, from: number, delimiter: string): Delimiter | undefined {
  for (let at = buffer.indexOf(delimiter, from); at !== -1; at = buffer.indexOf(delimiter, at + 1)) {
    const tail = tailOf(buffer, at + delimiter.length)
    if (tail) return { ...tail, start: at }
  }
  return undefined
}

/** What may follow a boundary: `--`, or white space and a line end. Anything else, and it was content. */
function tailOf(buffer: Buffer, at: number): { end: number; last: boolean } | undefined {
  if (buffer[at] === DASH && buffer[at + 1] === DASH) return { end: at + 2, last: true }
  while (buffer[at] === SPACE || buffer[at] === TAB) at++
  if (buffer[at] === CR) at++
  return buffer[at] === LF ? { end: at + 1, last: false } : undefined
}

function headersAt(buffer: Buffer, at: number, eol: string, number: number): { headers: string; start: number } {
  const end = buffer.indexOf(eol + eol, at - eol.length)
  if (end === -1 || end - at > LIMITS.headerBytes)
    throw bad({
      where: `part ${number}`,
      expected: `headers of at most ${LIMITS.headerBytes} bytes and an empty line`,
      got: end === -1 ? 'the end of the body' : 'more',
    })
  return { headers: buffer.toString('utf8', at, Math.max(at, end)), start: end + 2 * eol.length }
}

function partOf(block: string, number: number): Omit<Part, 'bytes'> {
  const headers: Record<string, string> = Object.create(null)
  // a line that starts with white space continues the one before (RFC 5322)
  for (const line of block.replace(/\r?\n[ \t]+/g, ' ').split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim()
  }
  const disposition = headers['content-disposition'] ?? ''
  const given = parameters(disposition)
  if (!/^form-data\s*(;|$)/i.test(disposition) || given.name === undefined)
    throw bad({ where: `part ${number}`, expected: 'content-disposition: form-data; name="…"', got: 'none such' })
  const encoding = headers['content-transfer-encoding']?.toLowerCase() ?? 'binary'
  if (!['binary', '8bit', '7bit'].includes(encoding))
    throw bad({ where: `part ${number}`, expected: 'content as it is (RFC 7578, 4.7)', got: 'a transfer encoding' })
  return {
    name: given.name,
    fileName: extended(given['filename*']) ?? given.filename,
    contentType: headers['content-type'] ?? '',
  }
}

/** `; name=value` pairs; a backslash escapes only a quote or itself, since old browsers send Windows paths. */
function parameters(header: string): Record<string, string | undefined> {
  const found: Record<string, string | undefined> = Object.create(null)
  for (const [, name, quoted, token] of header.matchAll(/;\s*([^\s=;]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]*))/g))
    found[name!.toLowerCase()] = quoted === undefined ? token! : unescaped(quoted)
  return found
}

/** Browsers write a quote as %22 and line ends as %0D and %0A (WHATWG), others escape with a backslash. */
function unescaped(quoted: string): string {
  if (!/[\\%]/.test(quoted)) return quoted
  return quoted.replace(/\\(["\\])/g, '$1').replace(/%22|%0D|%0A/gi, (code) => decodeURIComponent(code))
}

/** `UTF-8''%e2%82%ac.png` (RFC 8187); undefined when it cannot be read, so that the plain name counts. */
function extended(value: string | undefined): string | undefined {
  const [, charset, encoded] = /^([^']*)'[^']*'(.*)$/.exec(value ?? '') ?? []
  if (encoded === undefined || !/^(utf-8|iso-8859-1)$/i.test(charset!)) return undefined
  const bytes = encoded.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1').toString(/^utf/i.test(charset!) ? 'utf8' : 'latin1')
}

function bad(details: ConstructorParameters<typeof AppError>[1]): AppError {
  return new AppError('BAD_MULTIPART', details)
}

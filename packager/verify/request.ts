import { readFileSync, statSync } from 'node:fs'
import { basename, relative, resolve, sep } from 'node:path'
import { AppError } from '../../src/errors.ts'
import { parseJson } from '../../src/json.ts'

/** A request as an author writes it down: a form or JSON; files are named relative to the golden request. */
export interface SavedRequest {
  /** default `/` */
  readonly path?: string
  readonly multipart?: Readonly<Record<string, Part | readonly Part[]>>
  readonly json?: unknown
}

/** A text field, or a file. */
export type Part = string | FilePart
export interface FilePart {
  readonly file: string
  /** as the client names it; default: the file's own name */
  readonly fileName?: string
  readonly contentType?: string
}

export interface Encoded {
  readonly path: string
  readonly contentType: string
  readonly body: Uint8Array
}

const TYPES: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  bmp: 'image/bmp',
  tif: 'image/tiff',
  tiff: 'image/tiff',
  svg: 'image/svg+xml',
  csv: 'text/csv',
  txt: 'text/plain',
  json: 'application/json',
}

/** The bytes a client would send. Always the same ones: the boundary follows from nothing random. */
export function encodeRequest(request: SavedRequest, read: (file: string) => Uint8Array): Encoded {
  const path = request.path ?? '/'
  if (!request.multipart) {
    return { path, contentType: 'application/json', body: Buffer.from(JSON.stringify(request.json)) }
  }
  const parts = Object.entries(request.multipart).flatMap(([field, value]) =>
    [value].flat().map((part: Part) => encodePart(field, part, read)),
  )
  let boundary = 'modelayer-form-boundary'
  while (parts.some((p) => p.includes(boundary))) boundary += '-'
  const chunks = parts.flatMap((part) => [Buffer.from(`--${boundary}\r\n`), part, Buffer.from('\r\n')])
  const body = Buffer.concat([...chunks, Buffer.from(`--${boundary}--\r\n`)])
  return { path, contentType: `multipart/form-data; boundary=${boundary}`, body }
}

function encodePart(field: string, part: Part, read: (file: string) => Uint8Array): Buffer {
  const name = `Content-Disposition: form-data; name="${quote(field)}"`
  if (typeof part === 'string') return Buffer.from(`${name}\r\n\r\n${part}`)
  const fileName = part.fileName ?? basename(part.file)
  const type = part.contentType ?? TYPES[fileName.split('.').at(-1)!.toLowerCase()] ?? 'application/octet-stream'
  const head = `${name}; filename="${quote(fileName)}"\r\nContent-Type: ${type}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), read(part.file)])
}

/** as browsers do it (WHATWG, multipart/form-data encoding) */
const quote = (s: string) => s.replaceAll('\n', '%0A').replaceAll('\r', '%0D').replaceAll('"', '%22')

/** Reads files named relative to `dir`, none of them outside `root`. */
export function fileReader(dir: string, root: string): (file: string) => Uint8Array {
  return (file) => {
    const path = resolve(dir, file)
    if (relative(root, path).split(sep)[0] === '..') {
      throw new AppError('BAD_GOLDEN', { where: file, expected: `a file inside ${root}`, got: 'one outside' })
    }
    return readWhole(path, file)
  }
}

export function readWhole(path: string, named = path): Uint8Array {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new AppError('BAD_GOLDEN', { where: named, expected: 'a file', got: 'nothing' })
  }
  return readFileSync(path)
}

/** curl's `-F`: `field=text`, `field=@file`, `field=@file;type=image/png;filename=x.png` */
export function parseField(given: string): [field: string, part: Part] {
  const equals = given.indexOf('=')
  if (equals < 1) throw new AppError('USAGE', { where: `-F ${given}`, expected: 'field=@file or field=text' })
  const field = given.slice(0, equals)
  const value = given.slice(equals + 1)
  if (!value.startsWith('@')) return [field, value]
  const [file = '', ...settings] = value.slice(1).split(';')
  const set = Object.fromEntries(settings.map((s) => [s.split('=')[0]!.trim(), s.slice(s.indexOf('=') + 1).trim()]))
  const unknown = Object.keys(set).find((k) => k !== 'type' && k !== 'filename')
  if (!file || unknown) {
    throw new AppError('USAGE', { where: `-F ${given}`, expected: 'field=@file[;type=TYPE][;filename=NAME]' })
  }
  return [field, { file, ...(set.filename && { fileName: set.filename }), ...(set.type && { contentType: set.type }) }]
}

/** A field may occur more than once: several files in it. */
export function parseForm(fields: readonly (readonly [field: string, part: Part])[]): Record<string, Part | Part[]> {
  const form = new Map<string, Part[]>()
  for (const [field, part] of fields) form.set(field, [...(form.get(field) ?? []), part])
  return Object.fromEntries([...form].map(([field, parts]) => [field, parts.length === 1 ? parts[0]! : parts]))
}

/** `-` is stdin, as everywhere on a command line. */
export function readJsonFile(file: string): unknown {
  return parseJson(file === '-' ? readFileSync(0) : readWhole(file), file)
}

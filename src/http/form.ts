import { AppError } from '../errors.ts'
import type { RequestData, UploadedFile } from '../types.ts'
import { upload } from '../upload.ts'
import { type Part, parseMultipart } from './multipart.ts'

type Field = string | Record<string, UploadedFile>

/**
 * A form as hooks see it: `{ field: { fileName: UploadedFile } }`, text fields as strings. Neither level has a prototype, so a
 * field or file called `__proto__` is a field or file. File names are reduced to their last component.
 *
 * Two files of one name in one field both stay, the second as `7 (2).png`: ModelArts would silently drop the first.
 */
export function readForm(body: Uint8Array, contentType: string): RequestData {
  const data: Record<string, Field> = Object.create(null)
  for (const part of parseMultipart(body, contentType)) {
    // what a browser sends for a file input that was left empty
    if (part.fileName === '' && part.bytes.length === 0) continue
    const { name } = part
    const before = data[name]
    if (part.fileName === undefined) {
      if (before !== undefined) throw twice(name)
      data[name] = textOf(part)
      continue
    }
    if (typeof before === 'string') throw twice(name)
    const files: Record<string, UploadedFile> = before ?? Object.create(null)
    const fileName = free(baseName(part.fileName) || name, files)
    files[fileName] = upload(name, fileName, part.contentType || 'application/octet-stream', part.bytes)
    data[name] = files
  }
  return data
}

function textOf({ name, contentType, bytes }: Part): string {
  const charset = /;\s*charset="?([^\s";]+)/i.exec(contentType)?.[1] ?? 'utf-8'
  try {
    return new TextDecoder(charset).decode(bytes)
  } catch (cause) {
    throw new AppError('BAD_MULTIPART', { where: `field ${name}`, expected: 'a known charset', got: 'another', cause })
  }
}

function baseName(path: string): string {
  const name = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what goes
  const plain = name.replace(/[\x00-\x1f\x7f]/g, '')
  return plain === '.' || plain === '..' ? '' : plain
}

function free(name: string, taken: Record<string, unknown>): string {
  if (!(name in taken)) return name
  const dot = name.lastIndexOf('.') > 0 ? name.lastIndexOf('.') : name.length
  for (let n = 2; ; n++) {
    const next = `${name.slice(0, dot)} (${n})${name.slice(dot)}`
    if (!(next in taken)) return next
  }
}

function twice(name: string): AppError {
  return new AppError('BAD_MULTIPART', {
    where: `field ${name.slice(0, 80)}`,
    expected: 'one text, or files',
    got: 'the field a second time',
  })
}

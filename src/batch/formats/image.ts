import { AppError } from '../../errors.ts'
import { sniff } from '../../image/sniff.ts'
import type { BatchRecord, Named, ReadContext, RecordFormat } from '../types.ts'
import { maxOf, tooLarge } from './limits.ts'

const TYPES: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  gif: 'image/gif',
  bmp: 'image/bmp',
  tif: 'image/tiff',
  tiff: 'image/tiff',
  avif: 'image/avif',
  svg: 'image/svg+xml',
}

/** An image is one record. Any image under any image's suffix: cameras and exports mix them up, and decoders look at the content. */
export const image = {
  name: 'image',
  suffixes: Object.keys(TYPES).map((suffix) => `.${suffix}`),
  match: isImage,
  single: true,
  read: readImage,
} as const satisfies RecordFormat

async function* readImage(context: ReadContext): AsyncGenerator<BatchRecord> {
  const { info } = context
  if (info.size > maxOf(context)) throw new AppError('BODY_TOO_LARGE', { where: info.key, got: `${info.size} bytes` })
  const chunks: Uint8Array[] = []
  for await (const chunk of context.bytes()) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  if (!isImage(bytes)) throw notAnImage(info.key, bytes)
  yield { record: 0, id: info.key, input: fileInput(info.key, bytes), bytes: bytes.length, next: { record: 1 } }
}

function isImage(bytes: Uint8Array): boolean {
  return sniff(bytes).reader !== 'none'
}

function notAnImage(where: string, bytes: Uint8Array): AppError {
  return new AppError('BAD_INPUT', { where, expected: 'an image', got: sniff(bytes).name })
}

/**
 * A file of an archive. Its name is a label, never a path: hooks get the last part of it, and nothing here opens a file by it.
 * What is called an image has to be one; what else there is (sounds, documents) is the affair of `_preprocess`.
 */
export function archived(name: string, bytes: Buffer, max: number): Named['input'] {
  if (bytes.length > max) return tooLarge(name)
  const input = fileInput(name, bytes)
  if (input.contentType === UNKNOWN || isImage(bytes)) return input
  const { code, message } = notAnImage(name, bytes)
  return { kind: 'bad', code, reason: message }
}

const UNKNOWN = 'application/octet-stream'

function fileInput(name: string, bytes: Uint8Array) {
  const last = name.split(/[/\\]/).at(-1)!
  const contentType = TYPES[/\.([^.]+)$/.exec(last.toLowerCase())?.[1] ?? ''] ?? UNKNOWN
  return { kind: 'file', fileName: safe(last), contentType, bytes } as const
}

function safe(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const clean = name.replace(/[\0-\x1f\x7f:]/g, '_')
  return clean === '' || clean === '.' || clean === '..' || clean === '__proto__' ? 'file' : clean
}

/** Folders, and what operating systems leave in archives beside the files. */
export function isLeftover(name: string): boolean {
  return /[/\\]$|(^|\/)(__MACOSX\/|\.|Thumbs\.db$|desktop\.ini$)/.test(name.replace(/^(\.?\.?\/)+/, ''))
}

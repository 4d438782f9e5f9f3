import { parseCsv, parseCsvObjects } from './csv.ts'
import { parseJson } from './json.ts'
import type { UploadedFile } from './types.ts'

/** A file as hooks see it; `bytes` is a view of the request body, not a copy. */
export function upload(field: string, fileName: string, contentType: string, bytes: Uint8Array): UploadedFile {
  function csv(options?: { header?: false }): string[][]
  function csv(options: { header: true }): Record<string, string>[]
  function csv(options?: { header?: boolean }) {
    return options?.header ? parseCsvObjects(text()) : parseCsv(text())
  }
  const text = () => new TextDecoder().decode(bytes)
  return { field, fileName, contentType, bytes, text, csv, json: () => parseJson(bytes, `file ${field}`) }
}

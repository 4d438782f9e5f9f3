import { stringify } from '../../json.ts'

/** A value as cells of one row: lists and members one after the other, as SageMaker appends predictions to CSV. */
export function cellsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(cellsOf)
  if (ArrayBuffer.isView(value)) return Array.from(value as Float32Array, (v) => stringify(v))
  if (typeof value === 'string') return [quoted(value)]
  if (value === null || value === undefined) return ['']
  if (typeof value === 'object') return Object.values(value).flatMap(cellsOf)
  return [stringify(value)]
}

export function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

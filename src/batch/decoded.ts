import type { BatchRecord, Decode, Decoded } from './types.ts'

/** The record, or the records that it is, with inputs that are no bytes of a format any more. */
export function decoded(r: BatchRecord, decode: Decode | undefined): Decoded | Decoded[] {
  const { input, record, count = 1, next } = r
  if (input.kind !== 'raw') return { ...r, input: input as Decoded['input'] }
  const { bytes, spans, about } = input
  if (!spans) {
    const all = decode!({ kind: 'raw', bytes, about }, count)
    if (count === 1 || all.input.kind !== 'bad') return { ...r, ...all }
  }
  const width = bytes.length / count
  return Array.from({ length: count }, (_, i) => {
    const own = spans ? bytes.subarray(spans[2 * i], spans[2 * i + 1]) : bytes.subarray(i * width, (i + 1) * width)
    return { record: record + i, bytes: own.length, next, ...decode!({ kind: 'raw', bytes: own, about }) }
  })
}

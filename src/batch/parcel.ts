import { isShared } from './buffers.ts'
import type { BatchRecord } from './types.ts'

export interface Parcel {
  readonly parcel: BatchRecord[]
  /** what is handed over with it, and is gone here */
  readonly transfer: ArrayBuffer[]
  /** what the other thread reads where it is, until it has answered; once for each record that holds it */
  readonly shared: SharedArrayBuffer[]
}

/**
 * Records for another thread. A view of a small part of a large buffer would be sent with all of the buffer: so memory that holds records
 * by itself is handed over or shared, and other bytes are copied together.
 */
export function pack(records: readonly BatchRecord[]): Parcel {
  const size = records.reduce((n, { input }) => n + (copied(input)?.length ?? 0), 0)
  const bytes = new Uint8Array(size)
  const transfer = new Set<ArrayBuffer>(size > 0 ? [bytes.buffer] : [])
  const shared: SharedArrayBuffer[] = []
  let at = 0
  const parcel = records.map((r): BatchRecord => {
    const { record, count, id, input, source } = r
    const own = { record, count, id, source, bytes: 0, next: { record: 0 } }
    const given = copied(input)
    if (given) {
      bytes.set(given, at)
      at += given.length
      return { ...own, input: { ...input, bytes: bytes.subarray(at - given.length, at) } as BatchRecord['input'] }
    }
    for (const { buffer, byteLength } of memoryOf(input))
      if (isShared(buffer)) shared.push(buffer)
      else if (byteLength === buffer.byteLength) transfer.add(buffer as ArrayBuffer)
    return { ...own, input }
  })
  return { parcel, transfer: [...transfer], shared }
}

/** Bytes that may lie beside those of others. */
function copied(input: BatchRecord['input']): Uint8Array | undefined {
  if (input.kind === 'raw' && isShared(input.bytes.buffer)) return undefined
  return input.kind === 'raw' || input.kind === 'file' || input.kind === 'example' ? input.bytes : undefined
}

function memoryOf(input: BatchRecord['input']): ArrayBufferView[] {
  if (input.kind === 'raw') return [input.bytes]
  if (input.kind !== 'tensors') return []
  return Object.values(input.tensors).flatMap(({ data }) => (Array.isArray(data) ? [] : [data]))
}

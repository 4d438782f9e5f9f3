import type { BatchRecord } from './types.ts'

/**
 * Records for another thread. Views of small parts of large buffers would be sent with all of the buffer, and a buffer that is handed over is
 * gone here: so raw bytes are copied together, and tensors, which own their memory, are handed over.
 */
export function pack(records: readonly BatchRecord[]): { parcel: BatchRecord[]; transfer: ArrayBuffer[] } {
  const size = records.reduce((n, { input }) => n + (bytesOf(input)?.length ?? 0), 0)
  const bytes = new Uint8Array(size)
  const transfer = new Set<ArrayBuffer>(size > 0 ? [bytes.buffer] : [])
  let at = 0
  const parcel = records.map((r): BatchRecord => {
    const { record, count, id, input, source } = r
    const own = { record, count, id, source, bytes: 0, next: { record: 0 } }
    const given = bytesOf(input)
    if (given) {
      bytes.set(given, at)
      at += given.length
      return { ...own, input: { ...input, bytes: bytes.subarray(at - given.length, at) } as BatchRecord['input'] }
    }
    if (input.kind === 'tensors')
      for (const { data } of Object.values(input.tensors))
        if (!Array.isArray(data) && data.byteLength === data.buffer.byteLength) transfer.add(data.buffer as ArrayBuffer)
    return { ...own, input }
  })
  return { parcel, transfer: [...transfer] }
}

function bytesOf(input: BatchRecord['input']): Uint8Array | undefined {
  return input.kind === 'raw' || input.kind === 'file' || input.kind === 'example' ? input.bytes : undefined
}

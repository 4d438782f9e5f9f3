import { DTYPES, type DType, type NumericArray, type Tensor, type TensorData } from '../tensor.ts'
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

/**
 * Tensors that lie in shared memory, which onnxruntime's binding does not take, copied into memory of this thread: the same for each parcel,
 * since nothing holds an input when its answer is there.
 */
export function createUnpacker(): (parcel: readonly BatchRecord[]) => BatchRecord[] {
  let memory = new ArrayBuffer(0)
  return (parcel) => {
    const size = parcel.reduce((n, { input }) => n + sharedIn(input).reduce((m, d) => m + d.byteLength + ALIGN, 0), 0)
    if (size > memory.byteLength) memory = new ArrayBuffer(size)
    let at = 0
    const moved = (t: Tensor): Tensor => {
      if (!inShared(t.data)) return t
      const { array, bytes } = DTYPES[t.dtype as NumericType]
      // right behind the one before, so that rows that follow one another can be one
      at = Math.ceil(at / bytes) * bytes
      const data = new array(memory, at, t.data.byteLength / bytes)
      at += data.byteLength
      data.set(t.data as never)
      return { ...t, data }
    }
    return parcel.map((r) => {
      if (r.input.kind !== 'tensors' || sharedIn(r.input).length === 0) return r
      const tensors = Object.fromEntries(Object.entries(r.input.tensors).map(([alias, t]) => [alias, moved(t)]))
      return { ...r, input: { kind: 'tensors', tensors } }
    })
  }
}

type NumericType = Exclude<DType, 'string'>
const ALIGN = 8
const inShared = (data: TensorData): data is NumericArray => !Array.isArray(data) && isShared(data.buffer)

function sharedIn(input: BatchRecord['input']): NumericArray[] {
  return input.kind === 'tensors'
    ? Object.values(input.tensors)
        .map((t) => t.data)
        .filter(inShared)
    : []
}

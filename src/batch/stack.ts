import type { Signature } from '../manifest.ts'
import { DTYPES, sizeOf, type Tensor, type TensorData } from '../tensor.ts'
import type { Tensors } from '../types.ts'

/** Rows of several records can go through the graph at once: the first dimension of everything is open. */
export function isStackable({ inputs, outputs }: Signature): boolean {
  return (
    Object.values(inputs).every((i) => i.shape !== null && i.shape[0] === null) &&
    Object.values(outputs).every((o) => o.shape === null || o.shape[0] === null)
  )
}

/** Feeds of equal key can be stacked: the same inputs, and the same dimensions behind the first. undefined: they cannot. */
export function stackKey(feeds: Tensors): string | undefined {
  const entries = Object.entries(feeds)
  const rows = entries[0]?.[1].shape[0]
  if (rows === undefined || rows < 1 || entries.some(([, t]) => t.shape[0] !== rows)) return undefined
  return entries.map(([alias, t]) => `${alias}:${t.shape.slice(1)}`).join(';')
}

export function rowsOf(feeds: Tensors): number {
  return Object.values(feeds)[0]?.shape[0] ?? 1
}

export function bytesIn(feeds: Tensors): number {
  return Object.values(feeds).reduce(
    (n, t) => n + (Array.isArray(t.data) ? t.data.reduce((m, s) => m + s.length, 0) : t.data.byteLength),
    0,
  )
}

export function stack(list: readonly Tensors[]): Tensors {
  if (list.length === 1) return list[0]!
  const feeds: Tensors = {}
  for (const alias of Object.keys(list[0]!)) feeds[alias] = concat(list.map((f) => f[alias]!))
  return feeds
}

function concat(tensors: readonly Tensor[]): Tensor {
  const { dtype, shape } = tensors[0]!
  const rows = tensors.reduce((n, t) => n + t.shape[0]!, 0)
  const whole = [rows, ...shape.slice(1)]
  if (dtype === 'string') return { dtype, shape: whole, data: tensors.flatMap((t) => t.data as string[]) }
  const together = adjacent(tensors)
  if (together) return { dtype, shape: whole, data: together }
  const data = new DTYPES[dtype].array(sizeOf(whole))
  let at = 0
  for (const t of tensors) {
    data.set(t.data as never, at)
    at += t.data.length
  }
  return { dtype, shape: whole, data }
}

/** The memory of tensors that lie one behind the other. */
export function adjacent(tensors: readonly Tensor[]): TensorData | undefined {
  const { dtype, data: first } = tensors[0]!
  if (Array.isArray(first) || dtype === 'string') return undefined
  let end = first.byteOffset
  for (const { data } of tensors) {
    if (Array.isArray(data) || data.buffer !== first.buffer || data.byteOffset !== end) return undefined
    end += data.byteLength
  }
  const { array, bytes } = DTYPES[dtype]
  return new array(first.buffer as ArrayBuffer, first.byteOffset, (end - first.byteOffset) / bytes)
}

/** The outputs by record; undefined where one of them has not a row for each row that was fed. */
export function unstack(outputs: Tensors, rows: readonly number[]): Tensors[] | undefined {
  const total = rows.reduce((a, b) => a + b, 0)
  const entries = Object.entries(outputs)
  if (entries.some(([, t]) => t.shape[0] !== total)) return undefined
  let at = 0
  return rows.map((n) => {
    const own: Tensors = {}
    for (const [alias, t] of entries) own[alias] = rowsFrom(t, at, n)
    at += n
    return own
  })
}

/** The rows from one to before another, in the same memory. */
export function slice(feeds: Tensors, from: number, to: number): Tensors {
  return Object.fromEntries(Object.entries(feeds).map(([alias, t]) => [alias, rowsFrom(t, from, to - from)]))
}

function rowsFrom({ dtype, shape, data }: Tensor, from: number, rows: number): Tensor {
  const width = sizeOf(shape.slice(1))
  const [start, end] = [from * width, (from + rows) * width]
  const part: TensorData = Array.isArray(data) ? data.slice(start, end) : data.subarray(start, end)
  return { dtype, shape: [rows, ...shape.slice(1)], data: part }
}

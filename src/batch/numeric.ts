import type { Signature } from '../manifest.ts'
import { sizeOf, type Tensor } from '../tensor.ts'
import { NumberReader } from '../tensorjson/number.ts'
import { scanNumbers } from '../tensorjson/numbers.ts'
import type { Tensors } from '../types.ts'

const [OPEN_LIST, OPEN, CLOSE, QUOTE, COLON, COMMA, BACKSLASH] = [91, 123, 125, 34, 58, 44, 92]

/**
 * The tensors of a text that is a regular list of numbers, or an object of such for inputs: read straight into their arrays, twice as fast
 * as by objects in between. Only for inputs of float32; undefined wherever anything is otherwise, faults included: the
 * general way then says what is there.
 */
export function tensorsOfText(text: Uint8Array, { inputs }: Signature, room?: Room): Tensors | undefined {
  const reader = new NumberReader(text)
  let at = space(text, 0)
  const list = (alias: string): Tensor | undefined => {
    const spec = Object.hasOwn(inputs, alias) ? inputs[alias] : undefined
    if (spec?.dtype !== 'float32' || spec.shape === null) return undefined
    const place = room?.(alias)
    if (text[at] !== OPEN_LIST) return spec.shape.length === 1 ? number(place) : undefined
    const numbers = scanNumbers(reader, at, true, place)
    if (!('end' in numbers)) return undefined
    at = space(text, numbers.end)
    const shape = withoutBatch(numbers.shape, spec.shape.length)
    const values = numbers.values as Float32Array
    // what does not fill its place leaves that to the next
    const data = place && values.buffer === place.buffer && values.length < place.length ? values.slice() : values
    return shape && { dtype: 'float32', shape, data }
  }
  const number = (place: Float32Array = new Float32Array(1)): Tensor | undefined => {
    if (!reader.read(at, true)) return undefined
    place[0] = reader.value
    at = space(text, reader.at)
    return { dtype: 'float32', shape: [], data: place }
  }
  const aliases = Object.keys(inputs)
  if (text[at] === OPEN_LIST) {
    const only = aliases.length === 1 ? list(aliases[0]!) : undefined
    return only && !reader.overflows && at === text.length ? { [aliases[0]!]: only } : undefined
  }
  if (text[at] !== OPEN) return undefined
  const found: Tensors = {}
  do {
    at = space(text, at + 1)
    const end = text[at] === QUOTE ? text.indexOf(QUOTE, at + 1) : -1
    if (end < 0) return undefined
    const name = text.subarray(at + 1, end)
    const alias = name.includes(BACKSLASH) ? undefined : aliases.find((a) => Buffer.from(a).equals(name))
    at = space(text, end + 1)
    if (alias === undefined || alias in found || text[at] !== COLON) return undefined
    at = space(text, at + 1)
    const tensor = list(alias)
    if (!tensor) return undefined
    found[alias] = tensor
  } while (text[at] === COMMA)
  return text[at] === CLOSE && !reader.overflows && space(text, at + 1) === text.length ? found : undefined
}

/** A list of numbers, each of them an input by itself or none; undefined where it is anything else. */
export function scalarsOfRow(
  text: Uint8Array,
  columns: readonly (string | undefined)[],
  room: Room,
): Tensors | undefined {
  const reader = new NumberReader(text)
  const numbers = scanNumbers(reader, 0, true)
  if (!('end' in numbers) || reader.overflows || numbers.shape.length !== 1 || numbers.shape[0] !== columns.length)
    return undefined
  if (space(text, numbers.end) !== text.length) return undefined
  const tensors: Tensors = {}
  for (const [i, alias] of columns.entries()) {
    if (alias === undefined) continue
    const data = room(alias) ?? new Float32Array(1)
    data[0] = numbers.values[i]!
    tensors[alias] = { dtype: 'float32', shape: [], data }
  }
  return tensors
}

/** The place for the numbers of an input, the same until all of it was used. */
export type Room = (alias: string) => Float32Array | undefined

const ROOM_BYTES = 2 ** 20

/** Memory that is used again when {@link Memory.turn} is another: the graph holds no input when its answer is there. */
export interface Memory {
  readonly turn: number
  /** at least so many bytes */
  take(size: number): ArrayBuffer
}

export function createMemory(): Memory & { again(): void } {
  const all: ArrayBuffer[] = []
  let taken = 0
  let turn = 0
  return {
    get turn() {
      return turn
    },
    take(size) {
      const found = all[taken]
      if (!found || found.byteLength < size) all[taken] = new ArrayBuffer(size)
      return all[taken++]!
    },
    again() {
      taken = 0
      turn++
    },
  }
}

/** Places that lie one behind the other, so that rows read into them are stacked already. */
export function createRoom(
  { inputs }: Signature,
  memory?: Memory,
): { readonly room: Room; used(tensors: Tensors): void } {
  const open = new Map<string, { values: Float32Array; at: number; width: number; turn: number | undefined }>()
  return {
    room(alias) {
      const rest = inputs[alias]?.shape?.slice(1)
      if (!rest?.every((d) => d !== null)) return undefined
      const width = sizeOf(rest)
      let place = open.get(alias)
      if (!place || place.at + width > place.values.length || place.turn !== memory?.turn) {
        const rows = Math.floor(ROOM_BYTES / 4 / Math.max(1, width))
        const values = rows > 0 && memory ? new Float32Array(memory.take(ROOM_BYTES), 0, rows * width) : undefined
        place = { values: values ?? new Float32Array(Math.max(1, rows) * width), at: 0, width, turn: memory?.turn }
        open.set(alias, place)
      }
      return place.values.subarray(place.at, place.at + width)
    },
    used(tensors) {
      for (const [alias, { data }] of Object.entries(tensors)) {
        const place = open.get(alias)
        if (place && (data as Float32Array).buffer === place.values.buffer) place.at += place.width
      }
    },
  }
}

function withoutBatch(shape: readonly number[], rank: number): readonly number[] | undefined {
  if (shape.length === rank - 1) return shape
  return shape.length === rank && shape[0] === 1 ? shape.slice(1) : undefined
}

function space(text: Uint8Array, at: number): number {
  while (text[at] === 32 || text[at] === 9 || text[at] === 13 || text[at] === 10) at++
  return at
}

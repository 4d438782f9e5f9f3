import { DTYPES, type DType, type NumericArray, sizeOf } from '../../src/tensor.ts'
import { has, type Int64, toNumber } from './protobuf.ts'

export interface SliceProto {
  extent?: { start?: Int64; length?: Int64 }[]
}

/** A block of a tensor: where it starts and how long it is in each dimension. */
export interface Block {
  readonly start: readonly number[]
  readonly size: readonly number[]
}

/** A length that is not written means the whole dimension. */
export function blockOf(s: SliceProto, shape: readonly number[]): Block {
  const whole = shape.map((_, i) => !has(s.extent?.[i], 'length'))
  return {
    start: shape.map((_, i) => (whole[i] ? 0 : toNumber(s.extent![i]!.start))),
    size: shape.map((d, i) => (whole[i] ? d : toNumber(s.extent![i]!.length))),
  }
}

/** What two blocks have in common, or undefined. */
export function overlap(a: Block, b: Block): Block | undefined {
  const start = a.start.map((s, i) => Math.max(s, b.start[i]!))
  const size = start.map((s, i) => Math.min(a.start[i]! + a.size[i]!, b.start[i]! + b.size[i]!) - s)
  return size.every((d) => d > 0) ? { start, size } : undefined
}

export const same = (a: Block, b: Block): boolean =>
  a.start.every((s, i) => s === b.start[i]) && a.size.every((d, i) => d === b.size[i])

/** The values of `wanted` out of pieces that cover it, or undefined where they do not. */
export function assemble(
  dtype: Exclude<DType, 'string'>,
  wanted: Block,
  pieces: readonly { block: Block; data: NumericArray }[],
): NumericArray | undefined {
  let covered = 0
  for (const p of pieces) covered += sizeOf(overlap(p.block, wanted)?.size ?? [0])
  // before anything is allocated: what the pieces hold is what was read from the files
  if (covered !== sizeOf(wanted.size)) return undefined
  const out = new DTYPES[dtype].array(covered)
  for (const p of pieces) {
    const common = overlap(p.block, wanted)
    if (common) copy(common, p.data as Float32Array, p.block, out as Float32Array, wanted)
  }
  return out
}

function copy(common: Block, from: Float32Array, source: Block, to: Float32Array, target: Block): void {
  const rank = common.size.length
  const row = rank === 0 ? 1 : common.size[rank - 1]!
  const at = [...common.start]
  const place = (b: Block): number => at.reduce((n, x, i) => n * b.size[i]! + x - b.start[i]!, 0)
  for (let left = sizeOf(common.size); left > 0; left -= row) {
    const start = place(source)
    to.set(from.subarray(start, start + row), place(target))
    for (let i = rank - 2; i >= 0 && ++at[i]! === common.start[i]! + common.size[i]!; i--) at[i] = common.start[i]!
  }
}

/** The ordered-code key of a slice (tensorflow/core/util/saved_tensor_slice_util.cc). A length of -1 means the whole dimension. */
export function sliceKey(name: string, s: SliceProto, rank: number): string {
  let key = `\0${name.replace(/\0/g, '\0\xff').replace(/\xff/g, '\xff\0')}\0\x01${unsigned(rank)}`
  for (const e of s.extent ?? []) {
    const whole = !has(e, 'length')
    key += signed(whole ? 0 : toNumber(e.start)) + signed(whole ? -1 : toNumber(e.length))
  }
  return key
}

function unsigned(n: number): string {
  let bytes = ''
  for (let v = n; v > 0; v = Math.floor(v / 256)) bytes = String.fromCharCode(v % 256) + bytes
  return String.fromCharCode(bytes.length) + bytes
}

const HEADER = [0, 0x80, 0xc0, 0xe0, 0xf0, 0xf8, 0xfc, 0xfe]

function signed(n: number): string {
  const magnitude = n < 0 ? -n - 1 : n
  const bits = magnitude === 0 ? 0 : Math.floor(Math.log2(magnitude)) + 1
  const length = Math.floor(bits / 7) + 1
  const bytes: number[] = []
  for (let i = 0, v = BigInt(n); i < length; i++, v >>= 8n) bytes.unshift(Number(v & 255n))
  bytes[0]! ^= HEADER[length] ?? 0xff
  return String.fromCharCode(...bytes)
}

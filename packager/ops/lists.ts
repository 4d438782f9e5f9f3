import { ONNX_DTYPES } from '../formats/proto/onnx.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumber, constNumbers, type Shape, type Value, type ValueDType } from '../onnx/value.ts'
import { storageDType } from '../onnx/values.ts'
import { handleOf } from './core.ts'
import { type AnyNode, type Handle, type Out, unsupported } from './op.ts'

/**
 * A TensorList or the contents of a TensorArray. ONNX has no such value, so what holds the elements depends on how the list is used:
 * - unset: reserved, no element written yet; reading gives zeros
 * - dense: all elements stacked along a new first dimension
 * - sequence: an ONNX sequence, for elements whose shapes differ or cannot be known
 * - scan: inside a loop that writes each element once, in order; the loop collects `item` as a scan output
 */
export type Content =
  | { readonly kind: 'unset'; readonly length: Value }
  | { readonly kind: 'dense'; readonly value: Value }
  | { readonly kind: 'sequence'; readonly value: Value }
  | { readonly kind: 'scan'; readonly slot: ScanSlot; readonly item?: Value }

export interface TensorList {
  readonly dtype: ValueDType
  /** of one element; undefined: unknown rank. Unknown dimensions have names. */
  readonly elem: Shape | undefined
  /** TensorArray that grows when it is written past its end */
  readonly grows: boolean
  readonly content: Content
}

/** A loop's hope that a list is only written, element by element. Any other use refuses it; the loop is then emitted another way. */
export interface ScanSlot {
  /** values that count iterations from a constant on, by name */
  readonly counters: ReadonlyMap<string, number>
  /** what the list holds before the loop */
  readonly before: TensorList
  refused: boolean
  /** how the body wrote: at a counter that starts at this index, or at the end */
  at?: number | 'end'
  /** written so that it grows */
  grows?: boolean
  /** shape of what was written, kept when the slot is refused */
  shape?: Shape | undefined
}

export const LIST = 'tensor list'

export function listHandle(n: AnyNode, list: TensorList): Handle {
  return handleOf(n, LIST, { list })
}

export function asList(out: Out | undefined): TensorList | undefined {
  return out?.kind === 'handle' && out.type === LIST ? (out.state.list as TensorList) : undefined
}

/** A list that a loop body uses in a way its slot does not allow: everything behind it is passed over, the body is emitted again. */
export const REFUSED: Out = { kind: 'poison' }

export function refuse(list: TensorList, item?: Value): Out {
  if (list.content.kind === 'scan') {
    list.content.slot.refused = true
    list.content.slot.shape ??= (item ?? list.content.item)?.shape
  }
  return REFUSED
}

/** Int64 scalar → vector of length 1, which is what shapes are made of. */
export const vector = (v: Value, b: Builder): Value =>
  v.shape?.length === 1 ? b.cast(v, 'int64') : b.reshape(b.cast(v, 'int64'), [1])
const scalar = (v: Value, b: Builder): Value =>
  v.shape?.length === 0 ? b.cast(v, 'int64') : b.reshape(b.cast(v, 'int64'), [])

/** The element shape that an op's input or attribute states: -1 anywhere is unknown, a scalar -1 an unknown rank. */
export function elementShape(v: Value | undefined, b: Builder): Shape | undefined {
  if (!v?.part || v.shape?.length !== 1) return undefined
  return v.part.map((d) => (d === -1 ? b.fresh() : d))
}

/** What two statements about one shape say together. */
export function meet(a: Shape | undefined, b: Shape | undefined): Shape | undefined {
  if (!a || !b || a.length !== b.length) return a ?? b
  return a.map((d, i) => (typeof d === 'number' ? d : b[i]!))
}

export function lengthOf(list: TensorList, b: Builder): Value {
  const c = list.content
  if (c.kind === 'unset') return scalar(c.length, b)
  if (c.kind === 'dense') return b.reshape(b.dim(c.value, 0), [])
  if (c.kind === 'sequence') return b.op('SequenceLength', [c.value], {}, { dtype: 'int64', shape: [] })
  return lengthOf(c.slot.before, b)
}

/** `shape` as an int64 vector, or undefined where a dimension cannot be had from any value. */
export function shapeValue(shape: Shape | undefined, b: Builder): Value | undefined {
  if (!shape) return undefined
  if (shape.length === 0) return b.ints([])
  const dims = shape.map((d) => b.dimValue(d))
  return dims.every((d) => d !== undefined) ? b.concat(dims, 0) : undefined
}

export function zeros(dtype: ValueDType, shape: Value, b: Builder): Value {
  const zero = dtype === 'string' ? b.const({ dtype, shape: [], data: [''] }) : b.scalar(dtype, 0)
  return b.op('Expand', [zero, shape])
}

/** All elements stacked. Unset ones are zeros, whose shape is the list's own or that of `like`. Undefined where neither can be had. */
export function dense(list: TensorList, b: Builder, like?: Value): Value | undefined {
  const c = list.content
  if (c.kind === 'dense') return c.value
  if (c.kind === 'unset') {
    const shape = like ? b.shapeOf(like) : shapeValue(list.elem, b)
    return shape && zeros(list.dtype, b.concat([vector(c.length, b), shape], 0), b)
  }
  if (c.kind === 'sequence') {
    const shape = list.elem && [b.fresh(), ...list.elem]
    return b.op('ConcatFromSequence', [c.value], { axis: 0, new_axis: 1 }, { dtype: list.dtype, shape })
  }
  return undefined
}

/** The elements one by one, for lists that cannot be a stacked tensor. */
export function sequence(list: TensorList, b: Builder): Value | undefined {
  const c = list.content
  if (c.kind === 'sequence') return c.value
  const out = { dtype: list.dtype, shape: list.elem, sequence: true }
  if (c.kind === 'unset' && constNumber(c.length) === 0)
    return b.op('SequenceEmpty', [], { dtype: ONNX_DTYPES[storageDType(list.dtype)] }, out)
  // an unset element in a sequence has the known part of its shape, and nothing in the unknown one
  const known =
    c.kind === 'unset' ? zeros(list.dtype, b.concat([vector(c.length, b), ...hollow(list, b)], 0), b) : dense(list, b)
  return known && b.op('SplitToSequence', [known], { axis: 0, keepdims: 0 }, out)
}

/** The element shape with nothing in unknown dimensions. */
export const hollow = (list: TensorList, b: Builder): Value[] =>
  (list.elem ?? []).map((d) => b.dimValue(d) ?? b.ints([0]))

/** Undefined where a loop's hope for a scan output is given up. @throws {AppError} UNSUPPORTED_OPS */
export function mustBeDense(n: AnyNode, list: TensorList, b: Builder, like?: Value): Value | undefined {
  if (list.content.kind === 'scan') return void refuse(list)
  const value = dense(list, b, like)
  if (!value) throw unsupported(n, 'a list whose element shape is known', 'a list of unset elements of unknown shape')
  return value
}

export function get(n: AnyNode, list: TensorList, index: Value, b: Builder, like?: Shape): Out {
  if (list.content.kind === 'scan') return refuse(list)
  const elem = meet(list.elem, like)
  if (list.content.kind === 'sequence')
    return b.op('SequenceAt', [list.content.value, scalar(index, b)], {}, { dtype: list.dtype, shape: elem })
  const item = b.gather(mustBeDense(n, { ...list, elem }, b)!, scalar(index, b))
  return item.shape || !elem ? item : b.as(item, { shape: elem })
}

/** The list with one element replaced. */
export function set(n: AnyNode, list: TensorList, index: Value, item: Value, b: Builder): TensorList | undefined {
  const c = list.content
  const elem = meet(list.elem, item.shape)
  if (c.kind === 'scan') {
    const from = c.slot.counters.get(index.name)
    if (from === undefined || c.item || (c.slot.at ?? from) !== from) return void refuse(list, item)
    c.slot.at = from
    c.slot.grows = list.grows
    return { ...list, elem, content: { kind: 'scan', slot: c.slot, item } }
  }
  if (c.kind === 'sequence') {
    const at = scalar(index, b)
    const type = { dtype: list.dtype, shape: elem, sequence: true }
    const without = b.op('SequenceErase', [c.value, at], {}, type)
    return {
      ...list,
      elem,
      content: { kind: 'sequence', value: b.op('SequenceInsert', [without, item, at], {}, type) },
    }
  }
  if (list.grows) {
    const needed = b.op('Max', [lengthOf(list, b), b.op('Add', [scalar(index, b), b.int(1)])])
    const longer = resize(n, { ...list, elem, grows: false }, needed, b)
    const out = longer && set(n, longer, index, item, b)
    return out && { ...out, grows: true }
  }
  if (constNumber(lengthOf(list, b)) === 1)
    return { ...list, elem, content: { kind: 'dense', value: b.unsqueeze(item, [0]) } }
  const value = mustBeDense(n, list, b, item)!
  const written = b.op('ScatterND', [value, b.reshape(scalar(index, b), [1, 1]), b.unsqueeze(item, [0])])
  return { ...list, elem, content: { kind: 'dense', value: written } }
}

export function push(n: AnyNode, list: TensorList, item: Value, b: Builder): TensorList | undefined {
  const c = list.content
  const elem = meet(list.elem, item.shape)
  if (c.kind === 'scan') {
    if (c.item || (c.slot.at ?? 'end') !== 'end') return void refuse(list, item)
    c.slot.at = 'end'
    return { ...list, elem, content: { kind: 'scan', slot: c.slot, item } }
  }
  if (c.kind === 'sequence') {
    const type = { dtype: list.dtype, shape: elem, sequence: true }
    return { ...list, elem, content: { kind: 'sequence', value: b.op('SequenceInsert', [c.value, item], {}, type) } }
  }
  const last = b.unsqueeze(item, [0])
  if (c.kind === 'unset' && constNumber(c.length) === 0)
    return { ...list, elem, content: { kind: 'dense', value: last } }
  const value = mustBeDense(n, list, b, item)!
  return { ...list, elem, content: { kind: 'dense', value: b.concat([value, last], 0) } }
}

/** Longer lists end in unset elements, shorter ones lose their last. */
export function resize(n: AnyNode, list: TensorList, size: Value, b: Builder): TensorList | undefined {
  const c = list.content
  if (c.kind === 'unset') return { ...list, content: { kind: 'unset', length: scalar(size, b) } }
  const value = mustBeDense(n, list, b)
  return value && { ...list, content: { kind: 'dense', value: padded(value, vector(size, b), b) } }
}

/** The first dimension cut or filled up with zeros to a size (int64 vector of length 1). */
export function padded(value: Value, size: Value, b: Builder): Value {
  const have = b.dim(value, 0)
  if (sameDim(have, size)) return value
  const missing = b.op('Max', [b.op('Sub', [size, have]), b.ints([0])])
  const rest = b.op('Shape', [value], { start: 1 })
  const filler = zeros(value.dtype, b.concat([missing, rest], 0), b)
  const cut = b.op('Slice', [value, b.ints([0]), size, b.ints([0])])
  return b.concat([cut, filler], 0)
}

export function sameDim(a: Value, b: Value): boolean {
  const [x, y] = [a.part?.[0], b.part?.[0]]
  return x !== undefined && x === y
}

/** Elements of `value` put at `indices` of a list. */
export function scatter(
  n: AnyNode,
  list: TensorList,
  indices: Value,
  value: Value,
  b: Builder,
): TensorList | undefined {
  if (list.content.kind === 'scan') return void refuse(list)
  const elem = meet(list.elem, value.shape?.slice(1))
  if (list.content.kind === 'unset' && countsUp(indices, b)) {
    const size = vector(list.content.length, b)
    const whole = list.grows ? value : padded(value, size, b)
    return { ...list, elem, content: { kind: 'dense', value: whole } }
  }
  const room = list.grows
    ? resize(n, { ...list, elem }, b.op('Max', [lengthOf(list, b), afterLast(indices, b)]), b)
    : { ...list, elem }
  const into = room && mustBeDense(n, room, b)
  if (!into) return undefined
  const at = b.unsqueeze(b.cast(indices, 'int64'), [1])
  return { ...list, elem, content: { kind: 'dense', value: b.op('ScatterND', [into, at, value]) } }
}

/** One more than the largest index; 0 for none. */
export function afterLast(indices: Value, b: Builder): Value {
  const from = b.concat([b.ints([-1]), b.cast(indices, 'int64')], 0)
  return b.op('Add', [b.op('ReduceMax', [from], { keepdims: 0 }), b.int(1)])
}

/** 0, 1, 2, …: what TensorFlow unstacks and stacks with. */
export function countsUp(indices: Value, b: Builder): boolean {
  const known = constNumbers(indices)
  if (known) return known.every((v, i) => v === i)
  const node = b.producer(indices)
  if (node?.type === 'Cast') return countsUp({ ...indices, name: node.inputs[0]! }, b)
  if (node?.type !== 'Range') return false
  const [start, delta] = [b.constantNamed(node.inputs[0]!), b.constantNamed(node.inputs[2]!)]
  return Number(start?.data[0]) === 0 && Number(delta?.data[0]) === 1
}

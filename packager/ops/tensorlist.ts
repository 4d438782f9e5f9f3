import { Builder } from '../onnx/builder.ts'
import type { Shape, Value } from '../onnx/value.ts'
import { withShape } from './core.ts'
import {
  afterLast,
  asList,
  elementShape,
  get,
  lengthOf,
  listHandle,
  meet,
  mustBeDense,
  push,
  REFUSED,
  refuse,
  resize,
  scatter,
  set,
  type TensorList,
} from './lists.ts'
import { type AnyNode, type OpRow, type OpTable, type Out, op, unsupported } from './op.ts'
import { emptyRows, raggedOf, rowsOf } from './variant.ts'

/** @throws {AppError} UNSUPPORTED_OPS when the input is not a list of tensors */
export function listIn(n: AnyNode, from: Out | undefined): TensorList {
  const list = asList(from)
  if (list) return list
  throw unsupported(
    n,
    'a list of tensors',
    from?.kind === 'handle' ? `a ${from.type}` : `a ${from?.kind ?? 'missing input'}`,
  )
}

/** A row's result, unless the surrounding loop has to be emitted another way. */
export const listOut = (n: AnyNode, list: TensorList | undefined): Out => (list ? listHandle(n, list) : REFUSED)

function unset(n: AnyNode, shape: Value, length: Value, b: Builder): Out {
  const elem = elementShape(shape, b)
  return listHandle(n, { dtype: n.dtype('element_dtype'), elem, grows: false, content: { kind: 'unset', length } })
}

/** All elements stacked. */
export function stack(n: AnyNode, list: TensorList, elem: Shape | undefined, b: Builder): Out {
  if (list.content.kind === 'scan') return refuse(list)
  const value = mustBeDense(n, { ...list, elem: meet(list.elem, elem) }, b)!
  if (!value.shape) return elem ? b.as(value, { shape: [b.fresh(), ...elem] }) : value
  const known = meet(value.shape.slice(1), elem)
  return value.data || known === undefined ? value : b.as(value, { shape: [value.shape[0]!, ...known] })
}

/** Elements joined along their own first dimension, and how long each is. */
export function joinedElements(n: AnyNode, list: TensorList, elem: Shape | undefined, b: Builder): readonly Out[] {
  if (list.content.kind === 'scan') return [refuse(list), REFUSED]
  if (list.content.kind === 'sequence') {
    const { value } = list.content
    const shape = list.elem && [b.fresh(), ...list.elem.slice(1)]
    return [b.op('ConcatFromSequence', [value], { axis: 0 }, { dtype: list.dtype, shape }), firstDims(list, value, b)]
  }
  const value = mustBeDense(n, { ...list, elem: meet(list.elem, elem) }, b)!
  const [count, each] = [b.dim(value, 0), b.dim(value, 1)]
  const target = b.concat([b.op('Mul', [count, each]), b.op('Shape', [value], { start: 2 })], 0)
  return [b.op('Reshape', [value, target], { allowzero: 1 }), b.op('Expand', [each, count])]
}

function firstDims(list: TensorList, value: Value, b: Builder): Value {
  const inner = new Builder(b)
  const i = inner.bodyInput('i', 'int64', [])
  const going = inner.bodyInput('going', 'bool', [])
  const item = inner.op('SequenceAt', [value, i], {}, { dtype: list.dtype, shape: list.elem })
  const size = inner.reshape(inner.op('Shape', [item], { start: 0, end: 1 }), [])
  const count = b.op('SequenceLength', [value], {}, { dtype: 'int64', shape: [] })
  const type = { dtype: 'int64' as const, shape: [b.fresh()] }
  return b.op('Loop', [count, b.scalar('bool', 1)], { body: inner.close(`${b.at} lengths`, [going, size]) }, type)
}

/** A tensor cut along its first dimension into elements of these lengths. */
export function cut(n: AnyNode, list: Omit<TensorList, 'content'>, tensor: Value, lengths: Value, b: Builder): Out {
  const elem: Shape | undefined = tensor.shape && [b.fresh(), ...tensor.shape.slice(1)]
  const type = { dtype: tensor.dtype, shape: elem, sequence: true }
  const value = b.op('SplitToSequence', [tensor, b.cast(lengths, 'int64')], { axis: 0 }, type)
  return listHandle(n, { ...list, elem, content: { kind: 'sequence', value } })
}

export function fromTensor(n: AnyNode, tensor: Value, elem: Shape | undefined, b: Builder): TensorList {
  const value = tensor.shape || !elem ? tensor : b.as(tensor, { shape: [b.fresh(), ...elem] })
  return {
    dtype: n.dtype('element_dtype'),
    elem: meet(value.shape?.slice(1), elem),
    grows: false,
    content: { kind: 'dense', value },
  }
}

const scattered: OpRow = op({
  in: ['tensor', 'indices', 'element_shape', 'num_elements?'],
  attrs: { element_dtype: 'type' },
  emit: (n, b) => {
    // -1, also the first version's meaning: as many as the largest index needs
    const asked = n.in.num_elements && b.cast(n.in.num_elements, 'int64')
    const needed = afterLast(n.in.indices, b)
    const length = asked ? b.op('Where', [b.op('Less', [asked, b.int(0)]), needed, asked]) : needed
    const list: TensorList = {
      dtype: n.in.tensor.dtype,
      elem: elementShape(n.in.element_shape, b),
      grows: false,
      content: { kind: 'unset', length },
    }
    return listOut(n, scatter(n, list, n.in.indices, n.in.tensor, b))
  },
})

/** The lists of TensorFlow 2's control flow. They are values: every op yields a new list. */
export const TENSOR_LIST = {
  TensorListReserve: op({
    in: ['element_shape', 'num_elements'],
    attrs: { element_dtype: 'type' },
    emit: (n, b) =>
      n.attrs.element_dtype === 'variant'
        ? listHandle(n, emptyRows(n, b.cast(n.in.num_elements, 'int64'), b))
        : unset(n, n.in.element_shape, b.cast(n.in.num_elements, 'int64'), b),
  }),
  EmptyTensorList: op({
    in: ['element_shape', 'max_num_elements'],
    attrs: { element_dtype: 'type' },
    emit: (n, b) => unset(n, n.in.element_shape, b.int(0), b),
  }),
  TensorListFromTensor: op({
    in: ['tensor!', 'element_shape'],
    attrs: { element_dtype: 'type' },
    emit: (n, b) => {
      const x = n.in.tensor
      if (x.kind === 'handle') return listHandle(n, rowsOf(n, x, b))
      if (x.kind !== 'tensor') throw unsupported(n, 'a tensor', `a ${x.kind}`)
      return listHandle(n, fromTensor(n, x, elementShape(n.in.element_shape, b), b))
    },
  }),
  TensorListGetItem: op({
    in: ['input_handle!', 'index', 'element_shape'],
    emit: (n, b) => get(n, listIn(n, n.in.input_handle), n.in.index, b, elementShape(n.in.element_shape, b)),
  }),
  TensorListSetItem: op({
    in: ['input_handle!', 'index', 'item'],
    attrs: { resize_if_index_out_of_bounds: false },
    emit: (n, b) => {
      const list = listIn(n, n.in.input_handle)
      const out = set(
        n,
        { ...list, grows: list.grows || n.attrs.resize_if_index_out_of_bounds },
        n.in.index,
        n.in.item,
        b,
      )
      return listOut(n, out)
    },
  }),
  TensorListStack: op({
    in: ['input_handle!', 'element_shape'],
    attrs: { element_dtype: 'type', num_elements: -1 },
    emit: (n, b) => {
      if (n.attrs.element_dtype === 'variant') {
        const [values, lengths] = joinedElements(n, listIn(n, n.in.input_handle), undefined, b)
        return values?.kind === 'tensor' && lengths?.kind === 'tensor' ? raggedOf(n, values, lengths, b) : REFUSED
      }
      const out = stack(n, listIn(n, n.in.input_handle), elementShape(n.in.element_shape, b), b)
      if (out.kind !== 'tensor' || n.attrs.num_elements < 0 || !out.shape) return out
      return withShape(out, [n.attrs.num_elements, ...out.shape.slice(1).map(() => null)], b)
    },
  }),
  TensorListPushBack: op({
    in: ['input_handle!', 'tensor'],
    emit: (n, b) => listOut(n, push(n, listIn(n, n.in.input_handle), n.in.tensor, b)),
  }),
  TensorListPopBack: op({
    in: ['input_handle!', 'element_shape'],
    out: ['output_handle', 'tensor'],
    emit: (n, b) => {
      const list = listIn(n, n.in.input_handle)
      if (list.content.kind === 'scan') return [refuse(list), REFUSED]
      const item = get(n, list, b.int(-1), b, elementShape(n.in.element_shape, b))
      if (list.content.kind === 'sequence') {
        const type = { dtype: list.dtype, shape: list.elem, sequence: true }
        const value = b.op('SequenceErase', [list.content.value], {}, type)
        return [listHandle(n, { ...list, content: { kind: 'sequence', value } }), item]
      }
      return [listOut(n, resize(n, list, b.op('Sub', [lengthOf(list, b), b.int(1)]), b)), item]
    },
  }),
  TensorListLength: op({
    in: ['input_handle!'],
    emit: (n, b) => {
      const list = listIn(n, n.in.input_handle)
      // pushing changes the length, so a list that is pushed to has to be carried
      return list.content.kind === 'scan' && list.content.slot.at !== undefined && list.content.slot.at === 'end'
        ? refuse(list)
        : b.cast(lengthOf(list, b), 'int32')
    },
  }),
  TensorListResize: op({
    in: ['input_handle!', 'size'],
    emit: (n, b) => listOut(n, resize(n, listIn(n, n.in.input_handle), n.in.size, b)),
  }),
  TensorListGather: op({
    in: ['input_handle!', 'indices', 'element_shape'],
    emit: (n, b) => {
      const all = stack(n, listIn(n, n.in.input_handle), elementShape(n.in.element_shape, b), b)
      return all.kind === 'tensor' ? b.gather(all, n.in.indices) : all
    },
  }),
  TensorListScatter: scattered,
  TensorListScatterV2: scattered,
  TensorListScatterIntoExistingList: op({
    in: ['input_handle!', 'tensor', 'indices'],
    emit: (n, b) => {
      const list = listIn(n, n.in.input_handle)
      return listOut(n, scatter(n, { ...list, grows: true }, n.in.indices, n.in.tensor, b))
    },
  }),
  TensorListConcat: op({
    in: ['input_handle!'],
    out: ['tensor', 'lengths'],
    emit: (n, b) => joinedElements(n, listIn(n, n.in.input_handle), undefined, b),
  }),
  TensorListConcatV2: op({
    in: ['input_handle!', 'element_shape', 'leading_dims'],
    out: ['tensor', 'lengths'],
    emit: (n, b) => joinedElements(n, listIn(n, n.in.input_handle), elementShape(n.in.element_shape, b), b),
  }),
  TensorListConcatLists: op({
    in: ['input_a!', 'input_b!'],
    emit: (n, b) => {
      const [p, q] = [listIn(n, n.in.input_a), listIn(n, n.in.input_b)]
      const [v, w] = [mustBeDense(n, p, b), mustBeDense(n, q, b)]
      if (!v || !w) return REFUSED
      return listHandle(n, { ...p, elem: meet(p.elem, q.elem), content: { kind: 'dense', value: b.concat([v, w], 0) } })
    },
  }),
  TensorListSplit: op({
    in: ['tensor', 'element_shape', 'lengths'],
    attrs: { element_dtype: 'type' },
    emit: (n, b) => cut(n, { dtype: n.in.tensor.dtype, elem: undefined, grows: false }, n.in.tensor, n.in.lengths, b),
  }),
  TensorListElementShape: op({
    in: ['input_handle!'],
    attrs: { shape_type: 'type' },
    emit: (n, b) => {
      const { elem } = listIn(n, n.in.input_handle)
      const dims = elem?.map((d) => (typeof d === 'number' ? d : -1)) ?? [-1]
      return b.filled(n.dtype('shape_type'), elem ? [elem.length] : [], dims)
    },
  }),
} satisfies OpTable

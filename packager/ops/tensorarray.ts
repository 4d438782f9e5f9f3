import type { TfShape } from '../graph.ts'
import type { Builder } from '../onnx/builder.ts'
import type { Shape, Value } from '../onnx/value.ts'
import { asList, countsUp, get, lengthOf, listHandle, scatter, set, type TensorList } from './lists.ts'
import { type AnyNode, type OpRow, type OpTable, type Out, op } from './op.ts'
import { cut, joinedElements, listIn, listOut, stack } from './tensorlist.ts'

const elementOf = (shape: TfShape, b: Builder): Shape | undefined => shape?.map((d) => d ?? b.fresh())

/**
 * The state of a TensorArray travels along its flow, so the flow is the list and the handle says only which array it belongs to;
 * before the first write of the oldest kind the flow is an unrelated number.
 */
function arrayIn(n: AnyNode, handle: Out | undefined, flow: Out | undefined): TensorList {
  return asList(flow) ?? listIn(n, handle)
}

const creation = (note?: string): OpRow =>
  op({
    in: ['size'],
    ...(note !== undefined && { note }),
    attrs: { dtype: 'type', element_shape: null, dynamic_size: false },
    out: ['handle', 'flow'],
    emit: (n, b) => {
      const shape = n.attrs.element_shape as TfShape
      const list = listHandle(n, {
        dtype: n.dtype('dtype'),
        elem: elementOf(shape, b),
        grows: n.attrs.dynamic_size,
        content: { kind: 'unset', length: b.cast(n.in.size, 'int64') },
      })
      return [list, list]
    },
  })

const create = creation()
const createOld = creation('written outside of loops only')

const gather: OpRow = op({
  in: ['handle!', 'indices', 'flow_in!'],
  attrs: { element_shape: null },
  emit: (n, b) => {
    const list = arrayIn(n, n.in.handle, n.in.flow_in)
    return picked(stack(n, list, elementOf(n.attrs.element_shape as TfShape, b), b), n.in.indices, b)
  },
})

/** The stacked elements themselves where all are asked for in order. */
function picked(all: Out, indices: Value, b: Builder): Out {
  if (all.kind !== 'tensor') return all
  const whole = all.shape?.[0] !== undefined && all.shape[0] === indices.shape?.[0]
  return whole && countsUp(indices, b) ? all : b.gather(all, indices)
}

const concat: OpRow = op({
  in: ['handle!', 'flow_in!'],
  attrs: { element_shape_except0: null },
  out: ['value', 'lengths'],
  emit: (n, b) => {
    const rest = elementOf(n.attrs.element_shape_except0 as TfShape, b)
    return joinedElements(n, arrayIn(n, n.in.handle, n.in.flow_in), rest && [b.fresh(), ...rest], b)
  },
})

const read: OpRow = op({
  in: ['handle!', 'index', 'flow_in!'],
  emit: (n, b) => get(n, arrayIn(n, n.in.handle, n.in.flow_in), n.in.index, b),
})

const write: OpRow = op({
  in: ['handle!', 'index', 'value', 'flow_in!'],
  emit: (n, b) => listOut(n, set(n, arrayIn(n, n.in.handle, n.in.flow_in), n.in.index, n.in.value, b)),
})

const scattered: OpRow = op({
  in: ['handle!', 'indices', 'value', 'flow_in!'],
  emit: (n, b) => listOut(n, scatter(n, arrayIn(n, n.in.handle, n.in.flow_in), n.in.indices, n.in.value, b)),
})

const split: OpRow = op({
  in: ['handle!', 'value', 'lengths', 'flow_in!'],
  emit: (n, b) => cut(n, arrayIn(n, n.in.handle, n.in.flow_in), n.in.value, n.in.lengths, b),
})

const size: OpRow = op({
  in: ['handle!', 'flow_in!'],
  emit: (n, b) => b.cast(lengthOf(arrayIn(n, n.in.handle, n.in.flow_in), b), 'int32'),
})

const close: OpRow = op({ in: ['handle!'], emit: () => [] })

/** TensorFlow 1's arrays, whose three versions differ in what kind of thing the handle is. */
export const TENSOR_ARRAY = {
  TensorArray: createOld,
  TensorArrayV2: createOld,
  TensorArrayV3: create,
  TensorArrayRead: read,
  TensorArrayReadV2: read,
  TensorArrayReadV3: read,
  TensorArrayWrite: write,
  TensorArrayWriteV2: write,
  TensorArrayWriteV3: write,
  TensorArrayGather: gather,
  TensorArrayGatherV2: gather,
  TensorArrayGatherV3: gather,
  TensorArrayScatter: scattered,
  TensorArrayScatterV2: scattered,
  TensorArrayScatterV3: scattered,
  TensorArrayConcat: concat,
  TensorArrayConcatV2: concat,
  TensorArrayConcatV3: concat,
  TensorArraySplit: split,
  TensorArraySplitV2: split,
  TensorArraySplitV3: split,
  TensorArraySize: size,
  TensorArraySizeV2: size,
  TensorArraySizeV3: size,
  TensorArrayClose: close,
  TensorArrayCloseV2: close,
  TensorArrayCloseV3: close,
} satisfies OpTable

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OnnxTensor } from '../../packager/formats/onnxdata.ts'
import { ONNX_DTYPES } from '../../packager/formats/proto/onnx.ts'
import { channelsOf, KEEP, type NodeProto } from '../../packager/shrink/kinds.ts'
import { shrinkGraph } from '../../packager/shrink/shrink.ts'
import { fromHalf } from '../../src/half.ts'
import { fc } from '../random.ts'

const weight = (dims: readonly number[], values: Float32Array, name = 'w'): OnnxTensor => ({
  name,
  dims: [...dims],
  data_type: ONNX_DTYPES.float32,
  raw_data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
})

const node = (op_type: string, input: string[], attribute: object[] = []): NodeProto => ({
  op_type,
  name: op_type,
  input,
  output: ['y'],
  attribute,
})

const typed = <T>(t: OnnxTensor, Type: new (b: ArrayBufferLike, at: number, n: number) => T, size: number): T =>
  new Type(t.raw_data!.buffer, t.raw_data!.byteOffset, t.raw_data!.byteLength / size)

const floats = (n: number) =>
  fc
    .array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: n, maxLength: n })
    .map((v) => Float32Array.from(v))

test('float16: every weight within half a step of its precision', () => {
  fc.assert(
    fc.property(floats(12), (values) => {
      const kept = KEEP.float16(weight([3, 4], values), values, [3, 4])!
      const half = typed(kept.tensors[0]!, Uint16Array, 2)
      for (const [i, v] of values.entries())
        assert.ok(Math.abs(fromHalf(half[i]!) - v) <= Math.max(Math.abs(v) * 2 ** -11, 2 ** -25))
      assert.deepEqual(
        kept.nodes.map((n) => [n.op_type, n.output[0]]),
        [['Cast', 'w']],
      )
    }),
  )
})

test('int8: every weight within half a step of its channel, whichever dimensions the channels are', () => {
  const cases = [
    { dims: [3, 4], channels: [1], of: (i: number) => i % 4 },
    { dims: [3, 4], channels: [0], of: (i: number) => Math.floor(i / 4) },
    { dims: [2, 3, 2], channels: [0, 1], of: (i: number) => Math.floor(i / 2) },
    { dims: [2, 2, 3], channels: [2], of: (i: number) => i % 3 },
  ]
  for (const { dims, channels, of } of cases)
    fc.assert(
      fc.property(floats(12), (values) => {
        const kept = KEEP.int8(weight(dims, values), values, dims, channels)!
        const [bytes, scale] = [typed(kept.tensors[0]!, Int8Array, 1), typed(kept.tensors[1]!, Float32Array, 4)]
        assert.deepEqual(
          kept.tensors[1]!.dims,
          dims.map((d, i) => (channels.includes(i) ? d : 1)),
        )
        for (const [i, v] of values.entries()) {
          const step = scale[of(i)]!
          assert.ok(Math.abs(bytes[i]! * step - v) <= step * 0.5001, `${v} as ${bytes[i]} × ${step}`)
        }
      }),
    )
})

test('weights that would change their meaning stay as they are', () => {
  const large = Float32Array.of(1, 70_000)
  assert.equal(KEEP.float16(weight([2], large), large, [2]), undefined)
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const values = Float32Array.of(1, odd, 2, 3)
    assert.equal(KEEP.int8(weight([2, 2], values), values, [2, 2], [1]), undefined)
    assert.equal(KEEP.float16(weight([2, 2], values), values, [2, 2]), undefined)
  }
  const zero = new Float32Array(4)
  const kept = KEEP.int8(weight([2, 2], zero), zero, [2, 2], [1])!
  assert.deepEqual([...typed(kept.tensors[1]!, Float32Array, 4)], [1, 1])
})

test('channels by operator; an unknown one, or two that disagree, leave a weight alone', () => {
  const use = (op: string, input: number, attribute: object[] = []) => ({ node: node(op, [], attribute), input })
  const transposed = [{ name: 'transB', i: 1 }]
  assert.deepEqual(channelsOf(2, [use('MatMul', 1)]), [1])
  assert.deepEqual(channelsOf(3, [use('MatMul', 1)]), [2])
  assert.deepEqual(channelsOf(2, [use('Gemm', 1, transposed)]), [0])
  assert.deepEqual(channelsOf(2, [use('Gemm', 1)]), [1])
  assert.deepEqual(channelsOf(4, [use('Conv', 1)]), [0])
  assert.deepEqual(channelsOf(2, [use('Gather', 0)]), [0])
  assert.deepEqual(channelsOf(3, [use('LSTM', 1), use('LSTM', 2)]), [0, 1])
  assert.equal(channelsOf(2, [use('MatMul', 0)]), undefined)
  assert.equal(channelsOf(2, [use('Mul', 1)]), undefined)
  assert.equal(channelsOf(2, [use('MatMul', 1), use('Gather', 0)]), undefined)
  assert.equal(channelsOf(2, []), undefined)
})

test('a graph: small weights, integers and inputs with a default stay; the others keep their name', () => {
  const big = Float32Array.from({ length: 1024 }, (_, i) => i / 1024)
  const graph = {
    input: [{ name: 'x' }, { name: 'given' }],
    initializer: [
      weight([32, 32], big),
      weight([32, 32], big, 'given'),
      weight([2], Float32Array.of(1, 2), 'bias'),
      { name: 'axes', dims: [1024], data_type: ONNX_DTYPES.int64, raw_data: new Uint8Array(8192) },
    ],
    node: [node('MatMul', ['x', 'w']), node('Add', ['x', 'bias'])] as never[],
  }
  shrinkGraph(graph, 'float16')
  assert.deepEqual(
    graph.initializer.map((t) => t.name),
    ['w:float16', 'given', 'bias', 'axes'],
  )
  assert.deepEqual(
    (graph.node as unknown as NodeProto[]).map((n) => n.op_type),
    ['Cast', 'MatMul', 'Add'],
  )
})

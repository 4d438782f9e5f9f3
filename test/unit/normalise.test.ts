import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { countNodes, simplify } from '../../packager/normalise/index.ts'
import { Builder } from '../../packager/onnx/builder.ts'
import type { OnnxGraph, Value } from '../../packager/onnx/value.ts'
import { writeModel } from '../../packager/onnx/write.ts'
import { channelsBack, channelsFirst } from '../../packager/ops/layout.ts'
import { silenceTelemetry } from '../../src/boot.ts'
import { createSession } from '../../src/session.ts'
import { type Tensor, tensor } from '../../src/tensor.ts'

silenceTelemetry()
const dir = mkdtempSync(join(tmpdir(), 'normalise-'))
after(() => rmSync(dir, { recursive: true }))

/** A small generator, so that a failing seed can be run again. */
function random(seed: number): () => number {
  let s = seed * 2654435761
  return () => {
    s = (s ^ (s << 13)) | 0
    s = (s ^ (s >>> 17)) | 0
    s = (s ^ (s << 5)) | 0
    return (s >>> 0) / 2 ** 32
  }
}

const floats = (shape: readonly number[], next: () => number): Tensor =>
  tensor(
    'float32',
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next() * 2 - 1),
  )

/** NHWC steps as rows emit them: each keeps [1, H, W, C] and turns layouts on its own. */
const STEPS: readonly ((b: Builder, x: Value, next: () => number) => Value)[] = [
  (b, x, next) => {
    const c = Number(x.shape![3])
    const w = b.const(floats([c, c, 3, 3], next))
    return channelsBack(b.op('Conv', [channelsFirst(x, 'NHWC', b), w], { auto_pad: 'SAME_UPPER' }), 'NHWC', b)
  },
  (b, x, next) => b.op('Add', [x, b.const(floats([Number(x.shape![3])], next))]),
  (b, x, next) => b.op('Mul', [b.const(floats([1, 1, 1, Number(x.shape![3])], next)), x]),
  (b, x) => b.op('Relu', [x]),
  (b, x) =>
    channelsBack(
      b.op('MaxPool', [channelsFirst(x, 'NHWC', b)], { kernel_shape: [2, 2], auto_pad: 'SAME_UPPER', strides: [1, 1] }),
      'NHWC',
      b,
    ),
  (b, x) => b.op('Add', [b.op('Tanh', [x]), x]),
  (b, x) => b.concat([x, b.op('Sigmoid', [x])], 3),
  (b, x) => b.op('Add', [x, b.op('ReduceMean', [x, b.ints([1, 2])], { keepdims: 1 })]),
  (b, x) => b.op('Pad', [x, b.ints([0, 1, 0, 0, 0, 0, 1, 0]), b.scalar('float32', 0)]),
  (b, x) => b.squeeze(b.unsqueeze(x, [2]), [2]),
  (b, x, next) => {
    const c = Number(x.shape![3])
    const vectors = [
      floats([c], next),
      floats([c], next),
      floats([c], next),
      tensor('float32', [c], new Float32Array(c).fill(1.5)),
    ]
    return channelsBack(
      b.op('BatchNormalization', [channelsFirst(x, 'NHWC', b), ...vectors.map((v) => b.const(v))], { epsilon: 1e-3 }),
      'NHWC',
      b,
    )
  },
]

async function run(graph: OnnxGraph, x: Tensor): Promise<Tensor> {
  writeModel(join(dir, 'g.onnx'), graph, '0')
  const spec = { name: 'x', dtype: 'float32', shape: null } as const
  const session = await createSession(
    dir,
    { graph: 'g.onnx', method: '', inputs: { x: spec }, outputs: { y: { ...spec, name: 'y' } } },
    { level: 'disabled' },
  )
  const { y } = await session.run({ x })
  await session.close()
  return y!
}

function build(seed: number): OnnxGraph {
  const next = random(seed)
  const b = new Builder()
  b.reserve('x')
  b.reserve('y')
  let v = b.input('x', 'float32', [1, 6, 5, 4])
  for (let i = 0; i < 3 + Math.floor(next() * 6); i++) v = STEPS[Math.floor(next() * STEPS.length)]!(b, v, next)
  const flat = next() < 0.5 ? b.op('ReduceMean', [v, b.ints([1, 2])], { keepdims: 0 }) : v
  return b.finish('g', [b.output(flat, 'y')])
}

test('simplified graphs compute the same, with no Transpose more', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const graph = build(seed)
    const { graph: simple } = simplify(graph)
    const x = floats([1, 6, 5, 4], random(seed + 1000))
    const [before, after] = [await run(graph, x), await run(simple, x)]
    assert.deepEqual(after.shape, before.shape, `seed ${seed}`)
    for (let i = 0; i < before.data.length; i++) {
      const [p, q] = [Number(before.data[i]), Number(after.data[i])]
      assert.ok(Math.abs(p - q) <= 1e-4 * (1 + Math.abs(p)), `seed ${seed}, element ${i}: ${p} became ${q}`)
    }
    const transposes = (g: OnnxGraph) => g.nodes.filter((n) => n.type === 'Transpose').length
    assert.ok(transposes(simple) <= transposes(graph), `seed ${seed}`)
    assert.ok(countNodes(simple) <= countNodes(graph), `seed ${seed}`)
  }
})

test('a convolution net keeps one Transpose at each end, and its biases and norms are in the weights', () => {
  const next = random(5)
  const b = new Builder()
  b.reserve('y')
  let v = b.input('x', 'float32', ['n', 8, 8, 4])
  for (const step of [0, 1, 10, 3, 4, 0, 1, 3]) v = STEPS[step]!(b, v, next)
  const { graph } = simplify(b.finish('g', [b.output(v, 'y')]))
  assert.deepEqual(
    graph.nodes.map((n) => n.type),
    ['Transpose', 'Conv', 'Relu', 'MaxPool', 'Conv', 'Relu', 'Transpose'],
  )
})

test("Keras' layer normalisation is one node, and so is a product over the last dimension", async () => {
  const next = random(11)
  const b = new Builder()
  b.reserve('x')
  b.reserve('y')
  const x = b.input('x', 'float32', ['n', 'm', 6])
  const last = b.ints([-1])
  const mean = b.op('ReduceMean', [x, last])
  const difference = b.op('Sub', [x, mean])
  const variance = b.op('ReduceMean', [b.op('Mul', [difference, difference]), last])
  const inverse = b.op('Reciprocal', [b.op('Sqrt', [b.op('Add', [variance, b.scalar('float32', 1e-3)])])])
  const scale = b.op('Mul', [inverse, b.const(floats([1, 1, 6], next))])
  const shift = b.op('Add', [b.op('Mul', [b.op('Neg', [mean]), scale]), b.const(floats([1, 1, 6], next))])
  const normal = b.op('Add', [b.op('Mul', [x, scale]), shift])
  const lead = b.slice(b.shapeOf(normal), [0], [2], [0])
  const flat = b.reshape(normal, b.concat([b.op('ReduceProd', [lead, b.ints([0])], { keepdims: 1 }), b.ints([6])], 0))
  const product = b.op('MatMul', [flat, b.const(floats([6, 3], next))])
  const graph = b.finish('g', [b.output(b.reshape(product, b.concat([lead, b.ints([3])], 0)), 'y')])
  const { graph: simple } = simplify(graph)
  assert.deepEqual(
    simple.nodes.map((n) => n.type),
    ['LayerNormalization', 'MatMul'],
  )
  const feed = floats([2, 5, 6], random(12))
  const [before, after] = [await run(graph, feed), await run(simple, feed)]
  assert.deepEqual(after.shape, [2, 5, 3])
  for (const [i, v] of Array.from(before.data as Float32Array).entries())
    assert.ok(Math.abs(v - Number(after.data[i])) < 1e-5)
})

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAppError } from '../../../src/errors.ts'
import type { Signature, TensorSpec } from '../../../src/manifest.ts'
import { createSession, threadsFor } from '../../../src/session.ts'
import { DTYPES, type DType, type Tensor, tensor } from '../../../src/tensor.ts'
import { FIXTURES, GRAPHS, root, SOFTMAX } from './support.ts'

const expected = JSON.parse(readFileSync(join(FIXTURES, 'expected.json'), 'utf8'))
const rows = tensor('float32', [3, 4], Float32Array.from(expected.rows.flat()))

const one = (graph: string, dtype: DType, shape: TensorSpec['shape'], out: TensorSpec['shape'] = shape): Signature => ({
  graph: `${graph}.onnx`,
  method: 'tensorflow/serving/predict',
  inputs: { a: { name: 'v', dtype, shape } },
  outputs: { b: { name: 'w', dtype, shape: out } },
})

const refuses =
  (code: string, ...texts: string[]) =>
  (e: unknown) => {
    assert.ok(isAppError(e), String(e))
    assert.equal(e.code, code, e.message)
    for (const text of texts) assert.ok(e.message.includes(text), e.message)
    return true
  }

test('speaks aliases and answers what numpy computes', async () => {
  for (const [name, alias] of [
    ['serving_default', 'scores'],
    ['logits', 'logits'],
  ] as const) {
    const session = await createSession(GRAPHS, SOFTMAX[name])
    const out = await session.run({ images: rows })
    assert.deepEqual(Object.keys(out), [alias])
    assert.deepEqual(out[alias]!.shape, [3, 3])
    const want = expected[alias].flat()
    for (const [i, x] of out[alias]!.data.entries()) assert.ok(Math.abs(Number(x) - want[i]) < 1e-6)
    await session.close()
  }
})

test('refuses wrong feeds before the native call, naming alias, expected and got', async () => {
  const { run } = await createSession(GRAPHS, SOFTMAX.serving_default)
  const f32 = (...shape: number[]) => tensor('float32', shape, new Float32Array(shape.reduce((a, b) => a * b, 1)))
  await assert.rejects(run({}), refuses('MISSING_INPUT', 'input images', 'float32 [?,4]'))
  await assert.rejects(run({ images: rows, x: rows }), refuses('UNKNOWN_INPUT', 'images', 'received x'))
  await assert.rejects(run({ image: rows }), refuses('UNKNOWN_INPUT', 'Rename it to images'))
  await assert.rejects(run({ images: f32(1, 5) }), refuses('WRONG_SHAPE', 'float32 [?,4]', 'float32 [1,5]'))
  await assert.rejects(run({ images: f32(4) }), refuses('WRONG_SHAPE', 'float32 [4]'))
  await assert.rejects(
    run({ images: { dtype: 'float32', shape: [1, 4], data: new Float32Array(3) } }),
    refuses('WRONG_SHAPE'),
  )
  const wide = tensor('float64', [1, 4], new Float64Array(4))
  await assert.rejects(run({ images: wide }), refuses('WRONG_DTYPE', 'float32 [?,4]', 'float64 [1,4]'))
  await assert.rejects(run({ images: rows }, ['score']), refuses('UNKNOWN_OUTPUT', 'Did you mean scores'))
  assert.deepEqual((await run({ images: f32(2, 4) })).scores!.shape, [2, 3])
})

const SAMPLES: Partial<Record<DType, Tensor['data']>> = {
  float32: Float32Array.of(1.5, -0),
  float64: Float64Array.of(1e300, Number.NaN),
  float16: Uint16Array.of(0x3c00, 0x7e00),
  int8: Int8Array.of(-128, 127),
  int16: Int16Array.of(-32768, 32767),
  int32: Int32Array.of(-(2 ** 31), 2 ** 31 - 1),
  int64: BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n),
  uint8: Uint8Array.of(0, 255),
  uint16: Uint16Array.of(0, 65535),
  uint32: Uint32Array.of(0, 2 ** 32 - 1),
  uint64: BigUint64Array.of(0n, 2n ** 64n - 1n),
  bool: Uint8Array.of(1, 0),
  string: ['é€😀', ''],
}

for (const dtype of Object.keys(DTYPES) as DType[])
  test(`carries ${dtype} to the bit`, async () => {
    const data = SAMPLES[dtype]
    // the binding has no bfloat16
    if (!data) return assert.equal(dtype, 'bfloat16')
    const { run } = await createSession(GRAPHS, one(`identity-${dtype}`, dtype, [null, 2]))
    const { b } = await run({ a: tensor(dtype, [1, 2], data) })
    assert.deepEqual(b, { dtype, shape: [1, 2], data })
    if (dtype === 'string')
      await assert.rejects(run({ a: tensor(dtype, [1, 2], ['a\0b', '']) }), refuses('WRONG_DTYPE', 'NUL'))
  })

test('an optional input takes its default from the manifest, and a feed replaces it', async () => {
  const scaled = one('scaled', 'float32', [null])
  const k: TensorSpec = { name: 'k', dtype: 'float32', shape: [], optional: true }
  const a = tensor('float32', [2], Float32Array.of(1, 2))
  const feed = tensor('float32', [], Float32Array.of(3))
  // the graph holds k as an initializer: onnxruntime-node would silently ignore the feed
  const fixed = await createSession(GRAPHS, { ...scaled, inputs: { ...scaled.inputs, k } })
  assert.deepEqual([...(await fixed.run({ a })).b!.data], [10, 20])
  await assert.rejects(fixed.run({ a, k: feed }), refuses('LOAD_FAILED', 'input k', 'a constant of the graph'))
  // the same graph without the initializer
  const open = one('scaled-open', 'float32', [null])
  const withDefault = { ...k, default: { shape: [], values: [10] } }
  const { run } = await createSession(GRAPHS, { ...open, inputs: { ...open.inputs, k: withDefault } })
  assert.deepEqual([...(await run({ a })).b!.data], [10, 20])
  assert.deepEqual([...(await run({ a, k: feed })).b!.data], [3, 6])
})

test('an empty batch: skipped where the manifest says so, else run', async () => {
  const resize = one('resize', 'float32', [null, 1, 2, 2], [null, 1, 4, 4])
  const empty = tensor('float32', [0, 1, 2, 2], new Float32Array(0))
  const { run } = await createSession(GRAPHS, resize, { level: 'extended', zeroBatch: 'skip' })
  assert.deepEqual((await run({ a: empty })).b, { dtype: 'float32', shape: [0, 1, 4, 4], data: new Float32Array(0) })
  const softmax = await createSession(GRAPHS, SOFTMAX.serving_default)
  const none = await softmax.run({ images: tensor('float32', [0, 4], new Float32Array(0)) })
  assert.deepEqual(none.scores!.shape, [0, 3])
})

test('a native failure is RUN_FAILED, a bad file LOAD_FAILED, and both leave the process alive', async () => {
  const lookup: Signature = {
    ...one('lookup', 'float32', [null]),
    inputs: { a: { name: 'i', dtype: 'int64', shape: [null] } },
  }
  const { run } = await createSession(GRAPHS, lookup)
  await assert.rejects(run({ a: tensor('int64', [1], BigInt64Array.of(7n)) }), refuses('RUN_FAILED'))
  assert.deepEqual([...(await run({ a: tensor('int64', [1], BigInt64Array.of(2n)) })).b!.data], [3])

  await assert.rejects(createSession(GRAPHS, { ...lookup, graph: 'none.onnx' }), refuses('LOAD_FAILED', 'none.onnx'))
  const dir = mkdtempSync(join(tmpdir(), 'modelayer-'))
  writeFileSync(join(dir, 'lookup.onnx'), 'not a model')
  await assert.rejects(createSession(dir, lookup), refuses('LOAD_FAILED'))
  rmSync(dir, { recursive: true })
  const mixed = { ...SOFTMAX.serving_default, outputs: SOFTMAX.logits.outputs }
  await assert.rejects(createSession(GRAPHS, mixed), refuses('LOAD_FAILED', 'l:0', 'package the model again'))
})

test('threads follow the memory size', () => {
  assert.deepEqual([undefined, 128, 1769, 3008, 3537, 3538, 5307, 10240].map(threadsFor), [1, 1, 1, 1, 1, 2, 3, 5])
})

test('a process that boots and predicts leaves no file behind', () => {
  const dir = mkdtempSync(join(tmpdir(), 'modelayer-'))
  const env = { PATH: process.env.PATH, HOME: join(dir, 'home'), TMPDIR: join(dir, 'tmp'), TSX_DISABLE_CACHE: '1' }
  mkdirSync(env.HOME)
  mkdirSync(env.TMPDIR)
  const out = execFileSync(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'booted.ts'), root({})], {
    env,
  })
  const { status } = JSON.parse(String(out).trim().split('\n').at(-1)!)
  assert.equal(status, 200)
  const left = [env.HOME, env.TMPDIR]
    .flatMap((d) => readdirSync(d, { recursive: true, encoding: 'utf8' }))
    .filter((f) => !f.startsWith('tsx-'))
  assert.deepEqual(left, [])
  rmSync(dir, { recursive: true })
})

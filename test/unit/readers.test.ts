import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { encode } from '../../packager/formats/protobuf.ts'
import { readTfjsWeights } from '../../packager/formats/tfjsweights.ts'
import { importSource } from '../../packager/import.ts'
import { writeModel } from '../../packager/onnx/write.ts'
import { recast } from '../../packager/optimise.ts'
import type { ReadOptions } from '../../packager/readers/index.ts'
import { checkpointTensors } from '../../packager/readers/trackable.ts'
import { createSession } from '../../src/session.ts'
import { refused } from '../refused.ts'

const fixtures = join(import.meta.dirname, '../fixtures')
const models = join(fixtures, 'models')
const scratch = mkdtempSync(join(tmpdir(), 'readers-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const fresh = (): string => mkdtempSync(join(scratch, 'r'))

/** Names of inputs and outputs of the only signature. */
async function ends(path: string, options?: ReadOptions, signature?: string): Promise<[string[], string[]]> {
  const source = await importSource(path, options)
  const s = (await source.import(signature ?? source.signatures[0]!)).signature
  return [Object.keys(s.inputs), Object.keys(s.outputs)]
}

describe('graphs without a signature', () => {
  const found: [string[], string[]] = [['input_features:0'], ['class:0', 'probabilities:0']]
  const checkpoint = join(models, 'tf1_checkpoint')
  for (const given of [
    '',
    'checkpoint',
    'model.ckpt',
    'model.ckpt.meta',
    'model.ckpt.index',
    'model.ckpt.data-00000-of-00002',
  ])
    test(`a checkpoint is given by ${given || 'its folder'}, and training is left out`, async () => {
      assert.deepEqual(await ends(join(checkpoint, given)), found)
    })
  test('a frozen graph', async () => assert.deepEqual(await ends(join(models, 'frozen/frozen.pb')), found))
  test('the answer of a training script without any other end than its loss', async () => {
    assert.deepEqual(await ends(join(fixtures, 'readers/regression')), [['x:0', 'keep:0'], ['answer:0']])
  })
  test('outputs are asked for by tensor or by node', async () => {
    const asked = await ends(join(models, 'frozen/frozen.pb'), { outputs: ['logits', 'class:0'] })
    assert.deepEqual(asked, [['input_features:0'], ['logits:0', 'class:0']])
  })
  test('an output that is not there', () =>
    assert.rejects(
      ends(join(models, 'frozen/frozen.pb'), { outputs: ['nope:0'] }),
      refused('UNKNOWN_OUTPUT', 'nope', 'probabilities:0'),
    ))
  test('a graph with variables is not frozen', async () => {
    const node = {
      name: 'x',
      op: 'Placeholder',
      attr: { dtype: { type: 1 }, shape: { shape: { dim: [{ size: 2 }] } } },
    }
    const v = { name: 'v', op: 'VariableV2', attr: { dtype: { type: 1 }, shape: { shape: { dim: [{ size: 2 }] } } } }
    const add = { name: 'y', op: 'AddV2', input: ['x', 'v'], attr: { T: { type: 1 } } }
    const file = join(fresh(), 'graph.pb')
    writeFileSync(file, encode('tensorflow.GraphDef', { node: [node, v, add] }))
    await assert.rejects(ends(file), refused('CHECKPOINT_MISMATCH', 'variable v', 'frozen', '.meta'))
  })
})

describe('SavedModel', () => {
  test('given by its file, or under another name', async () => {
    const expected = await ends(join(models, 'tf1_builder'))
    assert.deepEqual(await ends(join(models, 'tf1_builder/saved_model.pb')), expected)
    const dir = fresh()
    cpSync(join(models, 'tf1_builder'), dir, { recursive: true })
    cpSync(join(dir, 'saved_model.pb'), join(dir, 'model.pb'))
    assert.deepEqual(await ends(join(dir, 'model.pb')), expected)
  })
  test('tags that no MetaGraph has', () =>
    assert.rejects(
      importSource(join(models, 'tf1_tags'), { tags: ['train'] }),
      refused('MODEL_AMBIGUOUS', '[train]', '[serve', '--tag'),
    ))
  test('a signature that is not there', async () => {
    const source = await importSource(join(models, 'tf1_tags'))
    await assert.rejects(async () => source.import('nope'), refused('UNKNOWN_SIGNATURE', 'serving_default', 'nope'))
  })
  test('inner tensors instead of the outputs', async () => {
    const [inputs, outputs] = await ends(join(models, 'tf1_builder'), { outputs: ['x:0'] })
    assert.deepEqual([inputs, outputs], [['images'], ['x:0']])
  })
  test('functions of a model without signatures', async () => {
    const source = await importSource(join(models, 'tf2_no_signature'))
    // `dense` takes a variable as argument, so no client can call it
    assert.deepEqual([...source.signatures].sort(), ['body', 'predict', 'shifted'])
    assert.deepEqual(await ends(join(models, 'tf2_no_signature'), {}, 'shifted'), [['x', 'bias'], ['y']])
  })
})

describe('checkpoints of TensorFlow 2', () => {
  const folder = join(fixtures, 'readers/checkpoint')
  const answer = JSON.parse(readFileSync(join(fixtures, 'readers/checkpoint.json'), 'utf8'))
  for (const [path, options] of [
    [folder, {}],
    [join(folder, 'cp-1'), {}],
    [join(folder, 'model.json'), { weights: join(folder, 'cp-1') }],
  ] as const)
    test(`with an architecture in JSON: ${path.slice(fixtures.length)}`, async () => {
      const source = await importSource(path, options)
      const imported = await source.import('serving_default')
      assert.ok(imported.kind === 'graph')
      const dir = fresh()
      writeModel(join(dir, 'm.onnx'), imported.graph, '0')
      const session = await createSession(dir, { graph: 'm.onnx', ...imported.signature })
      const data = Float32Array.from(answer.features.flat())
      const { classes } = await session.run({ features: { dtype: 'float32', shape: [3, 6], data } })
      const expected: number[] = answer.classes.flat()
      for (const [i, v] of [...(classes!.data as Float32Array)].entries()) assert.ok(Math.abs(v - expected[i]!) < 1e-5)
      await session.close()
    })
  test('alone it has no architecture', async () => {
    const dir = fresh()
    for (const f of ['cp-1.index', 'cp-1.data-00000-of-00001', 'checkpoint']) cpSync(join(folder, f), join(dir, f))
    await assert.rejects(importSource(dir), refused('MODEL_NOT_FOUND', 'cp-1.meta', 'no architecture', 'model.to_json'))
  })
  test('tensors by object path', () => {
    const tensors = checkpointTensors(join(folder, 'cp-1'))
    const mean = tensors.paths.find((p) => p.endsWith('/moving_mean'))!
    assert.deepEqual(tensors.read(mean).shape, [5])
    assert.throws(() => tensors.read('nope'), refused('CHECKPOINT_MISMATCH', 'nope'))
  })
})

describe('ONNX', () => {
  const value = (name: string, type: object) => ({ name, type })
  const tensor = (elem_type: number) => ({
    tensor_type: { elem_type, shape: { dim: [{ dim_param: 'n' }, { dim_value: 2 }] } },
  })
  const identity = { op_type: 'Identity', input: ['x'], output: ['y'] }
  const file = (model: object, name = 'model.onnx'): string => {
    const path = join(fresh(), name)
    writeFileSync(path, encode('onnx.ModelProto', model))
    return path
  }
  const model = (graph: object, opset = 17) => ({
    ir_version: 8,
    opset_import: [{ domain: '', version: opset }],
    graph: { name: 'g', node: [identity], input: [value('x', tensor(1))], output: [value('y', tensor(1))], ...graph },
  })
  const outside = (location: string) => ({
    name: 'w',
    dims: [2],
    data_type: 1,
    data_location: 1,
    external_data: [{ key: 'location', value: location }],
  })

  test('shapes and names come from the graph', async () => {
    const { signature } = await (await importSource(file(model({})))).import('serving_default')
    assert.deepEqual(signature.inputs, { x: { name: 'x', source: 'x', dtype: 'float32', shape: [null, 2] } })
  })
  const cases: [string, object, string, string[]][] = [
    ['an opset too old', model({}, 6), 'BAD_MODEL_FILE', ['opset 7', 'opset 6']],
    ['no opset', { ...model({}), opset_import: [] }, 'BAD_MODEL_FILE', ['opset']],
    ['no outputs', model({ output: [] }), 'BAD_MODEL_FILE', ['outputs']],
    [
      'a sequence',
      model({ output: [value('y', { sequence_type: { elem_type: tensor(1) } })] }),
      'UNSUPPORTED_OPS',
      ['a sequence', "'y'"],
    ],
    [
      'an optional value',
      model({ input: [value('x', { optional_type: { elem_type: tensor(1) } })] }),
      'UNSUPPORTED_OPS',
      ['an optional', "'x'"],
    ],
    ['complex numbers', model({ input: [value('x', tensor(14))] }), 'UNSUPPORTED_OPS', ['data type 14']],
    [
      'weights outside of the folder',
      model({ initializer: [outside('../w.bin')] }),
      'BAD_MODEL_FILE',
      ['leaves the folder'],
    ],
    [
      'weights at an absolute path',
      model({ initializer: [outside('/etc/passwd')] }),
      'BAD_MODEL_FILE',
      ['leaves the folder'],
    ],
    ['weights that are missing', model({ initializer: [outside('w.bin')] }), 'BAD_MODEL_FILE', ['w.bin']],
  ]
  for (const [what, m, code, words] of cases)
    test(`refused: ${what}`, () => assert.rejects(importSource(file(m)), refused(code, ...words)))
  test("refused: onnxruntime's own format", () =>
    assert.rejects(importSource(file({}, 'model.ort')), refused('BAD_MODEL_FILE', '.ort', '.onnx')))
  test('written again, with its weights inside', async () => {
    const dir = fresh()
    mkdirSync(join(dir, 'deeper'))
    const target = join(dir, 'deeper/out.onnx')
    await recast(join(models, 'onnx_external/model.onnx'), target)
    const session = await createSession(join(dir, 'deeper'), {
      graph: 'out.onnx',
      method: '',
      inputs: { x: { name: 'x', dtype: 'float32', shape: [null, 16] } },
      outputs: { y: { name: 'y', dtype: 'float32', shape: [null, 24] } },
    })
    const { y } = await session.run({ x: { dtype: 'float32', shape: [1, 16], data: new Float32Array(16) } })
    assert.equal(y!.data.length, 24)
    await session.close()
  })
})

describe('weights of TensorFlow.js', () => {
  const read = (weights: object[], bytes: Buffer) => {
    const dir = fresh()
    writeFileSync(join(dir, 'w.bin'), bytes)
    return readTfjsWeights(dir, [{ paths: ['w.bin'], weights }])
  }
  test('every dtype, plain and quantised', () => {
    const text = Buffer.concat([Buffer.from([1, 0, 0, 0, 97, 3, 0, 0, 0]), Buffer.from('öx')])
    const weights = read(
      [
        { name: 'eight', shape: [3], dtype: 'float32', quantization: { dtype: 'uint8', min: -1, scale: 0.5 } },
        { name: 'flag', shape: [1], dtype: 'bool' },
        { name: 'half', shape: [2], dtype: 'float32', quantization: { dtype: 'float16' } },
        { name: 'sixteen', shape: [1], dtype: 'int32', quantization: { dtype: 'uint16', min: 2, scale: 1.5 } },
        { name: 'text', shape: [2], dtype: 'string' },
      ],
      Buffer.concat([Buffer.from([0, 2, 4, 1, 0x00, 0x3c, 0x00, 0xc0, 3, 0]), text]),
    )
    assert.deepEqual(weights.get('eight')!.data, Float32Array.of(-1, 0, 1))
    assert.deepEqual(weights.get('flag')!.data, Uint8Array.of(1))
    assert.deepEqual(weights.get('half')!.data, Float32Array.of(1, -2))
    assert.deepEqual(weights.get('sixteen')!.data, Int32Array.of(7))
    assert.deepEqual(weights.get('text')!.data, ['a', 'öx'])
  })
  const faults: [string, object[], Buffer, string][] = [
    ['too few bytes', [{ name: 'w', shape: [2], dtype: 'float32' }], Buffer.alloc(7), 'bytes'],
    ['too many bytes', [{ name: 'w', shape: [1], dtype: 'float32' }], Buffer.alloc(5), 'bytes'],
    ['a dtype nobody knows', [{ name: 'w', shape: [1], dtype: 'float8' }], Buffer.alloc(1), 'float8'],
    [
      'a shape that claims 2^40 elements',
      [{ name: 'w', shape: [2 ** 20, 2 ** 20], dtype: 'float32' }],
      Buffer.alloc(4),
      'bytes',
    ],
    ['strings that run out', [{ name: 'w', shape: [2 ** 30], dtype: 'string' }], Buffer.alloc(8), 'strings'],
  ]
  for (const [what, weights, bytes, word] of faults)
    test(`refused: ${what}`, () => assert.throws(() => read(weights, bytes), refused('BAD_MODEL_FILE', word)))
  test('refused: a shard outside of the folder', () =>
    assert.throws(
      () => readTfjsWeights(fresh(), [{ paths: ['../w.bin'], weights: [] }]),
      refused('BAD_MODEL_FILE', 'leaves the folder'),
    ))
})

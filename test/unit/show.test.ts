import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { cli, fixture, HERE } from '../fixtures/show/read.ts'

const MODELS = join(HERE, '../models')
const OPS = /(contains the following ops: )(\{.*\}|set\(\))/g

/** TensorFlow prints a Python set in an order of its own each time. */
const sorted = (text: string) =>
  text.replace(OPS, (_, before: string, set: string) => before + set.replace(/[{}]/g, '').split(', ').sort().join(', '))

test('SavedModels are listed as saved_model_cli lists them, but for the order of the set of operators', async () => {
  const listings = fixture<{ args: string[]; text: string }>('listings.json')
  assert.ok(listings.length > 12)
  for (const { args, text } of listings) {
    const [command = '', , dir = '', ...rest] = args
    const got = await cli(command, '--dir', join(HERE, dir), ...rest)
    assert.equal(sorted(got.out), sorted(text.endsWith('\n') ? text : `${text}\n`), args.join(' '))
    assert.deepEqual([got.code, got.err], [0, ''])
    for (const [, , set = ''] of got.out.matchAll(OPS)) {
      const ops = set.slice(1, -1).split(', ')
      assert.deepEqual(ops, [...ops].sort())
    }
  }
})

test('other models are listed in the same manner', async () => {
  const keras = await cli('show', '--dir', join(MODELS, 'keras_functional/model.keras'))
  assert.match(keras.out, /^model\.keras: Keras model\n\nsignature_def\['serving_default'\]:\n/)
  assert.match(keras.out, /^ {4}inputs\['\w+'\] tensor_info:\n {8}dtype: float32\n {8}shape: \(-1, /m)
  assert.match(keras.out, /^Layers:\n {2}\w+ \(InputLayer\): batch_shape \[null,/m)
  const onnx = await cli('show', '--json', '--dir', join(MODELS, 'onnx_opset9/model.onnx'))
  const { format, signatures } = JSON.parse(onnx.out)
  assert.equal(format, 'ONNX')
  assert.ok(Object.keys(signatures.serving_default.inputs).length > 0)
  const frozen = await cli('show', '--dir', join(MODELS, 'frozen/frozen.pb'))
  assert.match(frozen.out, /^frozen\.pb: frozen graph\n/)
  assert.match(frozen.out, /outputs\['[^']+:0'\] tensor_info:\n {8}dtype: \w+\n/)
})

test('the variables of a checkpoint are listed, also without a graph', async () => {
  const whole = await cli('show', '--dir', join(MODELS, 'tf1_checkpoint'))
  assert.match(whole.out, /^Variables:\n( {2}\S+: \w+ \[[\d,]*\]\n)+$/m)
  const alone = await cli('show', '--dir', join(HERE, 'functions/variables/variables'))
  assert.match(alone.out, /^variables: TensorFlow checkpoint without a graph\n/)
  assert.match(
    alone.out,
    /Inputs and outputs could not be listed: .*\n\nVariables:\n {2}v\/\.ATTRIBUTES\/VARIABLE_VALUE: float32 \[\]\n/,
  )
})

test('what is not there is answered with what is', async () => {
  const dir = join(HERE, 'functions')
  const wrong = [
    [
      ['--tag_set', 'serve', '--signature_def', 'twise'],
      1,
      /Could not find signature "twise"\. Please choose from: .*echo.*Did you mean twice/,
    ],
    [['--tag_set', 'gpu'], 1, /\[gpu\].*\[serve\]/],
    [['--tag_set', ' ,'], 2, /--tag_set/],
  ] as const
  for (const [args, code, message] of wrong) {
    const got = await cli('show', '--dir', dir, ...args)
    assert.deepEqual([got.code, got.out], [code, ''])
    assert.match(got.err, message)
  }
  const nothing = await cli('show', '--dir', join(HERE, 'nothing'))
  assert.equal(nothing.code, 1)
  assert.match(nothing.err, /MODEL_NOT_FOUND/)
  assert.equal((await cli('show')).code, 2)
})

test('--json gives the same as data', async () => {
  const { out } = await cli('show', '--json', '--all', '--dir', join(HERE, 'functions'))
  const { metaGraphs } = JSON.parse(out)
  assert.deepEqual(metaGraphs[0].tags, ['serve'])
  const { twice } = metaGraphs[0].signatures
  assert.deepEqual([twice.inputs.x.dtype, twice.inputs.x.shape], ['float32', [null]])
  assert.ok(metaGraphs[0].ops.includes('Mul'))
})

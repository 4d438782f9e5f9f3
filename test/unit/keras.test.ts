import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { unzipSync, zipSync } from 'fflate'
import { importSource } from '../../packager/import.ts'
import { LAYER_FAMILIES, LAYERS } from '../../packager/ops/keras/index.ts'
import { type Case, loadCases, runCase } from '../../scripts/cases.ts'
import { refused } from '../refused.ts'

const fixtures = join(import.meta.dirname, '../fixtures')
const scratch = mkdtempSync(join(tmpdir(), 'keras-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const fresh = (): string => mkdtempSync(join(scratch, 'k'))

async function imported(path: string) {
  const source = await importSource(path)
  const result = source.import('serving_default')
  assert.equal(result.kind, 'graph')
  return result.signature
}

const answers = (c: Case) =>
  test(c.name, async () => {
    assert.equal(await runCase(c, fresh()), undefined)
  })

describe('layers of every family answer as Keras does', () => {
  for (const c of loadCases(join(fixtures, 'keras'))) answers(c)
})

describe('files of Keras 3, Keras 2 and TensorFlow.js', () => {
  for (const c of loadCases(join(fixtures, 'models'))) if (/^keras|^tfjs_layers/.test(c.format ?? '')) answers(c)
})

/** config.json of an archive, changed, and the archive with it. */
function altered(file: string, change: (text: string) => string): string {
  const files = unzipSync(readFileSync(join(fixtures, file)))
  files['config.json'] = Buffer.from(change(Buffer.from(files['config.json']!).toString()))
  const out = join(fresh(), 'altered.keras')
  writeFileSync(out, zipSync(files))
  return out
}

describe('what cannot be imported', () => {
  test('every class of the author and every unknown layer in one error', () => {
    const path = altered('models/keras_sequential/model.keras', (text) =>
      text
        .replace('"class_name": "LeakyReLU"', '"class_name": "Dense2"')
        .replace(/"module": "keras.layers", ("class_name": "Rescaling")/, '"module": "my.layers", $1')
        .replace('"class_name": "GlobalAveragePooling2D"', '"class_name": "Lambda"'),
    )
    return assert.rejects(
      imported(path),
      refused(
        'UNSUPPORTED_LAYER',
        'Rescaling × 1 (rescaling)',
        'Dense2 × 1 (leaky_re_lu)',
        'nearest',
        'model.export()',
      ),
    )
  })
  test('options of several layers in one error', () => {
    const path = altered('keras/pooling.keras', (text) => text.replaceAll('[null, 7, 3]', '[null, null, 3]'))
    return assert.rejects(
      imported(path),
      refused('UNSUPPORTED_LAYER', 'AdaptiveMaxPooling1D × 1', 'AdaptiveAveragePooling1D × 1', 'known spatial sizes'),
    )
  })
  test('Python code, with the way out', () => {
    const path = altered('models/keras_sequential/model.keras', (text) =>
      text.replace('"class_name": "Dropout"', '"class_name": "Lambda"'),
    )
    return assert.rejects(imported(path), refused('UNSUPPORTED_LAYER', 'Lambda × 1', 'Python code', 'keras.ops'))
  })
  test('an activation of the author', () => {
    const path = altered('models/keras_sequential/model.keras', (text) => text.replace('"softmax"', '"my_softmax"'))
    return assert.rejects(imported(path), refused('UNSUPPORTED_LAYER', "'my_softmax'", 'scores'))
  })
  test('quantised weights', () => {
    const path = altered('models/keras_sequential/model.keras', (text) =>
      text.replaceAll('"name": "float32"', '"name": "int8_from_float32"'),
    )
    return assert.rejects(imported(path), refused('UNSUPPORTED_LAYER', 'quantised', 'int8_from_float32'))
  })
})

describe('weights and architecture', () => {
  const sequential = join(fixtures, 'models/keras_sequential')
  test('of different models', () => {
    const path = altered('models/keras_sequential/model.keras', (text) => text.replace('"units": 3', '"units": 4'))
    return assert.rejects(imported(path), refused('CHECKPOINT_MISMATCH', 'kernel', '[?,4]', '[6,3]'))
  })
  test('apart: none beside it, or several', async () => {
    const dir = fresh()
    cpSync(join(sequential, 'model.json'), join(dir, 'model.json'))
    await assert.rejects(imported(join(dir, 'model.json')), refused('MODEL_NOT_FOUND', 'model.weights.h5'))
    for (const name of ['a.weights.h5', 'b.weights.h5']) cpSync(join(sequential, 'model.weights.h5'), join(dir, name))
    await assert.rejects(imported(join(dir, 'model.json')), refused('MODEL_AMBIGUOUS', 'a.weights.h5', 'b.weights.h5'))
  })
  test('apart: given', async () => {
    const dir = fresh()
    cpSync(join(sequential, 'model.json'), join(dir, 'net.json'))
    for (const name of ['a.weights.h5', 'b.weights.h5']) cpSync(join(sequential, 'model.weights.h5'), join(dir, name))
    const source = await importSource(join(dir, 'net.json'), { weights: join(dir, 'a.weights.h5') })
    assert.deepEqual(Object.keys(source.import('serving_default').signature.outputs), ['scores'])
  })
  test('weights alone', () =>
    assert.rejects(
      imported(join(sequential, 'model.weights.h5')),
      refused('BAD_MODEL_FILE', 'model_config', 'weights alone', 'to_json'),
    ))
  test('an unpacked archive', async () => {
    const dir = join(fresh(), 'net')
    mkdirSync(dir)
    for (const [name, bytes] of Object.entries(unzipSync(readFileSync(join(sequential, 'model.keras')))))
      writeFileSync(join(dir, name), bytes)
    assert.deepEqual(Object.keys((await imported(dir)).inputs), ['picture'])
  })
})

test('inputs and outputs have the names of their layers, and unknown dimensions stay unknown', async () => {
  const { inputs, outputs } = await imported(join(fixtures, 'models/keras_functional/model.keras'))
  assert.deepEqual(
    Object.values(inputs).map((i) => [i.name, i.dtype, i.shape]),
    [
      ['left', 'float32', [null, 4]],
      ['right', 'float32', [null, 4]],
    ],
  )
  assert.deepEqual(
    Object.values(outputs).map((o) => [o.name, o.dtype, o.shape]),
    [
      ['score', 'float32', [null, 1]],
      ['distance', 'float32', [null, 4]],
    ],
  )
})

test('a bomb is not unpacked', () => {
  const path = join(fresh(), 'bomb.keras')
  writeFileSync(path, zipSync({ 'config.json': new Uint8Array(100e6) }))
  return assert.rejects(imported(path), refused('BAD_MODEL_FILE', 'bytes inside'))
})

test('a layer class has one row', () => {
  const all = Object.values(LAYER_FAMILIES).flatMap((f) => Object.keys(f))
  assert.equal(new Set(all).size, all.length)
  assert.equal(Object.keys(LAYERS).length, all.length)
})

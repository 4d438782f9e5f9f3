import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { build } from 'esbuild'
import { isAppError } from '../../../src/errors.ts'
import { BaseService } from '../../../src/hooks.ts'
import * as api from '../../../src/index.ts'
import { checkHooks, loadHooks } from '../../../src/loadhooks.ts'
import { logged } from '../../../src/log.ts'
import { openModel, openStore } from '../../../src/models.ts'
import { finish, infer, predict, prepare } from '../../../src/predict.ts'
import { hookFile, root } from './support.ts'

const dir = mkdtempSync(join(tmpdir(), 'modelayer-hooks-'))
after(() => rmSync(dir, { recursive: true }))

const file = (source: string, name = 'hooks.js') => {
  writeFileSync(join(dir, name), hookFile(source))
  return join(dir, name)
}
const refuses = (source: string, ...texts: string[]) =>
  assert.throws(
    () => loadHooks(file(source), api),
    (e) => {
      assert.ok(isAppError(e) && e.code === 'BAD_HOOKS', String(e))
      for (const text of texts) assert.ok(e.message.includes(text), e.message)
      return true
    },
  )

test('every name of the base class is the one class', () => {
  const names = [
    'TfServingBaseService',
    'PTServingBaseService',
    'SingleNodeService',
    'MXNetBaseService',
    'SparkServingBaseService',
    'CaffeBaseService',
    'XgSklServingBaseService',
  ]
  const given = new Map(Object.entries<unknown>(api))
  for (const name of names) assert.equal(given.get(name), BaseService)
})

test('a hook class of the wrong shape is refused with the expected signature', () => {
  const signature = ['_preprocess(data: RequestData)', '_inference(data: Feeds)', '_postprocess(outputs: Outputs']
  refuses('', ...signature, 'no default export')
  refuses('module.exports = 1', 'no default export')
  refuses('exports.default = { _preprocess() {} }', ...signature, 'an object')
  refuses('exports.default = () => 1', 'extend it')
  refuses('exports.default = class Mine {}', 'class Mine without that base', "Import the base class from 'modelayer'")
  refuses(
    'exports.default = class extends base { static _preprocess() {} preprocess(data) {} }',
    'a method preprocess',
    'Rename it to _preprocess',
  )
  refuses('exports.default = class extends base { _postProces(x) {} }', 'Rename it to _postprocess')
  refuses('exports.default = class extends base { _preprocess(data, more) {} }', '_preprocess with 2 parameters')
  refuses(
    'exports.default = class extends base { get _inference() { return 1 } }; exports.default.prototype._preprocess = 7',
    '_preprocess that is',
  )
  refuses("throw new Error('while loading')", 'while loading')
  refuses("require('no-such-package')", 'no-such-package')
  refuses('class {', 'Unexpected token')
  assert.throws(
    () => loadHooks(join(dir, 'none.js'), api),
    (e) => isAppError(e) && e.code === 'BAD_HOOKS',
  )
})

test('what is right is accepted: helpers, the bare base, a chain of classes', () => {
  const Class = loadHooks(
    file(`class Shared extends base { _preprocess(data) { return data } }
      exports.default = class extends Shared { preprocessImage() {} preprocess() {} static make() {} _postprocess(o, t) { return o } }`),
    api,
  )
  assert.ok(Class.prototype instanceof BaseService)
  checkHooks({ default: BaseService })
})

test('require reaches the runtime, builtins and files beside the bundle', async () => {
  writeFileSync(join(dir, 'labels.json'), '["cat"]')
  const Class = loadHooks(
    file(`const { join } = require('node:path')
      exports.default = class extends lib.PTServingBaseService {
        labels = require('./labels.json'); name = __filename; path = join('a', 'b'); t = lib.tensor('int8', [0], new Int8Array())
      }`),
    api,
  )
  const made = new Class('m', '/p')
  assert.deepEqual(Object.entries(made), [
    ['modelName', 'm'],
    ['modelPath', '/p'],
    ['labels', ['cat']],
    ['name', join(dir, 'hooks.js')],
    ['path', 'a/b'],
    ['t', { dtype: 'int8', shape: [0], data: new Int8Array() }],
  ])
  // outside the runtime there is no graph to run
  await assert.rejects(
    made._inference({}),
    (e) => isAppError(e) && e.code === 'BAD_HOOKS' && e.message.includes('modelayer predict'),
  )
})

const folder = (source: string) => openModel(join(root({ source }), 'models', 'digits', '1'), [])

test('constructor: arguments, signature and a failure that the next request may not meet', async () => {
  const dir = root({
    source: `let n = 0
      exports.default = class extends base {
        constructor(name, path) { super(name, path); if (n++ === 0) throw new Error('once'); this.shape = this.signature.inputs.images.shape }
        _preprocess() { return { images: [[1, 2, 3, 4]] } }
        _postprocess() { return this.shape }
      }`,
  })
  const model = openStore({ roots: [dir] }).get()
  await assert.rejects(
    predict(model, {}),
    (e) => isAppError(e) && e.code === 'HOOK_FAILED' && e.details.where === 'constructor',
  )
  // the file is read again: a retry starts from nothing
  await assert.rejects(predict(model, {}), (e) => isAppError(e) && e.code === 'HOOK_FAILED')
})

test('the three steps stand alone, so that batch can stack between them', async () => {
  const dir = root({
    source:
      'exports.default = class extends base { _preprocess(d) { return { images: [d.row] } } _postprocess(o, t) { return [o.scores.length, t.scores.data.length] } }',
  })
  const model = openStore({ roots: [dir] }).get()
  const ready = await prepare(model, { row: [1, 2, 3, 4] })
  assert.deepEqual(
    ready,
    Object.assign(Object.create(null), {
      images: { dtype: 'float32', shape: [1, 4], data: Float32Array.of(1, 2, 3, 4) },
    }),
  )
  assert.deepEqual(await finish(model, await infer(model, ready)), [1, 3])
  const laps: string[] = []
  assert.deepEqual(await predict(model, { row: [1, 2, 3, 4] }, { lap: (step) => laps.push(step) }), [1, 3])
  assert.deepEqual(laps, ['pre', 'infer', 'post'])
})

test('an overridden _inference gets what _preprocess returned, and may call the built-in one', async () => {
  const dir = root({
    source: `exports.default = class extends base {
      _preprocess(data) { return { extra: data.x, images: [[1, 2, 3, 4]] } }
      async _inference({ extra, ...feeds }) { const out = await super._inference(feeds); out.extra = extra; return out }
      _postprocess(outputs, tensors) { return [Object.keys(outputs), outputs.extra, Object.keys(tensors)] }
    }`,
  })
  assert.deepEqual(await predict(openStore({ roots: [dir] }).get(), { x: 7 }), [['scores', 'extra'], 7, ['scores']])
})

test('hooks that are missing, a manifest that is none: said with the places', () => {
  assert.throws(
    () => folder('exports.default = base'),
    (e) => isAppError(e) && e.code === 'LOAD_FAILED' && e.message.includes('digits@1.js'),
  )
  const at = join(root({}), 'models', 'digits', '1')
  for (const text of ['', '{', '{"format":2}', 'null', '{"format":1,"defaultSignature":"x","signatures":{}}']) {
    writeFileSync(join(at, 'manifest.json'), text)
    assert.throws(
      () => openModel(at),
      (e) => isAppError(e) && e.code === 'LOAD_FAILED' && e.message.includes('manifest.json'),
    )
  }
})

test('a stack speaks of the source where the bundle carries a map', async () => {
  const source = join(dir, 'customize_service.ts')
  writeFileSync(
    source,
    `import { TfServingBaseService } from 'modelayer'
function label(scores: number[]): string {
  throw new TypeError('no label')
}
export default class Mine extends TfServingBaseService {
  override _preprocess(): never { return label([1]) as never }
}
`,
  )
  const at = root({ source: 'exports.default = base' })
  const bundle = join(at, 'hooks', 'digits@1.js')
  await build({
    entryPoints: [source],
    outfile: bundle,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    external: ['modelayer'],
    sourcemap: 'inline',
    minify: true,
  })
  await assert.rejects(predict(openStore({ roots: [at] }).get(), {}), (e) => {
    assert.ok(isAppError(e))
    const { stack } = logged(e)
    assert.equal(stack!.length, 2)
    assert.match(stack![0]!, /customize_service\.ts:3:9\)?$/)
    assert.match(stack![1]!, /customize_service\.ts:6:\d+\)?$/)
    return true
  })
})

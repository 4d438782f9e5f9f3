import assert from 'node:assert/strict'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { inspectPackage, type ModelPackage, openAny, openModel, openPackage } from '../../packager/package/open.ts'
import { isAppError } from '../../src/errors.ts'
import { CONFIG, tree } from '../fixtures/package/tree.ts'

const saved = (dir: string) => ({
  [`${dir}/saved_model.pb`]: '',
  [`${dir}/variables/variables.index`]: '',
  [`${dir}/variables/variables.data-00000-of-00001`]: '',
})
const brief = (root: string, p: ModelPackage) =>
  [p.name, p.version, p.model.kind, relative(root, p.model.path), relative(root, p.modelDir)].join(' ')

test('layouts: files in model/ or at the top, versions of TensorFlow Serving and of ModelArts', async (t) => {
  const root = tree(t, {
    'a/model/config.json': CONFIG,
    ...saved('a/model'),
    'b/config.json': CONFIG,
    ...saved('b'),
    'c/9/config.json': CONFIG,
    ...saved('c/9'),
    'c/10/config.json': CONFIG,
    ...saved('c/10'),
    'c/11/notes.txt': 'no model here',
    'd/V0002/model/config.json': CONFIG,
    ...saved('d/V0002/model'),
    'd/V0011/model/config.json': CONFIG,
    ...saved('d/V0011/model'),
    'e/config.json': CONFIG,
    ...saved('e/1'),
    ...saved('e/2'),
    ...saved('f/1570635852'),
    'g@2/config.json': CONFIG,
    ...saved('g@2'),
  })
  const rows: [given: string, version: string | undefined, expected: string][] = [
    ['a', undefined, 'a 1 savedmodel a/model a/model'],
    ['a/model', undefined, 'a 1 savedmodel a/model a/model'],
    ['b', undefined, 'b 1 savedmodel b b'],
    ['c', undefined, 'c 10 savedmodel c/10 c/10'],
    ['c', '9', 'c 9 savedmodel c/9 c/9'],
    ['c@9', undefined, 'c 9 savedmodel c/9 c/9'],
    ['c/9', undefined, 'c 9 savedmodel c/9 c/9'],
    ['d', undefined, 'd 11 savedmodel d/V0011/model d/V0011/model'],
    ['d@V0002', undefined, 'd 2 savedmodel d/V0002/model d/V0002/model'],
    ['d', '2', 'd 2 savedmodel d/V0002/model d/V0002/model'],
    ['d/V0002', undefined, 'd 2 savedmodel d/V0002/model d/V0002/model'],
    ['d/V0002/model', undefined, 'd 2 savedmodel d/V0002/model d/V0002/model'],
    ['e', undefined, 'e 2 savedmodel e/2 e'],
    ['e@1', undefined, 'e 1 savedmodel e/1 e'],
    ['f', undefined, 'f 1570635852 savedmodel f/1570635852 f/1570635852'],
    // a folder that really has an @ in its name, which no model name may have
    ['g@2', undefined, 'g-2 1 savedmodel g@2 g@2'],
  ]
  for (const [given, version, expected] of rows) {
    assert.equal(brief(root, await openAny(join(root, given), { version })), expected, given)
  }
  assert.equal((await openPackage(join(root, 'a'), { name: 'other' })).name, 'other')
  const unknown = (e: Error) => isAppError(e) && e.code === 'UNKNOWN_VERSION' && /10, 9/.test(e.message)
  await assert.rejects(openPackage(join(root, 'c'), { version: '3' }), unknown)
  await assert.rejects(openPackage(join(root, 'a'), { version: '3' }), /there is only 1/)
})

test('bare models: folders and single files of every format, without config.json and hooks', async (t) => {
  const root = tree(t, {
    ...saved('tfs/3'),
    'one/net.onnx': '',
    'one/net.onnx.data': '',
    'keras/net.keras': '',
    'frozen/graph.pb': '',
    'ckpt/model.ckpt-1.meta': '',
    'ckpt/model.ckpt-1.index': '',
    'ckpt/model.ckpt-2.meta': '',
    'ckpt/model.ckpt-2.index': '',
    'ckpt/checkpoint': 'model_checkpoint_path: "/home/x/model.ckpt-2"\nall_model_checkpoint_paths: "model.ckpt-1"\n',
    'text/saved_model.pbtxt': '',
  })
  const rows: [given: string, expected: string][] = [
    ['tfs', 'tfs 3 savedmodel tfs/3 tfs/3'],
    ['tfs/3/saved_model.pb', 'tfs 3 savedmodel tfs/3 tfs/3'],
    ['one', 'one 1 onnx one/net.onnx one'],
    ['one/net.onnx', 'net 1 onnx one/net.onnx one'],
    ['keras/net.keras', 'net 1 keras keras/net.keras keras'],
    ['frozen', 'frozen 1 frozen frozen/graph.pb frozen'],
    ['ckpt', 'ckpt 1 checkpoint ckpt/model.ckpt-2 ckpt'],
    ['ckpt/model.ckpt-1.index', 'model 1 checkpoint ckpt/model.ckpt-1 ckpt'],
    ['text', 'text 1 savedmodel text text'],
  ]
  for (const [given, expected] of rows) {
    const pkg = await openModel(join(root, given))
    assert.equal(brief(root, pkg), expected, given)
    assert.deepEqual([pkg.config, pkg.hooksFile, pkg.assets], [undefined, undefined, {}])
  }
  for (const missing of ['nowhere', 'nowhere.onnx', 'ckpt/checkpoint']) {
    await assert.rejects(openModel(join(root, missing)), { name: 'AppError', code: 'MODEL_NOT_FOUND' }, missing)
  }
})

test('a package: assets without sources, golden folder, fields of the request', async (t) => {
  const root = tree(t, {
    'digits/model/config.json': CONFIG,
    ...saved('digits/model'),
    'digits/model/fingerprint.pb': '',
    'digits/model/customize_service.ts': '',
    'digits/model/helper.ts': '',
    'digits/model/old.py': '',
    'digits/model/labels.txt': '',
    'digits/model/assets/words.txt': '',
    'digits/model/.DS_Store': '',
    'digits/model/node_modules/x/index.js': '',
    'digits/golden/one.json': '{}',
    'digits/train/train.py': '',
  })
  const pkg = await openPackage(join(root, 'digits'))
  assert.deepEqual(Object.keys(pkg.assets), ['assets/words.txt', 'labels.txt'])
  assert.equal(pkg.assets['labels.txt'], join(root, 'digits/model/labels.txt'))
  assert.equal(pkg.goldenDir, join(root, 'digits/golden'))
  assert.equal(pkg.hooksFile, join(root, 'digits/model/customize_service.ts'))
  // nothing says `required`: a form cannot do without its file, but may do without its text
  assert.deepEqual(pkg.fields, { images: { kind: 'file', required: true }, note: { kind: 'json', required: false } })
})

test('what is wrong with the files is found all at once', (t) => {
  const root = tree(t, {
    'x y/config.json': '{"model_type": "TensorFlow"}',
    'x y/a.onnx': '',
    'x y/b.keras': '',
    'x y/customize_service.py': '',
    'x y/secret': '-> /etc/hostname',
    'x y/dangling': '-> nowhere',
    'none/config.json': CONFIG,
    'none/net.pth': '',
    'two/config.json': CONFIG,
    'two/net.onnx': '',
    'two/customize_service.ts': '',
    'two/customize_service.js': '',
    'case/Config.json': CONFIG,
    'case/net.onnx': '',
  })
  const found = (given: string) => inspectPackage(join(root, given)).findings.map((f) => [f.code, f.got ?? f.file])
  assert.deepEqual(found('x y'), [
    ['LINK_OUTSIDE', 'dangling'],
    ['LINK_OUTSIDE', 'secret'],
    ['NAME_CHANGED', "'x y'"],
    ['CONFIG_REQUIRED', 'nothing'],
    ['HOOKS_PYTHON', 'customize_service.py'],
    ['MODEL_SEVERAL', 'a.onnx, b.keras'],
  ])
  assert.deepEqual(found('none'), [['MODEL_MISSING', 'net.pth']])
  assert.deepEqual(found('two'), [['HOOKS_AMBIGUOUS', 'customize_service.js, customize_service.ts']])
  assert.deepEqual(found('case'), [['CONFIG_MISSING', undefined]])
  const { findings } = inspectPackage(join(root, 'case'))
  assert.match(findings[0]!.message, /Rename Config\.json/)
})

test('openPackage throws one error that lists every finding', async (t) => {
  const root = tree(t, { 'p/config.json': '{"model_type": "Tensor"}', 'p/net.onnx': '' })
  await assert.rejects(openPackage(join(root, 'p')), (e) => {
    assert.ok(isAppError(e) && e.code === 'BAD_PACKAGE')
    assert.match(
      e.message,
      /2 errors\n {2}config\.json:1:1 error CONFIG_REQUIRED.*\n {2}config\.json:1:16 .*CONFIG_ENGINE/,
    )
    return true
  })
})

test('dependencies: Python ones are replaced or ignored, npm ones bundled', async (t) => {
  const pip = (name: string) => ({ installer: 'pip', packages: [{ package_name: name }] })
  const npm = { installer: 'npm', packages: [{ package_name: 'left-pad' }] }
  const yum = { installer: 'yum', packages: [{ package_name: 'numpy' }] }
  const dependencies = [pip('NumPy'), pip('opencv_python'), pip('scipy'), pip('constructor'), yum, npm]
  const config = JSON.stringify({ ...JSON.parse(CONFIG), dependencies })
  const root = tree(t, {
    'p/config.json': config,
    'p/net.onnx': '',
    'p/customize_service.ts': '',
    'q/config.json': config,
    'q/net.onnx': '',
  })
  const codes = (p: ModelPackage) => p.findings.map((f) => f.code.replace('DEPENDENCY_', '').toLowerCase())
  const expected = ['replaced', 'replaced', 'ignored', 'ignored', 'ignored']
  assert.deepEqual(codes(await openPackage(join(root, 'p'))), [...expected, 'bundled'])
  assert.deepEqual(codes(await openPackage(join(root, 'q'))), [...expected, 'ignored'])
})

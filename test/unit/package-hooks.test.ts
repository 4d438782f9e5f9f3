import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { buildHooks, inspectHooks } from '../../packager/hooks/check.ts'
import { installNpm } from '../../packager/hooks/npm.ts'
import { openPackage } from '../../packager/package/open.ts'
import * as api from '../../src/index.ts'
import { loadHooks } from '../../src/loadhooks.ts'
import { fakeRegistry } from '../fixtures/package/registry.ts'
import { CONFIG, tree } from '../fixtures/package/tree.ts'

const HOOKS = `import { TfServingBaseService, type Outputs } from 'modelayer'
import { best } from './helper.ts'

export default class DigitService extends TfServingBaseService {
  _postprocess(outputs: Outputs) {
    return { label: best(outputs.scores[0]) }
  }
}
`
const HELPER = 'export const best = (scores: number[]) => String(scores.indexOf(Math.max(...scores)))\n'
const base = { 'p/config.json': CONFIG, 'p/net.onnx': '' }

test('hooks and their imports become one CommonJS file that shares the base class, with a map to the sources', async (t) => {
  const root = tree(t, { ...base, 'p/customize_service.ts': HOOKS, 'p/helper.ts': HELPER })
  const out = join(root, 'out/hooks/customize_service.js')
  const { bytes, findings } = await buildHooks(await openPackage(join(root, 'p')), out)
  assert.deepEqual(findings, [])
  const text = readFileSync(out, 'utf8')
  assert.equal(bytes, Buffer.byteLength(text))
  const Service = loadHooks(out, api)
  assert.ok(Service.prototype instanceof api.BaseService)
  assert.deepEqual(Service.prototype._postprocess.call({}, { scores: [[0, 2, 1]] }, {}), { label: '1' })
  const map = JSON.parse(Buffer.from(text.split('base64,')[1]!, 'base64').toString())
  assert.deepEqual([map.sources.sort(), map.sourcesContent], [['customize_service.ts', 'helper.ts'], undefined])
})

test('the bytes are the same wherever the package lies, npm imports included', async (t) => {
  const files = {
    'customize_service.ts': `import { TfServingBaseService } from 'modelayer'
import upper from 'tiny-upper'
export default class S extends TfServingBaseService { _postprocess() { return upper('x') } }
`,
    'config.json': CONFIG,
    'net.onnx': '',
    'tsconfig.json':
      '{ "compilerOptions": { "experimentalDecorators": true, "paths": { "modelayer": ["./nothing.ts"] } } }',
  }
  const place = (...path: string[]) =>
    Object.fromEntries(Object.entries(files).map(([name, text]) => [[...path, name].join('/'), text]))
  const lib = { 'package.json': '{ "name": "tiny-upper" }', 'index.js': 'module.exports = (s) => s.toUpperCase()\n' }
  const root = tree(t, {
    ...place('p'),
    'p/node_modules/tiny-upper/package.json': lib['package.json'],
    'p/node_modules/tiny-upper/index.js': lib['index.js'],
    ...place('deep', 'down', 'q'),
    'deep/node_modules/tiny-upper/package.json': lib['package.json'],
    'deep/node_modules/tiny-upper/index.js': lib['index.js'],
  })
  const texts = []
  for (const [i, path] of ['p', 'deep/down/q'].entries()) {
    const out = join(root, `out${i}`, 'customize_service.js')
    const { bundle } = await inspectHooks(await openPackage(join(root, path)), out)
    assert.ok(bundle)
    texts.push(readFileSync(out, 'utf8'))
  }
  assert.equal(texts[0], texts[1])
  assert.ok(!texts[0]!.includes(root) && !texts[0]!.includes('../'))
})

test('every fault of hooks is named with what was expected', async (t) => {
  const rows: [source: string, code: string, message: RegExp][] = [
    [
      'export const x = 1',
      'HOOKS_INVALID',
      /expected export default class .* extends TfServingBaseService.*no default export/,
    ],
    ['export default class Plain {}', 'HOOKS_INVALID', /class Plain without that base.*Import the base class/],
    [
      'import { nothing } from "no-such-package"\nexport default nothing',
      'HOOKS_INVALID',
      /1:\d+ Could not resolve "no-such-package".*config\.json/,
    ],
    ['export default class {', 'HOOKS_INVALID', /customize_service\.ts:1:\d+ Expected/],
    ['throw new Error("at the top")', 'HOOKS_INVALID', /at the top/],
    [
      "import { TfServingBaseService } from 'modelayer'\nexport default class S extends TfServingBaseService {\n  _preprocess() { return 5 }\n}",
      'HOOKS_TYPE',
      /TS2416/,
    ],
  ]
  for (const [source, code, message] of rows) {
    const root = tree(t, { ...base, 'p/customize_service.ts': source })
    const pkg = await openPackage(join(root, 'p'))
    const { findings } = await inspectHooks(pkg, join(root, 'out.js'))
    const found = findings.find((f) => f.code === code)
    assert.ok(found, `${source}\n${JSON.stringify(findings)}`)
    assert.match(found.message, message)
    await assert.rejects(buildHooks(pkg, join(root, 'out.js')), { name: 'AppError', code: 'BAD_HOOKS' })
  }
})

test('type errors name file, line and column; untyped parameters, as carried over from Python, are none', async (t) => {
  const source = `import { TfServingBaseService } from 'modelayer'
export default class S extends TfServingBaseService {
  _preprocess(data) {
    const wrong: string = 5
    return { images: data.images }
  }
}
`
  const root = tree(t, { ...base, 'p/customize_service.ts': source })
  const { findings } = await inspectHooks(await openPackage(join(root, 'p')), join(root, 'out.js'))
  assert.deepEqual(
    findings.map((f) => [f.code, f.file, f.line, f.column]),
    [['HOOKS_TYPE', 'customize_service.ts', 4, 11]],
  )
})

test('hooks in JavaScript need no compiler', async (t) => {
  const source = "import { SingleNodeService } from 'modelayer'\nexport default class S extends SingleNodeService {}\n"
  const root = tree(t, { ...base, 'p/customize_service.mjs': source })
  const { bundle, findings } = await inspectHooks(await openPackage(join(root, 'p')), join(root, 'out.js'))
  assert.deepEqual([bundle !== undefined, findings], [true, []])
})

test('npm dependencies of config.json: installed once, without their scripts, and bundled', async (t) => {
  const { url, requests } = await fakeRegistry(t)
  const dependency = { package_name: 'tiny-upper', package_version: '1.0.0', restraint: 'EXACT' }
  const config = { ...JSON.parse(CONFIG), dependencies: [{ installer: 'npm', packages: [dependency] }] }
  const hooks = `import { TfServingBaseService } from 'modelayer'
import upper from 'tiny-upper'
export default class S extends TfServingBaseService { _postprocess() { return upper('x') } }
`
  const root = tree(t, { 'p/config.json': JSON.stringify(config), 'p/net.onnx': '', 'p/customize_service.js': hooks })
  const before = { registry: process.env.npm_config_registry, cache: process.env.npm_config_cache }
  Object.assign(process.env, { npm_config_registry: url, npm_config_cache: join(root, 'npm-cache') })
  t.after(() => {
    for (const [key, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[`npm_config_${key}`]
      else process.env[`npm_config_${key}`] = value
    }
  })
  const specs = [{ name: 'tiny-upper', version: '1.0.0', restraint: 'EXACT' as const, spec: 'tiny-upper@1.0.0' }]
  const [modules] = await installNpm(specs, join(root, 'p'), join(root, 'cache'))
  assert.equal(JSON.parse(readFileSync(join(modules!, 'tiny-upper/package.json'), 'utf8')).version, '1.0.0')
  assert.throws(() => readFileSync(join(modules!, 'tiny-upper/ran.txt')), { code: 'ENOENT' })

  const asked = requests.length
  assert.ok(asked >= 2)
  assert.deepEqual(await installNpm(specs, join(root, 'p'), join(root, 'cache')), [modules])
  assert.equal(requests.length, asked)

  // another version in the package's own node_modules does not count, the right one does
  const own = join(root, 'p/node_modules/tiny-upper')
  mkdirSync(own, { recursive: true })
  writeFileSync(join(own, 'package.json'), '{ "version": "1.2.0" }')
  assert.deepEqual(await installNpm(specs, join(root, 'p'), join(root, 'cache')), [modules])
  writeFileSync(join(own, 'package.json'), '{ "version": "1.0.0" }')
  assert.deepEqual(await installNpm(specs, join(root, 'p'), join(root, 'cache')), [])

  const missing = [{ name: 'no-such-thing', spec: 'no-such-thing' }]
  await assert.rejects(installNpm(missing, join(root, 'p'), join(root, 'cache')), /BAD_HOOKS|npm dependencies/)
})

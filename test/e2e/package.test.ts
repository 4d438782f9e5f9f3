import assert from 'node:assert/strict'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Arch } from '../../packager/layers/definition.ts'
import { type DistIndex, readDist } from '../../packager/layers/dist.ts'
import { defaultCache, projectRoot } from '../../packager/root.ts'
import { bootOptions } from '../../packager/sandbox/dist.ts'
import { httpEvent } from '../../packager/sandbox/events.ts'
import { Sandbox } from '../../packager/sandbox/sandbox.ts'
import { unpack } from '../../packager/sandbox/unpack.ts'
import { encodeRequest } from '../../packager/verify/request.ts'
import { built, run } from '../fixtures/package/run.ts'

const arch = process.arch as Arch
const work = mkdtempSync(join(tmpdir(), 'modelayer-package-'))
after(() => rmSync(work, { recursive: true, force: true }))
const example = join(projectRoot(), 'examples', 'mnist')
const dist = join(work, 'dist')
let index: DistIndex

before(async () => {
  await built()
  const { code, err } = await run(['package', 'examples/mnist', '-o', dist, '--arch', arch])
  assert.equal(code, 0, err)
  index = await readDist(dist)
})

const options = () => bootOptions(dist, index, arch)

const digit = (file: string) =>
  httpEvent(encodeRequest({ multipart: { images: { file } } }, (f) => readFileSync(join(example, 'digits', f))))

test('the zips that docs/deploy.md puts into templates of CDK and SAM are those that are built', () => {
  const docs = readFileSync(join(projectRoot(), 'docs', 'deploy.md'), 'utf8')
  const [, list = ''] = /layers: \[([^\]]+)\]\.map/.exec(docs) ?? []
  const named = [
    ...[...list.matchAll(/'([\w-]+)'/g)].map(([, name]) => `layers/${name}.zip`),
    ...[...docs.matchAll(/\.modelayer\/((?:layers|functions)\/[\w-]+\.zip)/g)].map(([, file]) => file!),
  ].map((file) => file.replace('arm64', arch))
  assert.equal(named.length, 8)
  for (const file of named) assert.ok(existsSync(join(dist, file)), file)
})

test('package --json: the index, the budget and the zips it names; the same bytes again', async () => {
  const again = join(work, 'again')
  const { code, out, err } = await run(['package', '--json', 'examples/mnist', '-o', again, '--arch', arch])
  assert.equal(code, 0, err)
  const json = JSON.parse(out)
  const shas = (i: DistIndex) => [...i.layers, ...i.functions].map((z) => [z.file, z.sha256, z.unzipped, z.zipped])
  assert.deepEqual(shas(json), shas(index))
  assert.deepEqual(
    index.layers.map((l) => l.name),
    ['runtime', 'image', 'model-mnist'],
  )
  assert.ok(json.golden > 0)
  assert.equal(json.budgets[0].function, 'predict')
  assert.ok(json.budgets[0].share < 0.3)
  assert.deepEqual(Object.keys(index.models[0]!.signatures), [index.models[0]!.defaultSignature])
})

test('the built zips answer every digit as TensorFlow did', async () => {
  const expected = JSON.parse(readFileSync(join(example, 'expected.json'), 'utf8'))
  const sandbox = await Sandbox.start(options())
  try {
    assert.equal(sandbox.init.error, undefined)
    for (const [file, { predicted_label }] of Object.entries<{ predicted_label: string }>(expected)) {
      const { response, error } = await sandbox.invoke(digit(file))
      assert.equal(error, undefined)
      const { statusCode, body } = response as { statusCode: number; body: string }
      assert.equal(statusCode, 200, body)
      assert.equal(JSON.parse(body).predicted_label, predicted_label, file)
    }
  } finally {
    await sandbox.close()
  }
})

test('telemetry is off before onnxruntime loads: nothing is written to /tmp or $HOME', async (t) => {
  const folder = join(work, 'watched')
  cpSync(await unpack(options().function, defaultCache()), folder, { recursive: true })
  copyFileSync(join(projectRoot(), 'test', 'fixtures', 'sandbox', 'watched.cjs'), join(folder, 'watched.cjs'))
  const env = { HOME: '/tmp/home' }
  const sandbox = await Sandbox.start({ ...options(), function: folder, handler: 'watched.handler', env })
  try {
    if (sandbox.kind === 'plain') return t.skip(`/tmp is not the function's own: ${sandbox.limits.join('; ')}`)
    assert.equal(sandbox.init.error, undefined)
    for (const file of ['7.png', '7.png']) {
      const { response } = await sandbox.invoke(digit(file))
      assert.equal((response as { statusCode: number }).statusCode, 200)
    }
    const { response } = await sandbox.invoke({ list: true })
    assert.deepEqual(response, { files: ['home'], telemetry: '1' })
  } finally {
    await sandbox.close()
  }
})

test('a package that no longer answers as recorded is refused, and nothing is built', async () => {
  const changed = join(work, 'changed', 'mnist')
  cpSync(example, changed, { recursive: true })
  const golden = join(changed, 'golden', readdirSync(join(changed, 'golden'))[0]!)
  writeFileSync(golden, readFileSync(golden, 'utf8').replace('"predicted_label": "0"', '"predicted_label": "5"'))
  const out = join(work, 'refused')
  const { code, err } = await run(['package', changed, '-o', out, '--arch', arch])
  assert.equal(code, 1)
  assert.match(err, /GOLDEN_DIFFERS.*1 of \d+ differ(.|\n)*predicted_label/)
  assert.ok(!existsSync(join(out, 'layers')))
})

test('two versions share a layer, each reproduces its own golden requests, the newest answers', async () => {
  const versions = ['1', '2'].map((v) => join(work, 'versions', 'mnist', v))
  for (const dir of versions) cpSync(example, dir, { recursive: true })
  // version 1 answers otherwise, and says so in its golden requests
  const hooks = join(versions[0]!, 'model', 'customize_service.ts')
  writeFileSync(
    hooks,
    readFileSync(hooks, 'utf8').replace('return { predicted_label:', 'return { old: true, predicted_label:'),
  )
  for (const file of readdirSync(join(versions[0]!, 'golden'))) {
    const path = join(versions[0]!, 'golden', file)
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"predicted_label": "\d"/g, '"old": true, $&'))
  }
  const out = join(work, 'both')
  const { code, err } = await run(['package', ...versions.toReversed(), '-o', out, '--arch', arch])
  assert.equal(code, 0, err)
  const both = await readDist(out)
  assert.deepEqual(
    both.models.map((m) => [m.name, m.version, m.layer]),
    [
      ['mnist', '1', 'model-mnist'],
      ['mnist', '2', 'model-mnist'],
    ],
  )
  const sandbox = await Sandbox.start(bootOptions(out, both, arch))
  try {
    const { response } = await sandbox.invoke(digit('7.png'))
    assert.doesNotMatch((response as { body: string }).body, /old/)
  } finally {
    await sandbox.close()
  }
})

test('what the command line refuses', async () => {
  const cases: [string[], number, RegExp][] = [
    [['package', 'examples/mnist'], 2, /--output/],
    [['package', 'examples/mnist', '-o', join(work, 'x'), '--arch', 'mips'], 2, /x64 or arm64.*mips/],
    [['package', join(work, 'nowhere'), '-o', join(work, 'x')], 1, /nowhere/],
    [['package', 'examples/mnist', 'examples/mnist', '-o', join(work, 'x')], 1, /one package of this name/],
  ]
  for (const [args, code, message] of cases) {
    const done = await run(args)
    assert.equal(done.code, code, done.err)
    assert.match(done.err, message)
  }
})

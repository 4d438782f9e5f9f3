import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { unzipSync } from 'fflate'
import { bundleFunction, functionEntry } from '../../packager/bundle/function.ts'
import { LIMITS } from '../../packager/fit/limits.ts'
import { budgetOf, budgetTable } from '../../packager/layers/budget.ts'
import { buildLayers } from '../../packager/layers/build.ts'
import { ARCHS, type Arch, loadDefinition, NATIVE_LAYERS } from '../../packager/layers/definition.ts'
import { layersFor, readDist } from '../../packager/layers/dist.ts'
import { layerSources } from '../../packager/layers/fetch.ts'
import { define } from '../../packager/layers/recipe.ts'
import { writeZip } from '../../packager/layers/zip.ts'
import { defaultCache, projectRoot } from '../../packager/root.ts'
import { isAppError } from '../../src/errors.ts'

const work = mkdtempSync(join(tmpdir(), 'modelayer-layers-'))
after(() => rmSync(work, { recursive: true, force: true }))

const fixtures = join(projectRoot(), 'test', 'fixtures', 'sandbox')
const code = (wanted: string) => (e: unknown) => isAppError(e) && e.code === wanted

function staging(name = 'staging'): string {
  const dir = join(work, name)
  mkdirSync(join(dir, 'models', 'm', '1'), { recursive: true })
  mkdirSync(join(dir, 'hooks'), { recursive: true })
  writeFileSync(
    join(dir, 'models', 'm', '1', 'manifest.json'),
    '{"format":1,"model":"m","version":"1","defaultSignature":"s","signatures":{"s":{}},"files":{}}',
  )
  writeFileSync(join(dir, 'models', 'm', '1', 'weights.bin'), Buffer.alloc(3_000_000, 'weights'))
  writeFileSync(join(dir, 'hooks', 'm@1.js'), 'exports.hooks = 1')
  return dir
}

const NO_PLAN = { plan: { tmp: 512, memory: 128, lines: [] }, fetched: [] }
const functions = { predict: join(fixtures, 'natives.ts') }

/** False, with the reason shown, where the other architecture's sharp is neither installed nor cached nor reachable. */
async function available(arch: Arch, t: { skip(why: string): void }): Promise<boolean> {
  try {
    await layerSources(loadDefinition('image').files[arch], arch, defaultCache())
    return true
  } catch (e) {
    if (!isAppError(e) || e.code !== 'FETCH_FAILED') throw e
    t.skip(`linux-${arch} sharp cannot be fetched: ${e.message}`)
    return false
  }
}

/** Measure 3: bytes of the runtime and image layers together. */
const BUDGET = {
  x64: { unzipped: 66_000_000, zipped: 26_500_000 },
  arm64: { unzipped: 46_000_000, zipped: 19_000_000 },
} as const satisfies Record<Arch, unknown>

for (const arch of ARCHS) {
  test(`layers for ${arch}: definitions match the installed packages, size within budget, two builds identical`, async (t) => {
    if (!(await available(arch, t))) return
    for (const name of NATIVE_LAYERS)
      assert.deepEqual(
        loadDefinition(name).files[arch],
        (await define(name, defaultCache(), [arch])).files[arch],
        `layers/${name}.json is stale: npx tsx scripts/layers-update.ts`,
      )

    const out = join(work, `dist-${arch}`)
    const first = await buildLayers({ staging: staging(), out, arch: [arch], functions })
    const native = first.index.layers.filter((l) => l.arch === arch)
    assert.deepEqual(
      native.map((l) => l.file),
      [`layers/runtime-${arch}.zip`, `layers/image-${arch}.zip`],
    )
    const sum = (key: 'unzipped' | 'zipped') => native.reduce((n, l) => n + l[key], 0)
    assert.ok(sum('unzipped') <= BUDGET[arch].unzipped, `${sum('unzipped')} bytes unzipped`)
    assert.ok(sum('zipped') <= BUDGET[arch].zipped, `${sum('zipped')} bytes zipped`)

    // a fresh copy with other dates
    const again = staging(`again-${arch}`)
    utimesSync(join(again, 'models', 'm', '1', 'weights.bin'), new Date(0), new Date(0))
    const second = await buildLayers({ staging: again, out: join(work, `dist2-${arch}`), arch: [arch], functions })
    assert.deepEqual(
      second.index.layers.concat(second.index.functions as never).map((l) => l.sha256),
      first.index.layers.concat(first.index.functions as never).map((l) => l.sha256),
    )
    assert.deepEqual(await readDist(out), first.index)
    if (arch === process.arch) {
      const sources = await layerSources(loadDefinition('image').files[arch], arch, defaultCache())
      const image = await writeZip(
        sources.map((f) => ({ name: f.to, path: f.path })),
        join(work, 'image.zip'),
      )
      assert.equal(image.sha256, native[1]?.sha256, 'deflated anew, without the cache')
    }
    assert.deepEqual(
      layersFor(first.index, arch).map((l) => l.name),
      ['runtime', 'image', 'model-m'],
    )
  })
}

test('the model layer unpacks below models/, the function holds handler and hooks', async () => {
  const out = join(work, 'dist')
  await buildLayers({ staging: staging(), out, arch: [process.arch as Arch], functions, image: false })
  const names = (file: string) => Object.keys(unzipSync(readFileSync(join(out, file))))
  assert.deepEqual(names('layers/model-m.zip'), ['models/m/1/manifest.json', 'models/m/1/weights.bin'])
  assert.deepEqual(names('functions/predict.zip'), ['hooks/m@1.js', 'predict.js', 'sharp.js', 'sharp.js.LEGAL.txt'])
  const { layers, models } = await readDist(out)
  assert.ok(!layers.some((l) => l.name === 'image'))
  assert.equal(models[0]?.layer, 'model-m')
})

test('building again removes the zips of the build before and nothing else', async () => {
  const out = join(work, 'twice')
  const from = staging('twice-staging')
  await buildLayers({ staging: from, out, arch: [process.arch as Arch], functions })
  writeFileSync(join(out, 'layers', 'own.txt'), 'mine')
  await buildLayers({ staging: from, out, arch: [process.arch as Arch], functions, image: false })
  assert.deepEqual(readdirSync(join(out, 'layers')).sort(), ['model-m.zip', 'own.txt', `runtime-${process.arch}.zip`])
  writeFileSync(join(work, 'file'), '')
  const into = { staging: from, out: join(work, 'file'), arch: [process.arch as Arch], functions }
  await assert.rejects(buildLayers(into), code('USAGE'))
})

test('a model beyond the limit that must not move is refused before anything is compressed', async () => {
  const from = staging('big')
  // sparse: takes no room on disk
  truncateSync(join(from, 'models', 'm', '1', 'weights.bin'), LIMITS.unzipped)
  const out = join(work, 'too-big')
  const build = buildLayers({ staging: from, out, arch: [process.arch as Arch], functions, fit: { storage: 'layer' } })
  await assert.rejects(build, code('LAYER_TOO_BIG'))
  assert.deepEqual(readdirSync(out), [])
})

test('zips do not depend on order, dates, cache or time zone', async () => {
  const files = ['b', 'a'].map((name) => {
    writeFileSync(join(work, name), `${name}\n`.repeat(1000))
    return { name: `x/${name}`, path: join(work, name) }
  })
  const one = await writeZip(files, join(work, '1.zip'))
  utimesSync(join(work, 'a'), new Date(1e12), new Date(1e12))
  const zone = process.env.TZ
  process.env.TZ = 'Pacific/Kiritimati'
  const two = await writeZip(files.toReversed(), join(work, '2.zip'), { cache: join(work, 'cache') })
  const three = await writeZip(files, join(work, '3.zip'), { cache: join(work, 'cache') })
  if (zone === undefined) delete process.env.TZ
  else process.env.TZ = zone
  assert.equal(two.sha256, one.sha256)
  assert.equal(three.sha256, one.sha256)
  assert.equal(one.unzipped, 4000)
})

test('a file that is not the one on the list is refused by name', async () => {
  const [file] = loadDefinition('runtime').files.x64.filter((f) => !f.package)
  await assert.rejects(layerSources([{ ...file!, sha256: '0'.repeat(64) }], 'x64', work), code('LAYER_FILE'))
  await assert.rejects(layerSources([{ ...file!, bytes: 1 }], 'x64', work), code('LAYER_FILE'))
  await assert.rejects(layerSources([{ ...file!, from: 'none' }], 'x64', work), code('LAYER_FILE'))
})

test('a package that cannot be fetched says what, for which platform and what to do', async () => {
  const file = { package: '@img/sharp-linux-arm64', version: '0.0.0-none', from: 'x', to: 'x', bytes: 1, sha256: '' }
  await assert.rejects(layerSources([file], 'arm64', join(work, 'fetch')), (e) => {
    assert.ok(code('FETCH_FAILED')(e))
    assert.match(String(e), /sharp-linux-arm64@0\.0\.0-none.*linux-arm64.*proxy or registry/s)
    return true
  })
})

test('the table says what goes through S3 and what is too much', () => {
  const rows = [
    { name: 'runtime', kind: 'layer', arch: 'x64', unzipped: 46_000_000, zipped: 18_000_000 },
    { name: 'model-big', kind: 'layer', unzipped: 220_000_000, zipped: 200_000_000 },
    { name: 'predict', kind: 'function', unzipped: 200_000, zipped: 60_000 },
    { name: 'batch', kind: 'function', unzipped: 900_000_000 },
  ] as const
  const budget = budgetOf('predict', 'x64', rows)
  assert.equal(budget.unzipped, 266_200_000)
  const text = budgetTable([budget])
  assert.match(text, /layer model-big +both +220,000,000 +83\.9 % +200,000,000 +through S3/)
  assert.match(text, /= predict in all +x64 +266,200,000 +101\.5 %/)
})

test('a staging folder without models, a dist without index, an architecture that was not built', async () => {
  const empty = join(work, 'empty')
  mkdirSync(empty)
  await assert.rejects(buildLayers({ staging: empty, out: join(work, 'o'), arch: ['x64'] }), code('MODEL_NOT_FOUND'))
  await assert.rejects(readDist(empty), code('BAD_ARTIFACT'))
  writeFileSync(join(empty, 'modelayer.json'), '{"format":')
  await assert.rejects(readDist(empty), code('BAD_ARTIFACT'))
  const index = { format: 1, arch: ['arm64'], layers: [], functions: [], models: [], ...NO_PLAN } as const
  assert.throws(() => layersFor(index, 'x64'), code('BAD_ARTIFACT'))
})

test('a bundle holds the JavaScript of the native packages, and neither the AWS SDK nor the packager', async () => {
  const { files, inputs } = await bundleFunction('predict', functionEntry('predict'), join(work, 'bundle'))
  assert.deepEqual(
    files.map((f) => f.name),
    [
      'capture.js',
      'fetch.js',
      'later.js',
      'predict.js',
      'prepared.mjs',
      'sharp.js',
      'sharp.js.LEGAL.txt',
      'xray.js',
      'xray.js.LEGAL.txt',
    ],
  )
  const read = (name: string) => readFileSync(files.find((f) => f.name === name)!.path, 'utf8')
  const [main, later, sharp, fetch] = [read('predict.js'), read('later.js'), read('sharp.js'), read('fetch.js')]
  // the signer of the SDK, for functions that fetch their model
  assert.ok(fetch.length < 40_000 && fetch.includes('AWS4-HMAC'), `fetch.js has ${fetch.length} bytes`)
  assert.ok(!main.includes('AWS4-HMAC'))
  assert.ok(main.length < 100_000, `predict.js has ${main.length} bytes, all of which a cold start compiles`)
  assert.ok(sharp.length < 130_000, `sharp.js has ${sharp.length} bytes`)
  assert.ok(!inputs.some((i) => i.includes('onnxruntime-common')))
  assert.ok(!inputs.some((i) => i.includes('@aws-sdk')))
  // tracing and capture bring theirs in files of their own
  assert.ok(!inputs.some((i) => /powertools|aws-xray|json-p3/.test(i)))
  assert.ok(later.length < 120_000, `later.js has ${later.length} bytes, all of which its first use compiles`)
  assert.doesNotMatch(main, /[^.\w]import\(/, 'a dynamic import would load the ES module loader')
  const native = (text: string) =>
    [...text.matchAll(/require\(`(.+?)`\)/g)].map((m) => m[1]!.replaceAll(/\$\{.+?\}/g, '*'))
  assert.deepEqual(native(main), ['onnxruntime-node/bin/napi-v6/*/*/onnxruntime_binding.node'])
  assert.deepEqual(native(sharp), [
    '@img/sharp-*-*/sharp.node',
    '@img/sharp-*/versions',
    '@img/sharp-libvips-*/versions',
  ])
  const wrong = join(work, 'wrong.ts')
  writeFileSync(wrong, `export * from ${JSON.stringify(join(projectRoot(), 'packager', 'root.ts'))}`)
  await assert.rejects(bundleFunction('wrong', wrong, join(work, 'wrong')), code('BAD_ARTIFACT'))
  writeFileSync(wrong, 'syntax error(')
  await assert.rejects(bundleFunction('wrong', wrong, join(work, 'wrong')), code('BAD_ARTIFACT'))
})

import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { readForm } from '../../src/http/form.ts'
import { built, ROOT, run } from '../fixtures/package/run.ts'
import { CONFIG, tree } from '../fixtures/package/tree.ts'

before(built)

test('validate: 0 for a good package, 1 with every finding for a bad one, the same as data with --json', async (t) => {
  const root = tree(t, {
    'p/config.json': '\ufeff{"model_type": "Tensor", "apis": {}}',
    'p/customize_service.ts': 'export default 1',
  })
  const good = await run(['validate', 'examples/iris'])
  assert.deepEqual([good.code, good.out], [0, 'iris version 1: no errors, no warnings\n'])
  assert.match(good.err, /✓ Check the hooks of iris/)

  const bad = await run(['validate', '--quiet', join(root, 'p')])
  assert.deepEqual([bad.code, bad.err], [1, ''])
  assert.match(bad.out, /^p version 1: 5 errors, 1 warning\n/)
  const json = await run(['validate', '--json', join(root, 'p'), 'examples/iris'])
  assert.deepEqual([json.code, json.err], [1, ''])
  const [first, second] = JSON.parse(json.out).packages
  assert.deepEqual([first.ok, second.ok], [false, true])
  const expected = ['CONFIG_BOM', 'CONFIG_REQUIRED', 'CONFIG_ENGINE', 'CONFIG_TYPE', 'MODEL_MISSING', 'HOOKS_INVALID']
  assert.deepEqual(
    first.findings.map((f: { code: string }) => f.code),
    expected,
  )
  assert.deepEqual(
    expected.filter((code) => !bad.out.includes(code)),
    [],
  )
})

test('golden: passes, differs with pointers, records', async (t) => {
  const root = tree(t, {})
  const iris = join(root, 'iris')
  cpSync(join(ROOT, 'examples/iris'), iris, { recursive: true })
  const file = join(iris, 'golden/setosa.json')
  const saved = JSON.parse(readFileSync(file, 'utf8'))
  writeFileSync(join(root, 'request.json'), JSON.stringify(saved.request.json))
  const recorded = await run(['golden', iris, '--record', '--data', join(root, 'request.json'), '--name', 'again'])
  assert.deepEqual([recorded.code, recorded.out], [0, `${join(iris, 'golden/again.json')}\n`], recorded.err)
  const again = JSON.parse(readFileSync(join(iris, 'golden/again.json'), 'utf8'))
  assert.deepEqual([again.request, again.expected.status], [saved.request, 200])

  writeFileSync(file, JSON.stringify({ ...saved, expected: { ...saved.expected, body: { data: 'something else' } } }))
  const differs = await run(['golden', iris])
  assert.equal(differs.code, 1)
  assert.match(differs.out, /again +200 +same/)
  assert.match(differs.out, /setosa +\/data +"something else" +/)
  assert.equal(differs.out.match(/ same /g)?.length, readdirSync(join(iris, 'golden')).length - 1)
  const json = await run(['golden', '--json', join(ROOT, 'examples/mnist')])
  const { passed, failed } = JSON.parse(json.out)
  assert.deepEqual([json.code, passed, failed], [0, readdirSync(join(ROOT, 'examples/mnist/golden')).length, 0])
})

test('predict: a package, by form and by JSON, and refusals', async () => {
  const digit = await run(['predict', '-q', 'examples/mnist', '-F', 'images=@examples/mnist/digits/7.png'])
  assert.equal(digit.code, 0, digit.err)
  assert.equal(JSON.parse(digit.out).predicted_label, '7')
  const flower = { SepalLength: 5, SepalWidth: 3.4, PetalLength: 1.5, PetalWidth: 0.2 }
  const input = JSON.stringify({ data: { req_data: [flower] } })
  const setosa = await run(['predict', '-q', 'examples/iris', '--json', '-'], { input })
  assert.equal(setosa.code, 0, setosa.err)
  assert.match(setosa.out, /setosa/i)
  const wrong = await run(['predict', '-q', 'examples/mnist', '-F', 'picture=@examples/mnist/digits/7.png'])
  assert.equal(wrong.code, 1)
  assert.match(wrong.out, /images/)
  assert.match(wrong.err, /warning status 400/)
})

test('predict: a URL gets the form that curl would send', async (t) => {
  const seen: { url?: string; key?: string; form?: Record<string, unknown> }[] = []
  const server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req
      .on('data', (c) => chunks.push(c))
      .on('end', () => {
        const form = readForm(Buffer.concat(chunks), req.headers['content-type'] ?? '')
        seen.push({ url: req.url, key: String(req.headers['x-api-key']), form })
        res.writeHead(seen.length === 1 ? 200 : 429).end('{"answer":1}')
      })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/infers/x`
  const file = join(ROOT, 'examples/mnist/digits/7.png')
  const args = [
    'predict',
    url,
    '-H',
    'x-api-key: k',
    '-F',
    `images=@${file};type=image/x;filename=a"b.png`,
    '-F',
    `images=@${file}`,
    '-F',
    'n=1=2',
  ]
  const first = await run(args)
  assert.deepEqual([first.code, first.out], [0, '{"answer":1}\n'], first.err)
  const [{ url: path, key, form } = {}] = seen
  assert.deepEqual([path, key, form?.n], ['/v1/infers/x', 'k', '1=2'])
  const files = Object.values(
    form?.images as Record<string, { fileName: string; contentType: string; bytes: Uint8Array }>,
  )
  assert.deepEqual(
    files.map((f) => [f.contentType, f.bytes.length]),
    [
      ['image/x', readFileSync(file).length],
      ['image/png', readFileSync(file).length],
    ],
  )
  assert.equal((await run(args)).code, 1)
  server.closeAllConnections()
  server.close()
  const gone = await run(args)
  assert.deepEqual([gone.code, gone.out], [1, ''])
  assert.match(gone.err, /SOURCE_FAILED.*Is the service running\?/)
})

test('a package of the test is what validate takes it for', async (t) => {
  const root = tree(t, { 'a/config.json': CONFIG, 'a/net.onnx': '', 'a/golden/x.json': '{"request":{}}' })
  const { code, out } = await run(['validate', join(root, 'a')])
  assert.equal(code, 1)
  assert.match(out, /golden\/x\.json .*error GOLDEN_INVALID/)
})

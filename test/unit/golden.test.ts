import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Answering, goldenError, recordGolden, runGolden } from '../../packager/verify/golden.ts'
import { inspectGolden } from '../../packager/verify/golden-file.ts'
import { encodeRequest, parseField, parseForm } from '../../packager/verify/request.ts'
import { differences, EXACT, parseBody } from '../../src/golden/compare.ts'
import { readForm } from '../../src/http/form.ts'
import type { HttpRequest } from '../../src/types.ts'
import { tree } from '../fixtures/package/tree.ts'

const places = (expected: unknown, actual: unknown, t = {}) =>
  differences(expected, actual, { ...EXACT, ...t }).map((d) => d.pointer)

test('numbers are close as numpy.allclose has it; everything else is equal', () => {
  const rows: [expected: unknown, actual: unknown, tolerance: object, at: string[]][] = [
    [1, 1, {}, []],
    [1, 1.0001, {}, ['']],
    [1, 1.0001, { atol: 1e-3 }, []],
    [1000, 1000.9, { rtol: 1e-3 }, []],
    [0, 1e-6, { rtol: 1e-3 }, ['']],
    ['0.993', '0.994', { atol: 0.01 }, ['']],
    ['0.993', '0.994', { atol: 0.01, numericStrings: true }, []],
    ['7', 7, { numericStrings: true }, []],
    ['cat', 'dog', { atol: 9, numericStrings: true }, ['']],
    [1, '1', { atol: 1 }, ['']],
    [null, 0, { atol: 1 }, ['']],
    [{ a: [1, { b: 2 }] }, { a: [1, { b: 3 }] }, {}, ['/a/1/b']],
    [{ a: 1 }, { b: 1 }, {}, ['/a', '/b']],
    [[1, 2, 3], [1, 5], {}, ['', '/1']],
    [{ 'x/y~z': 1 }, { 'x/y~z': 2 }, {}, ['/x~1y~0z']],
    [{ a: 1 }, [1], {}, ['']],
    [JSON.parse('{"__proto__": 1}'), {}, {}, ['/__proto__']],
    ['NaN', 'NaN', {}, []],
  ]
  for (const [expected, actual, tolerance, at] of rows) {
    assert.deepEqual(places(expected, actual, tolerance), at, JSON.stringify([expected, actual, tolerance]))
  }
})

test('bodies keep NaN, infinities and large integers; text that is no JSON is text', () => {
  assert.deepEqual(parseBody('{"a":[NaN,-Infinity,1e5,-2.5,9007199254740993],"b":"NaN 9007199254740993 \\" 1"}'), {
    a: ['NaN', '-Infinity', 1e5, -2.5, '9007199254740993'],
    b: 'NaN 9007199254740993 " 1',
  })
  assert.equal(parseBody('<html>'), '<html>')
})

test('a form is what our own reader takes it for, byte for byte, and always the same bytes', () => {
  const files: Record<string, Uint8Array> = {
    'a b.png': Buffer.from([0, 255, 13, 10, 45, 45]),
    'x.csv': Buffer.from('--modelayer-form-boundary\r\n'),
  }
  const fields = ['images=@a b.png', 'images=@x.csv;type=text/x;filename=a"\n.csv', 'note=ü=1', '__proto__=@a b.png']
  const request = { multipart: parseForm(fields.map(parseField)) }
  const encode = () => encodeRequest(request, (f) => files[f]!)
  const { body, contentType } = encode()
  assert.deepEqual(encode(), encode())
  const form = readForm(body, contentType)
  assert.deepEqual(Object.keys(form), ['images', 'note', '__proto__'])
  assert.equal(form.note, 'ü=1')
  const [png, csv] = Object.values<{ fileName: string; contentType: string; bytes: Uint8Array }>(form.images)
  assert.deepEqual([png!.fileName, png!.contentType, [...png!.bytes]], ['a b.png', 'image/png', [...files['a b.png']!]])
  assert.deepEqual([csv!.contentType, Buffer.from(csv!.bytes).toString()], ['text/x', '--modelayer-form-boundary\r\n'])
})

/** Answers with what it was asked, so that a recording says what was sent. */
const echo: Answering & { asked: HttpRequest[] } = {
  asked: [],
  async handle(req) {
    echo.asked.push(req)
    if (req.path === '/refuse') return { status: 400, headers: {}, body: '{"request_id":"random"}' }
    const json = req.headers['content-type'] === 'application/json' ? JSON.parse(Buffer.from(req.body).toString()) : {}
    return { status: 200, headers: {}, body: JSON.stringify({ ...json, bytes: req.body.length }) }
  },
}

test('golden requests are sent in order, compared, and the difference is a table with pointers', async (t) => {
  const root = tree(t, {
    'golden/b.json':
      '{"request":{"json":{"x":1.5}},"expected":{"body":{"x":1.5001,"bytes":9}},"tolerance":{"atol":0.01}}',
    'golden/a.json': '{"request":{"json":{"x":[1,2]}},"expected":{"status":200,"body":{"x":[1,3],"bytes":11}}}',
    'golden/c.json': '{"request":{"path":"/refuse","json":0},"expected":{"status":400}}',
    'golden/d.json': '{"request":{"path":"/refuse","json":0},"expected":{"status":200}}',
    'golden/e.json': '{"request":{"multipart":{"f":{"file":"../one.txt"}}},"expected":{"status":200}}',
    'golden/notes.md': '',
    'one.txt': '1',
  })
  echo.asked = []
  const seen: string[] = []
  const results = await runGolden(echo, join(root, 'golden'), { onResult: (n, of) => seen.push(`${n}/${of}`) })
  assert.deepEqual(
    results.map((r) => [r.name, r.status, r.differences.map((d) => [d.pointer, d.expected, d.actual])]),
    [
      ['a', 200, [['/x/1', '3', '2']]],
      ['b', 200, []],
      ['c', 400, []],
      ['d', 400, [['(status)', '200', '400']]],
      ['e', 200, []],
    ],
  )
  assert.equal(seen.at(-1), '5/5')
  assert.equal(echo.asked[0]!.headers['content-length'], String(echo.asked[0]!.body.length))
  const error = goldenError(results)
  assert.equal(error?.code, 'GOLDEN_DIFFERS')
  assert.match(error?.message ?? '', /2 of 5 differ\n[\s\S]*a +\/x\/1 +3 +2 +1\.0e\+0/)
  assert.equal(goldenError(results.filter((r) => r.differences.length === 0)), undefined)
})

test('recording writes what is answered now, and reproduces it', async (t) => {
  const root = tree(t, { 'one.txt': '1' })
  const dir = join(root, 'golden')
  const form = { name: 'form', request: { multipart: { f: { file: '../one.txt' } } } }
  const written = await recordGolden(echo, [form, { name: 'json', request: { json: { x: 1 } } }], dir)
  assert.deepEqual(written, [join(dir, 'form.json'), join(dir, 'json.json')])
  assert.deepEqual(JSON.parse(readFileSync(written[1]!, 'utf8')), {
    request: { json: { x: 1 } },
    expected: { status: 200, body: { x: 1, bytes: 7 } },
    tolerance: { rtol: 1e-4, atol: 1e-5, numericStrings: false },
  })
  assert.equal(goldenError(await runGolden(echo, dir)), undefined)
  const refuse = { name: 'no', request: { path: '/refuse', json: 1 } }
  await assert.rejects(recordGolden(echo, [refuse], dir), /BAD_GOLDEN|expected an answer with status 200/)
  await assert.rejects(recordGolden(echo, [{ name: '../up', request: { json: 1 } }], dir), { code: 'USAGE' })
})

test('golden files that cannot be used say where and why, all at once', (t) => {
  const request = '"request":{"json":1}'
  const rows: [content: string, finding: RegExp][] = [
    ['{', /expected JSON/],
    ['[]', /expected an object/],
    ['{"request":{"json":1},"expected":{},"extra":1}', /not 'extra'/],
    ['{"request":{},"expected":{}}', /one of 'multipart' and 'json'/],
    ['{"request":{"json":1,"multipart":{}},"expected":{}}', /one of 'multipart' and 'json'/],
    ['{"request":{"json":1,"path":"x"},"expected":{}}', /starts with \//],
    [`{${request}}`, /\/expected.*an object|an object/],
    [`{${request},"expected":{"status":"200"}}`, /a whole number/],
    [`{${request},"expected":{},"tolerance":{"rtol":-1}}`, /not negative/],
    [`{${request},"expected":{},"tolerance":{"numericStrings":1}}`, /true or false/],
    ['{"request":{"multipart":{"a":{"file":7}}},"expected":{}}', /'file'/],
    [
      '{"request":{"multipart":{"a":{"file":"nowhere.png"}}},"expected":{}}',
      /expected a file at 'nowhere.png', got nothing/,
    ],
    ['{"request":{"multipart":{"a":[{"file":"../../../etc/hostname"}]}},"expected":{}}', /one outside/],
  ]
  const files = Object.fromEntries(
    rows.map(([content], i) => [`p/golden/${String.fromCharCode(97 + i)}.json`, content]),
  )
  const findings = inspectGolden(join(tree(t, files), 'p/golden'))
  assert.equal(findings.length, rows.length)
  for (const [i, [content, message]] of rows.entries()) {
    assert.equal(findings[i]!.code, 'GOLDEN_INVALID')
    assert.match(findings[i]!.message, message, content)
  }
})

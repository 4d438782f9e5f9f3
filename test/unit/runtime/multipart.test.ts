import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAppError } from '../../../src/errors.ts'
import { readForm } from '../../../src/http/form.ts'
import { LIMITS, parseMultipart } from '../../../src/http/multipart.ts'

const TYPE = 'multipart/form-data; boundary=B'
const parse = (text: string, type = TYPE) => parseMultipart(Buffer.from(text), type)
const read = (text: string, type = TYPE) => readForm(Buffer.from(text), type)
const part = (disposition: string, body = 'x', more = '') =>
  `--B\r\nContent-Disposition: form-data; ${disposition}\r\n${more}\r\n${body}\r\n`
const fails = (run: () => unknown, ...texts: string[]) =>
  assert.throws(run, (e) => {
    assert.ok(isAppError(e) && e.code === 'BAD_MULTIPART', String(e))
    for (const text of texts) assert.ok(e.message.includes(text), e.message)
    return true
  })
const texts = (text: string, type?: string) =>
  parse(text, type).map((p) => [p.name, p.fileName, Buffer.from(p.bytes).toString()])

test('agrees with the form of the platform, byte for byte', async () => {
  const form = new FormData()
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * i) % 251)
  form.append('images', new Blob([bytes], { type: 'image/png' }), 'a "quoted" né\r\nme.png')
  form.append('text', 'l1\r\n--not a boundary\r\nü')
  form.append('empty', new Blob([]), 'empty.bin')
  const response = new Response(form)
  const type = response.headers.get('content-type')!
  const body = new Uint8Array(await response.arrayBuffer())
  const [image, text, empty] = parseMultipart(body, type)
  assert.equal(image!.fileName, 'a "quoted" né\r\nme.png')
  assert.equal(image!.contentType, 'image/png')
  assert.deepEqual(Buffer.from(image!.bytes), Buffer.from(bytes))
  assert.equal(image!.bytes.buffer, body.buffer)
  assert.equal(Buffer.from(text!.bytes).toString(), 'l1\r\n--not a boundary\r\nü')
  assert.equal(text!.fileName, undefined)
  assert.equal(empty!.bytes.length, 0)
})

test('boundaries: quoted, with white space behind, of preamble and epilogue, and what only looks like one', () => {
  assert.deepEqual(texts(`${part('name=a')}--B--`), [['a', undefined, 'x']])
  assert.deepEqual(texts(`${part('name=a')}--B--`, 'multipart/form-data; charset=x; BOUNDARY="B"'), [
    ['a', undefined, 'x'],
  ])
  assert.deepEqual(texts(`preamble --B\r\n${part('name=a')}--B--\r\nepilogue\r\n--B\r\n`), [['a', undefined, 'x']])
  assert.deepEqual(
    texts(
      `--B \t\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--B  \r\nContent-Disposition: form-data; name=b\r\n\r\n\r\n--B--`,
    ),
    [
      ['a', undefined, 'x'],
      ['b', undefined, ''],
    ],
  )
  const looksLike = '\r\n--BB\r\n--B-\r\n--B x\r\n --B--'
  assert.deepEqual(texts(`${part('name=a', looksLike)}--B--`), [['a', undefined, looksLike]])
  assert.deepEqual(texts('--B\nContent-Disposition: form-data; name=a\n\nx\r\n\n--B--\n'), [['a', undefined, 'x\r\n']])
  assert.deepEqual(parse('--B--'), [])
})

test('names: escapes, paths, the extended form, continued headers', () => {
  const nameOf = (disposition: string) => parse(`${part(disposition)}--B--`)[0]!
  assert.equal(nameOf('name="a\\"b"').name, 'a"b')
  assert.equal(nameOf('name="a%22b%0D%0A%41"').name, 'a"b\r\n%41')
  assert.equal(nameOf('name=a; filename="C:\\dir\\7.png"').fileName, 'C:\\dir\\7.png')
  assert.equal(nameOf("name=a; filename=plain.png; filename*=UTF-8''%e2%82%ac%20rates.png").fileName, '€ rates.png')
  assert.equal(nameOf("name=a; filename=plain.png; filename*=iso-8859-1'en'%A3.png").fileName, '£.png')
  assert.equal(nameOf("name=a; filename=plain.png; filename*=klingon''%A3.png").fileName, 'plain.png')
  assert.equal(nameOf('name="é€"').name, 'é€')
  assert.equal(nameOf('name=a;\r\n filename="b c"').fileName, 'b c')
  assert.equal(nameOf('name=""').name, '')
  assert.equal(nameOf('filename="name=x"; name=a').name, 'a')
})

test('what cannot be read says which part and why', () => {
  fails(() => parse('x', 'multipart/form-data'), 'content-type', 'a boundary', 'none')
  fails(() => parse('x', 'multipart/form-data; boundary=""'), 'none')
  fails(() => parse('x', `multipart/form-data; boundary=${'b'.repeat(201)}`), 'a longer one')
  fails(() => parse(''), 'an empty body')
  fails(() => parse('--C\r\n'), 'another boundary')
  fails(() => parse('hello'), 'a body without it')
  fails(() => parse(`${part('name=first')}${part('name=second').slice(0, -2)}`), 'part 2 (second)', 'cut off')
  fails(() => parse(`${part('name=first')}--B`), 'part 1 (first)', 'cut off')
  fails(() => parse('--B\r\n'), 'part 1', 'the end of the body')
  fails(() => parse('--B\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--'), 'part 1', 'content-disposition')
  fails(() => parse('--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--'), 'name="…"')
  fails(() => parse('--B\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--B--'), 'form-data')
  fails(() => parse(`${part('name=a', 'eA==', 'Content-Transfer-Encoding: base64\r\n')}--B--`), 'a transfer encoding')
  fails(() => parse(`--B\r\nX: ${'y'.repeat(LIMITS.headerBytes)}\r\n\r\n\r\n--B--`), `${LIMITS.headerBytes} bytes`)
  fails(() => parse(`${part('name=a').repeat(LIMITS.parts + 1)}--B--`), `at most ${LIMITS.parts} parts`)
})

test('a form for hooks: files by field and name, texts as strings', () => {
  const data = read(
    `${part('name=images; filename=a.png', 'A', 'Content-Type: image/png\r\n')}${part('name=images; filename=b.png', 'B')}` +
      `${part('name=note', 'caf\u00e9')}--B--`,
  )
  assert.deepEqual(Object.keys(data), ['images', 'note'])
  assert.equal(data.note, 'café')
  assert.deepEqual(Object.keys(data.images), ['a.png', 'b.png'])
  const { field, fileName, contentType, bytes } = data.images['a.png']
  assert.deepEqual([field, fileName, contentType, String(Buffer.from(bytes))], ['images', 'a.png', 'image/png', 'A'])
  assert.equal(data.images['b.png'].contentType, 'application/octet-stream')
})

test('two files of one name both stay', () => {
  const names = Array.from({ length: 3 }, (_, i) => part('name=f; filename=7.png', `${i}`)).join('')
  const { f } = read(
    `${names}${part('name=f; filename="7 (2).png"', '3')}${part('name=f; filename=noext')}${part('name=f; filename=noext')}--B--`,
  )
  const files: [string, string][] = Object.keys(f).map((name) => [name, f[name].text()])
  assert.deepEqual(files, [
    ['7.png', '0'],
    ['7 (2).png', '1'],
    ['7 (3).png', '2'],
    ['7 (2) (2).png', '3'],
    ['noext', 'x'],
    ['noext (2)', 'x'],
  ])
})

test('names that would reach a prototype or a path are only names', () => {
  for (const [given, kept] of Object.entries({
    ['__proto__']: '__proto__',
    constructor: 'constructor',
    '../../x': 'x',
    '/etc/passwd': 'passwd',
    'C:\\\\Users\\\\me\\\\7.png': '7.png',
    '..': 'f',
    '.': 'f',
    'dir/': 'f',
    'a\u0000b\tc': 'abc',
  }).concat([['__proto__', '__proto__']])) {
    const { f } = read(`${part(`name=f; filename="${given}"`)}--B--`)
    assert.deepEqual(Object.keys(f), [kept])
    assert.equal(f[kept].fileName, kept)
  }
  for (const field of ['__proto__', 'constructor', 'toString']) {
    const data = read(`${part(`name=${field}; filename=__proto__`)}--B--`)
    assert.deepEqual(Object.keys(data), [field])
    assert.deepEqual(Object.keys(data[field]), ['__proto__'])
    assert.equal(data.nothing, undefined)
    assert.equal(data.hasOwnProperty, undefined)
  }
  assert.equal(Object.keys(Object.prototype).length, 0)
})

test('text fields: charset, and twice is an error rather than a loss', () => {
  const latin = Buffer.concat([
    Buffer.from(part('name=a', '', 'Content-Type: text/plain; charset=iso-8859-1\r\n').slice(0, -2)),
    Buffer.from([0xe9]),
    Buffer.from('\r\n--B--'),
  ])
  assert.equal(readForm(latin, TYPE).a, 'é')
  fails(
    () => read(`${part('name=a', 'x', 'Content-Type: text/plain; charset=klingon\r\n')}--B--`),
    'field a',
    'charset',
  )
  fails(() => read(`${part('name=a')}${part('name=a')}--B--`), 'field a', 'a second time')
  fails(() => read(`${part('name=a')}${part('name=a; filename=x')}--B--`), 'field a')
  fails(() => read(`${part('name=a; filename=x')}${part('name=a')}--B--`), 'field a')
})

test('a file input left empty is no file, a file of no bytes is one', () => {
  assert.deepEqual(Object.keys(read(`${part('name=a; filename=""', '')}--B--`)), [])
  assert.deepEqual(Object.keys(read(`${part('name=a; filename="0.png"', '')}--B--`).a), ['0.png'])
  assert.deepEqual(Object.keys(read(`${part('name=a; filename=""', 'x')}--B--`).a), ['a'])
})

test('a file reads itself as text, JSON and CSV', () => {
  const file = (content: string) => read(`${part('name=f; filename=f', content)}--B--`).f.f
  assert.equal(file('\ufeffé').text(), 'é')
  assert.deepEqual(file('\ufeff{"a":[1]}').json(), { a: [1] })
  assert.throws(
    () => file('{"a":').json(),
    (e) => isAppError(e) && e.code === 'BAD_JSON' && e.message.includes('file f'),
  )
  assert.deepEqual(file('a,b\r\n1,"x ""y"", z"\n\n"",\n').csv(), [
    ['a', 'b'],
    ['1', 'x "y", z'],
    ['', ''],
  ])
  assert.deepEqual(file('a\n"l1\nl2"').csv(), [['a'], ['l1\nl2']])
  assert.deepEqual(file('').csv(), [])
  assert.deepEqual(
    file('a,__proto__\n1,2\n')
      .csv({ header: true })
      .map((r: object) => Object.entries(r)),
    [
      [
        ['a', '1'],
        ['__proto__', '2'],
      ],
    ],
  )
  const badCsv = (content: string, text: string, header = false) =>
    assert.throws(
      () => file(content).csv({ header }),
      (e) => isAppError(e) && e.code === 'BAD_REQUEST' && e.message.includes(text),
    )
  badCsv('a\n"b', 'row 2')
  badCsv('"a"b\n', 'row 1')
  badCsv('a,b\n1\n', '2 fields', true)
})

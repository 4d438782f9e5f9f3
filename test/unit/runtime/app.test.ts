import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { HttpRequest } from '../../../src/types.ts'
import { type Answer, FIXTURES, form, type Package, type Served, serve } from './support.ts'

const expected = JSON.parse(readFileSync(join(FIXTURES, 'expected.json'), 'utf8'))
const FIELDS = { images: { kind: 'file', required: true } } as const

/** Four bytes of each file are a row; the answer is the class, as in ModelArts' samples. */
const digits: Package = {
  fields: FIELDS,
  source: `exports.default = class Digits extends base {
    async _preprocess(data) {
      const files = Object.values(data).flatMap((field) => Object.values(field))
      return { images: files.map((file) => [...file.bytes]) }
    }
    _postprocess(outputs, tensors) {
      const best = outputs.scores.map((row) => String(row.indexOf(Math.max(...row))))
      return { predicted_label: best, shape: tensors.scores.shape }
    }
  }`,
}
const good = () => form({ 'a.bin': Uint8Array.of(1, 2, 3, 4) })

/** One line in the log for the answer, and the next request works. */
async function refused(served: Served, answer: Answer, status: number, code: string, ...texts: string[]) {
  assert.equal(answer.status, status, String(answer.body))
  assert.equal(answer.headers['content-type'], 'application/json')
  const { erno, msg, words_result, request_id, detail = '' } = answer.json
  const caller = status < 500
  assert.deepEqual(
    { erno, msg, words_result },
    caller
      ? { erno: 'MR.0101', msg: 'The input parameter is invalid', words_result: {} }
      : { erno: 'MR.0105', msg: 'Recognition failed', words_result: {} },
  )
  assert.equal(answer.json.code, code)
  assert.equal(request_id, answer.headers['x-request-id'])
  assert.equal(served.lines.length, 1)
  const [line] = served.lines
  assert.equal(line!.status, status)
  assert.equal(line!.level, caller ? 'warn' : 'error')
  assert.equal(line!.error!.code, code)
  assert.equal(line!.requestId, request_id)
  // the author reads the message in the log, the caller of a 4xx in the answer
  for (const text of texts)
    assert.ok((caller ? detail : line!.error!.message).includes(text), `${detail} ${line!.error!.message}`)
  if (!caller) assert.equal(detail, '')
  served.lines.length = 0
}

test('without hooks, JSON of nested arrays is the API', async () => {
  const served = serve({})
  const answer = await served.send({ json: { images: expected.rows, meta: { uuid: 'u-1' } } })
  assert.equal(answer.status, 200)
  assert.deepEqual(answer.json.meta, { uuid: 'u-1' })
  answer.json.scores.flat().forEach((x: number, i: number) => {
    assert.ok(Math.abs(x - expected.scores.flat()[i]) < 1e-6)
  })
  const { ms, ...line } = served.lines[0]!
  assert.deepEqual(Object.keys(ms!), ['pre', 'infer', 'post', 'total'])
  assert.deepEqual(
    { ...line, bytesIn: 0, bytesOut: 0 },
    {
      level: 'info',
      message: 'answered',
      requestId: 'r1',
      // Lambda's, which is not here
      functionRequestId: undefined,
      protocol: 'modelarts',
      route: 'POST /',
      model: 'digits',
      version: '1',
      status: 200,
      cold: true,
      bytesIn: 0,
      bytesOut: 0,
      error: undefined,
      captured: undefined,
    },
  )
  await served.send({ json: { images: expected.rows } })
  assert.equal(served.lines[1]!.cold, false)
})

test('a form goes through the hooks', async () => {
  const { send } = serve(digits)
  const files = { 'a.bin': Uint8Array.of(0, 0, 0, 0), 'b.bin': Uint8Array.of(1, 2, 3, 4) }
  const answer = await send({ form: form(files) })
  const best = expected.scores.slice(0, 2).map((row: number[]) => `${row.indexOf(Math.max(...row))}`)
  assert.deepEqual(answer.json, { predicted_label: best, shape: [2, 3] })
  const twice = new FormData()
  for (const _ of [1, 2]) twice.append('images', new Blob([Uint8Array.of(1, 2, 3, 4)]), 'same.bin')
  assert.deepEqual((await send({ form: twice })).json.shape, [2, 3])
})

test('models and versions: newest by default, by name where there are several', async () => {
  const name = (v: string): string => `exports.default = class extends base {
    _inference() { return {} }
    _postprocess() { return [this.modelName, '${v}', this.modelPath.split('/').slice(-2).join('/'), Object.keys(this.signature.inputs)] }
  }`
  const versions = ['9', '10', '0.0.2'].map((version) => ({ model: 'a', version, source: name(version) }))
  const single = serve(...versions)
  assert.deepEqual((await single.send({ json: {} })).json, ['a', '10', 'a/10', ['images']])
  const several = serve(...versions, { model: 'b c', source: name('1') })
  assert.deepEqual((await several.send({ json: {}, path: '/v1/infers/b%20c/any/tail' })).json[0], 'b c')
  several.lines.length = 0
  await refused(several, await several.send({ json: {} }), 404, 'UNKNOWN_MODEL', 'a, b c')
  await refused(
    several,
    await several.send({ json: {}, path: '/v1/infers/bc' }),
    404,
    'UNKNOWN_MODEL',
    'Did you mean b c?',
  )
  await refused(several, await several.send({ json: {}, path: '/v1/infers/%zz' }), 400, 'BAD_REQUEST', 'the path')
  await refused(several, await several.send({ json: {}, path: '/v1/infers/__proto__' }), 404, 'UNKNOWN_MODEL')
})

test('requests that are no prediction', async () => {
  const served = serve(digits)
  for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS', 'BREW']) {
    const answer = await served.send({ method })
    assert.equal(answer.headers.allow, 'POST')
    await refused(served, answer, 405, 'METHOD_NOT_ALLOWED', 'expected POST', method)
  }
  await refused(served, await served.send({ path: '/nowhere' }), 404, 'NOT_FOUND')
  await refused(served, await served.send({ path: '/v1/infers' }), 404, 'NOT_FOUND')
})

type Body = Parameters<Served['send']>[0]
const type = (contentType: string) => ({ headers: { 'content-type': contentType } })
const multipart = type('multipart/form-data; boundary=B')
const part = (rest: string) => `--B\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n${rest}`

const BAD_FORMS: [string, Body, number, string, ...string[]][] = [
  ['no boundary', { ...type('multipart/form-data'), text: 'x' }, 400, 'BAD_MULTIPART', 'boundary'],
  ['wrong boundary', { ...multipart, text: '--C\r\n\r\n' }, 400, 'BAD_MULTIPART', 'another boundary'],
  ['empty body', { ...multipart, text: '' }, 400, 'BAD_MULTIPART', 'an empty body'],
  ['cut mid-part', { ...multipart, text: part('abc') }, 400, 'BAD_MULTIPART', 'part 1 (images)', 'cut off'],
  ['cut in headers', { ...multipart, text: '--B\r\nContent-Dispo' }, 400, 'BAD_MULTIPART', 'part 1'],
  ['cut in the boundary', { ...multipart, text: part('abc\r\n--') }, 400, 'BAD_MULTIPART', 'cut off'],
  ['missing field', { ...multipart, text: '--B--' }, 400, 'MISSING_FIELD', 'a file field images', 'no fields'],
  ['wrong field name', { form: form({ a: 'x' }, 'image') }, 400, 'MISSING_FIELD', 'Rename image to images'],
  ['a field called __proto__', { form: form({ a: 'x' }, '__proto__') }, 400, 'MISSING_FIELD', '__proto__'],
  [
    'JSON where a form is declared',
    { json: { images: [[1]] } },
    415,
    'UNSUPPORTED_MEDIA',
    'multipart/form-data',
    'curl -F images=@file',
  ],
  ['an image as the body', { ...type('image/png'), text: 'x' }, 415, 'UNSUPPORTED_MEDIA', 'image/png'],
  ['curl -d without a type', { ...type('application/x-www-form-urlencoded'), text: '{}' }, 415, 'UNSUPPORTED_MEDIA'],
  [
    'text instead of a file',
    { ...multipart, text: '--B\r\nContent-Disposition: form-data; name="images"\r\n\r\nx\r\n--B--' },
    400,
    'BAD_REQUEST',
    'field images',
    'a file',
    '=@file',
  ],
  [
    'unknown content-encoding',
    { headers: { ...multipart.headers, 'content-encoding': 'br' }, text: 'x' },
    415,
    'UNSUPPORTED_MEDIA',
    'gzip',
  ],
  ['no gzip', { headers: { ...multipart.headers, 'content-encoding': 'gzip' }, text: 'x' }, 400, 'BAD_REQUEST', 'gzip'],
]

for (const [name, body, status, code, ...texts] of BAD_FORMS)
  test(`a form: ${name}`, async () => {
    const served = serve(digits)
    await refused(served, await served.send(body), status, code, ...texts)
    assert.equal((await served.send({ form: good() })).status, 200)
  })

const BAD_JSON: [string, Body, number, string, ...string[]][] = [
  ['a form where JSON is declared', { form: good() }, 415, 'UNSUPPORTED_MEDIA', 'application/json', 'curl -H'],
  ['no JSON', { text: '{"images": [1,' }, 400, 'BAD_JSON', 'the body'],
  ['nothing', { text: '' }, 400, 'BAD_JSON', 'nothing'],
  ['not UTF-8', { body: Uint8Array.of(0x22, 0xff, 0x22) }, 400, 'BAD_JSON', 'UTF-8'],
  ['an array', { json: [1] }, 400, 'BAD_REQUEST', 'a JSON object', 'an array of 1'],
  ['null', { json: null }, 400, 'BAD_REQUEST', 'null'],
  ['missing input', { json: {} }, 400, 'MISSING_INPUT', 'input images', 'float32 [?,4]'],
  ['unknown input', { json: { image: [] } }, 400, 'UNKNOWN_INPUT', 'Rename it to images'],
  ['wrong shape', { json: { images: [[1, 2, 3]] } }, 400, 'WRONG_SHAPE', 'float32 [?,4]', 'float32 [1,3]'],
  [
    'ragged',
    {
      json: {
        images: [
          [1, 2, 3, 4],
          [1, 2, 3],
        ],
      },
    },
    400,
    'WRONG_SHAPE',
    'images[1]',
    '4 elements',
    '3',
  ],
  ['text for a number', { json: { images: [['1', 2, 3, 4]] } }, 400, 'WRONG_DTYPE', 'images[0][0]', 'a string'],
  ['null for a number', { json: { images: [[1, null, 3, 4]] } }, 400, 'WRONG_DTYPE', 'images[0][1]', 'null'],
  [
    'deeper than any tensor',
    { text: `{"images":${'['.repeat(9000)}${']'.repeat(9000)}}` },
    400,
    'WRONG_SHAPE',
    'nested',
  ],
  ['a number past float32', { json: { images: [[1e300, 2, 3, 4]] } }, 400, 'WRONG_DTYPE'],
]

for (const [name, body, status, code, ...texts] of BAD_JSON)
  test(`JSON without hooks: ${name}`, async () => {
    const served = serve({})
    await refused(served, await served.send(body), status, code, ...texts)
    assert.equal((await served.send({ json: { images: expected.rows } })).status, 200)
  })

/** `data.how` picks what the hook does; anything else is the good row. */
const wayward = (hook: string, ways: Record<string, string>, rest: string): Package => ({
  source: `exports.default = class extends base {
    async ${hook}(data) {
      ${hook === '_preprocess' ? '' : 'const how = this.how'}
      switch (${hook === '_preprocess' ? 'data.how' : 'how'}) {
        ${Object.keys(ways)
          .map((how) => `case '${how}': ${ways[how]}`)
          .join('\n')}
      }
      ${rest}
    }
    ${hook === '_preprocess' ? '' : '_preprocess(data) { this.how = data.how; return { images: [[1, 2, 3, 4]] } }'}
  }`,
})

const FROM_PREPROCESS: Record<string, [string, number, string, ...string[]]> = {
  null: ['return null', 500, 'HOOK_RESULT', '_preprocess', '{ images: float32 [?,4] }', 'null'],
  undefined: ['return', 500, 'HOOK_RESULT', 'undefined'],
  NaN: ['return NaN', 500, 'HOOK_RESULT', 'NaN'],
  tensor: ["return lib.tensor('float32', [1, 4], new Float32Array(4))", 500, 'HOOK_RESULT', 'float32 [1,4]'],
  'wrong dtype': [
    "return { images: lib.tensor('int32', [1, 4], new Int32Array(4)) }",
    500,
    'HOOK_RESULT',
    'int32 [1,4]',
  ],
  'wrong shape': ['return { images: [[1, 2, 3]] }', 500, 'HOOK_RESULT', '_preprocess, input images', 'float32 [1,3]'],
  'forgotten await': ['return { images: Promise.resolve([[1]]) }', 500, 'HOOK_RESULT', 'is an await missing?'],
  throws: ["throw new Error('out of cheese')", 500, 'HOOK_FAILED', '_preprocess'],
  'throws nothing': ['throw undefined', 500, 'HOOK_FAILED', '_preprocess'],
  refuses: [
    "throw new lib.AppError('BAD_REQUEST', { where: 'field x', expected: 'a cat' })",
    400,
    'BAD_REQUEST',
    'a cat',
  ],
}

for (const [name, [code, status, error, ...texts]] of Object.entries(FROM_PREPROCESS))
  test(`_preprocess: ${name}`, async () => {
    const served = serve(wayward('_preprocess', { bad: code }, 'return { images: [[1, 2, 3, 4]] }'))
    await refused(served, await served.send({ json: { how: 'bad' } }), status, error, ...texts)
    assert.equal((await served.send({ json: {} })).status, 200)
  })

const FROM_POSTPROCESS: Record<string, [string, number, string, ...string[]]> = {
  null: ['return null', 500, 'HOOK_RESULT', '_postprocess', 'null'],
  undefined: ['return', 500, 'HOOK_RESULT', 'undefined'],
  NaN: ['return NaN', 500, 'HOOK_RESULT', 'NaN'],
  cycle: ['const a = {}; a.a = a; return a', 500, 'HOOK_RESULT', 'cycle'],
  function: ['return () => 1', 500, 'HOOK_RESULT', 'a function'],
  throws: ['return data.scores[7].index', 500, 'HOOK_FAILED', '_postprocess'],
}

for (const [name, [code, status, error, ...texts]] of Object.entries(FROM_POSTPROCESS))
  test(`_postprocess: ${name}`, async () => {
    const served = serve(wayward('_postprocess', { bad: code }, 'return data'))
    await refused(served, await served.send({ json: { how: 'bad' } }), status, error, ...texts)
    assert.equal((await served.send({ json: {} })).status, 200)
  })

test('a promise that never settles is answered before the deadline', async () => {
  for (const hook of ['_preprocess', '_postprocess']) {
    const served = serve(
      wayward(
        hook,
        { bad: 'return new Promise(() => {})' },
        hook === '_preprocess' ? 'return { images: [[1, 2, 3, 4]] }' : 'return data',
      ),
    )
    const deadline = Date.now() + 260
    await refused(served, await served.send({ json: { how: 'bad' }, deadline }), 504, 'DEADLINE', hook)
    assert.ok(Date.now() < deadline)
    assert.equal((await served.send({ json: {} })).status, 200)
    served.lines.length = 0
    await refused(served, await served.send({ json: {}, deadline: Date.now() - 1 }), 504, 'DEADLINE')
  }
})

test('a hook that fails after its deadline takes nothing with it', async () => {
  const late = 'return new Promise((_, fail) => setTimeout(fail, 80, new Error("late")))'
  const served = serve(wayward('_preprocess', { bad: late }, 'return { images: [[1, 2, 3, 4]] }'))
  await refused(served, await served.send({ json: { how: 'bad' }, deadline: Date.now() + 230 }), 504, 'DEADLINE')
  await new Promise((done) => setTimeout(done, 100))
  assert.equal((await served.send({ json: {} })).status, 200)
})

test("an error of a hook keeps its stack in the log, trimmed to the author's file, and its text from the caller", async () => {
  const served = serve({
    source: `function inner() { throw new RangeError('secret of the author') }
      exports.default = class extends base { _preprocess() { return inner() } }`,
  })
  const { body } = await served.send({ json: {} })
  assert.ok(!String(body).includes('secret'))
  const { stack, cause } = served.lines[0]!.error!
  assert.deepEqual(cause, { name: 'RangeError', message: 'secret of the author' })
  assert.equal(stack!.length, 2)
  assert.match(stack![0]!, /^at inner \(.*digits@1\.js:4:/)
  assert.match(stack![1]!, /_preprocess/)
})

test('no payload and no tensor value reaches the log or a message', async () => {
  const served = serve(digits, { model: 'plain' })
  const marker = 'SECRETPAYLOAD'
  const requests: Body[] = [
    { text: `{"images": ${marker}}`, path: '/v1/infers/plain' },
    { json: { images: [[marker]] }, path: '/v1/infers/plain' },
    { json: { images: [[8675309.25, 1, 1]] }, path: '/v1/infers/plain' },
    { ...multipart, text: part(marker), path: '/v1/infers/digits' },
    { ...multipart, text: `--${marker}\r\n`, path: '/v1/infers/digits' },
    { form: form({ a: marker }), path: '/v1/infers/digits' },
  ]
  for (const request of requests) {
    const { status, body } = await served.send(request)
    assert.ok(status >= 400)
    assert.doesNotMatch(`${body}`, /SECRETPAYLOAD|8675309/)
  }
  assert.equal(served.lines.length, requests.length)
  assert.doesNotMatch(JSON.stringify(served.lines), /SECRETPAYLOAD|8675309/)
})

test('numbers JSON has no words for: exact integers, NaN and infinities as Python writes them', async () => {
  const { send } = serve({
    source: `exports.default = class extends base {
      _inference() { return {} }
      _postprocess() {
        return { big: 2n ** 53n + 1n, bad: [NaN, Infinity, -Infinity], typed: Float32Array.of(0.5), gone: undefined, at: new Date(0) }
      }
    }`,
  })
  const { body } = await send({ json: {} })
  assert.equal(
    body,
    '{"big":9007199254740993,"bad":[NaN,Infinity,-Infinity],"typed":[0.5],"at":"1970-01-01T00:00:00.000Z"}',
  )
})

test('meta.uuid is repeated, also on failure', async () => {
  const { send } = serve({ source: `exports.default = class extends base { _preprocess() { throw 1 } }` })
  assert.deepEqual((await send({ json: { meta: { uuid: '10eb' } } })).json.meta, { uuid: '10eb' })
})

test('a gzip body, and one that inflates to too much', async () => {
  const served = serve({})
  const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
  const zipped = (text: string): Partial<HttpRequest> => ({ headers, body: gzipSync(text) })
  assert.equal((await served.send(zipped(JSON.stringify({ images: expected.rows })))).status, 200)
  served.lines.length = 0
  const bomb = zipped(' '.repeat(70 * 2 ** 20))
  await refused(served, await served.send(bomb), 413, 'BODY_TOO_LARGE', 'once inflated')
})

test('nothing a client sends changes the prototype of all objects', async () => {
  const { send } = serve({
    source: `exports.default = class extends base {
      _preprocess(data) { return { images: [[1, 2, 3, 4]] } }
      _postprocess(outputs) { return { ok: true } }
    }`,
  })
  const evil =
    '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"meta":{"__proto__":{"polluted":1}}}'
  assert.equal((await send({ text: evil, headers: { 'content-type': 'application/json' } })).status, 200)
  for (const field of ['__proto__', 'constructor', 'prototype', 'toString'])
    assert.equal((await send({ form: form({ ['__proto__']: 'y', '../../x': 'z' }, field) })).status, 200)
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
  assert.deepEqual(Object.keys(Object.prototype), [])
})

test('many requests at once answer each its own', async () => {
  const { send } = serve(digits)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      send({
        form: form(Object.fromEntries(Array.from({ length: i + 1 }, (_, k) => [`f${k}`, Uint8Array.of(i, k, 1, 2)]))),
      }),
    ),
  )
  answers.forEach((a, i) => {
    assert.equal(a.json.predicted_label.length, i + 1)
  })
})

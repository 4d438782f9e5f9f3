import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../packager/package/config.ts'
import { CONFIG, type Field } from '../../packager/package/fields.ts'
import { FINDINGS, finding, formatFinding } from '../../packager/package/findings.ts'

const read = (value: unknown) => readConfig(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))
const codes = (value: unknown) => read(value).findings.map((f) => `${f.code} ${f.pointer ?? ''}`.trim())
const minimal = { model_algorithm: 'image_classification', model_type: 'TensorFlow' }
const withApi = (api: unknown) => ({ ...minimal, apis: [api] })
const withPackage = (installer: string, item: unknown) => ({
  ...minimal,
  dependencies: [{ installer, packages: [item] }],
})

/** What the tutorial's configuration says, in words of our own: misspelt protocol, a response that claims to be a form. */
const tutorialLike = `{
  "model_algorithm": "image_classification",
  "model_type": "TensorFlow",
  "metrics": { "f1": 0.9, "accuracy": 0.91, "precision": 0.92, "recall": 0 },
  "dependencies": [
    { "installer": "pip", "packages": [
      { "package_name": "numpy", "package_version": "1.15.0", "restraint": "ATLEAST" },
      { "package_name": "h5py", "package_version": "", "restraint": "" },
      { "package_name": "Pillow", "package_version": "5.2.0", "restraint": "ATLEAST" }
    ] }
  ],
  "apis": [{
    "procotol": "http",
    "url": "/",
    "method": "post",
    "request": {
      "Content-type": "multipart/form-data",
      "data": { "type": "object", "properties": { "images": { "type": "file" } } }
    },
    "response": {
      "Content-type": "multipart/form-data",
      "data": {
        "type": "object",
        "required": ["label", "scores"],
        "properties": {
          "label": { "type": "string" },
          "scores": { "type": "array", "item": { "type": "array", "minItems": 2, "maxItems": 2,
            "items": [{ "type": "string" }, { "type": "number" }] } }
        }
      }
    }
  }]
}`

test('a configuration as the tutorial has it gives warnings only, and comes out mended', () => {
  const { config, findings } = read(tutorialLike)
  assert.deepEqual(
    findings.map((f) => [f.severity, f.code, f.pointer, f.line]),
    [
      ['warning', 'CONFIG_MISSPELT_KEY', '/apis/0/procotol', 13],
      ['warning', 'CONFIG_RESPONSE_TYPE', '/apis/0/response/Content-type', 21],
      ['warning', 'CONFIG_MISSPELT_KEY', '/apis/0/response/data/properties/scores/item', 27],
    ],
  )
  const api = config!.apis[0]!
  assert.equal(api.protocol, 'http')
  assert.equal(api.method, 'POST')
  assert.equal(api.response['Content-type'], 'application/json')
  const scores = (api.response.data!.properties as Record<string, object>).scores!
  assert.deepEqual(Object.keys(scores), ['type', 'items'])
})

test('defaults stand in for what is left out', () => {
  assert.deepEqual(read(minimal).config, {
    ...minimal,
    apis: [
      {
        protocol: 'https',
        url: '/',
        method: 'POST',
        request: { 'Content-type': 'application/json' },
        response: { 'Content-type': 'application/json' },
      },
    ],
    dependencies: [],
  })
})

test('many mistakes at once are all listed, each with its own place and code', () => {
  const text = `{
  "model_algorithm": "1st",
  "model_type": "Tensorflow",
  "runtime": "python 3",
  "swr_location": "repo/image",
  "metrics": { "f1": "0.9", "acuracy": 1 },
  "apis": [
    {
      "protocol": "ftp",
      "url": "predict",
      "method": "PUT",
      "request": {
        "Content-type": "text/plain",
        "data": { "type": "objekt", "propertes": {}, "required": true, "minItems": -1 }
      },
      "response": { "data": { "type": "file" }, "status": 200 }
    },
    { "url": "/" }
  ],
  "dependencies": [
    { "installer": "gem", "packages": [] },
    { "installer": "yum", "packages": [{ "package_name": "gcc", "package_version": "9", "restraint": "ATLEAST" }] },
    { "installer": "pip", "packages": [
      { "package_name": "a<b", "package_version": "1", "restraint": "AROUND" },
      { "package_version": "2" }
    ] },
    { "packages": {} }
  ],
  "health": { "protocol": "tcp", "timeout_seconds": " " },
  "__proto__": {}
}`
  const found = codes(text).sort()
  assert.deepEqual(
    found,
    [
      'CONFIG_VALUE /model_algorithm',
      'CONFIG_ENGINE /model_type',
      'CONFIG_VALUE /runtime',
      'CONFIG_FORBIDDEN /swr_location',
      'CONFIG_TYPE /metrics/f1',
      'CONFIG_UNKNOWN /metrics/acuracy',
      'CONFIG_VALUE /apis/0/protocol',
      'CONFIG_VALUE /apis/0/url',
      'CONFIG_VALUE /apis/0/method',
      'CONFIG_VALUE /apis/0/request/Content-type',
      'CONFIG_SCHEMA /apis/0/request/data/type',
      'CONFIG_UNKNOWN /apis/0/request/data/propertes',
      'CONFIG_SCHEMA /apis/0/request/data/required',
      'CONFIG_SCHEMA /apis/0/request/data/minItems',
      'CONFIG_SCHEMA /apis/0/response/data/type',
      'CONFIG_UNKNOWN /apis/0/response/status',
      'CONFIG_FORBIDDEN /apis/1',
      'CONFIG_VALUE /dependencies/0/installer',
      'CONFIG_RESTRAINT_EXACT /dependencies/1/packages/0/restraint',
      'CONFIG_VALUE /dependencies/2/packages/0/package_name',
      'CONFIG_RESTRAINT /dependencies/2/packages/0/restraint',
      'CONFIG_REQUIRED /dependencies/2/packages/1',
      'CONFIG_REQUIRED /dependencies/2/packages/1',
      'CONFIG_REQUIRED /dependencies/3',
      'CONFIG_TYPE /dependencies/3/packages',
      'CONFIG_FORBIDDEN /health',
      'CONFIG_REQUIRED /health',
      'CONFIG_VALUE /health/protocol',
      'CONFIG_VALUE /health/timeout_seconds',
      'CONFIG_UNKNOWN /__proto__',
    ].sort(),
  )
  const { config, findings } = read(text)
  assert.equal(config, undefined)
  const by = (code: string) => findings.find((f) => f.code === code)!
  assert.match(by('CONFIG_ENGINE').message, /Did you mean 'TensorFlow'\?/)
  assert.match(findings.find((f) => f.pointer === '/metrics/acuracy')!.message, /Did you mean 'accuracy'\?/)
  assert.equal(by('CONFIG_RESTRAINT_EXACT').modelarts, 'ModelArts.3040')
  assert.equal(by('CONFIG_RESTRAINT').modelarts, 'ModelArts.3041')
  assert.equal(by('CONFIG_REQUIRED').modelarts, 'ModelArts.3036')
  assert.equal(findings.find((f) => f.pointer === '/apis/0/url')!.line, 10)
})

test('text that is no clean JSON is told with line and column', () => {
  const at = (text: string | Uint8Array) =>
    readConfig(Buffer.from(text)).findings.map((f) =>
      `${f.line}:${f.column} ${f.code} ${f.got ?? f.expected ?? ''}`.trim(),
    )
  assert.deepEqual(at('{"a": 1,\n}'), ['2:1 CONFIG_SYNTAX a trailing comma'])
  assert.deepEqual(at('{} // done'), ['1:4 CONFIG_SYNTAX invalid comment token'])
  assert.deepEqual(at(''), ['1:1 CONFIG_SYNTAX a value'])
  assert.deepEqual(at(Buffer.from([0xff, 0xfe, 0x7b, 0])), [
    'undefined:undefined CONFIG_ENCODING UTF-16 (little endian)',
  ])
  assert.deepEqual(at('['.repeat(100_000)), ['undefined:undefined CONFIG_LIMIT deeper nesting'])
  assert.match(at(' '.repeat(5_000_000))[0]!, /CONFIG_LIMIT 5000000 bytes/)
  assert.deepEqual(codes('[]'), ['CONFIG_TYPE'])
})

test('a byte order mark is a warning, a key that occurs twice an error with both places', () => {
  const marked = read(`\ufeff${JSON.stringify(minimal)}`)
  assert.deepEqual([marked.findings.map((f) => f.code), marked.config?.model_type], [['CONFIG_BOM'], 'TensorFlow'])
  const twice = read(`{"model_type": "TensorFlow",\n "model_algorithm": "a",\n "model_type": "PyTorch"}`)
  assert.deepEqual(
    twice.findings.map((f) => [f.code, f.line, f.got]),
    [['CONFIG_DUPLICATE', 3, "'model_type' again, first in line 1"]],
  )
  const misspeltToo = withApi({ protocol: 'http', procotol: 'https' })
  assert.deepEqual(codes(misspeltToo), ['CONFIG_DUPLICATE /apis/0/procotol'])
})

test('keys named __proto__ or constructor are keys like any other', () => {
  const data = '{"type":"object","properties":{"__proto__":{"type":"string"},"constructor":{"type":"number"}}}'
  const { config, findings } = read(
    JSON.stringify(withApi({ request: { data: 0 } })).replace('"data":0', `"data":${data}`),
  )
  assert.deepEqual(findings, [])
  assert.deepEqual(Object.keys(config!.apis[0]!.request.data!.properties as object), ['__proto__', 'constructor'])
  assert.deepEqual(codes(`{"constructor":1,${JSON.stringify(minimal).slice(1)}`), ['CONFIG_UNKNOWN /constructor'])
})

test('rules between fields', () => {
  const image = { model_algorithm: 'x', model_type: 'Image', swr_location: 'a/b:1', health: { url: '/health' } }
  const rows: [name: string, config: unknown, expected: string[]][] = [
    ['an Image with everything', image, []],
    ['an Image with several paths', { ...image, apis: [{ url: '/a' }, { url: '/b', method: 'get' }] }, []],
    ['an Image with one path twice', { ...image, apis: [{ url: '/a' }, { url: '/a' }] }, ['CONFIG_VALUE /apis/1']],
    ['an Image without its keys', { ...minimal, model_type: 'Image' }, ['CONFIG_REQUIRED', 'CONFIG_REQUIRED']],
    ['an Image with runtime', { ...image, runtime: 'python3.6' }, ['CONFIG_FORBIDDEN /runtime']],
    ['an Image with dependencies', { ...image, dependencies: [] }, ['CONFIG_FORBIDDEN /dependencies']],
    ['another path', withApi({ url: '/predict' }), ['CONFIG_VALUE /apis/0/url']],
    ['asked by GET', withApi({ method: 'get' }), ['CONFIG_USELESS /apis/0/method']],
    [
      'a version without restraint',
      withPackage('pip', { package_name: 'a', package_version: '1' }),
      ['CONFIG_REQUIRED /dependencies/0/packages/0'],
    ],
    [
      'a restraint without version',
      withPackage('pip', { package_name: 'a', restraint: 'EXACT' }),
      ['CONFIG_USELESS /dependencies/0/packages/0/restraint'],
    ],
    ['apt-get, exact', withPackage('apt-get', { package_name: 'a', package_version: '1', restraint: 'EXACT' }), []],
    ['apt-get, no version', withPackage('apt-get', { package_name: 'a' }), []],
    [
      'npm, a path',
      withPackage('npm', { package_name: '../a' }),
      ['CONFIG_VALUE /dependencies/0/packages/0/package_name'],
    ],
    [
      'npm, a flag',
      withPackage('npm', { package_name: '--global' }),
      ['CONFIG_VALUE /dependencies/0/packages/0/package_name'],
    ],
    [
      'npm, a tag',
      withPackage('npm', { package_name: '@a/b', package_version: 'latest', restraint: 'EXACT' }),
      ['CONFIG_VALUE /dependencies/0/packages/0/package_version'],
    ],
    ['npm, scoped', withPackage('npm', { package_name: '@a/b', package_version: '1.2', restraint: 'ATMOST' }), []],
  ]
  for (const [name, config, expected] of rows) assert.deepEqual(codes(config), expected, name)
})

test('schemas: files only in forms, slips mended, keywords checked', () => {
  const form = (data: unknown) => withApi({ request: { 'Content-type': 'multipart/form-data', data } })
  const json = (data: unknown) => withApi({ request: { data } })
  const data = '/apis/0/request/data'
  const rows: [config: unknown, expected: string[]][] = [
    [form({ type: 'object', properties: { a: { type: 'array', items: { type: 'file' } } } }), []],
    [form({ type: 'object', properties: { a: { type: 'array', items: [{ type: 'file' }] } } }), []],
    [
      form({ type: 'array', items: { type: 'file' } }),
      [`CONFIG_SCHEMA ${data}/type`, `CONFIG_SCHEMA ${data}/items/type`],
    ],
    [
      form({ properties: { a: { type: 'object', properties: { b: { type: 'file' } } } } }),
      [`CONFIG_SCHEMA ${data}/properties/a/properties/b/type`],
    ],
    [json({ properties: { a: { type: 'file' } } }), [`CONFIG_SCHEMA ${data}/properties/a/type`]],
    [json({ properties: { a: { type: 'string', enum: ['file'], default: { type: 'file' } } } }), []],
    [json({ type: 'array', items: [] }), [`CONFIG_SCHEMA ${data}/items`]],
    [json({ type: ['string', 'null'], minimum: 0, exclusiveMinimum: true }), []],
    [json({ type: 'float' }), [`CONFIG_MISSPELT_VALUE ${data}/type`]],
    [json({ required: ['a', 'a'] }), [`CONFIG_SCHEMA ${data}/required`]],
    [json('{}'), [`CONFIG_SCHEMA ${data}`]],
  ]
  for (const [config, expected] of rows) assert.deepEqual(codes(config), expected, JSON.stringify(config))
})

test('the table: every default passes its own check, every finding has a text and a place in a line', () => {
  const walk = (field: Field, name: string): void => {
    assert.ok(field.doc.length > 0, name)
    if (typeof field.default === 'string' && field.values) assert.ok(field.values.includes(field.default), name)
    for (const [right] of Object.values(field.mended ?? {})) assert.ok(field.values?.includes(right), name)
    for (const [key, inner] of Object.entries(field.keys ?? {})) walk(inner, `${name}/${key}`)
    if (field.items) walk(field.items, `${name}/*`)
  }
  walk(CONFIG, '')
  for (const code of Object.keys(FINDINGS) as (keyof typeof FINDINGS)[]) {
    const line = formatFinding(finding(code, { file: 'config.json', pointer: '/a', line: 1, column: 2, got: 'x' }))
    assert.match(line, new RegExp(`^config.json:1:2 /a (error|warning|info) ${code} `))
  }
})

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { MODELS, PROJECT, type Server, serveModels } from './support.ts'

let server: Server
before(async () => {
  server = await serveModels([{ path: `${MODELS}/kinds` }, { path: `${PROJECT}examples/mnist` }])
})

const ask = (body: unknown, model = 'kinds') => server.post(`/v1/models/${model}:predict`, body)

/** The text of a request with its values as they stand. */
const rows = (signature: string, values: string) => `{"signature_name": "${signature}", "instances": ${values}}`
const columns = (signature: string, values: string) => `{"signature_name": "${signature}", "inputs": ${values}}`

async function answers(body: string, text: string, model?: string): Promise<void> {
  const reply = await ask(body, model)
  assert.equal(reply.text, text)
  assert.equal(reply.status, 200)
}

async function refuses(body: unknown, error: string, status = 400, model?: string): Promise<void> {
  const reply = await ask(body, model)
  assert.deepEqual([reply.status, reply.json], [status, { error }])
  assert.equal(reply.text, `{\n    "error": ${JSON.stringify(error)}\n}`)
}

// 1. the text

test('what follows the first value is not looked at', () =>
  answers(`${columns('float32', '[[1.5]]')} ]x`, out('[[1.5]]')))
test('a byte order mark is passed over', () => answers(`\ufeff${columns('float32', '[[1.5]]')}`, out('[[1.5]]')))
test('NaN and the infinities are numbers, in and out', () =>
  answers(
    columns('float32', '[[NaN, Infinity, -Infinity, Inf, -Inf]]'),
    out('[[NaN, Infinity, -Infinity, Infinity, -Infinity]]'),
  ))
test('an empty body', () => refuses('', 'JSON Parse error: The document is empty'))
test('a body of spaces', () => refuses('  ', 'JSON Parse error: The document is empty. at offset: 2'))
test('no JSON', () => refuses('instances = [1, 2]', 'JSON Parse error: Invalid value. at offset: 0'))
test('a list that is cut off', () =>
  refuses('{"instances": [1', 'JSON Parse error: Missing a comma or ] after an array element. at offset: 16'))
test('a number that no double holds', () =>
  refuses('{"instances": [1e400]}', 'JSON Parse error: Number too big to be stored in double. at offset: 15'))
test('no object', () => refuses('[1]', 'JSON Value: [\n    1\n] Is not object'))
test('a hundred thousand levels are only memory', async () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  await refuses(
    rows('float32', deep),
    "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Shape has more than 254 dimensions",
  )
  await answers(`{"x": ${deep}, ${columns('float32', '[[1]]').slice(1)}`, out('[[1.0]]'))
})
test('of two members of a name the first counts', () =>
  answers(`{"signature_name": "float32", "inputs": [[1]], "inputs": "x", "signature_name": 5}`, out('[[1.0]]')))

// 2. the signature

test('the default signature is serving_default, also where there is only one other', async () => {
  const body = { instances: [Array(784).fill(0)] }
  await refuses(body, 'Serving signature name: "serving_default" not found in signature def', 400, 'mnist')
  const reply = await ask({ signature_name: 'predict_images', ...body }, 'mnist')
  assert.equal(reply.json.predictions[0].length, 10)
})
test('an empty signature name is the default', () =>
  refuses(
    '{"signature_name": "", "inputs": 1}',
    'Serving signature name: "serving_default" not found in signature def',
  ))
test('an unknown signature', () =>
  refuses('{"signature_name": "toString"}', 'Serving signature name: "toString" not found in signature def'))
test('a signature name that is no string', () =>
  refuses(
    '{"signature_name": 1}',
    'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. \'signature_name\' key must be a string value.',
  ))
test('other members are not looked at', () =>
  answers('{"output_filter": ["nothing"], "id": {}, "signature_name": "float32", "inputs": [[1]]}', out('[[1.0]]')))

// 3. one of two

test('neither instances nor inputs', () =>
  refuses('{"signature_name": "float32"}', "Missing 'inputs' or 'instances' key"))
test('both instances and inputs', async () => {
  const { status, json } = await ask('{"signature_name": "float32", "instances": [1], "inputs": [1]}')
  assert.equal(status, 400)
  assert.match(
    json.error,
    /^JSON Value: \{.*\} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist $/s,
  )
})

// 4. rows

test('rows are the values of the only input, or objects', async () => {
  await answers(rows('float32', '[[1, 2], [3, 4]]'), predictions('[1.0, 2.0], [3.0, 4.0]'))
  await answers(rows('float32', '[{"x": [1, 2]}, {"x": [3, 4]}]'), predictions('[1.0, 2.0], [3.0, 4.0]'))
})
test('objects of several inputs, written as objects', () =>
  answers(
    rows('two', '[{"a": 1, "b": 9007199254740993}, {"b": -2, "a": 0.5}]'),
    '{\n    "predictions": [\n        {\n            "b": 9007199254740993,\n            "sum": 9.00719925e+15\n        },\n' +
      '        {\n            "b": -2,\n            "sum": -1.5\n        }\n    ]\n}',
  ))
test('instances that are no list', () =>
  refuses(
    '{"signature_name": "float32", "instances": 5}',
    'JSON Value: {\n    "signature_name": "float32",\n    "instances": 5\n} Excepting \'instances\' to be an list/array',
  ))
test('no instance', () =>
  refuses(
    '{"signature_name": "float32", "instances": []}',
    'JSON Value: {\n    "signature_name": "float32",\n    "instances": []\n} No values in \'instances\' array',
  ))
test('values for several inputs', () =>
  refuses(
    rows('two', '[1]'),
    'instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map',
  ))
test('an object among values', () =>
  refuses(rows('float32', '[[1], {"x": [1]}]'), 'Expecting value/list but got object at item 1 of input list'))
test('a value among objects', () =>
  refuses(rows('float32', '[{"x": [1]}, [1]]'), 'Expecting object but got list at item 1 of input list'))
test('a key too many', () =>
  refuses(
    rows('float32', '[{"x": [1], "z": 1}]'),
    element('0 key: z', 'INVALID_ARGUMENT: JSON object: does not have named input: z'),
  ))
test('a key too few', () =>
  refuses(
    rows('two', '[{"a": 1, "b": 1}, {"a": 1}]'),
    'Failed to process element: 1 of \'instances\' list. JSON object: {\n    "a": 1\n} must only have keys: a,b',
  ))
test('rows of several sizes', async () => {
  await refuses(rows('float32', '[[1, 2], [3]]'), element('1', 'INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1'))
  await refuses(
    rows('float32', '[{"x": [1, 2]}, {"x": [3]}]'),
    element('1 key: x', 'INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1'),
  )
})
test('rows of one size and several shapes', () =>
  refuses(
    rows('anything', '[[[1, 2]], [[1], [2]]]'),
    element('1', 'INVALID_ARGUMENT: Expecting shape [1,2] but got: [2,1]'),
  ))
test('a wrong element names its row', () =>
  refuses(
    rows('float32', '[[1, 2], [3, "four"]]'),
    element('1', 'INVALID_ARGUMENT: JSON Value: "four" Type: String is not of expected type: float'),
  ))

// 5. columns

test('columns: the value of the only input, or an object; nothing is added', async () => {
  await answers(columns('anything', '1.5'), out('1.5'))
  await answers(columns('anything', '[[[]]]'), out('[[[]]]'))
  await answers(columns('float32', '{"x": [[1]], "more": {}}'), out('[[1.0]]'))
})
test('columns of several inputs, written as an object', () =>
  answers(
    columns('two', '{"a": [1, 2], "b": [3, 4]}'),
    '{\n    "outputs": {\n        "b": [3, 4],\n        "sum": [4.0, 6.0]\n    }\n}',
  ))
test('a missing input', () => refuses(columns('two', '{"a": [1]}'), "Missing named input: b in 'inputs' object."))
test('a value for several inputs', () =>
  refuses(
    columns('two', '[1]'),
    'inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map',
  ))

// 6. shapes

test('lists of several lengths', () =>
  refuses(columns('float32', '[[1, 2], [3]]'), 'Encountered list at unexpected size: 1 at level: 1 expected size: 2'))
test('a value that is not deep enough', () =>
  refuses(
    columns('float32', '[[1], 2]'),
    'JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2',
  ))
test('a list that is too deep', () =>
  refuses(columns('float32', '[1, [2]]'), 'Encountered list at unexpected level: 1 expected < 1'))
test('empty lists are dimensions of size 0', () => answers(columns('float32', '[[], []]'), out('[[], []]')))
test('the shape that the signature declares is checked before the model runs', async () => {
  const { status, json } = await ask({ signature_name: 'predict_images', inputs: [[1, 2]] }, 'mnist')
  assert.equal(status, 400)
  assert.match(json.error, /expected float32 \[\?,784\] for input images but received float32 \[1,2\]/)
})

// 7. types

for (const [kind, given, back] of [
  [
    'float32',
    '1, -0.0, 0.1, 16777217, 3e38, 1e-50, 9000000, 0.00003',
    '1.0, -0.0, 0.1, 16777216.0, 3e+38, 0.0, 9e+06, 3e-05',
  ],
  ['float32', '1e39, -1e39, 12345678', 'Infinity, -Infinity, 12345678.0'],
  [
    'float64',
    '1, 0.1, 1e300, 0.30000000000000004, 123456789, 5e-324',
    '1.0, 0.1, 1e+300, 0.30000000000000004, 123456789.0, 4.94066e-324',
  ],
  ['int8', '-128, 127, 300', '-128, 127, 44'],
  ['int16', '-32768, 40000', '-32768, -25536'],
  ['int32', '-2147483648, 2147483647, 0', '-2147483648, 2147483647, 0'],
  [
    'int64',
    '9223372036854775807, -9223372036854775808, 9007199254740993',
    '9223372036854775807, -9223372036854775808, 9007199254740993',
  ],
  ['uint8', '255, 256, -1', '255, 0, 255'],
  ['uint32', '0, 4294967295', '0, 4294967295'],
  ['uint64', '18446744073709551615, 9007199254740993', '18446744073709551615, 9007199254740993'],
  ['bool', 'true, false', 'true, false'],
  ['string', '"a", "ä\\n\\u0001\\"", {"b64": "w6Q="}, "\\ud83d\\ude00"', '"a", "ä\\n\\u0001\\"", "ä", "😀"'],
] as const)
  test(`${kind}: ${given}`, async () => {
    await answers(columns(kind, `[[${given}]]`), out(`[[${back}]]`))
    await answers(rows(kind, `[[${given}]]`), predictions(`[${back}]`))
    await answers(rows(kind, `[{"x": [${given}]}]`), predictions(`[${back}]`))
  })

const typeError = (value: string, type: string, kind: string) =>
  `JSON Value: ${value} Type: ${type} is not of expected type: ${kind}`
for (const [kind, given, error] of [
  ['float32', 'null', typeError('null', 'Null', 'float')],
  ['float32', 'true', typeError('true', 'True', 'float')],
  ['float32', '{"b64": "AA=="}', typeError('{\n    "b64": "AA=="\n}', 'Object', 'float')],
  ['float64', '"1"', typeError('"1"', 'String', 'double')],
  ['int32', '1.0', typeError('1.0', 'Number', 'int32')],
  ['int32', '1e2', typeError('100.0', 'Number', 'int32')],
  ['int8', '2147483648', typeError('2147483648', 'Number', 'int8')],
  ['int64', '9223372036854775808', typeError('9223372036854775808', 'Number', 'int64')],
  ['int64', 'NaN', typeError('NaN', 'Number', 'int64')],
  ['uint32', '-1', typeError('-1', 'Number', 'uint32')],
  ['uint64', '18446744073709551616', typeError('1.8446744073709552e+19', 'Number', 'uint64')],
  ['bool', '1', typeError('1', 'Number', 'bool')],
  ['string', '1', typeError('1', 'Number', 'string')],
  ['string', '{"b64": 1}', 'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data'],
  [
    'string',
    '{"b64": "AA==", "x": 1}',
    'JSON Value: {\n    "b64": "AA==",\n    "x": 1\n} not formatted correctly for base64 data',
  ],
  ['string', '{"b64": "-_"}', 'Unable to base64 decode'],
  ['string', '{"b64": "A"}', 'Unable to base64 decode'],
] as const)
  test(`${kind} refuses ${given}`, () => refuses(columns(kind, `[[${given}]]`), error))

for (const kind of ['float16', 'uint16'])
  test(`${kind} has no form in this JSON`, async () => {
    const name = kind === 'float16' ? 'half' : kind
    await refuses(columns(kind, '[[1]]'), `Conversion of JSON Value: 1 to type: ${name}`, 501)
    await refuses(rows(kind, '[[1]]'), element('0', `UNIMPLEMENTED: Conversion of JSON Value: 1 to type: ${name}`), 501)
  })

test('an error quotes at most 256 bytes of a value, and the log none', async () => {
  const { json } = await ask(columns('float32', `[["${'ä'.repeat(1000)}"]]`))
  const quoted = /^JSON Value: (.*) Type: String/.exec(json.error)?.[1] ?? ''
  assert.ok(Buffer.byteLength(quoted) <= 256 && quoted.length > 120, `${quoted.length}`)
  assert.doesNotMatch(JSON.stringify(server.lines), /ääää/)
})

// 8. bytes

test('base64 for any string on input; only outputs named _bytes are written so', async () => {
  const { json } = await ask(rows('bytes', '[{"b64": "dGV4dA"}, "täxt"]'))
  assert.deepEqual(json.predictions, [
    { text: 'text', text_bytes: { b64: 'dGV4dA==' } },
    { text: 'täxt', text_bytes: { b64: 'dMOkeHQ=' } },
  ])
})

// the answer

test('rows need a first dimension in every output, of one length', async () => {
  await refuses(rows('no_rows', '[1, 2]'), 'Tensor name: sum has no shape information ')
  await refuses(rows('uneven', '[1, 2]'), 'Tensor name: twice has inconsistent batch size: 4 expecting: 2')
  const { json } = await ask(columns('no_rows', '[1, 2]'))
  assert.deepEqual(json.outputs, { sum: 3, a: [1, 2] })
})
test('no rows', () => answers(columns('float32', '[[]]'), out('[[]]')))

function out(values: string): string {
  return `{\n    "outputs": ${values}\n}`
}
function predictions(values: string): string {
  return `{\n    "predictions": [${values}\n    ]\n}`
}
function element(where: string, error: string): string {
  return `Failed to process element: ${where} of 'instances' list. Error: ${error}`
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readOptions } from '../../packager/deploy/options.ts'
import { memoryOf } from '../../packager/deploy/storage.ts'
import { isAppError } from '../../src/errors.ts'
import { spoil } from '../fuzz/mutate.ts'
import { fc } from '../random.ts'

const models = { mnist: './mnist' }
const batch = { input: 's3://digits-in/incoming/', output: 's3://digits-out/results/' }

test('ten lines are enough: everything else has a default', () => {
  assert.deepEqual(readOptions({ models }), {
    models,
    arch: 'arm64',
    runtime: 'nodejs24.x',
    memory: 1769,
    timeout: 29,
    image: true,
    storage: 'auto',
    efs: undefined,
    container: undefined,
    concurrency: {},
    vpc: undefined,
    tracing: false,
    logDays: 30,
    kmsKey: undefined,
    tags: {},
    logLevel: 'info',
    metrics: { namespace: 'modelayer' },
    alarms: { errorPercent: 5 },
    dashboard: true,
    capture: undefined,
    release: { shift: 'AllAtOnce', alarms: false, golden: true },
    http: undefined,
    batch: undefined,
  })
})

test('an endpoint has the kind of API its authorisation needs', () => {
  const api = (http: object) => readOptions({ models, http }).http?.api
  assert.equal(api({ auth: 'iam' }), 'http')
  assert.equal(api({ auth: 'apiKey' }), 'rest')
  assert.equal(api({ auth: 'none', api: 'url' }), 'url')
  const jwt = readOptions({ models, http: { auth: 'jwt', issuer: 'https://id.example', audience: 'me' } }).http
  assert.deepEqual([jwt?.issuer, jwt?.audience], ['https://id.example', ['me']])
})

test('a shift in steps is watched by alarms', () => {
  const { release } = readOptions({ models, release: { shift: 'Linear10PercentEvery2Minutes' } })
  assert.deepEqual(release, { shift: 'Linear10PercentEvery2Minutes', alarms: true, golden: true })
})

test('batches: prefixes end in a slash, and attempts are counted', () => {
  const read = readOptions({ models, batch: { input: 's3://abc', output: 's3://abd/x', options: { result: 'csv' } } })
  assert.deepEqual(read.batch, {
    input: { bucket: 'abc', prefix: '' },
    output: { bucket: 'abd', prefix: 'x/' },
    timeout: 900,
    memory: undefined,
    map: undefined,
    onRemove: 'keep',
    options: { maxReceives: 10, result: 'csv' },
  })
})

test('capture: one in a hundred, and nothing of what requests hold unless it is asked for', () => {
  const { capture } = readOptions({ models, capture: { output: 's3://kept/c', redact: ['$..name'] } })
  assert.deepEqual(capture, {
    bucket: 'kept',
    prefix: 'c/',
    percent: 1,
    redact: ['$..name'],
    bodies: 'none',
    files: 'hash',
    onRemove: 'keep',
  })
})

const EFS = {
  fileSystem: 'arn:aws:elasticfilesystem:eu-central-1:123456789012:file-system/fs-0123456789abcdef0',
  accessPoint: 'arn:aws:elasticfilesystem:eu-central-1:123456789012:access-point/fsap-0123456789abcdef0',
}
const IMAGE = `123456789012.dkr.ecr.eu-central-1.amazonaws.com/digits@sha256:${'0'.repeat(64)}`

test('models go where the service file says', () => {
  const vpc = { securityGroups: ['sg-1'], subnets: ['subnet-1'] }
  const o = readOptions({ models, storage: 'efs', efs: EFS, vpc })
  assert.deepEqual([o.storage, o.efs], ['efs', EFS])
  assert.equal(readOptions({ models, storage: 'image', container: IMAGE }).container, IMAGE)
})

test('memory that cannot hold the largest model: refused where it was asked for, else raised', () => {
  const index = { plan: { memory: 900 } }
  assert.equal(memoryOf(index, 1769, true, 'memory'), 1769)
  assert.equal(memoryOf(index, 512, false, 'memory'), 1028)
  assert.throws(
    () => memoryOf(index, 512, true, 'batch.memory'),
    /at least 900: the largest model has to fit for custom\.modelayer\.batch\.memory/,
  )
})

/** what is wrong → what the message has to name */
const WRONG: readonly [name: string, raw: unknown, ...says: RegExp[]][] = [
  ['no options', undefined, /custom\.modelayer/, /an object/, /nothing/],
  ['a list', [], /custom\.modelayer/],
  ['an unknown key', { models, memmory: 512 }, /'memmory'/, /Did you mean memory\?/],
  ['no models', {}, /custom\.modelayer\.models/],
  ['models without one', { models: {} }, /at least one model/],
  ['a name with a space', { models: { 'a b': './a' } }, /models\.a b/, /letters, digits/],
  ['a model without a folder', { models: { a: 1 } }, /models\.a/, /number/],
  ['another architecture', { models, arch: 'riscv' }, /arch/, /arm64, x64/, /riscv/],
  ['an old runtime', { models, runtime: 'nodejs18.x' }, /runtime/, /nodejs24\.x, nodejs22\.x/],
  ['too little memory', { models, memory: 64 }, /memory/, /from 128 to 10240/, /64/],
  ['memory as text', { models, memory: '512' }, /memory/, /an integer/],
  ['half a second', { models, timeout: 0.5 }, /timeout/, /from 1 to 900/],
  ['image as text', { models, image: 'no' }, /image/, /true or false/],
  ['another storage', { models, storage: 'disk' }, /storage/, /auto, layer, s3, efs, image/],
  ['a file system without its ARNs', { models, storage: 'efs' }, /efs: \{ fileSystem, accessPoint \}/],
  ['a file system without a VPC', { models, efs: EFS }, /vpc beside efs/],
  [
    'an access point that is none',
    { models, efs: { ...EFS, accessPoint: 'fsap-1' } },
    /efs\.accessPoint/,
    /access-point/,
  ],
  ['half a file system', { models, efs: { fileSystem: EFS.fileSystem } }, /efs\.accessPoint/, /nothing/],
  [
    'an image by its tag',
    { models, storage: 'image', container: IMAGE.replace(/@.*/, ':latest') },
    /container/,
    /DIGEST/,
  ],
  ['an image beside layers', { models, container: IMAGE }, /storage: image beside container/],
  ['no reserved concurrency at all', { models, concurrency: { reserved: 0 } }, /concurrency\.reserved/, /from 1/],
  ['an unknown kind of concurrency', { models, concurrency: { max: 1 } }, /'max'/, /reserved, provisioned/],
  ['a VPC without subnets', { models, vpc: { securityGroups: ['sg-1'] } }, /vpc\.subnets/, /a list of texts/],
  ['a VPC with an empty list', { models, vpc: { securityGroups: [], subnets: ['s'] } }, /vpc\.securityGroups/],
  ['tracing as text', { models, tracing: 'Active' }, /tracing/, /true or false/],
  ['a retention that does not exist', { models, logDays: 31 }, /logDays/, /30, 60/, /31/],
  ['a retention that is an object', { models, logDays: { toString: '' } }, /logDays/, /an object/],
  ['no rows at once', { models, batch: { ...batch, options: { maxRows: 0 } } }, /\.maxRows/, /from 1/, /0/],
  ['half a receive', { models, batch: { ...batch, options: { maxReceives: 1.5 } } }, /\.maxReceives/, /from 1/],
  ['no mapping rule', { models, batch: { ...batch, options: { mappingRule: null } } }, /\.mappingRule/, /null/],
  ['a key by its alias', { models, kmsKey: 'alias/mine' }, /kmsKey/, /the ARN of a key/],
  ['a tag that is a number', { models, tags: { cost: 1 } }, /tags\.cost/, /a text/],
  ['alarms to an address', { models, alarms: { topic: 'me@example.org' } }, /alarms\.topic/, /SNS topic/],
  ['alarms at more than all', { models, alarms: { errorPercent: 100 } }, /alarms\.errorPercent/, /below 100/],
  ['metrics among those of AWS', { models, metrics: { namespace: 'AWS/Mine' } }, /metrics\.namespace/],
  ['a log level of its own', { models, logLevel: 'verbose' }, /logLevel/, /debug, info, warn, error/],
  ['capture without a place', { models, capture: {} }, /capture\.output/, /s3:\/\/BUCKET/],
  ['capture of nothing', { models, capture: { output: 's3://kept', percent: 0 } }, /capture\.percent/, /above 0/],
  ['capture of headers', { models, capture: { output: 's3://kept', headers: true } }, /'headers'/],
  ['no JSONPath', { models, capture: { output: 's3://kept', redact: ['name['] } }, /capture\.redact\.0/, /\$\.\.name/],
  ['capture into a batch', { models, batch, capture: { output: 's3://digits-in/c/' } }, /capture\.output/, /its own/],
  ['a dashboard by name', { models, dashboard: 'mine' }, /dashboard/, /true or false/],
  ['a shift nobody offers', { models, release: { shift: 'Canary20Percent' } }, /release\.shift/, /Canary10Percent5Min/],
  ['alarms where nothing can be stopped', { models, release: { alarms: true } }, /release\.alarms/, /AllAtOnce/],
  ['golden by name', { models, release: { golden: 'all' } }, /release\.golden/, /true or false/],
  ['http without auth', { models, http: {} }, /http\.auth/, /iam, jwt, apiKey, none/, /open to everybody/],
  ['another auth', { models, http: { auth: 'basic' } }, /http\.auth/, /basic/],
  ['streams of an HTTP API', { models, http: { auth: 'iam', stream: true } }, /http\.stream/, /rest or url/],
  ['another api', { models, http: { auth: 'iam', api: 'alb' } }, /http\.api/, /http, rest, url/],
  ['jwt behind a REST API', { models, http: { auth: 'jwt', api: 'rest' } }, /iam, apiKey, none for api: rest/],
  ['keys at a function URL', { models, http: { auth: 'apiKey', api: 'url' } }, /iam, none for api: url/],
  ['jwt without an issuer', { models, http: { auth: 'jwt', audience: 'me' } }, /issuer and audience/],
  ['an issuer over http', { models, http: { auth: 'jwt', issuer: 'http://x', audience: 'a' } }, /http\.issuer/],
  ['an issuer without jwt', { models, http: { auth: 'iam', issuer: 'https://x' } }, /auth: jwt/],
  ['throttling a URL', { models, http: { auth: 'iam', api: 'url', throttle: { rate: 1 } } }, /concurrency\.reserved/],
  ['throttling without a rate', { models, http: { auth: 'iam', throttle: {} } }, /http\.throttle\.rate/, /nothing/],
  [
    'throttling a REST API without keys',
    { models, http: { auth: 'iam', api: 'rest', throttle: { rate: 1 } } },
    /auth: apiKey for api: rest/,
  ],
  ['access logs of a URL', { models, http: { auth: 'iam', api: 'url', accessLogs: true } }, /http\.accessLogs/],
  ['cors as a list', { models, http: { auth: 'iam', cors: ['*'] } }, /http\.cors/],
  ['batch without an output', { models, batch: { input: batch.input } }, /batch\.output/, /s3:\/\/BUCKET\/PREFIX\//],
  ['a bucket in capitals', { models, batch: { ...batch, input: 's3://IN/x' } }, /batch\.input/, /another form/],
  ['output inside of input', { models, batch: { input: 's3://abc/a/', output: 's3://abc/a/b/' } }, /do not overlap/],
  ['input inside of output', { models, batch: { input: 's3://abc/a/b/', output: 's3://abc/a/' } }, /do not overlap/],
  ['a bucket of both', { models, batch: { input: 's3://abc', output: 's3://abc' } }, /do not overlap/],
  ['too short a batch', { models, batch: { ...batch, timeout: 5 } }, /batch\.timeout/, /from 30 to 900/],
  ['another end of buckets', { models, batch: { ...batch, onRemove: 'empty' } }, /batch\.onRemove/, /keep, delete/],
  [
    'a batch by nobody knows which model',
    { models: { a: './a', b: './b' }, batch },
    /batch\.options\.model/,
    /one of a, b/,
  ],
  ['an unknown batch option', { models, batch: { ...batch, options: { colour: 1 } } }, /colour/],
]

for (const [name, raw, ...says] of WRONG)
  test(`refused: ${name}`, () => {
    assert.throws(
      () => readOptions(raw),
      (e) => {
        assert.ok(isAppError(e), String(e))
        assert.equal(e.code, 'USAGE')
        for (const s of says) assert.match(e.message, s)
        return true
      },
    )
  })

test('whatever a service file says, only our own errors come out', () => {
  const whole = {
    ...{ models, batch: { ...batch, map: { items: 1 }, options: { maxRows: 1 } }, alarms: { errorPercent: 1 } },
    ...{ http: { auth: 'jwt', issuer: 'https://x', audience: ['a'], throttle: { rate: 1, burst: 1 } }, storage: 'efs' },
    ...{ vpc: { securityGroups: ['sg'], subnets: ['s'] }, efs: EFS, tags: { a: 'b' }, metrics: { namespace: 'n' } },
    ...{ capture: { output: 's3://kept', redact: ['$.a'] }, release: { golden: true }, concurrency: { reserved: 1 } },
    ...{ arch: 'x64', runtime: 'nodejs22.x', memory: 512, timeout: 1, image: true, tracing: true, logDays: 1 },
    ...{ kmsKey: 'arn:aws:kms:1', logLevel: 'info', dashboard: false, container: IMAGE },
  }
  assert.doesNotThrow(() => readOptions({ ...whole, container: undefined }))
  const value = fc.oneof(fc.anything({ maxDepth: 3 }), fc.constant({ toString: '' }))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(), value), { minLength: 1, maxLength: 3 }), (edits) => {
      try {
        readOptions(edits.reduce((o, [at, by]) => spoil(o, at, structuredClone(by)), structuredClone(whole) as unknown))
      } catch (e) {
        if (!isAppError(e)) throw e
      }
    }),
    { numRuns: 2000 },
  )
})

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { describe } from '../../packager/deploy/description.ts'
import { storedOf } from '../../packager/layers/golden.ts'
import { isAppError } from '../../src/errors.ts'
import { answerCustomResource } from '../../src/golden/customresource.ts'
import { invokeVersion } from '../../src/golden/invoke.ts'
import { checkVersion, type Invoke } from '../../src/golden/run.ts'
import { fakeLambda } from '../fixtures/deploy/fakelambda.ts'
import { irisFunction } from '../fixtures/deploy/irisfunction.ts'
import { fc } from '../random.ts'

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: 'eu-central-1' })
const predict = await irisFunction()
const aws = await fakeLambda(predict)
process.env.AWS_ENDPOINT_URL = aws.endpoint
after(() => aws.close())

const goldens = storedOf([predict.pkg])
const check = (invoke: Invoke, deadline = Date.now() + 10_000) =>
  checkVersion(goldens, invoke, { deadline, log: () => undefined })
const version = (v: number, o = {}) => invokeVersion(`${predict.name}:${v}`, { pauseMs: 1, ...o })

test('what passes by itself is waited for: a permission that is not known everywhere, a version that is not ready', async () => {
  aws.faults.push({ status: 403, type: 'AccessDeniedException' }, { status: 409, type: 'ResourceConflictException' })
  assert.deepEqual(await check(version(1)), { sent: 8, failures: [] })
})

test('what does not pass is told', async () => {
  aws.faults.push(...Array(8).fill({ status: 403, type: 'AccessDeniedException' }))
  const { failures } = await check(version(1, { patienceMs: -1 }))
  assert.equal(failures.length, 8)
  assert.match(failures[0]!, /^iris\/feature_missing: not sent: AccessDeniedException/)
  const gone = await check(version(99))
  assert.match(gone.failures[0]!, /ResourceNotFoundException/)
})

test('a version that streams its answers is checked by what it streams', async () => {
  const buffered = version(1)
  const streams: Invoke = async (event, signal) => {
    const { payload } = await buffered(event, signal)
    const { statusCode, headers, body } = JSON.parse(Buffer.from(payload).toString())
    return { payload: Buffer.from(`${JSON.stringify({ statusCode, headers })}${'\0'.repeat(8)}${body}`) }
  }
  assert.deepEqual(await check(streams), { sent: 8, failures: [] })
  const { failures } = await check(async () => ({ payload: Buffer.from(`{"no":1}${'\0'.repeat(8)}`) }))
  assert.match(failures[0]!, /answered with something that is not HTTP/)
})

test('time that is up is told for each request', async () => {
  const slow: Invoke = (_, signal) =>
    new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason as Error)))
  const { failures } = await check(slow, Date.now() + 20)
  assert.equal(failures[0], 'iris/feature_missing: not answered in the time there was')
  assert.equal(failures[7], 'iris/whole_numbers: not sent, there was no time left')
})

test('a check of nothing is refused', async () => {
  const nothing = checkVersion(new Map(), version(1), { deadline: Date.now() + 100, log: () => undefined })
  await assert.rejects(nothing, /golden requests/)
})

test('with several models the paths name theirs', () => {
  const paths = (packages: (typeof predict.pkg)[]) => [...storedOf(packages).values()].map((read) => read().path)
  assert.deepEqual(new Set(paths([predict.pkg])), new Set(['/']))
  const two = paths([predict.pkg, { ...predict.pkg, name: 'lily' }])
  assert.deepEqual(new Set(two), new Set(['/v1/infers/iris', '/v1/infers/lily']))
})

test('whatever event comes, only our own errors come out', async () => {
  const check = () => Promise.reject(new Error('asked'))
  const member = fc.constantFrom('RequestType', 'ResponseURL', 'ResourceProperties', 'OldResourceProperties', 'StackId')
  // no text that is an address: an answer would be sent there
  const value = fc.oneof(fc.anything({ maxDepth: 2 }), fc.constantFrom('Create', 'Update', 'Delete'))
  const events = fc.oneof(fc.anything(), fc.dictionary(member, value)).filter((e) => !address(e))
  await fc.assert(
    fc.asyncProperty(events, async (event) => {
      await assert.rejects(
        answerCustomResource(event, check, () => undefined),
        (e) => isAppError(e),
      )
    }),
    { numRuns: 500 },
  )
})

const address = (e: unknown) => typeof (e as { ResponseURL?: unknown } | null | undefined)?.ResponseURL === 'string'

test('a version says what it is made of, in the room there is', () => {
  const model = (name: string) => ({
    name,
    version: '1',
    spot: 'layer' as const,
    layer: '',
    defaultSignature: '',
    signatures: {},
  })
  const [a, b] = [{ sha256: 'a' }, { sha256: 'b' }]
  const one = describe([model('iris'), model('mnist')], [a, b])
  assert.match(one, /^iris@1, mnist@1; content [0-9a-f]{12}$/)
  assert.equal(describe([model('iris'), model('mnist')], [b, a]), one)
  assert.notEqual(describe([model('iris'), model('mnist')], [a]), one)
  const many = describe(
    Array.from({ length: 50 }, (_, i) => model(`model-${i}`)),
    [a],
  )
  assert.equal(many.length, 256)
  assert.match(many, /…; content [0-9a-f]{12}$/)
})

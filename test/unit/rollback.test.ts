import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { readServiceFile } from '../../packager/deploy/servicefile.ts'
import { isAppError } from '../../src/errors.ts'
import { fakeLambda } from '../fixtures/deploy/fakelambda.ts'
import { irisFunction } from '../fixtures/deploy/irisfunction.ts'
import { built, ROOT, run } from '../fixtures/package/run.ts'
import { tree } from '../fixtures/package/tree.ts'
import { fc } from '../random.ts'

const predict = await irisFunction()
const aws = await fakeLambda(predict)
const account = { AWS_ENDPOINT_URL: aws.endpoint, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' }
Object.assign(process.env, account, { AWS_EC2_METADATA_DISABLED: 'true' })

before(built)
after(() => aws.close())
beforeEach(() => {
  aws.live = { version: '5', shares: {}, revision: 'r1' }
  aws.invoked.length = 0
})

const SERVICE = `service: digits
provider: { name: aws, region: eu-central-1 }
custom: { modelayer: { models: { iris: ${join(ROOT, 'examples', 'iris')} } } }
`
const here = (t: Parameters<typeof tree>[0], yml = SERVICE) => tree(t, { 'serverless.yml': yml })

test('goes to the version before, and on from there', async (t) => {
  const dir = here(t)
  const dry = await run(['rollback', dir, '--dry-run'])
  assert.equal(dry.code, 0, dry.err)
  assert.match(dry.out, /4 +2026-11-04 10:11:12 +iris@1; content 444444444444 +<-\n/)
  assert.match(dry.out, /5 +2026-11-05 10:11:12 +iris@1; content 555555555555 +live\n/)
  assert.match(dry.out, /digits-dev-predict: live would go from version 5 to 4\n$/)
  assert.equal(aws.live.version, '5')

  const first = await run(['rollback', dir])
  assert.match(first.out, /live went from version 5 to 4\n$/)
  const second = await run(['rollback', '--json', '--function', 'digits-dev-predict', '--region', 'eu-central-1'])
  const { from, to, moved, versions } = JSON.parse(second.out)
  assert.deepEqual([from, to, moved, versions.length], ['4', '3', true, 5])
  assert.equal(aws.live.version, '3')
})

test('to a version by its number, and nothing where it is that already', async (t) => {
  const dir = here(t)
  assert.equal((await run(['rollback', dir, '--to', '2'])).code, 0)
  assert.equal(aws.live.version, '2')
  const again = await run(['rollback', dir, '--to', '2'])
  assert.deepEqual([again.code, aws.live.revision], [0, 'r2'])
  assert.match(again.out, /live is at version 2 already/)
})

test('a share of the traffic that another version has goes, too', async (t) => {
  aws.live.shares = { 4: 0.1 }
  const { code, err, out } = await run(['rollback', here(t), '--to', '5'])
  assert.equal(code, 0, err)
  assert.match(err, /Version 4 gets 10 % of the traffic: where CodeDeploy is shifting it/)
  assert.match(out, /4 .* 10 %\n/)
  assert.deepEqual(aws.live.shares, {})
})

test('--golden: the version answers first', async (t) => {
  const dir = here(t)
  const bad = await run(['rollback', dir, '--to', '3', '--golden'])
  assert.equal(bad.code, 1)
  assert.match(bad.err, /8 of 8 differ\niris\/feature_missing: the function failed with Runtime\.ExitError/)
  assert.equal(aws.live.version, '5')
  assert.equal(aws.invoked.length, 8)
  const good = await run(['rollback', dir, '--to', '1', '--golden'])
  assert.equal(good.code, 0, good.err)
  assert.match(good.err, /Version 1 answers 8 golden requests as recorded/)
  assert.equal(aws.live.version, '1')
})

/** what is wrong → what is done, and what is said with which exit code */
const WRONG: readonly [name: string, args: string[], code: number, ...says: RegExp[]][] = [
  ['no such version', ['--to', '17'], 1, /expected one of 1, 2, 3, 4, 5 .* received version 17/],
  ['no such function', ['--function', 'other'], 1, /alias live for other/, /Function not found/],
  ['another stage', ['--stage', 'prod'], 1, /digits-prod-predict/, /Check name, stage and region/],
  ['no such option', ['--golden=yes'], 2, /See modelayer rollback --help/],
]
for (const [name, args, code, ...says] of WRONG)
  test(`refused: ${name}`, async (t) => {
    const done = await run(['rollback', here(t), '--region', 'eu-central-1', ...args])
    assert.equal(done.code, code, done.err)
    for (const s of says) assert.match(done.err, s)
    assert.equal(aws.live.version, '5')
  })

/** error type of AWS → what to do */
const REFUSED: Readonly<Record<string, [status: number, advice: RegExp]>> = {
  AccessDeniedException: [403, /lambda:GetAlias, lambda:ListVersionsByFunction and lambda:UpdateAlias/],
  UnrecognizedClientException: [403, /check AWS_PROFILE and the region/],
  ExpiredTokenException: [403, /sign in again/],
}
for (const [type, [status, advice]] of Object.entries(REFUSED))
  test(`AWS refuses: ${type}`, async (t) => {
    aws.faults.push({ status, type })
    const { code, err } = await run(['rollback', here(t)])
    assert.equal(code, 1)
    assert.match(err, /AWS refused the call for digits-dev-predict/)
    assert.match(err, advice)
    aws.faults.length = 0
  })

test('somebody moved the alias meanwhile', async (t) => {
  const dir = here(t)
  aws.restless = true
  const { code, err } = await run(['rollback', dir])
  aws.restless = false
  assert.equal(code, 1)
  assert.match(err, /PreconditionFailedException.*Somebody moved the alias meanwhile/)
  assert.equal(aws.live.version, '5')
})

test('nothing before the first', async (t) => {
  aws.live.version = '1'
  const { code, err } = await run(['rollback', here(t)])
  assert.equal(code, 1)
  assert.match(err, /expected a version before 1, which is live .*Name one with --to/)
})

/** what the service file says → what is said of it */
const FILES: readonly [name: string, yml: string, says: RegExp][] = [
  ['no YAML', 'service: [', /expected YAML for .*serverless\.yml/],
  ['an alias of nothing', 'service: *a', /Unresolved alias/],
  ['no service', 'provider: { name: aws }', /serverless\.yml: service/],
  [
    'a variable',
    `service: digits\nprovider: { name: aws, stage: '\${opt:stage}' }`,
    /a variable, which only osls resolves/,
  ],
]
for (const [name, yml, says] of FILES)
  test(`a service file: ${name}`, async (t) => {
    const { code, err } = await run(['rollback', here(t, yml), '--dry-run'])
    assert.equal(code, 2, err)
    assert.match(err, says)
  })

test('a service file: whatever stands in it, only our own errors come out', (t) => {
  const dir = here(t)
  const piece = fc.constantFrom(
    'service:',
    ' a',
    '\n',
    '  ',
    '- ',
    '&a ',
    '*a',
    '{',
    '}',
    '[',
    ']',
    ': ',
    '"',
    '!x ',
    '|',
    'provider:',
  )
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece).map((p) => p.join('')),
  )
  fc.assert(
    fc.property(texts, (yml) => {
      writeFileSync(join(dir, 'serverless.yml'), yml)
      try {
        const { stage, region } = readServiceFile(dir)
        assert.equal(typeof (stage + region), 'string')
      } catch (e) {
        if (!isAppError(e)) throw e
      }
    }),
    { numRuns: 1000 },
  )
})

test("a service file: CloudFormation's own tags are no matter", async (t) => {
  const dir = here(t, `${SERVICE}resources: { Outputs: { A: { Value: !Ref B } } }`)
  const { code, out, err } = await run(['rollback', dir, '--dry-run'])
  assert.equal(code, 0, err)
  assert.match(out, /would go from version 5 to 4/)
})

test('no service file, no credentials', async (t) => {
  const none = await run(['rollback', tree(t, { 'a.txt': '' })])
  assert.equal(none.code, 2)
  assert.match(none.err, /expected a serverless\.yml .* --function NAME/)

  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = process.env
  try {
    delete process.env.AWS_ACCESS_KEY_ID
    delete process.env.AWS_SECRET_ACCESS_KEY
    process.env.HOME = tree(t, { 'b.txt': '' })
    const { code, err } = await run(['rollback', here(t)])
    assert.equal(code, 1)
    assert.match(err, /Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/)
  } finally {
    Object.assign(process.env, { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY })
  }
})

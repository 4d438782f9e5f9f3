import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { buildGolden } from '../../packager/layers/golden.ts'
import { Sandbox } from '../../packager/sandbox/sandbox.ts'
import { fakeLambda } from '../fixtures/deploy/fakelambda.ts'
import { irisFunction } from '../fixtures/deploy/irisfunction.ts'

const GOLDENS = 8
const predict = await irisFunction()
const aws = await fakeLambda(predict)
const out = mkdtempSync(join(tmpdir(), 'modelayer-e2e-golden-'))
const zip = await buildGolden([predict.pkg], { out })
assert.ok(zip)
const sandbox = await Sandbox.start({
  layers: [],
  function: join(out, zip.file),
  handler: zip.handler,
  functionName: 'digits-dev-golden',
  memory: 512,
  timeoutSeconds: 60,
  env: { AWS_ENDPOINT_URL: aws.endpoint, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' },
})
after(async () => {
  await sandbox.close()
  aws.close()
  rmSync(out, { recursive: true, force: true })
})

const arn = (version: number) => `arn:aws:lambda:eu-central-1:123456789012:function:digits-dev-predict:${version}`

/** Sends what CloudFormation sends; the answer it gets, and what was printed. */
async function request(type: 'Create' | 'Update' | 'Delete', version: number, before?: number) {
  aws.invoked.length = 0
  aws.answers.length = 0
  const { error, log } = await sandbox.invoke({
    RequestType: type,
    ServiceToken: 'arn:aws:lambda:eu-central-1:123456789012:function:digits-dev-golden',
    ResponseURL: `${aws.endpoint}/answer?signature=s3cr3t`,
    StackId: 'arn:aws:cloudformation:eu-central-1:123456789012:stack/digits-dev/1',
    RequestId: 'r-1',
    ResourceType: 'AWS::CloudFormation::CustomResource',
    LogicalResourceId: 'GoldenCheck',
    ...(type !== 'Create' && { PhysicalResourceId: 'GoldenCheck' }),
    ResourceProperties: { ServiceToken: 'arn', ServiceTimeout: '960', Version: arn(version) },
    ...(before !== undefined && { OldResourceProperties: { ServiceToken: 'arn', Version: arn(before) } }),
  })
  assert.equal(error, undefined, log)
  assert.equal(aws.answers.length, 1)
  return { answer: aws.answers[0]!, log }
}

test('a version that answers as recorded', async () => {
  const { answer } = await request('Create', 1)
  assert.deepEqual(answer, {
    Status: 'SUCCESS',
    StackId: 'arn:aws:cloudformation:eu-central-1:123456789012:stack/digits-dev/1',
    RequestId: 'r-1',
    LogicalResourceId: 'GoldenCheck',
    PhysicalResourceId: 'GoldenCheck',
  })
  assert.deepEqual(aws.invoked, Array(GOLDENS).fill('digits-dev-predict:1'))
  // the signature of the answer URL knows no content type
  assert.deepEqual(aws.contentTypes, [undefined])
})

/** version → what CloudFormation reads */
const REFUSED: Readonly<Record<number, RegExp>> = {
  2: /^5 of 8 golden requests are not answered as recorded: iris\/one_of_each: differs at \/data\/resp_data\/0\/predicted_label.*; iris\/setosa: /,
  3: /^8 of 8 .*iris\/setosa: the function failed with Runtime\.ExitError/,
  4: /^8 of 8 .*iris\/setosa: answered with something that is not HTTP/,
  5: /^8 of 8 .*iris\/feature_missing: status 500 instead of 400.*iris\/setosa: status 500 instead of 200/,
}
for (const [version, reason] of Object.entries(REFUSED))
  test(`version ${version} is refused, and nothing that it answered is told`, async () => {
    const { answer, log } = await request('Update', Number(version), 1)
    assert.equal(answer.Status, 'FAILED')
    assert.match(String(answer.Reason), reason)
    assert.equal(aws.invoked.length, GOLDENS)
    for (const told of [JSON.stringify(answer), log]) assert.doesNotMatch(told, /Setosa|Rose|4711|s3cr3t/)
    assert.match(log, /golden iris\/setosa: /)
  })

test('a stack that goes back, or goes away, asks nobody', async () => {
  for (const [type, version, before] of [['Update', 1, 2] as const, ['Delete', 2] as const]) {
    const { answer } = await request(type, version, before)
    assert.equal(answer.Status, 'SUCCESS')
    assert.deepEqual(aws.invoked, [])
  }
})

test('an answer that CloudFormation did not take is put again', async () => {
  aws.faults.push({ status: 503, type: 'SlowDown' })
  const { answer } = await request('Delete', 1)
  assert.equal(answer.Status, 'SUCCESS')
})

test('whoever is not CloudFormation is told so', async () => {
  for (const event of [null, {}, { RequestType: 'Create' }, [1]]) {
    const { error } = await sandbox.invoke(event)
    assert.match(error?.errorMessage ?? '', /expected a custom resource of CloudFormation/)
  }
})

/**
 * `serverless deploy` to `serverless remove` against MiniStack, a stand-in for AWS on this machine. No account, no Docker.
 *
 *   python3 -m venv /tmp/standin && /tmp/standin/bin/pip install -r test/deploy/requirements.txt
 *   npm run build && STANDIN_PYTHON=/tmp/standin/bin/python node --import tsx test/deploy/ministack.ts
 *
 * Without Python, or without MiniStack in it, says so and ends with success: nothing was tested.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectRoot } from '../../packager/root.ts'
import { lacks, type Standin, signed, startStandin, until } from './standin.ts'

const root = projectRoot()
// inside the clone, where `modelayer/serverless` is the build of this clone
const service = join(root, 'build', 'deploy-test')
const hook = join(service, 'iris', 'model', 'customize_service.ts')
let standin: Standin

const STEPS: readonly [name: string, work: () => Promise<string>][] = [
  ['deploy', deploys],
  ['predict', predicts],
  ['capture', captures],
  ['batch', answersObject],
  ['map', mapsObjects],
  ['poison', buriesPoison],
  ['permissions', permits],
  ['deploy again', skips],
  ['change an option of batch', updatesBatchOnly],
  ['a version that answers otherwise in Lambda', refusesVersion],
  ['change a hook', updatesHookOnly],
  ['rollback', rollsBack],
  ['info', explains],
  ['remove', removes],
]

test('a stack from deploy to remove, against MiniStack', { skip: lacks('ministack.app') }, async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'modelayer-standin-'))
  standin = await startStandin([join(root, 'test', 'deploy', 'standin.py')], '/_ministack/health', (port) => ({
    BIND_HOST: '127.0.0.1',
    GATEWAY_PORT: String(port),
    LAMBDA_EXECUTOR: 'local',
    S3_DATA_DIR: data,
  }))
  try {
    writeService({ timeout: 30 })
    for (const [name, work] of STEPS)
      await t.test(name, async () => {
        console.log(`${name}: ${await work()}`)
      })
  } finally {
    standin.stop()
    rmSync(service, { recursive: true, force: true })
    rmSync(data, { recursive: true, force: true })
  }
})

async function deploys() {
  const said = serverless('deploy')
  assert.match(said, /Service deployed to stack digits-dev/)
  assert.match(said, /6 uploaded \(\d+ bytes\), 0 unchanged/)
  return uploads(said)
}

async function predicts() {
  const answer = await predict()
  assert.equal(answer.data?.resp_data?.[0]?.predicted_label, 'Setosa', JSON.stringify(answer))
  return JSON.stringify(answer).slice(0, 90)
}

/** The request before is in the bucket, by the deployed function and without what it was to leave out. */
async function captures() {
  const [key = ''] = await keys('digits-kept')
  assert.match(key, /^captured\/iris\/\d+\/\d{4}\/\d\d\/\d\d\/\d\d\/.+\.jsonl$/)
  const { captureData } = JSON.parse(await s3('GET', `digits-kept/${key}`))
  const [row] = JSON.parse(captureData.endpointInput.data).data.req_data
  assert.deepEqual([row.SepalLength, row.SepalWidth], ['[redacted]', 3.5])
  assert.match(captureData.endpointOutput.data, /Setosa/)
  return key
}

async function answersObject() {
  await s3('PUT', 'digits-in/incoming/a b.jsonl', `${JSON.stringify(request(5.1))}\n${JSON.stringify(request(4.9))}\n`)
  const done = await until('a result', async () => (await keys('digits-out')).find((k) => k.endsWith('.done.json')))
  const { status, counts, output } = JSON.parse(await s3('GET', `digits-out/${done}`))
  assert.deepEqual([status, counts], ['DONE', { records: 2, answered: 2, failed: 0 }])
  const lines = (await s3('GET', `digits-out/${output.key}`)).trim().split('\n')
  assert.equal(lines.length, 2)
  assert.match(lines[1]!, /Setosa/)
  return `${status}, ${counts.answered} records answered in ${output.key}`
}

/** What the queue has answered already, which is then seen and left. The stand-in knows no batches: one object per child. */
async function mapsObjects() {
  const { stateMachines } = await states('ListStateMachines', {})
  const { stateMachineArn, name } = stateMachines[0]
  const { executionArn } = await states('StartExecution', { stateMachineArn, input: '{"prefix":"incoming/"}' })
  const ended = await until('the end of the execution', async () => {
    const { status, output } = await states('DescribeExecution', { executionArn })
    return status === 'RUNNING' ? undefined : { status, output }
  })
  assert.equal(ended.status, 'SUCCEEDED', ended.output)
  const [{ objects, records }] = JSON.parse(ended.output)
  assert.deepEqual(objects, { done: 1, failed: 0, skipped: 0, open: 0 })
  return `${name} ${ended.status}, ${records.answered} records of 1 object`
}

/** An object that ends the process: after maxReceives attempts its message is in the dead-letter queue. */
async function buriesPoison() {
  const dead = await queueUrl('DeadLetters')
  await s3('PUT', 'digits-in/incoming/poison.jsonl', '{"poison":true}\n')
  const body = await until(
    'a message in the dead-letter queue',
    async () => (await sqs('ReceiveMessage', { QueueUrl: dead })).Messages?.[0]?.Body as string | undefined,
    // its process hides it for 90 s each time, the queue would for 180
    4,
  )
  assert.match(body, /incoming\/poison\.jsonl/)
  return 'incoming/poison.jsonl is in the dead-letter queue after 2 receives'
}

async function skips() {
  const before = await functions()
  const said = serverless('deploy')
  assert.match(said, /0 uploaded \(0 bytes\), 6 unchanged/)
  assert.match(said, /No changes to deploy/)
  assert.deepEqual(await functions(), before)
  return uploads(said)
}

async function updatesBatchOnly() {
  const before = await functions()
  writeService({ timeout: 60 })
  const said = serverless('deploy')
  assert.match(said, /0 uploaded/)
  assert.deepEqual(changed(before, await functions()), ['digits-dev-batch'])
  return `${uploads(said)}; changed: digits-dev-batch`
}

/** Here it answers as recorded, so it is packaged and uploaded; the new version does not, so the endpoint stays with the old one. */
async function refusesVersion() {
  const text = readFileSync(hook, 'utf8')
  const elsewhere = "predicted_label: process.env.AWS_LAMBDA_FUNCTION_NAME ? 'nothing' : predicted_label,"
  writeFileSync(hook, text.replace('{ predicted_label,', `{ ${elsewhere}`))
  const before = await live()
  const said = serverless('deploy', 1)
  writeFileSync(hook, text)
  assert.match(said, /GoldenCheck/)
  assert.match(said, /golden requests are not answered as recorded: iris\/\w+: differs at \/data\/resp_data/)
  assert.deepEqual(await live(), before)
  await predicts()
  return /\d+ of \d+ golden requests[^;]*/.exec(said)?.[0] ?? ''
}

/** Both functions run the hooks, so both hold them; the layers, which are all the rest, stay. */
async function updatesHookOnly() {
  const before = await functions()
  writeFileSync(hook, readFileSync(hook, 'utf8').replace('{ predicted_label,', "{ changed: 'yes', predicted_label,"))
  rmSync(join(service, 'iris', 'golden'), { recursive: true })
  const said = serverless('deploy')
  assert.match(said, /2 uploaded \(\d+ bytes\), 3 unchanged/)
  assert.deepEqual(changed(before, await functions()), ['digits-dev-batch', 'digits-dev-predict'])
  const again = serverless('deploy')
  assert.match(again, /No changes to deploy/)
  assert.equal((await predict()).data?.resp_data?.[0]?.changed, 'yes')
  assert.ok(Number((await live())['predict live']) > 1)
  return `${uploads(said)}; then ${uploads(again)}`
}

/** The endpoint answers as before the hook was changed, and a deploy without a change leaves it there. */
async function rollsBack() {
  const before = await live()
  const dry = modelayer('rollback', service, '--dry-run')
  assert.match(dry, /would go from version \d to 1/)
  assert.deepEqual(await live(), before)
  assert.match(modelayer('rollback', service, '--to', '17', { status: 1 }), /version 17/)

  const said = modelayer('rollback', service)
  assert.equal((await live())['predict live'], '1')
  assert.equal((await predict()).data?.resp_data?.[0]?.changed, undefined)
  assert.match(serverless('deploy'), /No changes to deploy/)
  assert.equal((await live())['predict live'], '1')
  assert.match(modelayer('rollback', service, { status: 1 }), /a version before 1, which is live/)

  modelayer('rollback', service, '--to', before['predict live']!)
  assert.deepEqual(await live(), before)
  assert.equal((await predict()).data?.resp_data?.[0]?.changed, 'yes')
  return said.trim().split('\n').at(-1)!
}

/** Each action on each resource of each role, and the same a little beside it. */
async function permits() {
  const found: string[] = []
  for (const [id, pairs] of Object.entries(PERMISSIONS)) {
    const role = (await roles()).find((r) => r.includes(id))
    assert.ok(role, `no role ${id}`)
    for (const [action, resource, decision] of pairs) {
      const asked = new URLSearchParams({
        Action: 'SimulatePrincipalPolicy',
        Version: '2010-05-08',
        PolicySourceArn: `arn:aws:iam::${ACCOUNT}:role/${role}`,
        'ActionNames.member.1': action,
        'ResourceArns.member.1': resource,
      })
      const [, answer] = /<EvalDecision>(\w+)/.exec(await query('iam', asked.toString())) ?? []
      assert.equal(answer === 'allowed', decision, `${id}: ${action} ${resource}: ${answer}`)
      found.push(action)
    }
  }
  return `${found.length} permissions asked for`
}

const ACCOUNT = '000000000000'
const LAMBDA = `arn:aws:lambda:eu-central-1:${ACCOUNT}:function`
/** role → action, resource, and whether it may */
const PERMISSIONS: Readonly<Record<string, readonly [action: string, resource: string, may: boolean][]>> = {
  BatchRole: [
    ['s3:GetObject', 'arn:aws:s3:::digits-in/incoming/a.jsonl', true],
    ['s3:GetObject', 'arn:aws:s3:::digits-in/private/a.jsonl', false],
    ['s3:PutObject', 'arn:aws:s3:::digits-in/incoming/a.jsonl', false],
    ['s3:DeleteObject', 'arn:aws:s3:::digits-in/incoming/a.jsonl', false],
    ['s3:PutObject', 'arn:aws:s3:::digits-out/results/a.jsonl', true],
    ['s3:PutObject', 'arn:aws:s3:::digits-out/a.jsonl', false],
    ['s3:ListBucket', 'arn:aws:s3:::digits-out', true],
    ['s3:ListBucket', 'arn:aws:s3:::digits', false],
    ['s3:DeleteBucket', 'arn:aws:s3:::digits-out', false],
    ['lambda:InvokeFunction', `${LAMBDA}:digits-dev-predict`, false],
  ],
  PredictRole: [
    [
      'logs:PutLogEvents',
      `arn:aws:logs:eu-central-1:${ACCOUNT}:log-group:/aws/lambda/digits-dev-predict:log-stream:a`,
      true,
    ],
    [
      'logs:PutLogEvents',
      `arn:aws:logs:eu-central-1:${ACCOUNT}:log-group:/aws/lambda/digits-dev-batch:log-stream:a`,
      false,
    ],
    ['s3:GetObject', 'arn:aws:s3:::digits-in/incoming/a.jsonl', false],
  ],
  GoldenRole: [
    ['lambda:InvokeFunction', `${LAMBDA}:digits-dev-predict:7`, true],
    ['lambda:InvokeFunction', `${LAMBDA}:digits-dev-predict`, false],
    ['lambda:InvokeFunction', `${LAMBDA}:digits-dev-batch:7`, false],
    ['lambda:UpdateAlias', `${LAMBDA}:digits-dev-predict`, false],
  ],
}

async function roles(): Promise<string[]> {
  return named(await query('iam', 'Action=ListRoles&Version=2010-05-08'), 'RoleName')
}

const named = (text: string, tag: string) => [...text.matchAll(new RegExp(`<${tag}>([^<]+)`, 'g'))].map((m) => m[1]!)

async function explains() {
  const [line] = /curl -H .*/.exec(serverless('info')) ?? []
  assert.match(line ?? '', /execute-api/)
  return line!
}

async function removes() {
  const before = await inventory()
  serverless('remove')
  const left = await inventory()
  for (const [kind, found] of Object.entries(before)) assert.ok(found.length > 0, `no ${kind} seen while deployed`)
  assert.deepEqual(left, Object.fromEntries(Object.keys(before).map((kind) => [kind, []])))
  return Object.entries(before)
    .map(([kind, found]) => `${found.length} ${kind}`)
    .concat('all gone')
    .join(', ')
}

async function inventory(): Promise<Record<string, string[]>> {
  return {
    functions: (await functions()).map(([name]) => name),
    layers: (await rest('/2018-10-31/layers')).Layers.map((l: { LayerName: string }) => l.LayerName),
    apis: (await rest('/v2/apis', 'apigateway')).items.map((i: { name: string }) => i.name),
    queues: (await sqs('ListQueues', {})).QueueUrls ?? [],
    buckets: named(await s3('GET', ''), 'Name'),
    machines: (await states('ListStateMachines', {})).stateMachines.map((m: { name: string }) => m.name),
    roles: await roles(),
    alarms: named(await query('monitoring', 'Action=DescribeAlarms&Version=2010-08-01'), 'AlarmName'),
  }
}

function writeService({ timeout }: { timeout: number }): void {
  mkdirSync(service, { recursive: true })
  if (timeout === 30) {
    rmSync(service, { recursive: true })
    cpSync(join(root, 'examples', 'iris'), join(service, 'iris'), { recursive: true })
    const text = readFileSync(hook, 'utf8')
    const marked = text.replace(
      '    const rows: unknown',
      '    if (data.poison) process.exit(3)\n    const rows: unknown',
    )
    assert.notEqual(marked, text)
    writeFileSync(hook, marked)
  }
  writeFileSync(
    join(service, 'serverless.yml'),
    `service: digits
frameworkVersion: '*'
provider: { name: aws, region: eu-central-1, deploymentMethod: direct }
plugins: [modelayer/serverless]
custom:
  modelayer:
    models: { iris: ./iris }
    arch: ${process.arch}
    runtime: nodejs22.x
    http: { auth: none }
    capture: { output: s3://digits-kept/captured/, percent: 100, bodies: both, redact: [$..SepalLength], onRemove: delete }
    batch:
      input: s3://digits-in/incoming/
      output: s3://digits-out/results/
      timeout: ${timeout}
      map: true
      onRemove: delete
      options: { maxReceives: 2 }
`,
  )
}

function request(length: number) {
  const row = { SepalLength: length, SepalWidth: 3.5, PetalLength: 1.4, PetalWidth: 0.2 }
  return { data: { req_data: [row] } }
}

async function predict() {
  const { items } = await rest('/v2/apis', 'apigateway')
  const answer = await fetch(`${standin.endpoint}/_aws/execute-api/${items[0].apiId}/$default/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request(5.1)),
  })
  return JSON.parse(await answer.text())
}

async function functions(): Promise<[string, string][]> {
  const { Functions } = await rest('/2015-03-31/functions')
  return (Functions as Record<string, string>[])
    .map((f): [string, string] => [f.FunctionName!, `${f.CodeSha256} ${f.Timeout}`])
    .sort()
}

function changed(before: [string, string][], after: [string, string][]): string[] {
  return after.filter(([name, was]) => before.find(([n]) => n === name)?.[1] !== was).map(([name]) => name)
}

function uploads(said: string): string {
  return /Layers and functions: .*/.exec(said)?.[0] ?? 'nothing said of uploads'
}

async function keys(bucket: string): Promise<string[]> {
  return [...(await s3('GET', `${bucket}?list-type=2`)).matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key]) => key!)
}

async function s3(method: string, path: string, body?: string): Promise<string> {
  const answer = await fetch(`${standin.endpoint}/${path}`, { method, body, headers: signed('s3') })
  const text = await answer.text()
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
  return text
}

async function sqs(action: string, body: object) {
  const type = { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `AmazonSQS.${action}` }
  const answer = await fetch(standin.endpoint, {
    method: 'POST',
    headers: { ...signed('sqs'), ...type },
    body: JSON.stringify(body),
  })
  return JSON.parse((await answer.text()) || '{}')
}

async function states(action: string, body: object) {
  const type = { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `AWSStepFunctions.${action}` }
  const headers = { ...signed('states'), ...type }
  return JSON.parse(
    await (await fetch(standin.endpoint, { method: 'POST', headers, body: JSON.stringify(body) })).text(),
  )
}

async function queueUrl(part: string): Promise<string> {
  const { QueueUrls } = await sqs('ListQueues', {})
  return (QueueUrls as string[]).find((u) => u.includes(part))!
}

async function query(name: string, body: string): Promise<string> {
  const type = { 'content-type': 'application/x-www-form-urlencoded' }
  return (await fetch(standin.endpoint, { method: 'POST', headers: { ...signed(name), ...type }, body })).text()
}

async function rest(path: string, name = 'lambda') {
  return JSON.parse(await (await fetch(`${standin.endpoint}${path}`, { headers: signed(name) })).text())
}

async function live(): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const name of ['predict', 'batch']) {
    const { Aliases } = await rest(`/2015-03-31/functions/digits-dev-${name}/aliases`)
    for (const a of Aliases) found[`${name} ${a.Name}`] = a.FunctionVersion
  }
  return found
}

/** Standard output of the command; `status` is how it must end. */
function modelayer(...words: (string | { status: number })[]): string {
  const args = words.filter((w) => typeof w === 'string')
  const expected = words.find((w) => typeof w !== 'string')?.status ?? 0
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin', 'modelayer'), ...args], {
    env: standin.env,
    encoding: 'utf8',
  })
  assert.equal(status, expected, stdout + stderr)
  return expected === 0 ? stdout : stderr
}

function serverless(command: string, expected = 0): string {
  const bin = join(root, 'node_modules', '.bin', 'serverless')
  const { status, stdout, stderr } = spawnSync(bin, [command], {
    cwd: service,
    env: standin.env,
    encoding: 'utf8',
    timeout: 180_000,
  })
  const said = stdout + stderr
  assert.equal(status, expected, said)
  return said
}

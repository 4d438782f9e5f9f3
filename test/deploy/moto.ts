/**
 * The roles of the stack on moto, which checks signatures and policies: a second opinion on what each may do, by real calls.
 *
 *   npm run build && STANDIN_PYTHON=/tmp/standin/bin/python node --import tsx test/deploy/moto.ts
 *
 * moto knows resources for S3 only; for Lambda and the rest it looks at actions. MiniStack (ministack.ts) is asked about resources of all.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda'
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { iris, type Template } from '../fixtures/deploy/packaged.ts'
import { lacks, python, REGION, type Standin, signed, startStandin } from './standin.ts'

const skip = lacks('moto.server')
const ACCOUNT = '123456789012'
const IN_REGION = `<CreateBucketConfiguration><LocationConstraint>${REGION}</LocationConstraint></CreateBucketConfiguration>`
const service = iris()
let standin: Standin
let resources: Template

before(async () => {
  if (skip) return
  resources = service.packaged(`    http: { auth: iam }
    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/ }
    release: { shift: Canary10Percent5Minutes }
`)
  standin = await startStandin(['-m', 'moto.server', '-H', '127.0.0.1', '-p', '{port}'], '/moto-api/', () => ({}))
  for (const bucket of ['digits-in', 'digits-out', 'digits-other']) await put(`/${bucket}`, IN_REGION)
  for (const key of ['digits-in/incoming/a', 'digits-in/private/a', 'digits-out/results/a', 'digits-other/a'])
    await put(`/${key}`, 'x')
  for (const [id, { Properties }] of Object.entries(resources).filter(([, r]) => r.Type === 'AWS::IAM::Role')) {
    const trust = JSON.stringify(resolved(Properties.AssumeRolePolicyDocument))
    await iam({ Action: 'CreateRole', RoleName: id, AssumeRolePolicyDocument: trust })
    for (const { PolicyName, PolicyDocument } of Properties.Policies) {
      const document = JSON.stringify(resolved(PolicyDocument))
      await iam({ Action: 'PutRolePolicy', RoleName: id, PolicyName, PolicyDocument: document })
    }
  }
})
after(() => standin?.stop())

/** role → what it asks for, and whether it may */
const CALLS: Readonly<Record<string, readonly [text: string, send: (c: Clients) => Promise<unknown>, may: boolean][]>> =
  {
    BatchRole: [
      ['read an input', ({ s3 }) => s3.send(new GetObjectCommand({ Bucket: 'digits-in', Key: 'incoming/a' })), true],
      [
        'read beside the inputs',
        ({ s3 }) => s3.send(new GetObjectCommand({ Bucket: 'digits-in', Key: 'private/a' })),
        false,
      ],
      ['read elsewhere', ({ s3 }) => s3.send(new GetObjectCommand({ Bucket: 'digits-other', Key: 'a' })), false],
      ['list the inputs', ({ s3 }) => s3.send(new ListObjectsV2Command({ Bucket: 'digits-in' })), true],
      ['list elsewhere', ({ s3 }) => s3.send(new ListObjectsV2Command({ Bucket: 'digits-other' })), false],
      [
        'write a result',
        ({ s3 }) => s3.send(new PutObjectCommand({ Bucket: 'digits-out', Key: 'results/b', Body: 'x' })),
        true,
      ],
      [
        'write beside the results',
        ({ s3 }) => s3.send(new PutObjectCommand({ Bucket: 'digits-out', Key: 'b', Body: 'x' })),
        false,
      ],
      [
        'write an input',
        ({ s3 }) => s3.send(new PutObjectCommand({ Bucket: 'digits-in', Key: 'incoming/b', Body: 'x' })),
        false,
      ],
      [
        'delete an input',
        ({ s3 }) => s3.send(new DeleteObjectCommand({ Bucket: 'digits-in', Key: 'incoming/a' })),
        false,
      ],
      [
        'delete a result',
        ({ s3 }) => s3.send(new DeleteObjectCommand({ Bucket: 'digits-out', Key: 'results/b' })),
        true,
      ],
      ['upload in parts and give up', ({ s3 }) => uploadAndAbort(s3, 'results/c'), true],
      ['upload in parts beside the results', ({ s3 }) => uploadAndAbort(s3, 'c'), false],
      ['delete a bucket', ({ s3 }) => s3.send(new DeleteBucketCommand({ Bucket: 'digits-out' })), false],
      [
        'invoke a function',
        ({ lambda }) => lambda.send(new InvokeCommand({ FunctionName: 'digits-dev-predict' })),
        false,
      ],
    ],
    PredictRole: [
      ['read an input', ({ s3 }) => s3.send(new GetObjectCommand({ Bucket: 'digits-in', Key: 'incoming/a' })), false],
      [
        'invoke a function',
        ({ lambda }) => lambda.send(new InvokeCommand({ FunctionName: 'digits-dev-predict' })),
        false,
      ],
    ],
  }

for (const [role, calls] of Object.entries(CALLS))
  test(`${role} on moto`, { skip }, async (t) => {
    const credentials = await assume(role)
    const common = { endpoint: standin.endpoint, region: REGION, credentials, maxAttempts: 1 }
    const clients = { s3: new S3Client({ ...common, forcePathStyle: true }), lambda: new LambdaClient(common) }
    await enforced(async () => {
      for (const [text, send, may] of calls)
        await t.test(`${text}: ${may ? 'allowed' : 'denied'}`, async () => {
          assert.equal(await allowed(send(clients)), may)
        })
    })
  })

/** Through boto3, which knows the words of the API: CloudFormation's are the same with another first letter. */
test('CodeDeploy takes the deployment group', { skip }, () => {
  const group = {
    ...(lowered(resolved(resources.ReleaseGroup!.Properties)) as object),
    applicationName: 'digits',
    deploymentGroupName: 'live',
  }
  const script = `
import boto3, json, os, sys
client = boto3.client('codedeploy', endpoint_url=os.environ['AWS_ENDPOINT_URL'], region_name='${REGION}')
client.create_application(applicationName='digits', computePlatform='${resources.ReleaseApplication!.Properties.ComputePlatform}')
client.create_deployment_group(**json.load(sys.stdin))
print(json.dumps(client.get_deployment_group(applicationName='digits', deploymentGroupName='live')['deploymentGroupInfo']['autoRollbackConfiguration']))
`
  const { status, stdout, stderr } = spawnSync(python, ['-c', script], {
    env: standin.env,
    input: JSON.stringify(group),
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  assert.equal(JSON.parse(stdout).enabled, true)
})

function lowered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(lowered)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k[0]!.toLowerCase() + k.slice(1), lowered(v)]))
}

interface Clients {
  readonly s3: S3Client
  readonly lambda: LambdaClient
}

interface Failed {
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly $response?: { readonly statusCode?: number }
}

async function allowed(call: Promise<unknown>): Promise<boolean> {
  try {
    await call
    return true
  } catch (e) {
    // moto refuses for Lambda in XML, which the SDK cannot read beyond the status
    const { $metadata, $response } = e as Failed
    assert.equal($metadata?.httpStatusCode ?? $response?.statusCode, 403, String(e))
    return false
  }
}

async function uploadAndAbort(s3: S3Client, Key: string): Promise<void> {
  const Bucket = 'digits-out'
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
}

/** From now on moto looks at signatures and policies, and then no more. */
async function enforced(work: () => Promise<void>): Promise<void> {
  const after = (count: string) => fetch(`${standin.endpoint}/moto-api/reset-auth`, { method: 'POST', body: count })
  await after('0')
  try {
    await work()
  } finally {
    await after('inf')
  }
}

async function assume(role: string) {
  const RoleArn = `arn:aws:iam::${ACCOUNT}:role/${role}`
  const said = await query('sts', { Action: 'AssumeRole', Version: '2011-06-15', RoleArn, RoleSessionName: 'test' })
  const one = (tag: string) => new RegExp(`<${tag}>([^<]+)`).exec(said)![1]!
  return {
    accessKeyId: one('AccessKeyId'),
    secretAccessKey: one('SecretAccessKey'),
    sessionToken: one('SessionToken'),
  }
}

const iam = (parameters: Record<string, string>) => query('iam', { Version: '2010-05-08', ...parameters })

async function query(name: string, parameters: Record<string, string>): Promise<string> {
  const answer = await fetch(standin.endpoint, {
    method: 'POST',
    headers: { ...signed(name), 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(parameters).toString(),
  })
  const text = await answer.text()
  assert.ok(answer.ok, text)
  return text
}

async function put(path: string, body: string): Promise<void> {
  const answer = await fetch(`${standin.endpoint}${path}`, { method: 'PUT', body, headers: signed('s3') })
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.text()}`)
}

/** As CloudFormation would: what moto's CloudFormation cannot make is not needed to know the names. */
function resolved(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(resolved)
  if (typeof value !== 'object' || value === null) return value
  const { Ref, 'Fn::Sub': sub, 'Fn::GetAtt': att } = value as Record<string, unknown>
  if (typeof Ref === 'string') return pseudo(Ref)
  if (typeof sub === 'string') return sub.replaceAll(/\$\{([^}]+)}/g, (_, name: string) => pseudo(name))
  if (Array.isArray(att)) return pseudo(att.join('.'))
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, resolved(v)]))
}

function pseudo(name: string): string {
  const known: Readonly<Record<string, string>> = {
    'AWS::Partition': 'aws',
    'AWS::Region': REGION,
    'AWS::AccountId': ACCOUNT,
    'ReleaseRole.Arn': `arn:aws:iam::${ACCOUNT}:role/ReleaseRole`,
    ReleaseApplication: 'digits',
    ReleaseErrorsAlarm: 'errors',
    ReleaseFailuresAlarm: 'failures',
    'BatchQueue.Arn': `arn:aws:sqs:${REGION}:${ACCOUNT}:BatchQueue`,
    'PredictLambdaFunction.Arn': `arn:aws:lambda:${REGION}:${ACCOUNT}:function:digits-dev-predict`,
  }
  assert.ok(known[name], `nothing is known of ${name}`)
  return known[name]
}

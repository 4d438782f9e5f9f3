import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { digestOf } from '../../packager/deploy/upload.ts'
import { projectRoot } from '../../packager/root.ts'
import { mlpPackage } from '../fixtures/budget/mlp.ts'

interface Resource {
  readonly Type: string
  readonly DeletionPolicy?: string
  // biome-ignore lint/suspicious/noExplicitAny: a template is read at many depths, and a wrong path fails the test
  readonly Properties: any
}

const root = projectRoot()
// inside the clone, where `modelayer/serverless` is the build of this clone
mkdirSync(join(root, 'build'), { recursive: true })
const work = mkdtempSync(join(root, 'build', 'deploy-unit-'))
after(() => rmSync(work, { recursive: true, force: true }))
// large enough to be moved
mlpPackage(work, { width: 600, layers: 1 }, { name: 'mlp' })
cpSync(join(root, 'examples', 'iris'), join(work, 'iris'), { recursive: true })

const packagedTemplate = () =>
  JSON.parse(readFileSync(join(work, '.serverless', 'cloudformation-template-update-stack.json'), 'utf8'))

/** What `serverless package` says where it must not succeed. */
function refused(options: string): string {
  const { status, said } = serverlessPackage(options)
  assert.notEqual(status, 0, said)
  return said
}

/** As a user without an account: no credentials, and an endpoint where nobody listens. */
function packaged(options: string): Record<string, Resource> {
  const { status, said } = serverlessPackage(options)
  assert.equal(status, 0, said)
  return packagedTemplate().Resources
}

function serverlessPackage(options: string): { status: number | null; said: string } {
  const yml = `service: digits
frameworkVersion: '*'
provider: { name: aws, region: eu-central-1 }
plugins: [modelayer/serverless]
custom:
  modelayer:
    models: { ${options.includes('storage:') ? 'mlp: ./mlp' : 'iris: ./iris'} }
    arch: ${process.arch}
    image: false
${options}`
  writeFileSync(join(work, 'serverless.yml'), yml)
  const env = {
    PATH: process.env.PATH,
    HOME: work,
    AWS_ENDPOINT_URL: 'http://127.0.0.1:9',
    AWS_EC2_METADATA_DISABLED: 'true',
    SLS_TELEMETRY_DISABLED: '1',
  }
  const bin = join(root, 'node_modules', '.bin', 'serverless')
  const { status, stdout, stderr } = spawnSync(bin, ['package'], { cwd: work, env, encoding: 'utf8' })
  return { status, said: stdout + stderr }
}

const built = existsSync(join(root, 'build', 'serverless.mjs')) ? false : 'npm run build comes first'

test('serverless package without credentials: a stack that may do what it needs and no more', { skip: built }, () => {
  const resources = packaged(`    http: { auth: iam, throttle: { rate: 50 }, cors: true }
    logDays: 7
    tags: { team: vision }
    concurrency: { reserved: 5 }
    alarms: { topic: 'arn:aws:sns:eu-central-1:123456789012:ops' }
    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/ }
`)
  const of = (type: string) => Object.values(resources).filter((r) => r.Type === type)

  // every action on every resource, spelt out: whoever adds one adds it here too
  assert.deepEqual(statements(resources), {
    PredictRole: [
      'logs:CreateLogStream arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/digits-dev-predict:*',
      'logs:PutLogEvents arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/digits-dev-predict:*',
    ],
    BatchRole: [
      'logs:CreateLogStream arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/digits-dev-batch:*',
      'logs:PutLogEvents arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/digits-dev-batch:*',
      's3:AbortMultipartUpload arn:<Partition>:s3:::digits-out/results/*',
      's3:DeleteObject arn:<Partition>:s3:::digits-out/results/*',
      's3:GetObject arn:<Partition>:s3:::digits-in/incoming/*',
      's3:GetObject arn:<Partition>:s3:::digits-out/results/*',
      's3:GetObjectVersion arn:<Partition>:s3:::digits-in/incoming/*',
      's3:ListBucket arn:<Partition>:s3:::digits-in',
      's3:ListBucket arn:<Partition>:s3:::digits-out',
      's3:ListMultipartUploadParts arn:<Partition>:s3:::digits-out/results/*',
      's3:PutObject arn:<Partition>:s3:::digits-out/results/*',
      'sqs:ChangeMessageVisibility BatchQueue.Arn',
      'sqs:DeleteMessage BatchQueue.Arn',
      'sqs:GetQueueAttributes BatchQueue.Arn',
      'sqs:ReceiveMessage BatchQueue.Arn',
    ],
  })
  assert.deepEqual(of('AWS::IAM::Role').length, 2, 'no role beside the two')

  const predict = resources.PredictLambdaFunction!.Properties
  assert.equal(predict.Runtime, 'nodejs24.x')
  assert.equal(predict.ReservedConcurrentExecutions, 5)
  assert.match(predict.Code.S3Key, /^modelayer\/functions\/predict-[0-9a-f]{64}\.zip$/)
  assert.deepEqual(predict.Tags, [{ Key: 'team', Value: 'vision' }])
  assert.equal(predict.Layers.length, 2)
  for (const { Ref } of predict.Layers) assert.equal(resources[Ref]!.Type, 'AWS::Lambda::LayerVersion')

  const live = resources.PredictLiveAlias!.Properties
  assert.equal(resources[live.FunctionVersion['Fn::GetAtt'][0]]!.Type, 'AWS::Lambda::Version')
  for (const { Properties } of of('AWS::ApiGatewayV2::Integration'))
    assert.equal(Properties.IntegrationUri['Fn::Join'][1].at(-1), 'live')

  for (const route of of('AWS::ApiGatewayV2::Route')) assert.equal(route.Properties.AuthorizationType, 'AWS_IAM')
  assert.deepEqual(resources.HttpApiStage!.Properties.DefaultRouteSettings, {
    ThrottlingRateLimit: 50,
    ThrottlingBurstLimit: 50,
  })
  for (const group of of('AWS::Logs::LogGroup')) assert.equal(group.Properties.RetentionInDays, 7)

  const buckets = ['BatchInputBucket', 'BatchOutputBucket']
  for (const name of buckets) {
    const bucket = resources[name]!
    assert.equal(bucket.DeletionPolicy, 'Retain')
    assert.ok(Object.values(bucket.Properties.PublicAccessBlockConfiguration).every((v) => v === true))
    assert.ok(bucket.Properties.BucketEncryption)
    const [deny] = resources[`${name}Policy`]!.Properties.PolicyDocument.Statement
    assert.deepEqual(
      [deny.Effect, deny.Action, deny.Condition],
      ['Deny', 's3:*', { Bool: { 'aws:SecureTransport': 'false' } }],
    )
  }
  const queue = resources.BatchQueue!.Properties
  assert.equal(queue.VisibilityTimeout, 6 * resources.BatchLambdaFunction!.Properties.Timeout)
  assert.equal(queue.RedrivePolicy.maxReceiveCount, 10)
  const settings = resources.BatchLambdaFunction!.Properties.Environment.Variables
  assert.equal(settings.MODELAYER_BATCH_INPUT, 's3://digits-in/incoming/')
  assert.deepEqual(JSON.parse(settings.MODELAYER_BATCH_OPTIONS), { maxReceives: 10 })

  const alarms = of('AWS::CloudWatch::Alarm').map((a) => a.Properties)
  assert.deepEqual(
    alarms.map((a) => `${a.Namespace} ${a.MetricName}`),
    [
      'AWS/Lambda Errors',
      'AWS/Lambda Throttles',
      'AWS/Lambda Errors',
      'AWS/Lambda Throttles',
      'AWS/SQS ApproximateNumberOfMessagesVisible',
    ],
  )
  for (const a of alarms) assert.deepEqual(a.AlarmActions, ['arn:aws:sns:eu-central-1:123456789012:ops'])
  const { widgets } = JSON.parse(resources.Dashboard!.Properties.DashboardBody['Fn::Sub'])
  assert.equal(widgets.length, 6)
})

test('keys: a REST API that takes bytes, with a usage plan', { skip: built }, () => {
  const resources = packaged(`    http: { auth: apiKey, throttle: { rate: 20, burst: 40 } }
    tracing: true
    dashboard: false
    alarms: false
`)
  const api = resources.ApiGatewayRestApi!.Properties
  assert.deepEqual(api.BinaryMediaTypes, ['*/*'])
  const methods = Object.values(resources).filter((r) => r.Type === 'AWS::ApiGateway::Method')
  assert.equal(methods.length, 2)
  for (const { Properties } of methods) assert.equal(Properties.ApiKeyRequired, true)
  const plan = Object.values(resources).find((r) => r.Type === 'AWS::ApiGateway::UsagePlan')
  assert.deepEqual(plan?.Properties.Throttle, { BurstLimit: 40, RateLimit: 20 })
  // X-Ray alone knows no permission on a single resource
  const wide = statements(resources).PredictRole!.filter((s) => s.endsWith(' *'))
  assert.deepEqual(wide, ['xray:PutTelemetryRecords *', 'xray:PutTraceSegments *'])
  const left = Object.values(resources).filter((r) => r.Type.startsWith('AWS::CloudWatch::'))
  assert.deepEqual(left, [])
  // what a deploy compares: the same for another packaging of the same, another for a changed option
  const template = JSON.stringify(packagedTemplate())
  const digest = digestOf(JSON.parse(template))
  assert.match(template, /ApiGatewayDeployment\d+/)
  assert.equal(digestOf(JSON.parse(template.replace(/(ApiGatewayDeployment)\d+/g, '$11'))), digest)
  assert.notEqual(digestOf(JSON.parse(template.replace('"MemorySize":1769', '"MemorySize":1770'))), digest)
})

const VPC = `    vpc: { securityGroups: [sg-1], subnets: [subnet-1] }
`
const arn = (kind: string) => `arn:aws:elasticfilesystem:eu-central-1:123456789012:${kind}`

test('a model fetched from S3: its address, the right to read it, memory and a handler that waits', {
  skip: built,
}, () => {
  const resources = packaged(`    storage: s3
    memory: 512
    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/, memory: 1024 }
`)
  const own = {
    'Fn::Join': [
      '',
      ['arn:', { Ref: 'AWS::Partition' }, ':s3:::', { Ref: 'ServerlessDeploymentBucket' }, '/modelayer/models/*'],
    ],
  }
  for (const role of ['PredictRole', 'BatchRole']) {
    const all = resources[role]!.Properties.Policies[0].PolicyDocument.Statement
    assert.deepEqual(
      all.filter((s: { Resource: unknown }) => JSON.stringify(s.Resource).includes('modelayer')),
      [{ Effect: 'Allow', Action: ['s3:GetObject'], Resource: own }],
    )
  }
  const [predict, batch] = [resources.PredictLambdaFunction!.Properties, resources.BatchLambdaFunction!.Properties]
  assert.deepEqual([predict.Handler, batch.Handler], ['prepared.handler', 'batch.handler'])
  assert.deepEqual([predict.MemorySize, batch.MemorySize], [512, 1024])
  assert.equal(predict.EphemeralStorage, undefined)
  const from = { 'Fn::Join': ['', ['s3://', { Ref: 'ServerlessDeploymentBucket' }, '/modelayer/models/']] }
  assert.deepEqual(predict.Environment.Variables, { MODELAYER_MODELS: from })
  assert.deepEqual(batch.Environment.Variables.MODELAYER_MODELS, from)
  assert.equal(batch.Environment.Variables.MODELAYER_BATCH_INPUT, 's3://digits-in/incoming/')
})

test('a model on a file system: mounted, written by the first, and nothing else of it', { skip: built }, () => {
  const resources = packaged(`    storage: efs
    efs: { fileSystem: '${arn('file-system/fs-0123456789abcdef0')}', accessPoint: '${arn('access-point/fsap-0123456789abcdef0')}' }
${VPC}`)
  const predict = resources.PredictLambdaFunction!.Properties
  assert.deepEqual(predict.FileSystemConfigs, [
    { Arn: arn('access-point/fsap-0123456789abcdef0'), LocalMountPath: '/mnt/models' },
  ])
  assert.equal(predict.Environment.Variables.MODELAYER_MODELS_ROOT, '/mnt/models')
  const mount = resources.PredictRole!.Properties.Policies[0].PolicyDocument.Statement.find((s: { Action: string[] }) =>
    s.Action[0]!.startsWith('elastic'),
  )
  assert.deepEqual(mount, {
    Effect: 'Allow',
    Action: ['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'],
    Resource: arn('file-system/fs-0123456789abcdef0'),
    Condition: { StringEquals: { 'elasticfilesystem:AccessPointArn': arn('access-point/fsap-0123456789abcdef0') } },
  })
})

test('an image: the context and the commands first, then its URI', { skip: built }, () => {
  const said = refused('    storage: image\n')
  assert.match(said, /custom\.modelayer\.container/)
  assert.match(said, /docker build --platform linux\/\w+ --provenance=false -t "\$REPOSITORY:latest" \S+image-/)
  assert.ok(existsSync(join(work, '.modelayer', `image-${process.arch}`, 'Dockerfile')))
  const uri = `123456789012.dkr.ecr.eu-central-1.amazonaws.com/mlp@sha256:${'0'.repeat(64)}`
  const resources = packaged(`    storage: image\n    container: ${uri}\n`)
  const { Code, ImageConfig, PackageType, Handler, Layers } = resources.PredictLambdaFunction!.Properties
  assert.deepEqual([Code, ImageConfig, PackageType], [{ ImageUri: uri }, { Command: ['predict.handler'] }, 'Image'])
  assert.deepEqual([Handler, Layers], [undefined, undefined])
  assert.ok(!Object.values(resources).some((r) => r.Type === 'AWS::Lambda::LayerVersion'))
})

/** role → sorted `action resource` */
function statements(resources: Record<string, Resource>): Record<string, string[]> {
  const roles = Object.entries(resources).filter(([, r]) => r.Type === 'AWS::IAM::Role')
  return Object.fromEntries(
    roles.map(([name, { Properties }]) => {
      assert.equal(Properties.ManagedPolicyArns, undefined)
      const all = Properties.Policies.flatMap((p: Resource['Properties']) => p.PolicyDocument.Statement)
      const lines = all.flatMap(({ Action, Resource }: { Action: string[]; Resource: unknown }) =>
        Action.flatMap((a) => [Resource].flat().map((r) => `${a} ${spelt(r)}`)),
      )
      return [name, lines.sort()]
    }),
  )
}

function spelt(resource: unknown): string {
  if (typeof resource === 'string') return resource
  const { 'Fn::Sub': sub, 'Fn::GetAtt': att } = resource as { 'Fn::Sub'?: string; 'Fn::GetAtt'?: string[] }
  return sub?.replaceAll(/\$\{AWS::(\w+)}/g, '<$1>') ?? att?.join('.') ?? JSON.stringify(resource)
}

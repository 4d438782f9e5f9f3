import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { digestOf } from '../../packager/deploy/upload.ts'
import { projectRoot } from '../../packager/root.ts'

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
cpSync(join(root, 'examples', 'iris'), join(work, 'iris'), { recursive: true })

const packagedTemplate = () =>
  JSON.parse(readFileSync(join(work, '.serverless', 'cloudformation-template-update-stack.json'), 'utf8'))

/** As a user without an account: no credentials, and an endpoint where nobody listens. */
function packaged(options: string): Record<string, Resource> {
  const yml = `service: digits
frameworkVersion: '*'
provider: { name: aws, region: eu-central-1 }
plugins: [modelayer/serverless]
custom:
  modelayer:
    models: { iris: ./iris }
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
  assert.equal(status, 0, stdout + stderr)
  return packagedTemplate().Resources
}

const built = existsSync(join(root, 'build', 'serverless.mjs')) ? false : 'npm run build comes first'

test('serverless package without credentials: a stack that may do what it needs and no more', { skip: built }, () => {
  const resources = packaged(`    http: { auth: iam, throttle: { rate: 50 }, cors: true }
    logDays: 7
    tags: { team: vision }
    concurrency: { reserved: 5 }
    alarms: { topic: 'arn:aws:sns:eu-central-1:123456789012:ops' }
    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/, map: true }
    capture: { output: 's3://digits-kept/captured/', percent: 5 }
`)
  const of = (type: string) => Object.values(resources).filter((r) => r.Type === type)

  // every action on every resource, spelt out: whoever adds one adds it here too
  assert.deepEqual(statements(resources), {
    PredictRole: [
      'logs:CreateLogStream arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/digits-dev-predict:*',
      'logs:PutLogEvents arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/digits-dev-predict:*',
      's3:PutObject arn:<Partition>:s3:::digits-kept/captured/*',
    ],
    BatchMapRole: [
      'lambda:InvokeFunction <BatchLambdaFunction.Arn>:*',
      's3:AbortMultipartUpload arn:<Partition>:s3:::digits-out/results/map-runs/*',
      's3:GetObject arn:<Partition>:s3:::digits-out/results/map-runs/*',
      's3:ListBucket arn:<Partition>:s3:::digits-in where StringLike s3:prefix incoming/*',
      's3:ListMultipartUploadParts arn:<Partition>:s3:::digits-out/results/map-runs/*',
      's3:PutObject arn:<Partition>:s3:::digits-out/results/map-runs/*',
      'states:DescribeExecution arn:<Partition>:states:<Region>:<AccountId>:execution:digits-dev-batch-map:*',
      'states:RedriveExecution arn:<Partition>:states:<Region>:<AccountId>:execution:digits-dev-batch-map/*:*',
      'states:StartExecution arn:<Partition>:states:<Region>:<AccountId>:stateMachine:digits-dev-batch-map',
      'states:StopExecution arn:<Partition>:states:<Region>:<AccountId>:execution:digits-dev-batch-map:*',
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
  assert.deepEqual(of('AWS::IAM::Role').length, 3, 'no role beside the three')
  const [definition, { function: target }] = resources.BatchMap!.Properties.DefinitionString['Fn::Sub']
  assert.equal(resources[target.Ref]!.Type, 'AWS::Lambda::Version')
  // a name that nobody fills in would fail the deploy
  const names = [...definition.matchAll(/\$\{([^}]*)}/g)].map(([, name]) => name)
  assert.deepEqual([...new Set(names)].sort(), ['AWS::Partition', 'function'])
  assert.deepEqual(packagedTemplate().Outputs.BatchMapArn.Value, { Ref: 'BatchMap' })

  const predict = resources.PredictLambdaFunction!.Properties
  assert.equal(predict.Runtime, 'nodejs24.x')
  assert.equal(predict.ReservedConcurrentExecutions, 5)
  assert.match(predict.Code.S3Key, /^modelayer\/functions\/predict-[0-9a-f]{64}\.zip$/)
  assert.deepEqual(predict.Tags, [{ Key: 'team', Value: 'vision' }])
  assert.equal(predict.Layers.length, 2)
  for (const { Ref } of predict.Layers) assert.equal(resources[Ref]!.Type, 'AWS::Lambda::LayerVersion')

  assert.deepEqual(predict.LoggingConfig, { LogFormat: 'JSON' })
  const { MODELAYER_CAPTURE, ...told } = predict.Environment.Variables
  assert.deepEqual(told, { POWERTOOLS_SERVICE_NAME: 'digits-dev', POWERTOOLS_METRICS_NAMESPACE: 'modelayer' })
  assert.deepEqual(Object.keys(JSON.parse(MODELAYER_CAPTURE)), [
    'bucket',
    'prefix',
    'percent',
    'redact',
    'bodies',
    'files',
  ])

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

  const buckets = ['BatchInputBucket', 'BatchOutputBucket', 'CaptureBucket']
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
  for (const a of alarms) assert.deepEqual(a.AlarmActions, ['arn:aws:sns:eu-central-1:123456789012:ops'])
  assert.ok(resources.Dashboard)
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

/** role → sorted `action resource` */
function statements(resources: Record<string, Resource>): Record<string, string[]> {
  const roles = Object.entries(resources).filter(([, r]) => r.Type === 'AWS::IAM::Role')
  return Object.fromEntries(
    roles.map(([name, { Properties }]) => {
      assert.equal(Properties.ManagedPolicyArns, undefined)
      const all = Properties.Policies.flatMap((p: Resource['Properties']) => p.PolicyDocument.Statement)
      const lines = all.flatMap(({ Action, Resource, Condition }: Said) =>
        Action.flatMap((a) => [Resource].flat().map((r) => `${a} ${spelt(r)}${where(Condition)}`)),
      )
      return [name, lines.sort()]
    }),
  )
}

interface Said {
  readonly Action: string[]
  readonly Resource: unknown
  readonly Condition?: Record<string, Record<string, string>>
}

function where(condition: Said['Condition']): string {
  const one = ([operator, terms]: [string, object]) => [operator, ...Object.entries(terms).flat()].join(' ')
  return condition ? ` where ${Object.entries(condition).map(one).join(' and ')}` : ''
}

function spelt(resource: unknown): string {
  if (typeof resource === 'string') return resource
  const { 'Fn::Sub': sub, 'Fn::GetAtt': att } = resource as { 'Fn::Sub'?: string; 'Fn::GetAtt'?: string[] }
  return sub?.replaceAll(/\$\{(?:AWS::)?([\w.]+)}/g, '<$1>') ?? att?.join('.') ?? JSON.stringify(resource)
}

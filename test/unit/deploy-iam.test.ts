import assert from 'node:assert/strict'
import { test } from 'node:test'
import { iris, ofType, statements, unbuilt } from '../fixtures/deploy/packaged.ts'

const service = iris()

const own = (name: string) =>
  ['logs:CreateLogStream', 'logs:PutLogEvents'].map(
    (action) => `${action} arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/digits-dev-${name}:*`,
  )
const GOLDEN = [...own('golden'), 'lambda:InvokeFunction <PredictLambdaFunction.Arn>:*']
const BATCH = [
  ...own('batch'),
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
  'sqs:SendMessage BatchQueue.Arn',
]
const MAP = [
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
]
const SHIFT = [
  'cloudwatch:DescribeAlarms arn:<Partition>:cloudwatch:<Region>:<AccountId>:alarm:*',
  'lambda:GetAlias <PredictLambdaFunction.Arn>:live',
  'lambda:GetAlias PredictLambdaFunction.Arn',
  'lambda:GetProvisionedConcurrencyConfig <PredictLambdaFunction.Arn>:live',
  'lambda:GetProvisionedConcurrencyConfig PredictLambdaFunction.Arn',
  'lambda:UpdateAlias <PredictLambdaFunction.Arn>:live',
  'lambda:UpdateAlias PredictLambdaFunction.Arn',
]
/** Neither service knows permissions on single resources. */
const TRACING = ['xray:PutTelemetryRecords *', 'xray:PutTraceSegments *']
const VPC = [
  'ec2:AssignPrivateIpAddresses *',
  'ec2:CreateNetworkInterface *',
  'ec2:DeleteNetworkInterface *',
  'ec2:DescribeNetworkInterfaces *',
  'ec2:DescribeSubnets *',
  'ec2:UnassignPrivateIpAddresses *',
]
const KEY = 'arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555'
const KMS = [`kms:Decrypt ${KEY}`]

const batch = 'batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/ }'
const map = 'batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/, map: true }'

/** options → every role, and every action it has on every resource: whoever adds one adds it here too */
const ROLES: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  'http: { auth: iam }': { PredictRole: own('predict'), GoldenRole: GOLDEN },
  'release: { golden: false }': { PredictRole: own('predict') },
  [batch]: { PredictRole: own('predict'), BatchRole: BATCH, GoldenRole: GOLDEN },
  [map]: { PredictRole: own('predict'), BatchRole: BATCH, BatchMapRole: MAP, GoldenRole: GOLDEN },
  'capture: { output: s3://digits-kept/captured/ }': {
    PredictRole: [...own('predict'), 's3:PutObject arn:<Partition>:s3:::digits-kept/captured/*'],
    GoldenRole: GOLDEN,
  },
  'release: { shift: Canary10Percent5Minutes }': {
    PredictRole: own('predict'),
    GoldenRole: GOLDEN,
    ReleaseRole: SHIFT,
  },
  [`tracing: true
    kmsKey: ${KEY}
    vpc: { securityGroups: [sg-0123456789abcdef0], subnets: [subnet-0123456789abcdef0] }
    ${batch}`]: {
    PredictRole: [...VPC, ...KMS, ...own('predict'), ...TRACING],
    BatchRole: [...BATCH, ...VPC, ...KMS, ...TRACING],
    GoldenRole: GOLDEN,
  },
}

for (const [options, roles] of Object.entries(ROLES))
  test(`who may do what: ${options.replaceAll(/\s+/g, ' ')}`, { skip: unbuilt }, () => {
    const resources = service.packaged(`    ${options}\n`)
    const sorted = Object.entries(roles).map(([role, lines]) => [role, [...lines].sort()])
    assert.deepEqual(statements(resources), Object.fromEntries(sorted))

    for (const { Properties } of ofType(resources, 'AWS::IAM::Role')) {
      const [trust, ...others] = Properties.AssumeRolePolicyDocument.Statement
      assert.deepEqual(others, [])
      assert.match(trust.Principal.Service, /^(lambda|codedeploy|states)\.amazonaws\.com$/)
    }
    // permissions that resources give, and whom
    for (const { Properties } of ofType(resources, 'AWS::Lambda::Permission')) {
      assert.equal(Properties.Action, 'lambda:InvokeFunction')
      assert.equal(Properties.Principal, 'apigateway.amazonaws.com')
      assert.ok(Properties.SourceArn)
    }
    for (const { Properties } of ofType(resources, 'AWS::SQS::QueuePolicy')) {
      const [send, ...others] = Properties.PolicyDocument.Statement
      assert.deepEqual(others, [])
      assert.deepEqual([send.Principal, send.Action], [{ Service: 's3.amazonaws.com' }, 'sqs:SendMessage'])
      assert.deepEqual(Object.keys(send.Condition).sort(), ['ArnEquals', 'StringEquals'])
    }
  })

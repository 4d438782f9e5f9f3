import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../packager/deploy/upload.ts'
import { iris, ofType, TEMPLATE, unbuilt } from '../fixtures/deploy/packaged.ts'

const service = iris()

test('serverless package without credentials: a stack that may do what it needs and no more', { skip: unbuilt }, () => {
  const resources = service.packaged(`    http: { auth: iam, throttle: { rate: 50 }, cors: true }
    logDays: 7
    tags: { team: vision }
    concurrency: { reserved: 5 }
    alarms: { topic: 'arn:aws:sns:eu-central-1:123456789012:ops' }
    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/, map: true }
    capture: { output: 's3://digits-kept/captured/', percent: 5 }
`)
  const of = (type: string) => ofType(resources, type)
  const [definition, { function: target }] = resources.BatchMap!.Properties.DefinitionString['Fn::Sub']
  assert.equal(resources[target.Ref]!.Type, 'AWS::Lambda::Version')
  // a name that nobody fills in would fail the deploy
  const names = [...definition.matchAll(/\$\{([^}]*)}/g)].map(([, name]) => name)
  assert.deepEqual([...new Set(names)].sort(), ['AWS::Partition', 'function'])
  assert.deepEqual(JSON.parse(readFileSync(join(service.dir, TEMPLATE), 'utf8')).Outputs.BatchMapArn.Value, {
    Ref: 'BatchMap',
  })

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
  // a long object sends its message anew as often as it needs
  assert.equal(resources.BatchLambdaFunction!.Properties.RecursiveLoop, 'Allow')
  const settings = resources.BatchLambdaFunction!.Properties.Environment.Variables
  assert.equal(settings.MODELAYER_BATCH_INPUT, 's3://digits-in/incoming/')
  assert.deepEqual(JSON.parse(settings.MODELAYER_BATCH_OPTIONS), { maxReceives: 10 })

  const alarms = of('AWS::CloudWatch::Alarm').map((a) => a.Properties)
  for (const a of alarms) assert.deepEqual(a.AlarmActions, ['arn:aws:sns:eu-central-1:123456789012:ops'])
  assert.ok(resources.Dashboard)
})

test('keys: a REST API that takes bytes, with a usage plan', { skip: unbuilt }, () => {
  const resources = service.packaged(`    http: { auth: apiKey, throttle: { rate: 20, burst: 40 } }
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
  const left = Object.values(resources).filter((r) => r.Type.startsWith('AWS::CloudWatch::'))
  assert.deepEqual(left, [])
  // what a deploy compares: the same for another packaging of the same, another for a changed option
  const template = JSON.stringify(JSON.parse(readFileSync(join(service.dir, TEMPLATE), 'utf8')))
  const digest = digestOf(JSON.parse(template))
  assert.match(template, /ApiGatewayDeployment\d+/)
  assert.equal(digestOf(JSON.parse(template.replace(/(ApiGatewayDeployment)\d+/g, '$11'))), digest)
  assert.notEqual(digestOf(JSON.parse(template.replace('"MemorySize":1769', '"MemorySize":1770'))), digest)
})

test('what holds for every function reaches every function', { skip: unbuilt }, () => {
  const key = 'arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555'
  const resources = service.packaged(`    http: { auth: iam, api: rest, accessLogs: true }
    runtime: nodejs22.x
    memory: 3008
    timeout: 60
    logDays: 7
    tags: { team: vision }
    tracing: true
    kmsKey: ${key}
    vpc: { securityGroups: [sg-1, sg-2], subnets: [subnet-1] }
    concurrency: { reserved: 9, provisioned: 2 }
    release: { shift: Canary10Percent10Minutes }
    batch: { input: s3://digits-data/in/, output: s3://digits-data/out/, memory: 512, onRemove: delete }
`)
  const [predict, batch, golden] = ['Predict', 'Batch', 'Golden'].map(
    (name) => resources[`${name}LambdaFunction`]!.Properties,
  )
  for (const f of [predict, batch, golden]) {
    assert.equal(f.Runtime, 'nodejs22.x')
    assert.deepEqual(f.Architectures, [process.arch === 'x64' ? 'x86_64' : 'arm64'])
    assert.deepEqual(f.Tags, [{ Key: 'team', Value: 'vision' }])
  }
  for (const f of [predict, batch]) {
    assert.deepEqual(f.TracingConfig, { Mode: 'Active' })
    assert.equal(f.KmsKeyArn, key)
    assert.deepEqual(f.VpcConfig, { SecurityGroupIds: ['sg-1', 'sg-2'], SubnetIds: ['subnet-1'] })
    assert.match(f.Description, /^iris@1; content [0-9a-f]{12}$/)
  }
  // it reaches Lambda and CloudFormation, which a private network need not
  assert.equal(golden.VpcConfig, undefined)
  assert.deepEqual([predict.MemorySize, batch.MemorySize], [3008, 512])
  assert.deepEqual([predict.Timeout, batch.Timeout], [60, 900])
  assert.deepEqual([predict.ReservedConcurrentExecutions, batch.ReservedConcurrentExecutions], [9, undefined])
  const provisioned = (name: string) => resources[`${name}LiveAlias`]!.Properties.ProvisionedConcurrencyConfig
  assert.deepEqual(provisioned('Predict'), { ProvisionedConcurrentExecutions: 2 })
  assert.equal(provisioned('Batch'), undefined)
  assert.equal(ofType(resources, 'AWS::Lambda::Alias').length, 2, 'and none of osls beside them')

  const groups = ofType(resources, 'AWS::Logs::LogGroup').map((g) => g.Properties)
  for (const { RetentionInDays } of groups) assert.equal(RetentionInDays, 7)
  assert.equal(groups.length, 4, 'three functions and the gateway')
  for (const { Properties } of ofType(resources, 'AWS::ApiGateway::Method'))
    assert.equal(Properties.AuthorizationType, 'AWS_IAM')

  const { Metrics } = resources.ReleaseFailuresAlarm!.Properties
  assert.deepEqual(Metrics[1].MetricStat.Metric.Dimensions, [{ Name: 'ApiName', Value: 'dev-digits' }])

  // one bucket for both, and it goes with the stack because the service file says so
  const buckets = Object.entries(resources).filter(([, r]) => r.Type === 'AWS::S3::Bucket')
  const names = buckets.map(([name]) => name).filter((n) => n !== 'ServerlessDeploymentBucket')
  assert.deepEqual(names, ['BatchInputBucket'])
  assert.equal(resources.BatchInputBucket!.DeletionPolicy, 'Delete')
  for (const { Properties } of ofType(resources, 'AWS::SQS::Queue')) assert.equal(Properties.SqsManagedSseEnabled, true)
})

test('streams: by their own path behind a REST API, and by the mode of a function URL', { skip: unbuilt }, () => {
  const rest = service.packaged('    http: { auth: iam, api: rest, stream: true }\n')
  for (const { Properties } of ofType(rest, 'AWS::ApiGateway::Method')) {
    assert.equal(Properties.Integration.ResponseTransferMode, 'STREAM')
    assert.match(JSON.stringify(Properties.Integration.Uri), /2021-11-15.*response-streaming-invocations/)
  }
  const url = service.packaged('    http: { auth: iam, api: url, stream: true }\n')
  assert.equal(ofType(url, 'AWS::Lambda::Url')[0]!.Properties.InvokeMode, 'RESPONSE_STREAM')
  for (const r of [rest, url]) assert.equal(r.PredictLambdaFunction!.Properties.Handler, 'predict.streamed')
})

test('a function URL calls the alias, too', { skip: unbuilt }, () => {
  const resources = service.packaged('    http: { auth: iam, api: url, cors: true }\n    release: { golden: false }\n')
  const [url] = ofType(resources, 'AWS::Lambda::Url').map((r) => r.Properties)
  assert.equal(url.AuthType, 'AWS_IAM')
  assert.match(JSON.stringify(url), /live/)
  assert.ok(url.Cors)
  assert.deepEqual(ofType(resources, 'AWS::CloudFormation::CustomResource'), [])
  assert.equal(resources.GoldenLambdaFunction, undefined)
})

test('a release: golden requests, then a shift in steps that alarms stop', { skip: unbuilt }, () => {
  const resources = service.packaged(`    http: { auth: iam }
    release: { shift: Linear10PercentEvery1Minute }
    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/ }
`)
  const { predict, batch } = { predict: resources.PredictLiveAlias!, batch: resources.BatchLiveAlias! }
  const version = predict.Properties.FunctionVersion['Fn::GetAtt'][0]
  assert.equal(resources[version]!.DeletionPolicy, 'RetainExceptOnCreate')

  const check = resources.GoldenCheck!.Properties
  assert.deepEqual(check.Version, { Ref: version })
  assert.deepEqual(check.ServiceToken, { 'Fn::GetAtt': ['GoldenLambdaFunction', 'Arn'] })
  assert.ok(check.ServiceTimeout > resources.GoldenLambdaFunction!.Properties.Timeout)
  for (const alias of [predict, batch]) assert.deepEqual(alias.DependsOn, ['GoldenCheck'])

  // only what people wait for is shifted in steps
  assert.deepEqual(
    [predict.UpdatePolicy, batch.UpdatePolicy],
    [
      {
        CodeDeployLambdaAliasUpdate: {
          ApplicationName: { Ref: 'ReleaseApplication' },
          DeploymentGroupName: { Ref: 'ReleaseGroup' },
        },
      },
      undefined,
    ],
  )
  const group = resources.ReleaseGroup!.Properties
  assert.equal(group.DeploymentConfigName, 'CodeDeployDefault.LambdaLinear10PercentEvery1Minute')
  assert.equal(group.AutoRollbackConfiguration.Enabled, true)
  assert.ok(group.AutoRollbackConfiguration.Events.includes('DEPLOYMENT_STOP_ON_ALARM'))
  const alarms = group.AlarmConfiguration.Alarms.map(
    (a: { Name: { Ref: string } }) => resources[a.Name.Ref]!.Properties,
  )
  const [errors, failures] = alarms
  assert.deepEqual(errors.Dimensions.at(-1), {
    Name: 'ExecutedVersion',
    Value: { 'Fn::GetAtt': [version, 'Version'] },
  })
  assert.deepEqual(failures.Metrics[1].MetricStat.Metric.Dimensions, [{ Name: 'ApiId', Value: { Ref: 'HttpApi' } }])
  // a tenth of the traffic that always fails is enough
  assert.ok(failures.Threshold < 10)
})

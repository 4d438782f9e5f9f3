import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { mlpPackage } from '../fixtures/budget/mlp.ts'
import { serviceOf, unbuilt } from '../fixtures/deploy/packaged.ts'

// large enough to be moved
const service = serviceOf('mlp', (dir) => mlpPackage(dir, { width: 600, layers: 1 }, { name: 'mlp' }))

const VPC = `    vpc: { securityGroups: [sg-1], subnets: [subnet-1] }
`
const arn = (kind: string) => `arn:aws:elasticfilesystem:eu-central-1:123456789012:${kind}`

test('a model fetched from S3: its address, the right to read it, memory and a handler that waits', {
  skip: unbuilt,
}, () => {
  const resources = service.packaged(`    storage: s3
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
  assert.deepEqual(predict.Environment.Variables.MODELAYER_MODELS, from)
  assert.deepEqual(batch.Environment.Variables.MODELAYER_MODELS, from)
  assert.equal(batch.Environment.Variables.MODELAYER_BATCH_INPUT, 's3://digits-in/incoming/')
})

test('a function that fetches and streams', { skip: unbuilt }, () => {
  const resources = service.packaged('    storage: s3\n    http: { auth: iam, api: url, stream: true }\n')
  assert.equal(resources.PredictLambdaFunction!.Properties.Handler, 'prepared.streamed')
})

test('a model on a file system: mounted, written by the first, and nothing else of it', { skip: unbuilt }, () => {
  const resources = service.packaged(`    storage: efs
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

test('an image: the context and the commands first, then its URI', { skip: unbuilt }, () => {
  const said = service.refused('    storage: image\n')
  assert.match(said, /custom\.modelayer\.container/)
  assert.match(said, /docker build --platform linux\/\w+ --provenance=false -t "\$REPOSITORY:latest" \S+image-/)
  assert.ok(existsSync(join(service.dir, '.modelayer', `image-${process.arch}`, 'Dockerfile')))
  const uri = `123456789012.dkr.ecr.eu-central-1.amazonaws.com/mlp@sha256:${'0'.repeat(64)}`
  const resources = service.packaged(`    storage: image\n    container: ${uri}\n`)
  const { Code, ImageConfig, PackageType, Handler, Layers } = resources.PredictLambdaFunction!.Properties
  assert.deepEqual([Code, ImageConfig, PackageType], [{ ImageUri: uri }, { Command: ['predict.handler'] }, 'Image'])
  assert.deepEqual([Handler, Layers], [undefined, undefined])
  assert.ok(!Object.values(resources).some((r) => r.Type === 'AWS::Lambda::LayerVersion'))
})

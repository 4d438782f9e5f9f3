/**
 * cfn-lint on what `serverless package` makes of every option: no errors, no warnings.
 *
 *   npm run build && STANDIN_PYTHON=/tmp/standin/bin/python node --import tsx test/deploy/lint.ts
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { mlpPackage } from '../fixtures/budget/mlp.ts'
import { serviceOf, TEMPLATE } from '../fixtures/deploy/packaged.ts'
import { lacks, python, REGION } from './standin.ts'

// large enough to be moved out of its layer, with a golden request
const service = serviceOf('mlp', (dir) => mlpPackage(dir, { width: 600, layers: 1 }, { name: 'mlp' }))
const batch = 'batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/ }'
const mapped =
  'batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/, map: { logs: true, items: 50 } }'
const vpc =
  'vpc: { securityGroups: [sg-0123456789abcdef0], subnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1] }'
const arn = (kind: string) => `arn:aws:elasticfilesystem:eu-central-1:123456789012:${kind}`
const efs = `efs:
      fileSystem: '${arn('file-system/fs-0123456789abcdef0')}'
      accessPoint: '${arn('access-point/fsap-0123456789abcdef0')}'`
const capture =
  'capture: { output: s3://digits-kept/captured/, percent: 5, bodies: both, redact: [$..name], onRemove: delete }'

const SERVICES: readonly string[] = [
  `http: { auth: iam, cors: true, accessLogs: true, throttle: { rate: 50 } }
    ${batch}
    alarms: { topic: 'arn:aws:sns:eu-central-1:123456789012:ops' }
    concurrency: { reserved: 9, provisioned: 2 }
    release: { shift: Canary10Percent5Minutes }`,
  `http: { auth: apiKey, throttle: { rate: 20, burst: 40 }, cors: true, accessLogs: true }
    ${batch}
    ${vpc}
    tracing: true
    kmsKey: arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555
    tags: { team: vision }
    runtime: nodejs22.x
    logLevel: debug
    metrics: { namespace: vision }
    release: { shift: Linear10PercentEvery1Minute }`,
  `http: { auth: iam, api: url, cors: true }
    release: { shift: Canary10Percent30Minutes, alarms: false, golden: false }
    alarms: false
    dashboard: false`,
  'http: { auth: jwt, issuer: https://id.example/, audience: [me] }',
  'batch: { input: s3://digits-data/in/, output: s3://digits-data/out/, onRemove: delete }',
  `http: { auth: none, api: rest }
    ${capture}
    metrics: false
    logLevel: error
    memory: 3600
    batch: { input: s3://digits-in/, output: s3://digits-out/, memory: 1024, options: { result: csv }, map: true }`,
  `storage: s3
    http: { auth: iam }
    ${mapped}
    ${capture}
    tracing: true
    concurrency: { provisioned: 1 }
    release: { shift: Canary10Percent5Minutes }`,
  `storage: efs
    ${vpc}
    ${efs}
    http: { auth: none, api: url }
    ${mapped}
    ${capture}
    tracing: true
    release: { shift: Linear10PercentEvery2Minutes }`,
  `storage: image
    container: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/digits@sha256:${'0123456789abcdef'.repeat(4)}'
    http: { auth: iam }
    ${mapped}
    release: { shift: Canary10Percent15Minutes }`,
]

for (const options of SERVICES)
  test(`cfn-lint: ${options.replaceAll(/\s+/g, ' ').slice(0, 100)}`, { skip: lacks('cfnlint') }, () => {
    service.packaged(`    ${options}\n`)
    const args = [
      '-c',
      'from cfnlint.runner import main; main()',
      '--regions',
      REGION,
      '--template',
      join(service.dir, TEMPLATE),
    ]
    const { status, stdout, stderr } = spawnSync(python, args, { encoding: 'utf8' })
    assert.equal(status, 0, stdout + stderr)
  })

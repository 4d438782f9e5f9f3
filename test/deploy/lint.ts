/**
 * cfn-lint on what `serverless package` makes of every option: no errors, no warnings.
 *
 *   npm run build && STANDIN_PYTHON=/tmp/standin/bin/python node --import tsx test/deploy/lint.ts
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { iris, TEMPLATE } from '../fixtures/deploy/packaged.ts'
import { lacks, python, REGION } from './standin.ts'

const service = iris()
const batch = 'batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/ }'

const SERVICES: readonly string[] = [
  `http: { auth: iam, cors: true, accessLogs: true, throttle: { rate: 50 } }
    ${batch}
    alarms: { topic: 'arn:aws:sns:eu-central-1:123456789012:ops' }
    concurrency: { reserved: 9, provisioned: 2 }
    release: { shift: Canary10Percent5Minutes }`,
  `http: { auth: apiKey, throttle: { rate: 20, burst: 40 }, cors: true, accessLogs: true }
    ${batch}
    vpc: { securityGroups: [sg-0123456789abcdef0], subnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1] }
    tracing: true
    kmsKey: arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555
    tags: { team: vision }
    runtime: nodejs22.x
    release: { shift: Linear10PercentEvery1Minute }`,
  `http: { auth: iam, api: url, cors: true }
    release: { shift: Canary10Percent30Minutes, alarms: false, golden: false }
    alarms: false
    dashboard: false`,
  'http: { auth: jwt, issuer: https://id.example/, audience: [me] }',
  'batch: { input: s3://digits-data/in/, output: s3://digits-data/out/, onRemove: delete }',
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

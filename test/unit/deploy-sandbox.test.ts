import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { layerKey } from '../../packager/deploy/resources.ts'
import { readService, type Service } from '../../packager/deploy/service.ts'
import { settingsOf } from '../../packager/deploy/settings.ts'
import type { Arch } from '../../packager/layers/definition.ts'
import { layersFor, readDist } from '../../packager/layers/dist.ts'
import { projectRoot } from '../../packager/root.ts'
import { corsOf } from '../../packager/sandbox/front/cors.ts'
import { KINDS } from '../../packager/sandbox/front/kinds.ts'
import { bootOf, FETCHED } from '../../packager/sandbox/stack.ts'
import { mlpPackage } from '../fixtures/budget/mlp.ts'

const root = projectRoot()
const arch = process.arch as Arch
// inside the clone, where `modelayer/serverless` is the build of this clone
mkdirSync(join(root, 'build'), { recursive: true })
const work = mkdtempSync(join(root, 'build', 'deploy-sandbox-'))
after(() => rmSync(work, { recursive: true, force: true }))
cpSync(join(root, 'examples', 'iris'), join(work, 'iris'), { recursive: true })

// large enough to be fetched
mlpPackage(work, { width: 600, layers: 1 }, { name: 'mlp' })

const write = (http: string, more = '', model = 'iris') =>
  writeFileSync(
    join(work, 'serverless.yml'),
    `service: digits
frameworkVersion: '*'
provider:
  name: aws
  region: eu-central-1
  stage: prod
  environment: { TEAM: vision, MEMORY: "\${self:custom.memory}" }
plugins: [modelayer/serverless]
custom:
  memory: 700
  modelayer:
    models: { ${model}: ./${model} }
    arch: ${arch}
    image: false
    memory: \${self:custom.memory}
    timeout: 21
    http: ${http}
${more}`,
  )

// biome-ignore lint/suspicious/noExplicitAny: a template is read at many depths, and a wrong path fails the test
type Resources = Record<string, { readonly Type: string; readonly Properties: any }>

function template(): Resources {
  const env = {
    PATH: process.env.PATH,
    HOME: work,
    AWS_ENDPOINT_URL: 'http://127.0.0.1:9',
    SLS_TELEMETRY_DISABLED: '1',
  }
  const bin = join(root, 'node_modules', '.bin', 'serverless')
  const { status, stdout, stderr } = spawnSync(bin, ['package'], { cwd: work, env, encoding: 'utf8' })
  assert.equal(status, 0, stdout + stderr)
  return JSON.parse(readFileSync(join(work, '.serverless/cloudformation-template-update-stack.json'), 'utf8')).Resources
}

const skip = existsSync(join(root, 'build', 'serverless.mjs')) ? false : 'npm run build comes first'
/** What Lambda gives every function by itself. */
const LAMBDA =
  /^AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|REGION|DEFAULT_REGION|ENDPOINT_URL_S3|ENDPOINT_URL_SQS)$/

/** What the template deploys a function with, in the words of the sandbox. */
function deployed(resources: Resources, logicalId: string) {
  const p = resources[logicalId]!.Properties
  return {
    functionName: p.FunctionName,
    handler: p.Handler,
    memory: p.MemorySize,
    timeoutSeconds: p.Timeout,
    tmp: p.EphemeralStorage?.Size ?? 512,
    env: {
      ...p.Environment?.Variables,
      ...(p.Environment?.Variables.MODELAYER_MODELS && { MODELAYER_MODELS: FETCHED }),
    },
    mounts: p.FileSystemConfigs !== undefined,
    layers: p.Layers.map(({ Ref }: { Ref: string }) => resources[Ref]!.Properties.Content.S3Key),
  }
}

/** What the sandbox boots for the same service file. */
async function booted(service: Service, name: 'predict' | 'batch') {
  const index = await readDist(join(work, '.modelayer'))
  const built = { index, raw: service.raw, models: FETCHED }
  const settings = settingsOf(service.options, `${service.name}-${service.stage}`, built, service.environment)
  const boot = bootOf(
    { dist: join(work, '.modelayer'), index, arch, region: service.region, data: join(work, 'data') },
    name,
    settings[name]!,
    { s3: 'x', sqs: 'y' },
  )
  const { functionName, handler, memory, timeoutSeconds, tmp, env = {}, shared } = boot
  const files = layersFor(index, arch)
  return {
    functionName,
    handler,
    memory,
    timeoutSeconds,
    tmp,
    env: Object.fromEntries(Object.entries(env).filter(([key]) => !LAMBDA.test(key))),
    mounts: shared !== undefined,
    layers: boot.layers.map((path) => layerKey(files.find((f) => path === join(work, '.modelayer', f.file))!)),
  }
}

test('what the template says is what the sandbox boots: functions, layers in order, environment, endpoint', {
  skip,
}, async () => {
  write(
    '{ auth: jwt, issuer: "https://issuer.example", audience: app, cors: true, throttle: { rate: 7, burst: 9 } }',
    `    concurrency: { reserved: 3 }
    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/, timeout: 120, memory: 900 }
`,
  )
  const http = template()
  const service = await readService(work)
  assert.deepEqual(await booted(service, 'predict'), deployed(http, 'PredictLambdaFunction'))
  assert.deepEqual(await booted(service, 'batch'), deployed(http, 'BatchLambdaFunction'))
  const { options } = service
  const built = { index: await readDist(join(work, '.modelayer')), raw: service.raw, models: FETCHED }
  const settings = settingsOf(options, 'digits-prod', built)
  assert.equal(settings.predict.reserved, http.PredictLambdaFunction!.Properties.ReservedConcurrentExecutions)
  const { Issuer, Audience } = Object.values(http).find((r) => r.Type.endsWith('::Authorizer'))!.Properties
    .JwtConfiguration
  assert.deepEqual([options.http?.issuer, options.http?.audience], [Issuer, Audience])
  const { ThrottlingRateLimit, ThrottlingBurstLimit } = http.HttpApiStage!.Properties.DefaultRouteSettings
  assert.deepEqual(options.http?.throttle, { rate: ThrottlingRateLimit, burst: ThrottlingBurstLimit })
  const integration = Object.values(http).find((r) => r.Type === 'AWS::ApiGatewayV2::Integration')!.Properties
  assert.deepEqual([integration.TimeoutInMillis, integration.PayloadFormatVersion], [KINDS.http.patience, '2.0'])
  const cors = http.HttpApi!.Properties.CorsConfiguration
  assert.deepEqual(corsOf('http'), { headers: cors.AllowHeaders.join(), methods: cors.AllowMethods.join() })
  const routes = Object.values(http).filter((r) => r.Type === 'AWS::ApiGatewayV2::Route')
  assert.deepEqual(routes.map((r) => r.Properties.RouteKey).sort(), ['ANY /', 'ANY /{proxy+}'])

  write('{ auth: apiKey, cors: true, throttle: { rate: 5 } }')
  const rest = template()
  assert.deepEqual(await booted(await readService(work), 'predict'), deployed(rest, 'PredictLambdaFunction'))
  assert.deepEqual(rest.ApiGatewayRestApi!.Properties.BinaryMediaTypes, ['*/*'])
  const said = rest.ApiGatewayMethodOptions!.Properties.Integration.IntegrationResponses[0].ResponseParameters
  const of = (name: string) => said[`method.response.header.Access-Control-Allow-${name}`].replaceAll("'", '')
  assert.deepEqual(corsOf('rest'), { headers: of('Headers'), methods: of('Methods') })

  write('{ auth: none, api: url, cors: true }')
  const { AllowHeaders, AllowMethods } = template().PredictLambdaFunctionUrl!.Properties.Cors
  assert.deepEqual(corsOf('url'), { headers: AllowHeaders.join(), methods: AllowMethods.join() })
})

test('the same where models are fetched: handler, memory, /tmp, file system, and where they lie', {
  skip,
}, async () => {
  const arn = (kind: string) => `arn:aws:elasticfilesystem:eu-central-1:123456789012:${kind}`
  const batch = `    batch: { input: s3://digits-in/incoming/, output: s3://digits-out/results/, memory: 900 }
`
  for (const storage of [
    '    storage: s3\n',
    `    storage: efs
    vpc: { securityGroups: [sg-1], subnets: [subnet-1] }
    efs: { fileSystem: '${arn('file-system/fs-1')}', accessPoint: '${arn('access-point/fsap-1')}' }
`,
  ]) {
    write('{ auth: none }', batch + storage, 'mlp')
    const resources = template()
    const service = await readService(work)
    const predict = await booted(service, 'predict')
    assert.deepEqual(predict, deployed(resources, 'PredictLambdaFunction'))
    assert.deepEqual(await booted(service, 'batch'), deployed(resources, 'BatchLambdaFunction'))
    assert.deepEqual([predict.handler, predict.mounts], ['prepared.handler', storage.includes('efs')])
    assert.equal(predict.env.MODELAYER_MODELS, FETCHED)
  }
})

test('a service file that cannot be read says why, and what to do', { skip }, async () => {
  await assert.rejects(readService(join(work, 'iris')), /expected a serverless\.yml.*--service DIR/)
  write('{ auth: nobody }')
  await assert.rejects(readService(work), /nobody/)
  writeFileSync(
    join(work, 'serverless.yml'),
    `service: xyz\nprovider: { name: aws, region: "\${env:MODELAYER_NOT_THERE}" }\n`,
  )
  await assert.rejects(readService(work), /provider\.region.*modelayer serve --sandbox PACKAGE/)
  writeFileSync(join(work, 'serverless.yml'), "service: xyz\nframeworkVersion: '*'\nprovider: { name: aws }\n")
  await assert.rejects(readService(work), /custom\.modelayer/)
})

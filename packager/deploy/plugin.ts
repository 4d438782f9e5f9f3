import { join } from 'node:path'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import type { Reporter } from '../cli/reporter.ts'
import type { DistIndex } from '../layers/dist.ts'
import { type DeployOptions, readOptions } from './options.ts'
import {
  batchResources,
  batchStatements,
  dropRedundantDependencies,
  functionCode,
  functionKey,
  layerId,
  layerKey,
  layerResources,
  type Resources,
  roleResource,
} from './resources.ts'
import type { DeploymentBucket } from './upload.ts'

/** What the plugin uses of osls. */
interface Serverless {
  readonly service: {
    readonly service: string
    readonly custom?: { readonly modelayer?: unknown }
    readonly provider: {
      stage?: string
      compiledCloudFormationTemplate?: Template
      httpApi?: Record<string, unknown>
      shouldNotDeploy?: boolean
    }
    functions: Record<string, unknown>
    readonly resources?: unknown
  }
  readonly serviceDir: string
  readonly configSchemaHandler: { defineCustomProperties(schema: object): void }
  getProvider(name: 'aws'): Aws
}
interface Template {
  Resources: Resources
}
interface Aws {
  getStage(): string
  getAwsSdkV3Config(): Promise<S3ClientConfig>
  getServerlessDeploymentBucketName(): Promise<string>
  readonly naming: { getDeploymentBucketLogicalId(): string; getLambdaLogicalId(name: string): string }
}
interface CliOptions {
  readonly force?: boolean
}
interface Utils {
  readonly log: { notice(text: string): void; warning(text: string): void; verbose(text: string): void }
}

/** Where the packager writes, beside the user's serverless.yml. */
const OUT = '.modelayer'

/**
 * `plugins: [modelayer/serverless]`: models become layers and functions before osls looks at them, and the resources they need join its
 * template. Layers are resources of ours and not osls' `layers:`, which would ask for credentials while packaging and upload all of them anew.
 */
export default class ModelayerPlugin {
  readonly hooks: Record<string, () => Promise<void> | void>
  private readonly serverless: Serverless
  private readonly utils: Utils
  private readonly cliOptions: CliOptions
  private readonly options: DeployOptions
  private readonly aws: Aws
  private index: DistIndex | undefined

  constructor(serverless: Serverless, cliOptions: CliOptions, utils: Utils) {
    this.serverless = serverless
    this.cliOptions = cliOptions
    this.utils = utils
    this.aws = serverless.getProvider('aws')
    serverless.configSchemaHandler.defineCustomProperties({
      type: 'object',
      properties: { modelayer: { type: 'object' } },
    })
    this.options = readOptions(serverless.service.custom?.modelayer)
    this.hooks = {
      // the service file is read after plugins are made
      initialize: () => this.addFunctions(),
      'before:package:createDeploymentArtifacts': () => this.build(),
      'before:package:compileFunctions': () => this.attachLayers(),
      'after:package:compileEvents': () => this.addResources(),
      'before:package:function:package': () => this.build(),
      'after:aws:deploy:deploy:checkForChanges': () => this.upload(),
      'after:aws:deploy:deploy:updateStack': () => this.record(),
    }
  }

  private get out(): string {
    return join(this.serverless.serviceDir, OUT)
  }

  /** osls looks for a zip of the whole service unless a function says that it brings its own. */
  private artifact(name: string): object {
    return { individually: true, artifact: join(this.out, 'functions', `${name}.zip`) }
  }

  private functionName(name: string): string {
    return `${this.serverless.service.service}-${this.aws.getStage()}-${name}`
  }

  private addFunctions(): void {
    const { service } = this.serverless
    const { http, batch, arch, runtime, memory, timeout } = this.options
    const base = { runtime, architecture: arch === 'x64' ? 'x86_64' : 'arm64', memorySize: memory }
    service.functions ??= {}
    const events = http
      ? ['/', '/{proxy+}'].map((path) => ({ httpApi: { method: '*', path, ...authorizer(http.auth) } }))
      : []
    if (http?.auth === 'jwt') {
      service.provider.httpApi = {
        ...service.provider.httpApi,
        authorizers: {
          modelayerJwt: {
            type: 'jwt',
            identitySource: '$request.header.Authorization',
            issuerUrl: http.issuer,
            audience: http.audience,
          },
        },
      }
    }
    if (http?.cors) service.provider.httpApi = { ...service.provider.httpApi, cors: true }
    if (http?.auth === 'none')
      this.utils.log.warning('http.auth is none: everybody who knows the address can call the endpoint.')
    service.functions.predict = {
      ...base,
      handler: 'predict.handler',
      timeout,
      role: 'PredictRole',
      package: this.artifact('predict'),
      events,
    }
    if (!batch) return
    const trigger = {
      sqs: {
        arn: { 'Fn::GetAtt': ['BatchQueue', 'Arn'] },
        batchSize: 10,
        functionResponseType: 'ReportBatchItemFailures',
      },
    }
    service.functions.batch = {
      ...base,
      handler: 'batch.handler',
      timeout: 900,
      role: 'BatchRole',
      package: this.artifact('batch'),
      environment: { MODELAYER_BATCH_INPUT: s3(batch.input), MODELAYER_BATCH_OUTPUT: s3(batch.output) },
      events: [trigger],
    }
  }

  private async build(): Promise<void> {
    const { openAny } = await import('../package/open.ts')
    const { pack } = await import('../layers/pack.ts')
    const { budgetTable } = await import('../layers/budget.ts')
    const { silenceTelemetry } = await import('../../src/boot.ts')
    silenceTelemetry()
    const packages = await Promise.all(
      Object.entries(this.options.models).map(([name, source]) =>
        openAny(source.startsWith('s3://') ? source : join(this.serverless.serviceDir, source), { name }),
      ),
    )
    const { index, budgets } = await pack(packages, {
      out: this.out,
      arch: [this.options.arch],
      image: this.options.image,
      reporter: reporter(this.utils),
    })
    this.index = index
    this.utils.log.notice(`\n${budgetTable(budgets)}`)
  }

  private layers(): DistIndex['layers'] {
    return (this.index?.layers ?? []).filter((l) => (l.arch ?? this.options.arch) === this.options.arch)
  }

  private functions(): DistIndex['functions'] {
    return (this.index?.functions ?? []).filter((f) => this.serverless.service.functions[f.name] !== undefined)
  }

  private attachLayers(): void {
    const references = this.layers().map((l) => ({ Ref: layerId(l) }))
    for (const name of ['predict', 'batch']) {
      const f = this.serverless.service.functions[name] as { layers?: unknown } | undefined
      if (f) f.layers = references
    }
  }

  private addResources(): void {
    const template = this.serverless.service.provider.compiledCloudFormationTemplate
    if (!template) return
    const { batch } = this.options
    const bucket = { Ref: this.aws.naming.getDeploymentBucketLogicalId() }
    Object.assign(
      template.Resources,
      layerResources(this.layers(), bucket, this.options, `${this.serverless.service.service}-${this.aws.getStage()}`),
      {
        PredictRole: roleResource(this.functionName('predict'), []),
        ...(batch && {
          BatchRole: roleResource(this.functionName('batch'), batchStatements(batch)),
          ...batchResources(batch, 900),
        }),
      },
    )
    for (const f of this.functions()) functionCode(template.Resources, this.aws.naming.getLambdaLogicalId(f.name), f)
    dropRedundantDependencies(template.Resources)
  }

  private async bucket(): Promise<DeploymentBucket> {
    const { DeploymentBucket } = await import('./upload.ts')
    const config = await this.aws.getAwsSdkV3Config()
    return new DeploymentBucket(await this.aws.getServerlessDeploymentBucketName(), config)
  }

  /** The names of zips are their content, so the template alone says whether anything changed; files of other functions do not show in it. */
  private get wholly(): boolean {
    return Object.keys(this.serverless.service.functions).every((name) => this.functions().some((f) => f.name === name))
  }

  /** Before the stack refers to them. osls compares times of functions, which differ when a deploy changed one of two. */
  private async upload(): Promise<void> {
    const { digestOf } = await import('./upload.ts')
    const { provider } = this.serverless.service
    const bucket = await this.bucket()
    const wanted = [
      ...this.layers().map((l) => ({ key: layerKey(l), file: join(this.out, l.file) })),
      ...this.functions().map((f) => ({ key: functionKey(f), file: join(this.out, f.file) })),
    ]
    const { sent, bytes, unchanged } = await bucket.upload(wanted)
    this.utils.log.notice(`Layers and functions: ${sent} uploaded (${bytes} bytes), ${unchanged} unchanged`)
    if (!this.wholly || this.cliOptions.force) return
    provider.shouldNotDeploy = (await bucket.deployed()) === digestOf(provider.compiledCloudFormationTemplate)
  }

  private async record(): Promise<void> {
    const { digestOf } = await import('./upload.ts')
    const { provider } = this.serverless.service
    if (provider.shouldNotDeploy || !this.wholly) return
    await (await this.bucket()).record(digestOf(provider.compiledCloudFormationTemplate))
  }
}

const s3 = (p: { bucket: string; prefix: string }): string => `s3://${p.bucket}/${p.prefix}`

function authorizer(auth: 'iam' | 'jwt' | 'none'): object {
  if (auth === 'iam') return { authorizer: { type: 'aws_iam' } }
  return auth === 'jwt' ? { authorizer: { name: 'modelayerJwt' } } : {}
}

function reporter({ log }: Utils): Reporter {
  return {
    step: async (label, work) => {
      const done = await work(() => undefined)
      log.verbose(label)
      return done
    },
    note: (text) => log.verbose(text),
    debug: (text) => log.verbose(text),
    warn: (text) => log.warning(text),
    result: () => undefined,
  }
}

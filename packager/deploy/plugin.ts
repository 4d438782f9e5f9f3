import { join, resolve } from 'node:path'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import type { Reporter } from '../cli/reporter.ts'
import type { DistIndex } from '../layers/dist.ts'
import type { ModelPackage } from '../package/types.ts'
import { authFlags, batchFunction, endpointOf, type FunctionPlace, predictFunction } from './functions.ts'
import { alarmResources, dashboardResource } from './monitoring.ts'
import { type DeployOptions, readOptions } from './options.ts'
import {
  aliasResource,
  batchResources,
  batchStatements,
  dropRedundantDependencies,
  functionCode,
  functionKey,
  keyStatements,
  layerId,
  layerKey,
  layerResources,
  type Resources,
  roleResource,
  throttle,
  wideStatements,
} from './resources.ts'
import { imageMissing, storageStatements, storageUploads, storeFunction } from './storage.ts'
import type { DeploymentBucket } from './upload.ts'

/** What the plugin uses of osls. */
interface Serverless {
  readonly service: {
    readonly service: string
    readonly custom?: { readonly modelayer?: unknown }
    readonly provider: {
      stage?: string
      compiledCloudFormationTemplate?: Template
      httpApi?: object
      apiGateway?: object
      logs?: object
      shouldNotDeploy?: boolean
      readonly versionFunctions?: boolean
    }
    functions: Record<string, unknown>
    readonly resources?: unknown
  }
  readonly serviceDir: string
  readonly configSchemaHandler: { defineCustomProperties(schema: object): void }
  readonly serviceOutputs: ReadonlyMap<string, string | readonly string[]>
  addServiceOutputSection(name: string, content: readonly string[]): void
  getProvider(name: 'aws'): Aws
}
interface Template {
  Resources: Resources
}
interface Aws {
  getStage(): string
  getRegion(): string
  getAwsSdkV3Config(): Promise<S3ClientConfig>
  getServerlessDeploymentBucketName(): Promise<string>
  readonly naming: { getDeploymentBucketLogicalId(): string; getLambdaLogicalId(name: string): string }
}
/** What osls writes on a function. */
interface Compiled {
  readonly targetAlias?: object
  readonly versionLogicalId?: string
}
interface CliOptions {
  readonly force?: boolean
}
interface Utils {
  readonly log: { notice(text: string): void; warning(text: string): void; verbose(text: string): void }
}

/** Where the packager writes, beside the user's serverless.yml. */
const OUT = '.modelayer'

/** What the endpoint calls: a version, so that going back is pointing it elsewhere. */
const LIVE = { name: 'live', logicalId: 'PredictLiveAlias' }

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
  private packages: readonly ModelPackage[] = []

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
      'before:package:function:package': () => this.buildOne(),
      'after:aws:deploy:deploy:checkForChanges': () => this.upload(),
      'after:aws:deploy:deploy:updateStack': () => this.record(),
      'after:aws:info:displayEndpoints': () => this.explain(),
      'before:remove:remove': () => this.emptyBuckets(),
    }
  }

  private get out(): string {
    return join(this.serverless.serviceDir, OUT)
  }

  private get stackName(): string {
    return `${this.serverless.service.service}-${this.aws.getStage()}`
  }

  private readonly functionName = (name: string): string => `${this.stackName}-${name}`

  private addFunctions(): void {
    const { service } = this.serverless
    const { http } = this.options
    const endpoint = http && endpointOf(http, this.stackName)
    const { provider } = service
    if (endpoint?.httpApi) provider.httpApi = { ...provider.httpApi, ...endpoint.httpApi }
    if (endpoint?.apiGateway) provider.apiGateway = { ...provider.apiGateway, ...endpoint.apiGateway }
    if (endpoint?.logs) provider.logs = { ...provider.logs, ...endpoint.logs }
    if (http?.auth === 'none')
      this.utils.log.warning('http.auth is none: everybody who knows the address can call the endpoint.')
    const batch = batchFunction(this.options, this.place('batch'))
    service.functions = {
      ...service.functions,
      predict: predictFunction(this.options, this.place('predict'), endpoint),
      ...(batch && { batch }),
    }
  }

  private place(name: string): FunctionPlace {
    return { name: this.functionName(name), artifact: join(this.out, 'functions', `${name}.zip`) }
  }

  private async build(): Promise<void> {
    const { pack } = await import('../layers/pack.ts')
    const { budgetTable } = await import('../layers/budget.ts')
    const { silenceTelemetry } = await import('../../src/boot.ts')
    silenceTelemetry()
    this.packages = await this.open()
    const { planTable } = await import('../fit/table.ts')
    const { storage, efs, memory, container } = this.options
    const { index, budgets, plan } = await pack(this.packages, {
      out: this.out,
      arch: [this.options.arch],
      image: this.options.image,
      reporter: reporter(this.utils),
      fit: { storage, efs: efs !== undefined, memory },
    })
    this.index = index
    this.utils.log.notice(`\n${budgetTable(budgets)}\n\n${planTable(plan)}`)
    if (index.images && container === undefined) throw imageMissing(this.out, index, this.options.arch)
  }

  /** `deploy function` looks for roles in the service file, where ours are not; the function keeps the one it has. */
  private async buildOne(): Promise<void> {
    for (const f of Object.values(this.serverless.service.functions)) Reflect.deleteProperty(f as object, 'role')
    this.utils.log.warning(
      'This updates what `invoke` calls; the endpoint calls a published version: serverless deploy.',
    )
    await this.build()
    // references tell osls to leave the layers of the function as they are; without any it would take them off
    this.attachLayers()
  }

  private async open(): Promise<ModelPackage[]> {
    const { openAny } = await import('../package/open.ts')
    return Promise.all(
      Object.entries(this.options.models).map(([name, source]) =>
        openAny(source.startsWith('s3://') ? source : resolve(this.serverless.serviceDir, source), { name }),
      ),
    )
  }

  private layers(): DistIndex['layers'] {
    return (this.index?.layers ?? []).filter((l) => (l.arch ?? this.options.arch) === this.options.arch)
  }

  private functions(): DistIndex['functions'] {
    if (this.options.container !== undefined) return []
    return (this.index?.functions ?? []).filter((f) => this.serverless.service.functions[f.name] !== undefined)
  }

  private attachLayers(): void {
    const references = this.layers().map((l) => ({ Ref: layerId(l) }))
    for (const name of ['predict', 'batch']) {
      const f = this.serverless.service.functions[name] as object | undefined
      if (f && references.length > 0) Object.assign(f, { layers: references })
      if (f && this.index)
        storeFunction(
          f,
          this.index,
          this.options,
          this.deploymentBucket,
          name,
          this.serverless.service.custom?.modelayer,
        )
    }
    // events and permissions then go to the alias; with provisioned concurrency osls makes one of its own
    const { functions, provider } = this.serverless.service
    if (provider.versionFunctions !== false && this.options.concurrency.provisioned === undefined)
      Object.assign(functions.predict as object, { targetAlias: LIVE })
  }

  private get deploymentBucket() {
    return { Ref: this.aws.naming.getDeploymentBucketLogicalId() }
  }

  private addResources(): void {
    const template = this.serverless.service.provider.compiledCloudFormationTemplate
    if (!template) return
    const { http, batch, kmsKey } = this.options
    const bucket = this.deploymentBucket
    const stored = this.index ? storageStatements(this.index, this.options, bucket) : []
    const more = [...stored, ...wideStatements(this.options), ...keyStatements(kmsKey)]
    const { functionName } = this
    Object.assign(
      template.Resources,
      layerResources(this.layers(), bucket, this.options, this.stackName),
      { PredictRole: roleResource(functionName('predict'), more) },
      batch && { BatchRole: roleResource(functionName('batch'), [...batchStatements(batch), ...more]) },
      batch && batchResources(batch),
      alarmResources(this.options, functionName),
      dashboardResource(this.options, this.stackName, functionName),
    )
    if (http) throttle(template.Resources, http)
    const { targetAlias, versionLogicalId } = this.serverless.service.functions.predict as Compiled
    if (targetAlias === LIVE && versionLogicalId !== undefined)
      template.Resources[LIVE.logicalId] = aliasResource(
        this.aws.naming.getLambdaLogicalId('predict'),
        versionLogicalId,
        LIVE.name,
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
      ...(this.index ? storageUploads(this.index, this.out) : []),
    ]
    const { sent, bytes, unchanged } = await bucket.upload(wanted)
    this.utils.log.notice(`Layers and functions: ${sent} uploaded (${bytes} bytes), ${unchanged} unchanged`)
    if (!this.wholly || this.cliOptions.force) return
    provider.shouldNotDeploy = (await bucket.deployed()) === digestOf(provider.compiledCloudFormationTemplate)
  }

  /** A line per model that can be pasted, after a deploy and by `serverless info`. */
  private async explain(): Promise<void> {
    const { http } = this.options
    const url = this.address
    if (!http || !url) return
    const { curlLine } = await import('../curl.ts')
    const packages = this.packages.length > 0 ? this.packages : await this.open()
    const flags = authFlags(http, this.aws.getRegion())
    const several = packages.length > 1
    const lines = await Promise.all(packages.map((p) => curlLine(p, url, { several, flags })))
    this.serverless.addServiceOutputSection('models', lines)
  }

  /** osls has read it from the stack and says it in words. */
  private get address(): string | undefined {
    const { serviceOutputs } = this.serverless
    const said = [serviceOutputs.get('endpoints') ?? serviceOutputs.get('endpoint')].flat().join(' ')
    return /https:\/\/[^\s{]+/.exec(said)?.[0].replace(/\/$/, '')
  }

  /** CloudFormation deletes only buckets that are empty; data goes only where the service file says so. */
  private async emptyBuckets(): Promise<void> {
    const { batch } = this.options
    if (batch?.onRemove !== 'delete') return
    const { emptyBucket } = await import('./upload.ts')
    const config = await this.aws.getAwsSdkV3Config()
    for (const bucket of new Set([batch.input.bucket, batch.output.bucket])) await emptyBucket(bucket, config)
  }

  private async record(): Promise<void> {
    const { digestOf } = await import('./upload.ts')
    const { provider } = this.serverless.service
    if (provider.shouldNotDeploy || !this.wholly) return
    await (await this.bucket()).record(digestOf(provider.compiledCloudFormationTemplate))
  }
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

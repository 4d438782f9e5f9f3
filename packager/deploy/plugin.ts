import { join, resolve } from 'node:path'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import type { Reporter } from '../cli/reporter.ts'
import type { DistIndex, FunctionEntry } from '../layers/dist.ts'
import type { ModelPackage } from '../package/types.ts'
import { alarmResources } from './alarms.ts'
import { captureResources, captureStatements } from './capture.ts'
import { dashboardResource } from './dashboard.ts'
import { describe } from './description.ts'
import { authFlags, batchFunction, endpointOf, type FunctionPlace, predictFunction } from './functions.ts'
import { LIVE, RELEASED, type Release, type ReleasedName, releaseResources } from './live.ts'
import { mapResources } from './map.ts'
import { type DeployOptions, readOptions } from './options.ts'
import {
  allowLoop,
  batchResources,
  batchStatements,
  dropRedundantDependencies,
  functionCode,
  functionKey,
  type Json,
  keyStatements,
  layerId,
  layerKey,
  layerResources,
  type Resources,
  roleResource,
  throttle,
  wideStatements,
} from './resources.ts'
import { imageMissing, modelsIn, storageStatements, storageUploads, storeFunction } from './storage.ts'
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
      logRetentionInDays?: number
      shouldNotDeploy?: boolean
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
  readonly Outputs?: Record<string, object>
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
  private golden: FunctionEntry | undefined
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
    // of the gateway's access logs, which are no function's
    provider.logRetentionInDays ??= this.options.logDays
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
    return {
      service: this.stackName,
      name: this.functionName(name),
      artifact: join(this.out, 'functions', `${name}.zip`),
    }
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
    this.golden = this.options.release.golden ? await this.buildGolden() : undefined
    this.utils.log.notice(`\n${budgetTable(budgets)}\n\n${planTable(plan)}`)
    if (index.images && container === undefined) throw imageMissing(this.out, index, this.options.arch)
  }

  private async buildGolden(): Promise<FunctionEntry | undefined> {
    const { buildGolden } = await import('../layers/golden.ts')
    return buildGolden(this.packages, { out: this.out })
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

  /** Ours, as osls keeps them: a service may have a function `batch` of its own. */
  private released(): [name: ReleasedName, f: Compiled & Record<string, unknown>][] {
    const { functions } = this.serverless.service
    return (Object.keys(RELEASED) as ReleasedName[])
      .filter((name) => name === 'predict' || this.options.batch)
      .map((name) => [name, functions[name] as Record<string, unknown>])
  }

  private attachLayers(): void {
    const layers = this.layers()
    const { custom } = this.serverless.service
    for (const [name, f] of this.released()) {
      if (layers.length > 0) f.layers = layers.map((l) => ({ Ref: layerId(l) }))
      const zip = this.functions().find((z) => z.name === name)
      f.description = describe(this.index?.models ?? [], [...(zip ? [zip] : []), ...layers])
      // events and permissions then go to the alias
      f.targetAlias = { name: LIVE, logicalId: RELEASED[name] }
      if (this.index)
        storeFunction(
          f as { memorySize?: number },
          this.index,
          this.options,
          modelsIn(this.deploymentBucket),
          name,
          custom?.modelayer,
        )
    }
  }

  private get deploymentBucket() {
    return { Ref: this.aws.naming.getDeploymentBucketLogicalId() }
  }

  private addResources(): void {
    const template = this.serverless.service.provider.compiledCloudFormationTemplate
    if (!template) return
    const { http, batch, capture, kmsKey } = this.options
    const bucket = this.deploymentBucket
    const stored = this.index ? storageStatements(this.index, this.options, bucket) : []
    const more = [...stored, ...wideStatements(this.options), ...keyStatements(kmsKey)]
    const { functionName } = this
    Object.assign(
      template.Resources,
      layerResources(this.layers(), bucket, this.options, this.stackName),
      { PredictRole: roleResource(functionName('predict'), [...captureStatements(capture), ...more]) },
      batch && { BatchRole: roleResource(functionName('batch'), [...batchStatements(batch), ...more]) },
      batch && batchResources(batch),
      this.mapResources(),
      captureResources(capture),
      alarmResources(this.options, this.stackName, functionName),
      dashboardResource(this.options, this.stackName, functionName),
    )
    if (http) throttle(template.Resources, http)
    if (batch) allowLoop(template.Resources, this.aws.naming.getLambdaLogicalId('batch'))
    releaseResources(template.Resources, this.release(bucket), this.options)
    for (const f of this.functions()) functionCode(template.Resources, this.aws.naming.getLambdaLogicalId(f.name), f)
    dropRedundantDependencies(template.Resources)
  }

  private mapResources(): Resources {
    const { batch, logDays } = this.options
    if (!batch?.map) return {}
    const { Outputs } = this.serverless.service.provider.compiledCloudFormationTemplate!
    const { versionLogicalId } = this.serverless.service.functions.batch as Compiled
    const id = this.aws.naming.getLambdaLogicalId('batch')
    const arn: Json = { 'Fn::GetAtt': [id, 'Arn'] }
    // a reference to a version is its ARN
    const target: Json = versionLogicalId === undefined ? arn : { Ref: versionLogicalId }
    const callable: Json = versionLogicalId === undefined ? arn : { 'Fn::Sub': `\${${id}.Arn}:*` }
    if (Outputs) Outputs.BatchMapArn = { Value: { Ref: 'BatchMap' } }
    const name = this.functionName('batch-map')
    return mapResources({ ...batch, map: batch.map }, { name, target, callable, logDays })
  }

  private release(bucket: Release['bucket']): Release {
    const versions = this.released().flatMap(([name, { versionLogicalId }]) => {
      if (versionLogicalId === undefined) return []
      const functionId = this.aws.naming.getLambdaLogicalId(name)
      const ids = { functionId, versionId: versionLogicalId, aliasId: RELEASED[name] }
      return [[name, { ...ids, functionName: this.functionName(name), alias: LIVE }]]
    })
    const goldenName = this.functionName('golden')
    return { versions: Object.fromEntries(versions), golden: this.golden, goldenName, bucket }
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
      ...[...this.functions(), ...(this.golden ? [this.golden] : [])].map((f) => ({
        key: functionKey(f),
        file: join(this.out, f.file),
      })),
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
    const { batch, capture } = this.options
    const going = [
      ...(batch?.onRemove === 'delete' ? [batch.input.bucket, batch.output.bucket] : []),
      ...(capture?.onRemove === 'delete' ? [capture.bucket] : []),
    ]
    if (going.length === 0) return
    const { emptyBucket } = await import('./upload.ts')
    const config = await this.aws.getAwsSdkV3Config()
    for (const bucket of new Set(going)) await emptyBucket(bucket, config)
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

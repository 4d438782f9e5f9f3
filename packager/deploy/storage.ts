import { join } from 'node:path'
import type { AppError } from '../../src/errors.ts'
import { LIMITS } from '../fit/limits.ts'
import { ROOM_MB } from '../fit/solve.ts'
import type { Arch } from '../layers/definition.ts'
import { type DistIndex, STORES } from '../layers/dist.ts'
import { imageCommands } from '../layers/image.ts'
import { SHARED_AT } from '../sandbox/skeleton.ts'
import { object, text, usage } from './checks.ts'
import type { DeployOptions } from './options.ts'
import type { Json, Statement } from './resources.ts'
import type { Upload } from './upload.ts'

/** A file system that exists, by the access point functions mount. */
export interface Efs {
  readonly fileSystem: string
  readonly accessPoint: string
}

export function readEfs(raw: unknown): Efs | undefined {
  if (raw === undefined) return undefined
  const o = object(raw, 'efs', ['fileSystem', 'accessPoint'])
  const arn = (key: keyof Efs, kind: string) => {
    const found = text(
      o[key],
      `efs.${key}`,
      new RegExp(`^arn:[^:]+:elasticfilesystem:[^:]+:\\d{12}:${kind}/`),
      `the ARN of a ${kind}`,
    )
    if (found !== undefined) return found
    throw usage(`efs.${key}`, `the ARN of a ${kind}`, 'nothing')
  }
  return { fileSystem: arn('fileSystem', 'file-system'), accessPoint: arn('accessPoint', 'access-point') }
}

export function checkStorage({
  storage,
  efs,
  vpc,
  container,
}: Pick<DeployOptions, 'storage' | 'efs' | 'vpc' | 'container'>): void {
  if (storage === 'efs' && !efs)
    throw usage('storage', 'efs: { fileSystem, accessPoint } beside storage: efs', 'no efs')
  if (efs && !vpc) throw usage('efs', 'vpc beside efs: a file system is reached through one', 'no vpc')
  if (container !== undefined && storage !== 'image')
    throw usage('container', 'storage: image beside container', `storage: ${storage}`)
}

const PREFIX = 'modelayer/models/'

/** Below the deployment bucket, as functions are told. */
export const modelsIn = (bucket: Json): Json => ({ 'Fn::Join': ['', ['s3://', bucket, `/${PREFIX}`]] })

interface OslsFunction {
  environment?: object
  memorySize?: number
}

/** Changes what osls makes of a function, to have the models that are in no layer (at `models`) and the memory they need. */
export function storeFunction(
  f: OslsFunction,
  index: DistIndex,
  o: DeployOptions,
  models: Json,
  name: string,
  raw: unknown,
): void {
  const { memory, batch } = raw as { memory?: unknown; batch?: { memory?: unknown } }
  const own = name === 'batch' && batch?.memory !== undefined
  f.memorySize = memoryOf(index, f.memorySize ?? o.memory, own || memory !== undefined, own ? 'batch.memory' : 'memory')
  if (index.fetched.length === 0) return
  const shared = onFileSystem(index)
  Object.assign(f, {
    handler: handlerOf(index, name, o),
    environment: {
      ...f.environment,
      MODELAYER_MODELS: models,
      ...(shared && { MODELAYER_MODELS_ROOT: SHARED_AT }),
    },
    ...(index.plan.tmp > LIMITS.tmp.given && { ephemeralStorageSize: index.plan.tmp }),
    ...(shared && { fileSystemConfig: { arn: o.efs?.accessPoint, localMountPath: SHARED_AT } }),
  })
}

/** `prepared` where a model is fetched, whichever way it answers. */
function handlerOf(index: DistIndex, name: string, { http }: DeployOptions): string | undefined {
  const handler = index.functions.find((i) => i.name === name)?.handler
  return name === 'predict' && http?.stream ? handler?.replace(/\.handler$/, '.streamed') : handler
}

/** A container needs Docker, and what it makes has to be pushed before functions can name it. */
export function imageMissing(out: string, index: DistIndex, arch: Arch): AppError {
  const commands = imageCommands(join(out, index.images?.[arch] ?? ''), arch)
  return usage(
    'container',
    'the URI of the image in ECR, with its digest',
    'nothing',
    `The context is written. With REPOSITORY=ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:\n  ${commands.join('\n  ')}`,
  )
}

const onFileSystem = (index: DistIndex): boolean => index.models.some((m) => m.spot === 'efs')

/**
 * All models of this service, not only today's: a version that still answers, or that `live` is turned back to, fetches its own files
 * by the same role.
 */
export function storageStatements(index: DistIndex, o: DeployOptions, bucket: Json): Statement[] {
  if (index.fetched.length === 0) return []
  const objects = { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':s3:::', bucket, `/${PREFIX}*`]] }
  const read: Statement = { Effect: 'Allow', Action: ['s3:GetObject'], Resource: objects }
  if (!onFileSystem(index) || !o.efs) return [read]
  const mount: Statement = {
    Effect: 'Allow',
    Action: ['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'],
    Resource: o.efs.fileSystem,
    Condition: { StringEquals: { 'elasticfilesystem:AccessPointArn': o.efs.accessPoint } },
  }
  return [read, mount]
}

/** Named by their content: a model that did not change is not uploaded again. */
export const storageUploads = (index: DistIndex, out: string): Upload[] =>
  index.fetched.map(({ sha256 }) => ({ key: `${PREFIX}${sha256}`, file: join(out, STORES, sha256) }))

/** Raised where the service file leaves it open, refused where what it says is too little. */
export function memoryOf(
  index: { readonly plan: Pick<DistIndex['plan'], 'memory'> },
  given: number,
  asked: boolean,
  where: string,
): number {
  const { memory } = index.plan
  if (given >= memory) return given
  if (asked) throw usage(where, `at least ${memory}: the largest model has to fit`, String(given))
  return memory + ROOM_MB
}

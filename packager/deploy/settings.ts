import type { DistIndex } from '../layers/dist.ts'
import { batchFunction, endpointOf, predictFunction } from './functions.ts'
import type { DeployOptions } from './options.ts'
import { storeFunction } from './storage.ts'

/** What a function is deployed with, read from the very entries that osls makes the template of. */
export interface FunctionSettings {
  readonly functionName: string
  readonly handler: string
  readonly memory: number
  readonly timeoutSeconds: number
  /** MB of /tmp */
  readonly tmp: number
  /** it mounts the file system of the models */
  readonly mounts: boolean
  readonly env: Readonly<Record<string, string>>
  readonly reserved?: number
  readonly provisioned?: number
}

export type Settings = { readonly predict: FunctionSettings; readonly batch?: FunctionSettings }

/** What the models that were built ask of functions. */
interface Built {
  readonly index: DistIndex
  /** `custom.modelayer` as it is written */
  readonly raw: unknown
  /** where models are fetched from */
  readonly models: string
}

/** `environment` is the service's own, below that of each function. */
export function settingsOf(
  o: DeployOptions,
  stackName: string,
  built: Built,
  environment: Readonly<Record<string, unknown>> = {},
): Settings {
  const place = (name: string) => ({ name: `${stackName}-${name}`, service: stackName, artifact: '' })
  const predict = predictFunction(o, place('predict'), o.http && endpointOf(o.http, stackName))
  const batch = batchFunction(o, place('batch'))
  for (const [name, f] of Object.entries({ predict, batch }))
    if (f) storeFunction(f, built.index, o, built.models, name, built.raw)
  return {
    // an alias has it, and no function
    predict: { ...read(predict, environment), provisioned: o.concurrency.provisioned },
    ...(batch && { batch: read(batch, environment) }),
  }
}

/** Of an entry below `functions`, as osls documents it. */
interface Entry {
  readonly name: string
  readonly handler?: string
  readonly image?: { readonly command: readonly string[] }
  readonly memorySize: number
  readonly timeout: number
  readonly ephemeralStorageSize?: number
  readonly fileSystemConfig?: object
  readonly environment?: Readonly<Record<string, unknown>>
  readonly reservedConcurrency?: number
}

function read(entry: object, environment: Readonly<Record<string, unknown>>): FunctionSettings {
  const e = entry as Entry
  const env = Object.entries({ ...environment, ...e.environment })
    // what CloudFormation would look up has no value here
    .filter(([, value]) => typeof value !== 'object')
    .map(([name, value]) => [name, String(value)] as const)
  return {
    functionName: e.name,
    handler: e.handler ?? e.image?.command[0] ?? '',
    memory: e.memorySize,
    timeoutSeconds: e.timeout,
    tmp: e.ephemeralStorageSize ?? 512,
    mounts: e.fileSystemConfig !== undefined,
    env: Object.fromEntries(env),
    reserved: e.reservedConcurrency,
  }
}

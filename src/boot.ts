import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { BatchSettings } from './batch/setup.ts'
import type { AppError } from './errors.ts'
import type { FetchSettings } from './fetch/fetch.ts'
import { type App, createApp } from './http/app.ts'
import { parseLabels } from './labels.ts'
import { logged, toAppError, writeLine } from './log.ts'
import { FETCH_FILE } from './manifest.ts'
import { type ModelStore, openStore, type StoreOptions } from './models.ts'
import { threadsFor } from './session.ts'

/** Everything the environment decides. */
export interface Settings {
  /** where layers are unpacked */
  readonly opt: string
  readonly taskRoot: string
  readonly memoryMb: number | undefined
  readonly defaultModel: string | undefined
  /** `mnist/stable=1,mnist/canary=2` */
  readonly labels: string
  /** pages of any origin may read the answers */
  readonly cors: boolean
}

/** The only reader of process.env in the runtime. */
export function readSettings(env: NodeJS.ProcessEnv = process.env): Settings {
  const memoryMb = Number(env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE)
  return {
    opt: env.MODELAYER_OPT || '/opt',
    taskRoot: env.LAMBDA_TASK_ROOT || '/var/task',
    memoryMb: memoryMb > 0 ? memoryMb : undefined,
    defaultModel: env.MODELAYER_DEFAULT_MODEL || undefined,
    labels: env.MODELAYER_LABELS ?? '',
    cors: env.MODELAYER_CORS === '1' || env.MODELAYER_CORS === 'true',
  }
}

/** MODELAYER_MODELS says where the files of models are that are in no layer, MODELAYER_MODELS_ROOT on which shared disk they are kept. */
export function readFetchSettings(env: NodeJS.ProcessEnv = process.env): FetchSettings {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: token } = env
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(env.MODELAYER_MODELS ?? '') ?? []
  const shared = env.MODELAYER_MODELS_ROOT || undefined
  return {
    store:
      bucket === undefined
        ? undefined
        : {
            bucket,
            prefix: prefix === '' ? '' : prefix.replace(/\/*$/, '/'),
            region: env.AWS_REGION || env.AWS_DEFAULT_REGION || 'us-east-1',
            endpoint: env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || undefined,
            credentials:
              accessKeyId && secretAccessKey
                ? { accessKeyId, secretAccessKey, ...(token && { sessionToken: token }) }
                : undefined,
          },
    root: shared ?? '/tmp/modelayer',
    shared: shared !== undefined,
  }
}

/** What the environment says about batches; texts, which batch/setup.ts reads. */
export function readBatchSettings(env: NodeJS.ProcessEnv = process.env): BatchSettings {
  return {
    input: env.MODELAYER_BATCH_INPUT || undefined,
    output: env.MODELAYER_BATCH_OUTPUT || undefined,
    options: env.MODELAYER_BATCH_OPTIONS || undefined,
    endpoint: env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || undefined,
    region: env.AWS_REGION || env.AWS_DEFAULT_REGION || undefined,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME || undefined,
    taskRoot: env.LAMBDA_TASK_ROOT || '/var/task',
  }
}

/** onnxruntime reads this when it is loaded, and with it makes no look-up and writes no file. */
export function silenceTelemetry(): void {
  process.env.ORT_DISABLE_TELEMETRY = '1'
}

/**
 * What Lambda's init phase is for: manifests read, the default model's hooks constructed and its graph loaded. Never rejects:
 * what fails here fails the requests that need it, each with an answer and a line in the log.
 */
export async function boot(settings: Settings = readSettings()): Promise<App> {
  return createApp(await bootStore(settings), { cors: settings.cors })
}

/** The same without the app: for functions that speak no HTTP. */
export async function bootStore(settings: Settings = readSettings()): Promise<ModelStore> {
  silenceTelemetry()
  const { opt, taskRoot, memoryMb, defaultModel, labels } = settings
  const store = openLayers(() => ({
    roots: [opt, taskRoot],
    defaultModel,
    threads: threadsFor(memoryMb),
    labels: parseLabels(labels),
    place: placeOf,
  }))
  const names = new Set(store.models.map((m) => m.manifest.model))
  if (names.size === 1 || defaultModel !== undefined) {
    try {
      const model = store.get()
      await Promise.all([model.session(), model.service()])
    } catch (e) {
      report('The default model cannot be loaded', toAppError(e))
    }
  }
  return store
}

/** A model that is too large for a layer has left a list of its files there. */
async function placeOf(dir: string): Promise<string> {
  if (!existsSync(join(dir, FETCH_FILE))) return dir
  const { fetchModel } = await import('./fetch/fetch.ts')
  const { dir: fetched, bytes, ms } = await fetchModel(dir, readFetchSettings())
  writeLine({ level: 'info', message: 'Model fetched', bytesIn: bytes, ms: { fetch: Math.round(ms) } })
  return fetched
}

/** Layers do not change while the process lives, so a store that cannot be opened stays so. */
function openLayers(options: () => StoreOptions): ModelStore {
  try {
    return openStore(options())
  } catch (e) {
    const error = toAppError(e)
    report('The models cannot be read', error)
    const get = () => {
      throw error
    }
    return { models: [], labels: {}, get }
  }
}

function report(message: string, error: AppError): void {
  writeLine({ level: 'error', message, error: logged(error) })
}

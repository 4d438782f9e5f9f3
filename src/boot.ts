import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { BatchSettings } from './batch/setup.ts'
import { type CaptureOptions, createCapture } from './capture/capture.ts'
import { rounded } from './clock.ts'
import { emfLine } from './emf.ts'
import { AppError } from './errors.ts'
import type { FetchSettings } from './fetch/fetch.ts'
import { type App, createApp } from './http/app.ts'
import { parseLabels } from './labels.ts'
import { createLog, LEVELS, type Log, type LogSettings, logged, toAppError, writeText } from './log.ts'
import { FETCH_FILE } from './manifest.ts'
import { type ModelStore, openStore, type StoreOptions } from './models.ts'
import { type ObserveSettings, observedLog } from './observe.ts'
import { type Session, threadsFor } from './session.ts'

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
    queueEndpoint: env.AWS_ENDPOINT_URL_SQS || env.AWS_ENDPOINT_URL || undefined,
    region: env.AWS_REGION || env.AWS_DEFAULT_REGION || undefined,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME || undefined,
    taskRoot: env.LAMBDA_TASK_ROOT || '/var/task',
  }
}

/** What the environment says about logs, metrics, tracing and capture; the names are those of Powertools where it has one. */
export function readObserveSettings(env: NodeJS.ProcessEnv = process.env): ObserveSettings {
  const functionName = env.AWS_LAMBDA_FUNCTION_NAME || 'modelayer'
  const namespace = env.POWERTOOLS_METRICS_NAMESPACE || undefined
  return {
    service: env.POWERTOOLS_SERVICE_NAME || functionName,
    functionName,
    level: stricter(env.POWERTOOLS_LOG_LEVEL, env.AWS_LAMBDA_LOG_LEVEL),
    namespace: /^(1|true)$/i.test(env.POWERTOOLS_METRICS_DISABLED ?? '') ? undefined : namespace,
    tracing: env.MODELAYER_TRACING === '1',
    capture: env.MODELAYER_CAPTURE || undefined,
    // another one at each invocation
    traceId: () => /Root=([^;]+)/.exec(process.env._X_AMZN_TRACE_ID ?? '')?.[1],
  }
}

const LEVEL_NAMES: Readonly<Record<string, LogSettings['level']>> = {
  trace: 'debug',
  critical: 'error',
  fatal: 'error',
}

/** Lambda drops what is below its own level, so the stricter of the two is what would be seen. */
function stricter(...names: (string | undefined)[]): LogSettings['level'] {
  const ranks = names.map((name) => {
    const level = name?.toLowerCase() ?? ''
    return LEVELS.indexOf(LEVEL_NAMES[level] ?? (level as (typeof LEVELS)[number]))
  })
  const known = ranks.filter((rank) => rank !== -1)
  return known.length > 0 ? LEVELS[Math.max(...known)] : 'info'
}

/** onnxruntime reads this when it is loaded, and with it makes no look-up and writes no file. */
export function silenceTelemetry(): void {
  process.env.ORT_DISABLE_TELEMETRY = '1'
}

/**
 * What Lambda's init phase is for: manifests read, the default model's hooks constructed and its graph loaded. Never rejects:
 * what fails here fails the requests that need it, each with an answer and a line in the log.
 */
export async function boot(settings: Settings = readSettings(), observe = readObserveSettings()): Promise<App> {
  const log = observedLog(observe, (groups, namespace) => writeText(emfLine(groups, namespace)))
  const store = await bootStore(settings, log)
  const trace = observe.tracing ? (await import('./xray.ts')).openTrace(observe.service) : undefined
  const capture = captureOf(observe, log)
  const start = { boot: rounded(process.uptime() * 1000), ...store.loaded }
  return createApp(store, {
    cors: settings.cors,
    log: (line) => log(line.cold ? { ...line, start } : line),
    ...(trace && { trace }),
    ...(capture && { capture }),
  })
}

/** The same without the app: for functions that speak no HTTP. */
export async function bootStore(
  settings: Settings = readSettings(),
  log: Log = createLog(readObserveSettings()),
): Promise<ModelStore & { readonly loaded?: Session['ms'] }> {
  silenceTelemetry()
  const { opt, taskRoot, memoryMb, defaultModel, labels } = settings
  const options = () => ({
    roots: [opt, taskRoot],
    defaultModel,
    threads: threadsFor(memoryMb),
    labels: parseLabels(labels),
    place: (dir: string) => placeOf(dir, log),
  })
  const store = openLayers(options, log)
  const names = new Set(store.models.map((m) => m.manifest.model))
  if (names.size !== 1 && defaultModel === undefined) return store
  try {
    const model = store.get()
    const [session] = await Promise.all([model.session(), model.service()])
    return { ...store, loaded: session.ms }
  } catch (e) {
    report(log, 'The default model cannot be loaded', toAppError(e))
    return store
  }
}

const CAPTURE_KEYS = [
  'bucket',
  'prefix',
  'percent',
  'redact',
  'bodies',
  'files',
] as const satisfies (keyof CaptureOptions)[]

/** What is wrong with it costs the records and not the answers. */
function captureOf({ capture }: ObserveSettings, log: Log) {
  if (capture === undefined) return undefined
  const { region, endpoint } = readBatchSettings()
  const fail = (got: string, cause?: unknown): undefined => {
    const expected = `JSON with ${CAPTURE_KEYS.join(', ')}`
    report(log, 'Nothing is captured', new AppError('USAGE', { where: 'MODELAYER_CAPTURE', expected, got, cause }))
  }
  try {
    const options: CaptureOptions = JSON.parse(capture)
    const missing = CAPTURE_KEYS.find((key) => options[key] === undefined)
    return missing === undefined ? createCapture(options, { region, endpoint }, log) : fail(`one without ${missing}`)
  } catch (cause) {
    return fail('another text', cause)
  }
}

/** A model that is too large for a layer has left a list of its files there. */
async function placeOf(dir: string, log: Log): Promise<string> {
  if (!existsSync(join(dir, FETCH_FILE))) return dir
  const { fetchModel } = await import('./fetch/fetch.ts')
  const { dir: fetched, bytes, ms } = await fetchModel(dir, readFetchSettings())
  log({ level: 'info', message: 'Model fetched', bytesIn: bytes, ms: { fetch: Math.round(ms) } })
  return fetched
}

/** Layers do not change while the process lives, so a store that cannot be opened stays so. */
function openLayers(options: () => StoreOptions, log: Log): ModelStore {
  try {
    return openStore(options())
  } catch (e) {
    const error = toAppError(e)
    report(log, 'The models cannot be read', error)
    const get = () => {
      throw error
    }
    return { models: [], labels: {}, get }
  }
}

function report(log: Log, message: string, error: AppError): void {
  log({ level: 'error', message, error: logged(error) })
}

import { type App, createApp } from './http/app.ts'
import { logged, toAppError, writeLine } from './log.ts'
import { openStore } from './models.ts'
import { threadsFor } from './session.ts'

/** Everything the environment decides. */
export interface Settings {
  /** where layers are unpacked */
  readonly opt: string
  readonly taskRoot: string
  readonly memoryMb: number | undefined
  readonly defaultModel: string | undefined
}

/** The only reader of process.env in the runtime. */
export function readSettings(env: NodeJS.ProcessEnv = process.env): Settings {
  const memoryMb = Number(env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE)
  return {
    opt: env.MODELAYER_OPT || '/opt',
    taskRoot: env.LAMBDA_TASK_ROOT || '/var/task',
    memoryMb: memoryMb > 0 ? memoryMb : undefined,
    defaultModel: env.MODELAYER_DEFAULT_MODEL || undefined,
  }
}

/** onnxruntime reads this when it is loaded, and with it makes no look-up and writes no file. */
export function silenceTelemetry(): void {
  process.env.ORT_DISABLE_TELEMETRY = '1'
}

/**
 * What Lambda's init phase is for: manifests read, the default model's hooks constructed and its graph loaded. A model that
 * fails here fails its requests too, each with an answer and another attempt, and does not take the others with it.
 */
export async function boot(settings: Settings = readSettings()): Promise<App> {
  silenceTelemetry()
  const { opt, taskRoot, memoryMb, defaultModel } = settings
  const store = openStore({ roots: [opt, taskRoot], defaultModel, threads: threadsFor(memoryMb) })
  const names = new Set(store.models.map((m) => m.manifest.model))
  if (names.size === 1 || defaultModel !== undefined) {
    try {
      const model = store.get()
      await Promise.all([model.session(), model.service()])
    } catch (e) {
      writeLine({ level: 'error', message: 'The default model cannot be loaded', error: logged(toAppError(e)) })
    }
  }
  return createApp(store)
}

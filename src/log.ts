import { writeSync } from 'node:fs'
import { AppError, isAppError } from './errors.ts'
import { trimStack } from './stack.ts'

/** One line per request, or per object of a batch. Names, sizes and times; never a tensor's values, a payload or a secret. */
export interface LogLine {
  readonly level: Level
  readonly message: string
  /** what the caller knows the request by */
  readonly requestId?: string
  /** what Lambda knows the invocation by */
  readonly functionRequestId?: string
  readonly protocol?: string
  readonly route?: string
  readonly model?: string
  readonly version?: string
  readonly status?: number
  readonly cold?: boolean
  readonly ms?: Readonly<Record<string, number>>
  readonly bytesIn?: number
  readonly bytesOut?: number
  readonly error?: LoggedError
  /** beside `cold`: milliseconds of the init phase */
  readonly start?: StartTimes
  readonly batch?: {
    readonly object: string
    readonly status: 'DONE' | 'FAILED' | 'SKIPPED' | 'PAUSED' | 'BUSY' | 'ERROR'
    readonly answered?: number
    readonly failed?: number
  }
  /** whether a request that `capture` sampled was written */
  readonly captured?: boolean
}

/** From the start of Node until the function was ready, and what two steps of it took. */
export interface StartTimes {
  readonly boot: number
  readonly runtime?: number
  readonly session?: number
}

export interface LoggedError {
  readonly code: string
  readonly message: string
  readonly stack?: readonly string[]
  readonly cause?: { readonly name: string; readonly message: string }
}

export type Log = (line: LogLine) => void

export const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type Level = Exclude<(typeof LEVELS)[number], 'debug' | 'silent'>

export interface LogSettings {
  readonly service?: string
  readonly functionName?: string
  /** the least that is written */
  readonly level?: (typeof LEVELS)[number]
  readonly traceId?: () => string | undefined
}

/** Fields that Powertools' logger has too bear its names, so that one query finds the lines of all functions of an account. */
export function createLog({ service, functionName, level = 'info', traceId }: LogSettings = {}): Log {
  return ({ level: own, message, functionRequestId, cold, ...rest }) => {
    if (LEVELS.indexOf(own) < LEVELS.indexOf(level)) return
    const line = {
      level: own.toUpperCase(),
      message,
      timestamp: new Date().toISOString(),
      service,
      function_name: functionName,
      function_request_id: functionRequestId,
      cold_start: cold,
      xray_trace_id: traceId?.(),
      ...rest,
    }
    writeText(JSON.stringify(line))
  }
}

export const writeLine = createLog()

export function writeText(line: string): void {
  write(Buffer.from(`${line}\n`))
}

/** Making `process.stdout` of a pipe costs 2 to 4 ms of a cold start, so it is only for what the descriptor does not take at once. */
function write(bytes: Uint8Array): void {
  let at = 0
  try {
    while (at < bytes.length) at += writeSync(1, bytes, at)
  } catch {
    process.stdout.write(bytes.subarray(at))
  }
}

/** Anything thrown, as one of our errors. */
export function toAppError(e: unknown): AppError {
  return isAppError(e) ? e : new AppError('INTERNAL', { cause: e })
}

export function logged(error: AppError): LoggedError {
  const { cause, data } = error.details
  const hooks = typeof data?.hooks === 'string' ? data.hooks : undefined
  if (cause === undefined) return { code: error.code, message: error.message }
  return {
    code: error.code,
    message: error.message,
    stack: trimStack(cause, hooks),
    cause:
      cause instanceof Error
        ? { name: cause.name, message: harmless(cause.message) }
        : { name: typeof cause, message: '' },
  }
}

/** onnxruntime quotes the index that was out of range, which is a value of a tensor; hooks may quote anything at any length. */
function harmless(message: string): string {
  return message.replace(/\bidx=-?\d+/g, 'idx=?').slice(0, 1000)
}

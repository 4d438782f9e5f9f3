import { writeSync } from 'node:fs'
import { AppError, isAppError } from './errors.ts'
import { trimStack } from './stack.ts'

/** One line per request. Names, sizes and times; never a tensor's values, a payload or a secret. */
export interface LogLine {
  readonly level: 'info' | 'warn' | 'error'
  readonly message: string
  readonly requestId?: string
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
}

export interface LoggedError {
  readonly code: string
  readonly message: string
  readonly stack?: readonly string[]
  readonly cause?: { readonly name: string; readonly message: string }
}

export type Log = (line: LogLine) => void

export const writeLine: Log = (line) => {
  write(Buffer.from(`${JSON.stringify({ time: new Date().toISOString(), ...line })}\n`))
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

import type { InvokeResult } from './sandbox.ts'

export interface Invoked extends InvokeResult {
  /** which environment answered, counted from 1; absent where none was free */
  readonly environment?: number
  /** of the init phase, where this invocation is the first of its environment */
  readonly initMs?: number
}

/** Lambda's own line, and which environment it was. Init time is billed as well. */
export function reportLine(r: Invoked, memory: number): string {
  const billed = Math.ceil(r.ms + (r.initMs ?? 0))
  const used = r.maxMemoryMB ?? (r.error?.errorType === 'Runtime.OutOfMemory' ? memory : undefined)
  return [
    `REPORT RequestId: ${r.requestId}`,
    `Duration: ${r.ms.toFixed(2)} ms`,
    `Billed Duration: ${billed} ms`,
    `Memory Size: ${memory} MB`,
    ...(used === undefined ? [] : [`Max Memory Used: ${used} MB`]),
    ...(r.initMs === undefined ? [] : [`Init Duration: ${r.initMs.toFixed(2)} ms`]),
    ...(r.error ? [`Status: ${r.error.errorType === 'Sandbox.Timedout' ? 'timeout' : 'error'}`] : []),
    ...(r.error && r.error.errorType !== 'Sandbox.Timedout' ? [`Error Type: ${r.error.errorType}`] : []),
    `Environment: ${r.environment} ${r.initMs !== undefined ? 'cold' : r.restarted ? 'restarted' : 'warm'}`,
  ].join('\t')
}

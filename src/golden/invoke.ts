import { setTimeout as sleep } from 'node:timers/promises'
import type { Invoke } from './run.ts'

export interface InvokeOptions {
  /** how long a version may be not ready, or a permission not known everywhere */
  readonly patienceMs?: number
  readonly pauseMs?: number
  /** absent: the environment's */
  readonly region?: string
}

/** What passes by itself in the first minute of a role and of a version. */
const PASSING = ['AccessDeniedException', 'ResourceConflictException', 'ResourceNotReadyException']

/** Calls one published version, as API Gateway would call the alias. */
export function invokeVersion(
  FunctionName: string,
  { patienceMs = 60_000, pauseMs = 2000, region }: InvokeOptions = {},
): Invoke {
  const start = Date.now()
  return async (event, abortSignal) => {
    const { InvokeCommand, LambdaClient } = await import('@aws-sdk/client-lambda')
    // throttled where the concurrency is reserved and in use
    const client = new LambdaClient({ maxAttempts: 8, ...(region !== undefined && { region }) })
    const Payload = Buffer.from(JSON.stringify(event))
    for (;;) {
      try {
        const answer = await client.send(new InvokeCommand({ FunctionName, Payload }), { abortSignal })
        const payload = answer.Payload ?? new Uint8Array()
        return answer.FunctionError === undefined ? { payload } : { payload, failed: errorType(payload) }
      } catch (e) {
        const late = Date.now() - start > patienceMs
        if (late || abortSignal.aborted || !PASSING.includes((e as Error).name)) throw e
        await sleep(pauseMs)
      }
    }
  }
}

/** Its message may quote anything. */
function errorType(payload: Uint8Array): string {
  try {
    return String((JSON.parse(Buffer.from(payload).toString()) as { errorType?: string }).errorType ?? 'an error')
  } catch {
    return 'an error'
  }
}

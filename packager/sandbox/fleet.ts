import { randomUUID } from 'node:crypto'
import { AppError } from '../../src/errors.ts'
import { type Invoked, reportLine } from './report.ts'
import { Sandbox, type SandboxOptions } from './sandbox.ts'

export interface FleetOptions {
  /** how each environment is booted */
  readonly boot: SandboxOptions
  /** environments at a time, which is requests at a time: reserved concurrency */
  readonly concurrency: number
  /** how long one that nobody needs is kept */
  readonly idleMs?: number
  /** a line per invocation, and one per environment that comes or goes */
  readonly onLine?: (line: string) => void
}

export interface Fleet {
  /** In an environment that is free, in a new one, or refused as Lambda refuses it. */
  invoke(event: unknown): Promise<Invoked>
  /** Starts environments before anybody asks: provisioned concurrency. */
  warm(count: number): Promise<void>
  /** how many there are */
  readonly size: number
  /** what this machine does not limit as Lambda does; known once an environment has started */
  readonly limits: readonly string[]
  close(): Promise<void>
}

interface Environment {
  readonly number: number
  readonly sandbox: Sandbox
  /** its init was not reported with an invocation yet */
  fresh: boolean
  idle?: NodeJS.Timeout
}

/** The execution environments of one function: as many as there are requests at a time, each cold at first. */
export function createFleet({ boot, concurrency, idleMs = 5 * 60_000, onLine = () => undefined }: FleetOptions): Fleet {
  /** the one used last is at the end, and is taken first: the others grow idle */
  const free: Environment[] = []
  const all = new Set<Environment>()
  const starting = new Set<Promise<Environment>>()
  let limits: readonly string[] = []
  let count = 0
  let closed = false

  async function end(e: Environment, why: string): Promise<void> {
    clearTimeout(e.idle)
    all.delete(e)
    const at = free.indexOf(e)
    if (at >= 0) free.splice(at, 1)
    onLine(`Environment ${e.number} of ${boot.functionName ?? 'the function'} ended: ${why}`)
    await e.sandbox.close()
  }

  async function boots(): Promise<Environment> {
    const number = ++count
    const sandbox = await Sandbox.start(boot)
    limits = sandbox.limits
    if (sandbox.init.error) onLine(`INIT_REPORT Status: error\tError Type: ${sandbox.init.error.errorType}`)
    const e: Environment = { number, sandbox, fresh: sandbox.init.error === undefined }
    all.add(e)
    return e
  }

  async function start(): Promise<Environment> {
    const booting = boots()
    starting.add(booting)
    try {
      return await booting
    } finally {
      starting.delete(booting)
    }
  }

  function release(e: Environment): void {
    if (closed) return
    free.push(e)
    e.idle = setTimeout(() => void end(e, `idle for ${Math.round(idleMs / 1000)} s`), idleMs)
    e.idle.unref()
  }

  return {
    async invoke(event) {
      if (closed) throw new AppError('SANDBOX_FAILED', { got: 'a request after the end' })
      const taken = free.pop()
      clearTimeout(taken?.idle)
      if (!taken && all.size + starting.size >= concurrency) {
        const requestId = randomUUID()
        onLine(`THROTTLED RequestId: ${requestId}\t${concurrency} environments are in use, and no more may be`)
        return { requestId, ms: 0, log: '', restarted: false, error: THROTTLED }
      }
      const e = taken ?? (await start())
      const initMs = e.fresh ? e.sandbox.init.ms : undefined
      e.fresh = false
      try {
        const result: Invoked = { ...(await e.sandbox.invoke(event)), environment: e.number, initMs }
        onLine(reportLine(result, boot.memory ?? 1769))
        if (result.error) onLine(`ERROR RequestId: ${result.requestId}\t${result.error.errorMessage}`)
        return result
      } finally {
        release(e)
      }
    },
    async warm(n) {
      await Promise.all(Array.from({ length: Math.min(n, concurrency) }, async () => release(await start())))
    },
    get size() {
      return all.size
    },
    get limits() {
      return limits
    },
    async close() {
      closed = true
      await Promise.allSettled(starting)
      for (const e of all) clearTimeout(e.idle)
      await Promise.all([...all].map((e) => e.sandbox.close()))
      all.clear()
    },
  }
}

const THROTTLED = { errorType: 'TooManyRequestsException', errorMessage: 'Rate Exceeded.' }

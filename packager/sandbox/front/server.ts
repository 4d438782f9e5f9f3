import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { HttpOptions } from '../../deploy/options.ts'
import type { FunctionError } from '../runtimeapi.ts'
import type { InvokeResult } from '../sandbox.ts'
import { type Arrival, arrive, headerBytes, type Reply } from './arrival.ts'
import type { Context } from './context.ts'
import { preflight, withCors } from './cors.ts'
import { type Gate, open, type Verdict } from './gate.ts'
import { KINDS, type Kind, type Refusal, say } from './kinds.ts'
import { streamedReply } from './v2.ts'

export interface FrontOptions {
  readonly api: HttpOptions['api']
  readonly invoke: (event: unknown) => Promise<Pick<InvokeResult, 'response' | 'error' | 'payload'>>
  readonly gate?: Gate
  /** asked of each request that came through the gate */
  readonly throttle?: () => Refusal | undefined
  readonly cors?: boolean
  readonly stage?: string
  readonly region?: string
  readonly accountId?: string
  readonly binaryMediaTypes?: readonly string[]
  /** instead of those of the kind */
  readonly limits?: Pick<Partial<Kind>, 'body' | 'headers' | 'patience'>
  readonly port?: number
  readonly host?: string
  /** what the client is not told */
  readonly log?: (line: string) => void
}

export interface Front {
  /** where clients begin; a REST API's ends in its stage */
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

/** An API Gateway or a function URL on a port of this machine, before whatever `invoke` calls. */
export async function startFront(o: FrontOptions): Promise<Front> {
  const kind: Kind = { ...KINDS[o.api], ...o.limits }
  const { gate = open, throttle = () => undefined, host = '127.0.0.1' } = o
  const stage = o.stage ?? 'dev'
  const known = {
    stage,
    region: o.region ?? 'us-east-1',
    accountId: o.accountId ?? '123456789012',
    binaryMediaTypes: o.binaryMediaTypes ?? ['*/*'],
  }

  async function answer(a: Arrival): Promise<Reply> {
    const verdict = await admit(a)
    if (verdict.refused !== undefined) return say(kind, verdict.refused, verdict.headers)
    const context: Context = { ...known, identity: verdict.identity }
    const result = await patient(o.invoke(kind.event(a, context)), kind.patience)
    if (result === undefined) return say(kind, 'timeout')
    if (result.error) return say(kind, refusalOf(result.error))
    const reply = streamedReply(result.payload) ?? kind.reply(result.response, a, context)
    if (reply) return reply
    o.log?.(`${a.method} ${a.path}: the function's result is not one that this front understands`)
    return say(kind, 'failed')
  }

  async function admit(a: Arrival): Promise<Verdict> {
    if (kind.headers !== undefined && headerBytes(a) > kind.headers) return { refused: 'headers' }
    if (o.api === 'rest' && a.path !== `/${stage}` && !a.path.startsWith(`/${stage}/`)) return { refused: 'forbidden' }
    const verdict = await gate(a)
    if (verdict.refused !== undefined) return verdict
    const refused = throttle()
    return refused ? { refused } : verdict
  }

  const server = createServer(async (message, out) => {
    const a = await arrive(message, kind.body)
    if (!a) return
    try {
      const asked = o.cors ? preflight(a, o.api) : undefined
      const reply = asked ?? (a.whole ? await answer(a) : say(kind, 'tooLarge'))
      send(out, asked || !o.cors ? reply : withCors(reply, a, o.api), kind.stamp(a))
    } catch (e) {
      o.log?.(`${a.method} ${a.path}: ${e instanceof Error ? e.message : e}`)
      send(out, say(kind, 'failed'), kind.stamp(a))
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(o.port ?? 0, host, resolve)
  })
  const { port } = server.address() as AddressInfo
  const name = host === '127.0.0.1' || host === '0.0.0.0' ? 'localhost' : host
  return {
    url: `http://${name}:${port}${o.api === 'rest' ? `/${stage}` : ''}`,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  RequestEntityTooLargeException: 'payload',
  TooManyRequestsException: 'busy',
}

const refusalOf = (e: FunctionError): Refusal => REFUSALS[e.errorType] ?? 'failed'

/** Undefined after the time is up; the function goes on, and its environment with it, as in AWS. */
async function patient<T>(work: Promise<T>, ms: number | undefined): Promise<T | undefined> {
  if (ms === undefined) return work
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined)
  })
  // whoever waits no longer does not want to hear of its failure either
  work.catch(() => undefined)
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

function send(out: ServerResponse, { status, headers, body }: Reply, stamp: Reply['headers']): void {
  for (const [name, value] of [...stamp, ...headers]) out.appendHeader(name, value)
  out.statusCode = status
  if (status !== 204) out.setHeader('content-length', Buffer.byteLength(body))
  out.end(status === 204 ? undefined : body)
}

import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { AppError } from '../errors.ts'
import type { HttpRequest, HttpResponse } from '../types.ts'
import type { App } from './app.ts'

export interface ListenOptions {
  /** 0 takes any free one */
  readonly port: number
  readonly host?: string
  /** bytes of a request body; as in Lambda by default, so that what works here works there */
  readonly bodyLimit?: number
  readonly deadlineMs?: number
  readonly onListening?: (url: string) => void
}

export interface Listening {
  readonly url: string
  readonly port: number
  /** answers what has begun, then ends */
  close(): Promise<void>
}

export const DEFAULT_BODY_LIMIT = 6 * 2 ** 20
export const DEFAULT_DEADLINE_MS = 30_000

/** The same app on a port. */
export async function listen(app: App, options: ListenOptions): Promise<Listening> {
  const { port, host = '127.0.0.1', bodyLimit = DEFAULT_BODY_LIMIT, deadlineMs = DEFAULT_DEADLINE_MS } = options
  const server = createServer(async (message, out) => {
    const head = headOf(message, deadlineMs)
    const body = await readBody(message, bodyLimit)
    // gone before the end: nobody is left to answer
    if (body === undefined) return
    const response = body instanceof AppError ? app.refuse(head, body) : await app.handle({ ...head, body })
    out.writeHead(response.status, { ...response.headers, 'content-length': lengthOf(response) })
    out.end(response.body)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const listening = describe(server, host)
  options.onListening?.(listening.url)
  return listening
}

function describe(server: Server, host: string): Listening {
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const name = host === '0.0.0.0' || host === '::' || host === '127.0.0.1' ? 'localhost' : host
  return {
    url: `http://${name.includes(':') ? `[${name}]` : name}:${port}`,
    port,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error ? reject(error) : resolve()))
        server.closeIdleConnections()
      }),
  }
}

function headOf(message: IncomingMessage, deadlineMs: number): HttpRequest {
  const [path = '/', query = ''] = (message.url ?? '/').split(/\?(.*)/s, 2)
  const headers: Record<string, string> = Object.create(null)
  for (const [name, value] of Object.entries(message.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value
  }
  const given = headers['x-request-id'] ?? ''
  return {
    method: message.method ?? 'GET',
    path,
    query,
    headers,
    body: new Uint8Array(),
    // what clients send goes to the log and back, so only what cannot break either
    requestId: /^[\w.:=-]{1,128}$/.test(given) ? given : randomUUID(),
    deadline: Date.now() + deadlineMs,
  }
}

/**
 * undefined: the client went away. What is too much is read to its end but not kept: a client that is still sending
 * would see a reset connection instead of the answer.
 */
function readBody(message: IncomingMessage, limit: number): Promise<Uint8Array | AppError | undefined> {
  return new Promise((resolve) => {
    let chunks: Buffer[] = []
    let size = 0
    message.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > limit) chunks = []
      else chunks.push(chunk)
    })
    message.once('end', () => {
      const tooLarge = new AppError('BODY_TOO_LARGE', { expected: `at most ${limit} bytes`, got: `${size}` })
      resolve(size > limit ? tooLarge : Buffer.concat(chunks))
    })
    message.once('close', () => resolve(undefined))
    message.once('error', () => resolve(undefined))
  })
}

function lengthOf({ body }: HttpResponse): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
}

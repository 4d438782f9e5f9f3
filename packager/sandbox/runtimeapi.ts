import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Synchronous invocations carry 6 MB each way; a streamed answer 200 MB. */
export const PAYLOAD = { request: 6_291_456, response: 6_291_556, stream: 200 * 1024 * 1024 } as const

export interface Invocation {
  readonly requestId: string
  readonly payload: string
  /** milliseconds since the epoch */
  readonly deadline: number
}

export interface FunctionError {
  readonly errorType: string
  readonly errorMessage: string
  readonly trace?: readonly string[]
}

export interface Answer {
  readonly payload?: Buffer
  readonly contentType?: string
  readonly error?: FunctionError
  /** the most that the process has held so far */
  readonly maxMemoryMB?: number
  /** the process is gone or must go */
  readonly lost?: boolean
}

/** What one execution environment tells; a new environment takes the place of the one before. */
export interface Listener {
  /** it asks for work: initialised, or done with the invocation before */
  next(): void
  initError(error: FunctionError): void
  answer(requestId: string, answer: Answer): void
}

export interface RuntimeApi {
  /** host:port, as AWS_LAMBDA_RUNTIME_API has it */
  readonly address: string
  listen(listener: Listener): void
  offer(invocation: Invocation): void
  close(): Promise<void>
}

type Handler = (request: IncomingMessage, response: ServerResponse, id: string) => void | Promise<void>

/** The Lambda Runtime API, version 2018-06-01: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html */
export async function startRuntimeApi(functionName: string, traced = false): Promise<RuntimeApi> {
  let listener: Listener | undefined
  let waiting: ServerResponse | undefined
  let offered: Invocation | undefined

  const hex = (digits: number) => randomUUID().replaceAll('-', '').slice(0, digits)
  const traceId = () =>
    `Root=1-${Math.floor(Date.now() / 1000).toString(16)}-${hex(24)};Parent=${hex(16)};Sampled=${traced ? 1 : 0}`

  const hand = () => {
    if (!waiting || !offered) return
    waiting.writeHead(200, {
      'Content-Type': 'application/json',
      'Lambda-Runtime-Aws-Request-Id': offered.requestId,
      'Lambda-Runtime-Deadline-Ms': String(offered.deadline),
      'Lambda-Runtime-Invoked-Function-Arn': `arn:aws:lambda:us-east-1:000000000000:function:${functionName}`,
      'Lambda-Runtime-Trace-Id': traceId(),
    })
    waiting.end(offered.payload)
    waiting = undefined
    offered = undefined
  }

  const routes: readonly [method: string, path: RegExp, handler: Handler][] = [
    [
      'GET',
      /^\/invocation\/next$/,
      (_, response) => {
        waiting = response
        response.on('close', () => {
          if (waiting === response) waiting = undefined
        })
        listener?.next()
        hand()
      },
    ],
    [
      'POST',
      /^\/invocation\/([^/]+)\/response$/,
      async (request, response, id) => {
        const streamed = request.headers['lambda-runtime-function-response-mode'] === 'streaming'
        const { body, size } = await read(request, streamed ? PAYLOAD.stream : PAYLOAD.response)
        if (body) {
          listener?.answer(id, { payload: body, contentType: request.headers['content-type'], ...used(request) })
          accepted(response)
        } else {
          const error = {
            errorType: 'Function.ResponseSizeTooLarge',
            errorMessage: `Response payload size (${size} bytes) exceeded maximum allowed payload size (${PAYLOAD.response} bytes).`,
          }
          listener?.answer(id, { error, ...used(request) })
          refused(response, 413, error)
        }
      },
    ],
    [
      'POST',
      /^\/invocation\/([^/]+)\/error$/,
      async (request, response, id) => {
        listener?.answer(id, { error: await errorOf(request), ...used(request) })
        accepted(response)
      },
    ],
    [
      'POST',
      /^\/init\/error$/,
      async (request, response) => {
        listener?.initError(await errorOf(request))
        accepted(response)
      },
    ],
  ]

  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/^\/2018-06-01\/runtime/, '')
    for (const [method, pattern, handler] of routes) {
      const match = request.method === method && pattern.exec(path)
      if (!match) continue
      // a box that is killed in the middle of a request breaks it off; its exit is what gets reported
      Promise.resolve(handler(request, response, match[1] ?? '')).catch(() => response.destroy())
      return
    }
    refused(response, 404, { errorType: 'InvalidRoute', errorMessage: `${request.method} ${request.url}` })
  })
  // the box waits on `next` for as long as nobody calls
  server.requestTimeout = 0
  server.keepAliveTimeout = 0
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    listen: (l) => {
      listener = l
      offered = undefined
    },
    offer: (i) => {
      offered = i
      hand()
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** The body, or only its size once it is over the limit: all of it is read, so that the client gets the answer. */
async function read(request: IncomingMessage, limit: number): Promise<{ body?: Buffer; size: number }> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= limit) chunks.push(chunk)
  }
  return size <= limit ? { body: Buffer.concat(chunks), size } : { size }
}

function used({ headers }: IncomingMessage): Pick<Answer, 'maxMemoryMB'> {
  const kb = Number(headers['sandbox-max-memory-kb'])
  return kb > 0 ? { maxMemoryMB: Math.ceil(kb / 1024) } : {}
}

async function errorOf(request: IncomingMessage): Promise<FunctionError> {
  const { body } = await read(request, PAYLOAD.response)
  const type = request.headers['lambda-runtime-function-error-type']
  try {
    return JSON.parse((body ?? '').toString()) as FunctionError
  } catch (e) {
    return { errorType: String(type ?? 'Runtime.Unknown'), errorMessage: `The error report is not JSON: ${e}` }
  }
}

function accepted(response: ServerResponse) {
  response.writeHead(202, { 'Content-Type': 'application/json' }).end('{"status":"OK"}')
}

function refused(response: ServerResponse, status: number, error: FunctionError) {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(error))
}

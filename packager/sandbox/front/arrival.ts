import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** A request as it came, whole: nothing decoded, joined or lower-cased, because each kind of front does that in its own way. */
export interface Arrival {
  readonly id: string
  readonly method: string
  /** with its percent signs, and with the stage */
  readonly path: string
  /** without the question mark */
  readonly query: string
  /** in the order and the spelling of the client */
  readonly headers: readonly Pair[]
  readonly body: Buffer
  readonly sourceIp: string
  /** milliseconds since the epoch */
  readonly at: number
}

export type Pair = readonly [name: string, value: string]

/** What goes back to the client. */
export interface Reply {
  readonly status: number
  readonly headers: readonly Pair[]
  readonly body: string | Uint8Array
}

/** The last value, as a front sees it that keeps one; names are compared without regard to case. */
export function headerOf(a: Pick<Arrival, 'headers'>, name: string): string | undefined {
  return a.headers.findLast(([n]) => n.toLowerCase() === name)?.[1]
}

/** The length of what the limit on headers counts: the request line and every header. */
export function headerBytes(a: Arrival): number {
  const line = a.method.length + a.path.length + a.query.length
  return a.headers.reduce((n, [name, value]) => n + name.length + value.length, line)
}

/**
 * `whole` is false where the body was longer than the limit. All of it is read then as well, though not kept: a client that is
 * still sending would see a reset connection instead of the answer. Undefined: the client went away.
 */
export async function arrive(
  message: IncomingMessage,
  limit: number,
): Promise<(Arrival & { readonly whole: boolean }) | undefined> {
  const [path = '/', query = ''] = (message.url ?? '/').split(/\?(.*)/s, 2)
  const raw = message.rawHeaders
  const headers = Array.from({ length: raw.length / 2 }, (_, i): Pair => [raw[2 * i]!, raw[2 * i + 1]!])
  const at = Date.now()
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of message as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size <= limit) chunks.push(chunk)
    }
  } catch {
    return undefined
  }
  return {
    id: randomUUID(),
    method: message.method ?? 'GET',
    path,
    query,
    headers,
    body: size <= limit ? Buffer.concat(chunks) : Buffer.alloc(0),
    whole: size <= limit,
    sourceIp: message.socket.remoteAddress?.replace('::ffff:', '') ?? '127.0.0.1',
    at,
  }
}

import type { Writable } from 'node:stream'
import type { App } from './app.ts'
import { LIMITS } from './events.ts'
import { type Invoke, respond, tooLarge } from './lambda.ts'
import type { Prelude } from './prelude.ts'

/** As {@link answer}, for endpoints that stream: the body goes out as its bytes, and may be larger. */
export async function stream(app: App, event: unknown, open: (prelude: Prelude) => Writable, invoke: Invoke) {
  const { front, req, response } = await respond(app, event, invoke)
  const size = Buffer.byteLength(response.body)
  const { status, headers, body } =
    size <= LIMITS.streamed ? response : app.refuse(req, tooLarge(front, size, 'streamed'))
  const to = open({ statusCode: status, headers })
  await new Promise<void>((done, fail) => to.once('error', fail).end(body, done))
}

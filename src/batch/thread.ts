import { parentPort, workerData } from 'node:worker_threads'
import { toAppError } from '../log.ts'
import { openStore } from '../models.ts'
import { type Answered, createPart, type Part } from './part.ts'
import type { Reply, Request, Said, ThreadData } from './threads.ts'

const encoder = new TextEncoder()

/** What runs in a thread of {@link Threads}. */
export function serveThread(): void {
  const port = parentPort!
  const { roots, model: name, version } = workerData as ThreadData
  const store = openStore({ roots })
  const parts = new Map<number, Promise<Part>>()

  let before: Promise<unknown> = Promise.resolve()
  // one after the other: the tuner measures runs of the graph, which nothing else in this thread may lengthen
  const answer = ({ run, records, limits }: Request & { kind: 'records' }): Promise<Answered> => {
    const part = parts.get(run)!
    const there = part.then((p) => p.load?.(records) ?? records)
    // told when its turn comes
    there.catch(() => undefined)
    const answered = before.then(async () => (await part).submit(await there, limits)())
    before = answered.catch(() => undefined)
    return answered
  }
  const close = (run: number) => {
    const part = parts.get(run)
    parts.delete(run)
    before = before.then(async () => (await part)?.close()).catch(() => undefined)
  }

  port.on('message', (request: Request) => {
    if (request.kind === 'close') close(request.run)
    else if (request.kind === 'open') {
      const part = (async () => createPart(store.get(name, version), request.spec))()
      // told to whoever submits
      part.catch(() => undefined)
      parts.set(request.run, part)
    } else
      answer(request).then(
        (answered) => {
          const { written } = answered
          const lines = typeof written?.lines === 'string' ? encoder.encode(written.lines) : undefined
          reply(request, { answered: lines ? { ...answered, written: { ...written!, lines } } : answered }, lines)
        },
        (e: unknown) => {
          const { code, details } = toAppError(e)
          const { cause: _, ...said } = details
          reply(request, { error: { code, details: said } })
        },
      )
  })

  function reply({ id }: Request & { kind: 'records' }, said: Said, bytes?: Uint8Array<ArrayBuffer>): void {
    port.postMessage({ id, ...said } satisfies Reply, bytes ? [bytes.buffer] : [])
  }
}

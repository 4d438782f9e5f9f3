import { setTimeout as sleep } from 'node:timers/promises'
import { createFolderStore } from '../../src/batch/foldstore.ts'
import { createQueue, type Message, type Queue, s3Event } from './queue.ts'
import type { InvokeResult } from './sandbox.ts'

export interface TriggerOptions {
  /** the bucket's name in events, and its folder */
  readonly bucket: string
  readonly folder: string
  readonly prefix: string
  readonly invoke: (event: unknown) => Promise<InvokeResult>
  readonly maxReceives: number
  /** between two looks at the folder */
  readonly everyMs?: number
  readonly visibilityMs?: number
  readonly onEvent?: (key: string) => void
  readonly onDead?: (message: Message) => void
}

export interface Trigger {
  readonly queue: Queue
  stop(): Promise<void>
}

/** A file that is copied in changes between two looks; S3 shows whole objects only. */
const CALM_MS = 500
/**
 * In AWS a message whose function ended without a word comes back after six times the function's timeout, and one that failed after
 * up to 15 minutes. Here nobody wants to wait for that; but ten receives have to outlast the lease of a run that died.
 */
const VISIBILITY_MS = 15_000

/**
 * Bucket → notification → queue → function, for as long as it is not stopped. What lies there at the start is told of as well: an
 * object that is finished changes nothing, and one that was interrupted goes on.
 */
export function startTrigger(o: TriggerOptions): Trigger {
  const store = createFolderStore()
  const seen = new Map<string, string>()
  const halt = new AbortController()
  const queue = createQueue({
    invoke: o.invoke,
    visibilityMs: o.visibilityMs ?? VISIBILITY_MS,
    maxReceives: o.maxReceives,
    signal: halt.signal,
    onDead: o.onDead,
  })
  let sequence = 0

  const look = async () => {
    for await (const { key, etag, size, modified } of store.list(o.folder, o.prefix)) {
      if (seen.get(key) === etag || Date.now() - modified < CALM_MS) continue
      seen.set(key, etag)
      o.onEvent?.(key)
      const sequencer = (Date.now() * 1000 + sequence++).toString(16).toUpperCase().padStart(18, '0')
      queue.send(s3Event(o.bucket, key, { size, eTag: etag, sequencer }))
    }
  }

  const watching = (async () => {
    while (!halt.signal.aborted) {
      await look()
      await sleep(o.everyMs ?? 300, undefined, { signal: halt.signal }).catch(() => undefined)
    }
  })()
  const polling = (async () => {
    while (!halt.signal.aborted) {
      await queue.drain()
      await sleep(100, undefined, { signal: halt.signal }).catch(() => undefined)
    }
  })()
  return {
    queue,
    async stop() {
      halt.abort()
      await Promise.all([watching, polling])
    },
  }
}

import { Worker } from 'node:worker_threads'
import { AppError, type ErrorCode, type ErrorDetails } from '../errors.ts'
import type { Limits } from '../predict.ts'
import { type Buffers, createSharedBuffers } from './buffers.ts'
import { pack } from './parcel.ts'
import type { Answered, Part, PartSpec } from './part.ts'
import type { BatchRecord } from './types.ts'

/** What a thread is given when it starts: where it finds the model that this thread has open too. */
export interface ThreadData {
  readonly roots: readonly string[]
  readonly model: string
  readonly version: string
}

export type Request =
  | { readonly kind: 'open'; readonly run: number; readonly spec: PartSpec }
  | { readonly kind: 'close'; readonly run: number }
  | {
      readonly kind: 'records'
      readonly run: number
      readonly id: number
      readonly records: readonly BatchRecord[]
      readonly limits: Limits
    }

export type Said =
  | { readonly answered: Answered }
  | { readonly error: { readonly code: ErrorCode; readonly details: Omit<ErrorDetails, 'cause'> } }

export type Reply = Said & { readonly id: number }

/** Threads that answer records, each with the model of its own: `session.run` and hooks block the one they are called in. */
export interface Threads {
  open(spec: PartSpec): Promise<OpenThreads>
  close(): Promise<void>
}

export interface OpenThreads extends Part {
  /** so many submissions are worth having on their way */
  readonly depth: number
  readonly buffers: Buffers
}

interface Call {
  resolve(a: Answered): void
  reject(e: unknown): void
  /** memory that the thread reads until it has answered */
  readonly shared: readonly SharedArrayBuffer[]
}

interface Thread {
  readonly worker: Worker
  readonly waiting: Map<number, Call>
}

/** behind the deadline, which a thread that can tell the time keeps by itself */
const GRACE_MS = 200

/** Started with the first run that opens them. An idle thread does not keep the process alive. */
export function createThreads(file: string, count: number, data: ThreadData): Threads {
  let threads: Thread[] = []
  let runs = 0
  let ids = 0
  const buffers = createSharedBuffers()

  const start = (): Thread => {
    const worker = new Worker(file, { workerData: data })
    const waiting: Thread['waiting'] = new Map()
    const thread = { worker, waiting }
    worker.unref()
    worker.on('message', (reply: Reply) => {
      const call = waiting.get(reply.id)
      waiting.delete(reply.id)
      for (const b of call?.shared ?? []) buffers.give(b)
      if (waiting.size === 0) worker.unref()
      if ('answered' in reply) call?.resolve(reply.answered)
      else call?.reject(new AppError(reply.error.code, reply.error.details))
    })
    const ended = (cause: unknown) => {
      threads = threads.filter((t) => t !== thread)
      for (const call of waiting.values()) call.reject(new AppError('THREAD_ENDED', { cause }))
      waiting.clear()
    }
    worker.on('error', ended)
    worker.on('exit', ended)
    return thread
  }

  /** A hook that never returns cannot be told the time. */
  const stop = (thread: Thread) => {
    for (const call of thread.waiting.values()) call.reject(new AppError('DEADLINE', { where: 'a thread of a batch' }))
    thread.waiting.clear()
    void thread.worker.terminate()
  }

  return {
    async open(spec) {
      while (threads.length < count) threads.push(start())
      const run = runs++
      const own = [...threads]
      for (const { worker } of own) worker.postMessage({ kind: 'open', run, spec } satisfies Request)
      return {
        depth: 2 * count,
        buffers,
        submit(records, limits) {
          const thread = own.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a))
          const id = ids++
          const { parcel, transfer, shared } = pack(records)
          const answered = new Promise<Answered>((resolve, reject) => {
            if (!threads.includes(thread)) return reject(new AppError('THREAD_ENDED'))
            thread.waiting.set(id, { resolve, reject, shared })
            thread.worker.ref()
            const request: Request = { kind: 'records', run, id, records: parcel, limits }
            thread.worker.postMessage(request, transfer)
          })
          const timer = limits.deadline && setTimeout(() => stop(thread), limits.deadline + GRACE_MS - Date.now())
          void answered.catch(() => undefined).finally(() => clearTimeout(timer))
          return () => answered
        },
        async close() {
          for (const { worker } of own) worker.postMessage({ kind: 'close', run } satisfies Request)
        },
      }
    },
    async close() {
      await Promise.all(threads.map(({ worker }) => worker.terminate()))
    },
  }
}

import { type Box, type BoxKind, type BoxSpec, type Exit, startBox } from './box.ts'
import { makeCgroup, NO_CGROUP } from './cgroup.ts'
import type { Answer, FunctionError, RuntimeApi } from './runtimeapi.ts'

/** One life of the function's process: started, initialised, serving, ended. Lambda's "execution environment". */
export interface Environment {
  readonly kind: BoxKind
  readonly limits: readonly string[]
  /** performance.now() of the start of node */
  readonly startedAt: number
  /** settles when the process asks for its first event, or cannot */
  readonly ready: Promise<FunctionError | undefined>
  /** never rejects */
  readonly exited: Promise<FunctionError>
  /** the answer to the invocation that is under way */
  answerOf(requestId: string): Promise<Answer>
  /** settles when it asks for the next event */
  idle(): Promise<void>
  kill(): Promise<void>
}

export type Launched = Environment | { readonly failed: string }

/** `failed` when this kind of box cannot be made on this machine. */
export async function launch(
  kind: BoxKind,
  api: RuntimeApi,
  memory: number,
  spec: Omit<BoxSpec, 'cgroup'>,
): Promise<Launched> {
  const cgroup = kind === 'plain' ? NO_CGROUP : makeCgroup(memory)
  let printed = ''
  const log = (text: string) => {
    printed += text
  }
  let sink = log
  const box = startBox(kind, { ...spec, cgroup, log: (text) => sink(text) })
  const ended = keepTrack(box).then(async (exit) => {
    const killed = cgroup.oomKilled()
    await cgroup.remove()
    return exitError(exit, killed)
  })
  const asked = new Signal<void>()
  const ready = new Signal<FunctionError | undefined>()
  const answers = new Map<string, Signal<Answer>>()
  api.listen({
    next: () => {
      ready.settle(undefined)
      asked.settle()
      asked.reset()
    },
    initError: (error) => ready.settle(error),
    answer: (requestId, answer) => answers.get(requestId)?.settle(answer),
  })
  const startedAt = await box.started
  if (startedAt === undefined) {
    await ended
    return { failed: printed.trim().split('\n').at(-1) ?? 'no reason given' }
  }
  spec.log(printed)
  sink = spec.log
  return {
    kind,
    limits: cgroup.missing,
    startedAt,
    ready: Promise.race([ready.promise, ended]),
    exited: ended,
    answerOf: (requestId) => {
      const signal = new Signal<Answer>()
      answers.clear()
      answers.set(requestId, signal)
      return signal.promise
    },
    idle: () => asked.promise,
    kill: async () => {
      box.kill()
      await ended
    },
  }
}

/** A promise that is settled from outside, and can be made anew. */
class Signal<T> {
  promise!: Promise<T>
  settle!: (value: T) => void
  constructor() {
    this.reset()
  }
  reset() {
    this.promise = new Promise((resolve) => {
      this.settle = resolve
    })
  }
}

const live = new Set<Box>()

/** Boxes end with this process by the kernel's hand; a plain process needs ours. */
function keepTrack(box: Box): Promise<Exit> {
  if (live.size === 0) process.on('exit', killAll)
  live.add(box)
  return box.exited.finally(() => {
    live.delete(box)
    if (live.size === 0) process.off('exit', killAll)
  })
}

function killAll() {
  for (const box of live) box.kill()
}

const SIGNALS: Readonly<Record<string, string>> = {
  SIGKILL: 'killed',
  SIGSEGV: 'segmentation fault',
  SIGABRT: 'aborted',
  SIGFPE: 'floating point exception',
  SIGBUS: 'bus error',
  SIGILL: 'illegal instruction',
  SIGTERM: 'terminated',
}

function exitError(exit: Exit, outOfMemory: boolean): FunctionError {
  const how = exit.signal
    ? ` with error: signal: ${SIGNALS[exit.signal] ?? exit.signal}`
    : exit.code === 0
      ? ' without providing a reason'
      : ` with error: exit status ${exit.code}`
  return {
    errorType: outOfMemory ? 'Runtime.OutOfMemory' : 'Runtime.ExitError',
    errorMessage: `Error: Runtime exited${how}`,
  }
}

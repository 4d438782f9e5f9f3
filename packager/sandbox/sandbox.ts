import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { AppError } from '../../src/errors.ts'
import type { Arch } from '../layers/definition.ts'
import { defaultCache } from '../root.ts'
import { type BoxKind, KINDS } from './box.ts'
import { type Environment, launch } from './environment.ts'
import { IN_MEMORY_MB, type Place, placeFor, possibleKinds } from './place.ts'
import { type Answer, type FunctionError, PAYLOAD, startRuntimeApi } from './runtimeapi.ts'

export interface SandboxOptions {
  /** layer zips, in Lambda's order */
  readonly layers: readonly string[]
  /** function zip, or a folder that is taken as /var/task */
  readonly function: string
  readonly handler?: string
  readonly functionName?: string
  /** MB; 1,769 is one vCPU */
  readonly memory?: number
  readonly timeoutSeconds?: number
  /** of the init phase; what takes longer is killed and tried again under the first request's timeout. Lambda gives 10 */
  readonly initSeconds?: number
  /** MB of /tmp */
  readonly tmp?: number
  /** a folder of this machine as the file system at /mnt/models, which environments share */
  readonly shared?: string
  readonly env?: Readonly<Record<string, string>>
  /** what the layers were built for */
  readonly arch?: Arch
  /** the node that becomes the runtime; this process's own when absent */
  readonly node?: string
  readonly cache?: string
  /** only this kind of box */
  readonly kind?: BoxKind
  readonly onLog?: (text: string) => void
  /** X-Ray samples every request; segments go to AWS_XRAY_DAEMON_ADDRESS of `env` */
  readonly traced?: boolean
}

export interface InvokeResult {
  readonly requestId: string
  /** from the event's arrival to the answer */
  readonly ms: number
  /** parsed, where it is JSON */
  readonly response?: unknown
  readonly payload?: Buffer
  readonly contentType?: string
  readonly error?: FunctionError
  /** the most that its process has held so far; absent where it could not tell any more */
  readonly maxMemoryMB?: number
  /** what the function printed meanwhile */
  readonly log: string
  /** true where a new process had to be started for this invocation */
  readonly restarted: boolean
}

export interface Sandbox {
  readonly kind: BoxKind
  /** what Lambda limits and this machine does not, and why; empty when all holds */
  readonly limits: readonly string[]
  /** from the start of node until it asks for the first event */
  readonly init: { readonly ms: number; readonly error?: FunctionError; readonly log: string }
  /** one at a time, as in Lambda: a second call waits */
  invoke(event: unknown): Promise<InvokeResult>
  close(): Promise<void>
}

export const Sandbox = { start }

async function start(options: SandboxOptions): Promise<Sandbox> {
  const o = {
    layers: options.layers,
    function: options.function,
    handler: options.handler ?? 'predict.handler',
    functionName: options.functionName ?? 'predict',
    memory: options.memory ?? 1769,
    timeoutSeconds: options.timeoutSeconds ?? 30,
    initSeconds: options.initSeconds ?? 10,
    tmp: options.tmp ?? IN_MEMORY_MB,
    shared: options.shared,
    env: options.env ?? {},
    arch: options.arch ?? 'x64',
    node: options.node ?? process.execPath,
    cache: options.cache ?? defaultCache(),
  }
  check(o)
  const nodeMajor = majorOf(o.node)
  const api = await startRuntimeApi(o.functionName, options.traced)
  const { kinds, notes } = possibleKinds(o.arch, options.kind)
  const refusals: string[] = []
  let place: Place | undefined
  let environment: Environment | undefined
  let starting: Promise<Environment> | undefined
  let idle: Promise<unknown> = Promise.resolve()
  let printed = ''

  const log = (text: string) => {
    printed += text
    options.onLog?.(text)
  }
  const takeLog = async () => {
    // what the process wrote before it spoke to us is in the pipe: one round of the event loop brings it in
    await new Promise((resolve) => setImmediate(resolve))
    const text = printed
    printed = ''
    return text
  }

  async function startEnvironment(): Promise<Environment> {
    for (const kind of place ? [place.kind] : kinds) {
      const at = place ?? (await placeFor(kind, { ...o, nodeMajor, api: api.address }))
      const made = await launch(kind, api, o.memory, { ...at.spec, log })
      if (!('failed' in made)) {
        place = at
        return made
      }
      refusals.push(`${kind}: ${made.failed}`)
      at.remove()
    }
    throw new AppError('SANDBOX_FAILED', { expected: `a box (${kinds.join(', ')})`, got: refusals.join('; ') })
  }

  const renew = async (): Promise<Environment> => {
    starting = startEnvironment()
    environment = await starting
    return environment
  }

  const end = async () => {
    // one that could not start has nothing to end, and its error was told
    const old = environment ?? (await starting?.catch(() => undefined))
    environment = undefined
    starting = undefined
    await old?.kill()
  }

  /** Lambda's INIT phase: before any event, with a budget of its own. The first invocation tells of its failure by trying again. */
  async function initialise(first: Environment): Promise<Sandbox['init']> {
    const errorMessage = `Error: Init took longer than ${o.initSeconds} s`
    const error = await within(first.ready, o.initSeconds * 1000, { errorType: TIMED_OUT, errorMessage })
    const ms = performance.now() - first.startedAt
    if (error) await end()
    return { ms, ...(error && { error }), log: await takeLog() }
  }

  async function serve(requestId: string, payload: string, deadline: number): Promise<Answer> {
    const here = environment ?? (await renew())
    const error = await here.ready
    if (error) return { error, lost: true }
    const answer = here.answerOf(requestId)
    idle = here.idle()
    api.offer({ requestId, payload, deadline })
    return Promise.race([answer, here.exited.then((e) => ({ error: e, lost: true }))])
  }

  /** Whether the process asked for the next event: only then it is used again, as in Lambda. */
  async function reusable(deadline: number): Promise<boolean> {
    if (!environment) return false
    const gone = environment.exited.then(() => false)
    return within(Promise.race([idle.then(() => true), gone]), Math.max(0, deadline - Date.now()), false)
  }

  async function invoke(event: unknown): Promise<InvokeResult> {
    const requestId = randomUUID()
    const payload = JSON.stringify(event) ?? 'null'
    const restarted = environment === undefined
    const size = Buffer.byteLength(payload)
    if (size > PAYLOAD.request) return { requestId, ms: 0, log: '', restarted: false, error: requestTooLarge(size) }

    const begin = performance.now()
    const deadline = Date.now() + o.timeoutSeconds * 1000
    const errorMessage = `Error: Task timed out after ${o.timeoutSeconds.toFixed(2)} seconds`
    const late: Answer = { error: { errorType: TIMED_OUT, errorMessage }, lost: true }
    const {
      error,
      lost,
      payload: body,
      contentType,
      maxMemoryMB,
    } = await within(serve(requestId, payload, deadline), o.timeoutSeconds * 1000, late)
    const ms = performance.now() - begin
    if (lost || !(await reusable(deadline))) await end()
    return {
      requestId,
      ms,
      restarted,
      ...(maxMemoryMB !== undefined && { maxMemoryMB }),
      log: await takeLog(),
      ...(error && {
        error: lost ? { ...error, errorMessage: `RequestId: ${requestId} ${error.errorMessage}` } : error,
      }),
      ...(body && { payload: body, contentType, ...parsed(body) }),
    }
  }

  const close = async () => {
    await end()
    place?.remove()
    await api.close()
  }

  try {
    const first = await renew()
    const init = await initialise(first)
    let queue: Promise<unknown> = Promise.resolve()
    return {
      kind: first.kind,
      limits: [
        ...notes,
        ...(o.tmp > IN_MEMORY_MB ? ['/tmp: its size is not limited'] : []),
        ...KINDS[first.kind].missing,
        ...first.limits,
        ...refusals.map((r) => `box ${r}`),
      ],
      init,
      invoke: (event) => {
        const result = queue.then(() => invoke(event))
        // the caller has the error; the next event is not to
        queue = result.catch(() => undefined)
        return result
      },
      close,
    }
  } catch (e) {
    place?.remove()
    await api.close()
    throw e
  }
}

const TIMED_OUT = 'Sandbox.Timedout'

function check(o: { memory: number; timeoutSeconds: number; tmp: number }) {
  const ranges = { memory: [128, 10_240], timeoutSeconds: [1, 900], tmp: [512, 10_240] } as const
  for (const [name, [min, max]] of Object.entries(ranges)) {
    const got = o[name as keyof typeof ranges]
    if (!(got >= min && got <= max))
      throw new AppError('USAGE', { where: name, expected: `${min} to ${max}`, got: String(got) })
  }
}

function majorOf(node: string): number {
  const own = node === process.execPath
  const version = own ? process.versions.node : execFileSync(node, ['--version'], { encoding: 'utf8' }).slice(1)
  return Number(version.split('.')[0])
}

function requestTooLarge(size: number): FunctionError {
  return {
    errorType: 'RequestEntityTooLargeException',
    errorMessage: `Request must be smaller than ${PAYLOAD.request} bytes for the InvokeFunction operation (it has ${size})`,
  }
}

function parsed(body: Buffer): { response?: unknown } {
  try {
    return { response: JSON.parse(body.toString()) }
  } catch (e) {
    // a streamed answer need not be JSON
    if (e instanceof SyntaxError) return {}
    throw e
  }
}

async function within<T>(work: Promise<T>, ms: number, otherwise: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(otherwise), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

import { now } from './clock.ts'
import { within } from './deadline.ts'
import { AppError, type ErrorCode, isAppError } from './errors.ts'
import { toFeeds } from './feeds.ts'
import { type BaseService, type HOOKS, overrides } from './hooks.ts'
import type { Model } from './models.ts'
import { kindOf } from './nested.ts'
import { tensorsOf } from './outputs.ts'
import type { Feeds, Outputs, RequestData, Tensors } from './types.ts'

type Hook = (typeof HOOKS)[number]
export type Step = 'pre' | 'infer' | 'post'

/** Milliseconds since the epoch by which the step must have settled. */
export interface Limits {
  readonly deadline?: number
}

/** `_preprocess`, and its result as tensors; untouched where the package has its own `_inference`. */
export async function prepare(model: Model, data: RequestData, limits: Limits = {}): Promise<Feeds> {
  const service = await model.service()
  const ready: unknown = await hook(model, '_preprocess', limits, () => service._preprocess(data))
  if (overrides(service, '_inference')) return ready as Feeds
  return blamed(service, () => toFeeds(ready, model.signature))
}

/** `_inference`: the graph, or what the package puts in its place. */
export async function infer(model: Model, ready: Feeds, limits: Limits = {}): Promise<Outputs> {
  const service = await model.service()
  return hook(model, '_inference', limits, () => blamed(service, () => service._inference(ready)))
}

/** `_postprocess`: any JSON value. */
export async function finish(model: Model, outputs: Outputs, limits: Limits = {}): Promise<unknown> {
  const service = await model.service()
  const body = await hook(model, '_postprocess', limits, () => service._postprocess(outputs, tensorsOf(outputs)))
  // what a forgotten return or a failed calculation leaves; JSON has no word for it, or an empty one
  if (body === undefined || body === null || (typeof body === 'number' && Number.isNaN(body)))
    throw new AppError('HOOK_RESULT', { where: '_postprocess', expected: 'the body of the answer', got: kindOf(body) })
  return body
}

/** Whoever watches the steps of a request. */
export interface Watch {
  readonly lap?: (step: Step, ms: number) => void
  readonly trace?: Trace
}

export type Trace = <T>(step: Step, work: () => Promise<T>) => Promise<T>

/** The three steps of a request. Batch stacks records between the first and the second. */
export async function predict(model: Model, data: RequestData, limits: Limits & Watch = {}): Promise<unknown> {
  const ready = await timed(limits, 'pre', () => prepare(model, data, limits))
  const outputs = await timed(limits, 'infer', () => infer(model, ready, limits))
  return timed(limits, 'post', () => finish(model, outputs, limits))
}

/** The graph of a signature itself, which no hook stands before or behind. */
export async function runTensors(
  model: Model,
  { signature, feeds, wanted }: { signature: string; feeds: Tensors; wanted?: readonly string[] },
  limits: Limits & Watch = {},
): Promise<Tensors> {
  const session = await model.session(signature)
  const run = () => within(limits.deadline, signature, () => session.run(feeds, wanted).catch(callersFault))
  return timed(limits, 'infer', run)
}

/** Nothing but the caller's tensors was between the request and the graph, so an operator that refuses them refuses the request. */
function callersFault(e: unknown): never {
  if (isAppError(e) && e.code === 'RUN_FAILED')
    throw new AppError('INPUT_REFUSED', { where: e.details.where, cause: e.cause })
  throw e
}

async function timed<T>({ lap, trace }: Watch, step: Step, work: () => Promise<T>): Promise<T> {
  const start = now()
  try {
    return await (trace ? trace(step, work) : work())
  } finally {
    lap?.(step, now() - start)
  }
}

/** An error of our own table passes, so that a hook can refuse a request; anything else that a hook throws is its failure. */
async function hook<T>(model: Model, where: Hook, { deadline }: Limits, work: () => T | Promise<T>): Promise<T> {
  try {
    return await within(deadline, where, work)
  } catch (cause) {
    if (isAppError(cause)) throw cause
    throw new AppError('HOOK_FAILED', { where, data: { hooks: model.hooks }, cause })
  }
}

const FEED_FAULTS: readonly ErrorCode[] = ['WRONG_DTYPE', 'WRONG_SHAPE', 'MISSING_INPUT', 'UNKNOWN_INPUT']

/** Wrong feeds are the caller's fault only where no hook stands between: then `_preprocess` would have had to mend or refuse. */
async function blamed<T>(service: BaseService, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (e) {
    const between = (['_preprocess', '_inference'] as const).find((h) => overrides(service, h))
    if (!isAppError(e)) throw e
    if (e.code !== 'HOOK_RESULT' && !FEED_FAULTS.includes(e.code)) throw e
    if (!between) throw e.code === 'HOOK_RESULT' ? new AppError('BAD_REQUEST', e.details) : e
    const where = e.details.where ? `${between}, ${e.details.where}` : between
    throw new AppError('HOOK_RESULT', { ...e.details, where })
  }
}

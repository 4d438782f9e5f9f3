import { now } from '../clock.ts'
import { AppError, ERRORS } from '../errors.ts'
import { type Log, type LogLine, logged, toAppError, writeLine } from '../log.ts'
import type { Model, ModelStore } from '../models.ts'
import { predict } from '../predict.ts'
import { PROTOCOLS } from '../protocols/index.ts'
import type { Call, Protocol, Route } from '../protocols/protocol.ts'
import type { HttpRequest, HttpResponse } from '../types.ts'
import { inflate } from './inflate.ts'

export interface App {
  /** Never throws: whatever goes wrong is an answer and a line in the log. */
  handle(req: HttpRequest): Promise<HttpResponse>
  /** The answer to a request that was given up before it was whole, in the words of its protocol. */
  refuse(req: HttpRequest, error: AppError): HttpResponse
}

export interface AppOptions {
  readonly log?: Log
  readonly protocols?: readonly Protocol[]
}

/** What it takes to still send an answer before the caller, or Lambda, gives up. */
const MARGIN_MS = 200

export function createApp(store: ModelStore, { log = writeLine, protocols = PROTOCOLS }: AppOptions = {}): App {
  let cold = true

  /** What is known of a request, for its answer and its line in the log. */
  function begin(req: HttpRequest) {
    const started = now()
    const ms: Record<string, number> = {}
    const known: { protocol: Protocol; route?: Route; model?: Model; call?: Call } = { protocol: protocols[0]! }
    const lap = (step: string, time: number) => {
      ms[step] = Math.round(time * 1000) / 1000
    }
    const end = (response: HttpResponse, error?: AppError): HttpResponse => {
      lap('total', now() - started)
      log(lineOf(req, known, response, { ms, cold, error }))
      cold = false
      return { ...response, headers: { ...response.headers, 'x-request-id': req.requestId } }
    }
    const fail = (thrown: unknown): HttpResponse => {
      const error = toAppError(thrown)
      const response = known.protocol.fail(error, req, known.call)
      if (error.code !== 'METHOD_NOT_ALLOWED') return end(response, error)
      return end({ ...response, headers: { ...response.headers, allow: known.route?.methods.join(', ') ?? '' } }, error)
    }
    return { known, lap, end, fail }
  }

  return {
    async handle(req) {
      const { known, lap, end, fail } = begin(req)
      try {
        const found = findRoute(protocols, req)
        Object.assign(known, found)
        if (!found.route.methods.includes(req.method))
          throw new AppError('METHOD_NOT_ALLOWED', {
            expected: found.route.methods.join(', '),
            got: req.method.slice(0, 20),
          })
        const model = store.get(found.route.model, found.route.version)
        known.model = model
        const call = found.protocol.decode(await inflate(req), model.manifest)
        known.call = call
        const deadline = req.deadline === undefined ? undefined : req.deadline - MARGIN_MS
        return end(found.protocol.encode(await predict(model, call.data, { deadline, lap }), call))
      } catch (e) {
        return fail(e)
      }
    },
    refuse(req, error) {
      const { known, fail } = begin(req)
      try {
        Object.assign(known, findRoute(protocols, req))
      } catch (e) {
        return fail(e)
      }
      return fail(error)
    },
  }
}

function findRoute(protocols: readonly Protocol[], req: HttpRequest): { protocol: Protocol; route: Route } {
  for (const protocol of protocols) {
    const route = protocol.match(req)
    if (route) return { protocol, route }
  }
  throw new AppError('NOT_FOUND', { expected: 'POST / or POST /v1/infers/{model}', got: req.method.slice(0, 20) })
}

function lineOf(
  req: HttpRequest,
  { protocol, route, model }: { protocol: Protocol; route?: Route; model?: Model },
  { status, body }: HttpResponse,
  { ms, cold, error }: { ms: Record<string, number>; cold: boolean; error?: AppError },
): LogLine {
  return {
    level: status < 400 ? 'info' : status < 500 ? 'warn' : 'error',
    message: error ? ERRORS[error.code].text : 'answered',
    requestId: req.requestId,
    protocol: protocol.name,
    route: route?.name,
    model: model?.manifest.model,
    version: model?.manifest.version,
    status,
    cold,
    ms,
    bytesIn: req.body.byteLength,
    bytesOut: typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength,
    error: error && logged(error),
  }
}

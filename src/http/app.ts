import type { Capture } from '../capture/capture.ts'
import { now, rounded } from '../clock.ts'
import { AppError, ERRORS } from '../errors.ts'
import { type Log, type LogLine, logged, toAppError, writeLine } from '../log.ts'
import type { Model, ModelStore } from '../models.ts'
import { type Limits, predict, runTensors, type Trace, type Watch } from '../predict.ts'
import { PROTOCOLS } from '../protocols/index.ts'
import type { Call, Catalogue, Protocol, Route } from '../protocols/protocol.ts'
import type { HttpRequest, HttpResponse } from '../types.ts'
import { CORS_HEADERS, preflight } from './cors.ts'
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
  /** pages of any origin may read the answers */
  readonly cors?: boolean
  readonly trace?: Trace
  readonly capture?: Capture
}

/** What it takes to still send an answer before the caller, or Lambda, gives up. */
const MARGIN_MS = 200

export function createApp(
  store: ModelStore,
  { log = writeLine, protocols = PROTOCOLS, cors = false, trace, capture }: AppOptions = {},
): App {
  let cold = true
  const catalogue = catalogueOf(store)

  function begin(req: HttpRequest) {
    const started = now()
    const ms: Record<string, number> = {}
    const known: Known = { protocol: protocols[0]! }
    const lap = (step: string, time: number) => {
      ms[step] = rounded(time)
    }
    const end = (response: HttpResponse, error?: AppError): HttpResponse => {
      lap('total', now() - started)
      log({ ...lineOf(req, known, response, { ms, cold, error }), captured: known.captured })
      cold = false
      const headers = { ...response.headers, ...(cors && CORS_HEADERS), 'x-request-id': req.requestId }
      return { ...response, headers }
    }
    const fail = (thrown: unknown): HttpResponse => {
      const error = toAppError(thrown)
      const response = known.protocol.fail(error, req, known)
      if (error.code !== 'METHOD_NOT_ALLOWED') return end(response, error)
      return end({ ...response, headers: { ...response.headers, allow: known.route?.methods.join(', ') ?? '' } }, error)
    }
    return { known, lap, end, fail }
  }

  return {
    async handle(req) {
      const { known, lap, end, fail } = begin(req)
      try {
        const route = findRoute(protocols, req, known)
        if (cors && req.method === 'OPTIONS') return end(preflight(req))
        if (!route.methods.includes(req.method))
          throw new AppError('METHOD_NOT_ALLOWED', { expected: route.methods.join(', '), got: req.method.slice(0, 20) })
        const told = await known.protocol.inform?.(req, route, catalogue)
        if (told) return end(told)
        const model = store.get(route.model, route.version, route.label)
        known.model = model
        const plain = await inflate(req)
        const call = await known.protocol.decode(plain, model.manifest, route)
        known.call = call
        const deadline = req.deadline === undefined ? undefined : req.deadline - MARGIN_MS
        const response = await answer(model, call, { deadline, lap, trace })
        if (capture?.wants(req.requestId)) {
          const begun = now()
          const { model: name, version } = model.manifest
          known.captured = await capture.keep({ request: plain, response, model: name, version }, deadline)
          lap('capture', now() - begun)
        }
        return end(response)
      } catch (e) {
        return fail(e)
      }
    },
    refuse(req, error) {
      const { known, fail } = begin(req)
      try {
        findRoute(protocols, req, known)
      } catch (e) {
        return fail(e)
      }
      return fail(error)
    },
  }
}

/** What is known of a request, for its answer and its line in the log. */
interface Known {
  protocol: Protocol
  route?: Route
  model?: Model
  call?: Call
  captured?: boolean
}

/** A row that finds a fault in a path it claims has to tell it in its own words, so the row is known before it is asked. */
function findRoute(protocols: readonly Protocol[], req: HttpRequest, known: Known): Route {
  for (const protocol of protocols) {
    known.protocol = protocol
    known.route = protocol.match(req)
    if (known.route) return known.route
  }
  known.protocol = protocols[0]!
  throw new AppError('NOT_FOUND', { expected: 'POST / or POST /v1/infers/{model}', got: req.method.slice(0, 20) })
}

async function answer(model: Model, call: Call, limits: Limits & Watch): Promise<HttpResponse> {
  if (call.kind === 'hooks') return call.encode(await predict(model, call.data, limits))
  return call.encode(await runTensors(model, call, limits), model.manifest.signatures[call.signature]!)
}

function catalogueOf({ models, labels, get }: ModelStore): Catalogue {
  return {
    manifests: models.map((m) => m.manifest),
    labels,
    find: ({ model, version, label }) => get(model, version, label).manifest,
    async load({ model, version }) {
      const found = get(model, version)
      try {
        await Promise.all([found.session(), found.service()])
        return undefined
      } catch (e) {
        return toAppError(e)
      }
    },
  }
}

function lineOf(
  req: HttpRequest,
  { protocol, route, model }: Known,
  { status, body }: HttpResponse,
  { ms, cold, error }: { ms: Record<string, number>; cold: boolean; error?: AppError },
): LogLine {
  return {
    level: status < 400 ? 'info' : status < 500 ? 'warn' : 'error',
    message: error ? ERRORS[error.code].text : 'answered',
    requestId: req.requestId,
    functionRequestId: req.functionRequestId,
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

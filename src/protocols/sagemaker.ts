import { ERRORS } from '../errors.ts'
import { stringify } from '../json.ts'
import type { Protocol, Route } from './protocol.ts'
import { decodeSegment } from './segment.ts'

/**
 * The container contract of SageMaker: GET /ping, POST /invocations, and /models/{model}/invoke of its multi-model endpoints. A package with
 * hooks gets the body as its form would bring it; without hooks bodies are those of SageMaker's TensorFlow container: TensorFlow Serving's
 * JSON, a bare list of instances, JSON lines, or CSV.
 */
export const sagemaker = {
  name: 'sagemaker',

  match({ path }): Route | undefined {
    if (path === '/ping') return { name: 'GET /ping', action: 'ping', methods: ['GET'] }
    if (path === '/invocations') return { name: 'POST /invocations', methods: ['POST'] }
    const [, model] = /^\/models\/([^/]+)\/invoke$/.exec(path) ?? []
    return model === undefined
      ? undefined
      : { name: 'POST /models/{model}/invoke', methods: ['POST'], model: decodeSegment(model) }
  },

  async inform(_req, { action }, catalogue) {
    if (action !== 'ping') return undefined
    const newest = catalogue.manifests.filter((m, i, all) => all.findIndex((other) => other.model === m.model) === i)
    const failed = (await Promise.all(newest.map((m) => catalogue.load(m)))).some(Boolean)
    return { status: failed ? 503 : 200, headers: { 'content-type': 'application/json' }, body: '' }
  },

  async decode(req, manifest) {
    const { readInvocation } = await import('./invocation.ts')
    return readInvocation(req, manifest)
  },

  fail(error, req) {
    const { fault, status, text } = ERRORS[error.code]
    const body = fault === 'caller' ? { error: error.message } : { error: text, request_id: req.requestId }
    return { status, headers: { 'content-type': 'application/json' }, body: stringify(body) }
  },
} as const satisfies Protocol

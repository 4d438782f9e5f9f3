import { ERRORS } from '../errors.ts'
import type { HttpResponse } from '../types.ts'
import type { Catalogue, Protocol, Route } from './protocol.ts'
import { decodeSegment } from './segment.ts'

const SERVER = {
  name: 'modelayer',
  version: '2',
  extensions: ['binary_tensor_data', 'classification', 'model_repository'],
}

/** What each path is; names in braces are taken from it. */
const ROUTES: readonly (readonly [pattern: RegExp, name: string, action: string, method: string])[] = [
  [/^\/v2\/?$/, 'GET /v2', 'server', 'GET'],
  [/^\/v2\/health\/live$/, 'GET /v2/health/live', 'live', 'GET'],
  [/^\/v2\/health\/ready$/, 'GET /v2/health/ready', 'ready', 'GET'],
  [/^\/v2\/repository\/index$/, 'POST /v2/repository/index', 'index', 'POST'],
  [/^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?$/, 'GET /v2/models/{model}', 'metadata', 'GET'],
  [/^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?\/ready$/, 'GET /v2/models/{model}/ready', 'modelReady', 'GET'],
  [/^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?\/infer$/, 'POST /v2/models/{model}/infer', 'infer', 'POST'],
]

/**
 * Open Inference Protocol v2 over REST, as KServe, Triton and MLServer speak it, with the binary tensor extension. The protocol has no
 * signatures: a request may name one in `parameters.signature_name`, else it means the default one. Hooks are not asked.
 */
export const oip = {
  name: 'oip',

  match({ path }): Route | undefined {
    for (const [pattern, name, action, method] of ROUTES) {
      const found = pattern.exec(path)
      if (!found) continue
      const [model, version] = [found[1], found[2]].map((s) => (s === undefined ? undefined : decodeSegment(s)))
      return {
        name,
        action,
        methods: [method],
        ...(model !== undefined && { model }),
        ...(version !== undefined && { version }),
      }
    }
    return undefined
  },

  async inform(_req, route, catalogue) {
    switch (route.action) {
      case 'server':
        return json(200, SERVER)
      case 'live':
        return json(200, { live: true })
      case 'ready': {
        const failed = await Promise.all(newest(catalogue).map((m) => catalogue.load(m)))
        return json(failed.some(Boolean) ? 503 : 200, { live: true, ready: !failed.some(Boolean) })
      }
      case 'index':
        return json(
          200,
          catalogue.manifests.map((m) => ({ name: m.model, version: m.version, state: 'READY', reason: '' })),
        )
      case 'metadata': {
        const { metadata } = await import('./oipanswer.ts')
        const manifest = catalogue.find(route)
        const versions = catalogue.manifests.filter((m) => m.model === manifest.model).map((m) => m.version)
        return json(200, metadata(manifest, versions))
      }
      case 'modelReady': {
        const manifest = catalogue.find(route)
        const failed = await catalogue.load(manifest)
        return json(failed ? 503 : 200, { name: manifest.model, ready: !failed })
      }
      default:
        return undefined
    }
  },

  async decode(req, manifest) {
    // the codec is compiled by the first request for it, not by every cold start
    const { parseInfer } = await import('./oiprequest.ts')
    const { encodeInfer } = await import('./oipanswer.ts')
    const request = parseInfer(req, manifest)
    return {
      kind: 'tensors',
      signature: request.signature,
      feeds: request.feeds,
      ...(request.outputs && { wanted: [...new Set(request.outputs.map((o) => o.name))] }),
      encode: (outputs, signature) => encodeInfer(request, outputs, signature, manifest),
    }
  },

  fail(error, req) {
    const { fault, status, text } = ERRORS[error.code]
    // what went wrong inside is in the log, under the request's id
    return json(status, fault === 'caller' ? { error: error.message } : { error: text, request_id: req.requestId })
  },
} as const satisfies Protocol

function newest({ manifests }: Catalogue): Catalogue['manifests'] {
  return manifests.filter((m, i) => manifests.findIndex((other) => other.model === m.model) === i)
}

function json(status: number, body: unknown): HttpResponse {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

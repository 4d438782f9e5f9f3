import { AppError, ERRORS } from '../errors.ts'
import { preflight } from '../http/cors.ts'
import type { HttpRequest, HttpResponse } from '../types.ts'
import type { Catalogue, Protocol, Route } from './protocol.ts'
import { malformed, matchRoute } from './tfserving/route.ts'

/**
 * TensorFlow Serving's REST API: its URLs, its JSON and its words for what is wrong. Clients of it speak tensors, so the hooks of a package
 * are not asked. Bodies have no content type there, so none is looked at. What reads and writes them is loaded by the first who needs it.
 */
export const tfserving = {
  name: 'tfserving',
  match: matchRoute,

  inform(req, route, catalogue) {
    switch (route.action) {
      case 'malformed':
        throw malformed(req)
      case 'preflight':
        return preflight(req)
      case 'status':
      case 'metadata':
        return tell(route, catalogue)
      default:
        return undefined
    }
  },

  async decode({ body }, manifest, { action }) {
    const { readCall } = await import('./tfserving/calls.ts')
    return readCall(body, manifest, action)
  },

  fail(error, req, known) {
    const text = textOf(error, req, known?.route)
    return answer(ERRORS[error.code].status, `{\n    "error": ${JSON.stringify(text)}\n}`)
  },
} as const satisfies Protocol

async function tell(route: Route, catalogue: Catalogue): Promise<HttpResponse> {
  if (route.model === undefined) {
    const reply = 'Missing model name in request.'
    throw new AppError('BAD_REQUEST', { where: 'the path', expected: '/v1/models/{model}', got: 'no model', reply })
  }
  const { metadata, status } = await import('./tfserving/status.ts')
  return answer(200, route.action === 'status' ? status(route, catalogue) : metadata(route, catalogue))
}

/** What the caller did wrong in TensorFlow Serving's words where it has some; of all else only that it failed, and where to look. */
function textOf(error: AppError, req: HttpRequest, route: Route | undefined): string {
  const { fault, text } = ERRORS[error.code]
  if (fault !== 'caller') return `${text} (request ${req.requestId})`
  if (error.details.reply !== undefined) return error.details.reply
  const { model = '', version, label, action } = route ?? {}
  if (error.code === 'UNKNOWN_LABEL') return `Unrecognized servable version label: ${label}`
  if (error.code !== 'UNKNOWN_MODEL' && error.code !== 'UNKNOWN_VERSION') return error.message
  if (action === 'status') return `Could not find version ${version} of model ${model}`
  const which = version === undefined ? `Latest(${model})` : `Specific(${model}, ${version})`
  return `Servable not found for request: ${which}`
}

function answer(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'application/json' }, body }
}

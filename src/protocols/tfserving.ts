import { AppError, ERRORS } from '../errors.ts'
import { preflight } from '../http/cors.ts'
import type { Manifest } from '../manifest.ts'
import { formatString } from '../tensorjson/format.ts'
import type { HttpRequest, HttpResponse } from '../types.ts'
import type { Protocol, Route, TensorsCall } from './protocol.ts'
import { wrap, writeColumns, writeRows } from './tfserving/answer.ts'
import { EXAMPLES_INPUT, type ExamplesAction, readExamples } from './tfserving/examples.ts'
import { readPredict } from './tfserving/predict.ts'
import { classifyOutputs, regressOutputs, writeClasses, writeRegressions } from './tfserving/results.ts'
import { malformed, matchRoute } from './tfserving/route.ts'
import { metadata, status } from './tfserving/status.ts'

/**
 * TensorFlow Serving's REST API: its URLs, its JSON and its words for what is wrong. Clients of it speak tensors, so the hooks of a package
 * are not asked. The bodies have no content type there, so none is looked at.
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
        if (route.model === undefined) throw noModel()
        return answer(200, route.action === 'status' ? status(route, catalogue) : metadata(route, catalogue))
      default:
        return undefined
    }
  },

  decode({ body }, manifest, { action }) {
    return action === 'predict' ? predict(body, manifest) : examples(body, manifest, action as ExamplesAction)
  },

  fail(error, req, known) {
    return answer(ERRORS[error.code].status, wrap('error', formatString(textOf(error, req, known?.route))))
  },
} as const satisfies Protocol

function predict(body: Uint8Array, manifest: Manifest): TensorsCall {
  const { signature, feeds, form } = readPredict(body, manifest)
  const write = form === 'row' ? writeRows : writeColumns
  return { kind: 'tensors', signature, feeds, encode: (outputs, spec) => answer(200, write(outputs, spec)) }
}

function examples(body: Uint8Array, manifest: Manifest, action: ExamplesAction): TensorsCall {
  const { signature, examples: serialized } = readExamples(body, manifest, action)
  const [outputsOf, write] =
    action === 'classify' ? [classifyOutputs, writeClasses] : [regressOutputs, writeRegressions]
  const count = serialized.data.length
  return {
    kind: 'tensors',
    signature,
    feeds: { [EXAMPLES_INPUT]: serialized },
    wanted: outputsOf(manifest.signatures[signature]!),
    encode: (outputs) => answer(200, write(outputs, count)),
  }
}

/** What the caller did wrong in TensorFlow Serving's words where it has some; of all else only that it failed, and where to look. */
function textOf(error: AppError, req: HttpRequest, route: Route | undefined): string {
  const { fault, text } = ERRORS[error.code]
  if (fault !== 'caller') return `${text} (request ${req.requestId})`
  if (error.details.reply !== undefined) return error.details.reply
  if (error.code === 'UNKNOWN_LABEL') return `Unrecognized servable version label: ${route?.label}`
  if (error.code !== 'UNKNOWN_MODEL' && error.code !== 'UNKNOWN_VERSION') return error.message
  const { model = '', version, action } = route ?? {}
  if (action === 'status') return `Could not find version ${version} of model ${model}`
  const which = version === undefined ? `Latest(${model})` : `Specific(${model}, ${version})`
  return `Servable not found for request: ${which}`
}

function noModel(): AppError {
  const reply = 'Missing model name in request.'
  return new AppError('BAD_REQUEST', { where: 'the path', expected: '/v1/models/{model}', got: 'no model', reply })
}

function answer(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'application/json' }, body }
}

import { AppError, ERRORS } from '../errors.ts'
import { readForm } from '../http/form.ts'
import { parseJson, stringify } from '../json.ts'
import type { Manifest } from '../manifest.ts'
import { kindOf } from '../nested.ts'
import type { HttpResponse, RequestData } from '../types.ts'
import { checkFields, expectsForm, spellFields } from './fields.ts'
import type { Call, Protocol } from './protocol.ts'
import { decodeSegment } from './segment.ts'

/**
 * The real-time service of ModelArts: a form or JSON goes through the hooks, and what `_postprocess` returns is the body.
 * Without hooks, JSON of `{ alias: nested array }` both ways. `meta.uuid` of a JSON body is repeated in the answer.
 * NaN and infinities are written as the tokens Python's json writes and reads.
 */
export const modelarts = {
  name: 'modelarts',

  match({ path }) {
    if (path === '/' || path === '') return { name: 'POST /', methods: ['POST'] }
    const [, model] = /^\/v1\/infers\/([^/]+)(?:\/.*)?$/.exec(path) ?? []
    return model === undefined
      ? undefined
      : { name: 'POST /v1/infers/{model}', methods: ['POST'], model: decodeSegment(model) }
  },

  decode(req, manifest) {
    const given = req.headers['content-type'] ?? ''
    const type = given.split(';', 1)[0]!.trim().toLowerCase()
    const form = expectsForm(manifest)
    if (type === 'multipart/form-data' && form !== false) {
      const data = readForm(req.body, given)
      checkFields(data, manifest)
      return call(data)
    }
    const json = type === '' || type === 'application/json' || type === 'text/json' || type.endsWith('+json')
    if (!json || form) throw wrongType(type, manifest)
    return fromJson(req.body, manifest)
  },

  fail(error, req, known) {
    const { fault, status } = ERRORS[error.code]
    const [erno, msg] =
      fault === 'caller' ? ['MR.0101', 'The input parameter is invalid'] : ['MR.0105', 'Recognition failed']
    const detail = fault === 'caller' ? { detail: error.message } : {}
    const body = {
      erno,
      msg,
      words_result: {},
      code: error.code,
      ...detail,
      request_id: req.requestId,
      ...known?.call?.echo,
    }
    return answer(status, body)
  },
} as const satisfies Protocol

function fromJson(body: Uint8Array, manifest: Manifest): Call {
  const data = parseJson(body, 'the body')
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw new AppError('BAD_REQUEST', { where: 'the body', expected: 'a JSON object', got: kindOf(data) })
  const object: RequestData = data
  checkFields(object, manifest)
  const uuid: unknown = object.meta?.uuid
  const echo = typeof uuid === 'string' || typeof uuid === 'number' ? { meta: { uuid } } : undefined
  if (manifest.hooks !== undefined || !echo) return call(object, echo)
  // without hooks the members are the inputs of the graph
  const { meta: _, ...inputs } = object
  return call(inputs, echo)
}

function call(data: RequestData, echo?: Call['echo']): Call {
  return { kind: 'hooks', data, echo, encode: (body) => answer(200, withEcho(body, echo)) }
}

function withEcho(result: unknown, echo: Call['echo']): unknown {
  const open = typeof result === 'object' && result !== null && !Array.isArray(result) && !ArrayBuffer.isView(result)
  return echo && open ? { ...echo, ...result } : result
}

function answer(status: number, body: unknown): HttpResponse {
  return { status, headers: { 'content-type': 'application/json' }, body: stringify(body) }
}

function wrongType(type: string, manifest: Manifest): AppError {
  const form = expectsForm(manifest)
  const fix = form
    ? `Send the fields as a form: curl -F ${spellFields(manifest)} …`
    : "Send JSON: curl -H 'content-type: application/json' -d '{…}' …"
  return new AppError('UNSUPPORTED_MEDIA', {
    where: 'content-type',
    expected: form
      ? 'multipart/form-data'
      : form === false
        ? 'application/json'
        : 'multipart/form-data or application/json',
    got: type.slice(0, 80) || 'none',
    fix,
  })
}

import { AppError } from '../../errors.ts'
import type { HttpRequest } from '../../types.ts'
import type { Route } from '../protocol.ts'

const MODEL = '/v1/models/((?:(?!%3a)[^/:])+)'
const VERSION = String.raw`(?:/versions/(\d+)|/labels/([^/:]+?))?`
/** Some clients and gateways encode the colon. */
const INFER = new RegExp(`^${MODEL}${VERSION}(?::|%3a)(classify|regress|predict)$`, 'i')
const INFORM = new RegExp(`^/v1/models(?:/([^/:]+?))?${VERSION}(?:/(metadata))?$`, 'i')

/** Everything under /v1/ but the paths of ModelArts; what has no meaning there is told by `readPath`. */
export function matchRoute({ method, path }: HttpRequest): Route | undefined {
  if (!/^\/v1\//i.test(path) || /^\/v1\/infers(\/|$)/.test(path)) return undefined
  const infer = method === 'POST' ? INFER.exec(path) : null
  if (infer) return route(method, infer)
  const inform = method === 'GET' ? INFORM.exec(path) : null
  if (inform) return route(method, inform, 'status')
  return {
    name: `${method.slice(0, 20)} /v1/`,
    methods: [method],
    action: method === 'OPTIONS' ? 'preflight' : 'malformed',
  }
}

function route(method: string, [, model, digits, label, word]: RegExpExecArray, otherwise?: string): Route {
  const action = word?.toLowerCase() ?? otherwise!
  const place = `${model === undefined ? '' : '/{model}'}${digits ? '/versions/{version}' : label ? '/labels/{label}' : ''}`
  const ending = method === 'POST' ? `:${action}` : action === 'metadata' ? '/metadata' : ''
  return {
    name: `${method} /v1/models${place}${ending}`,
    methods: [method],
    action,
    model: model && decoded('model name', model),
    version: digits && versionOf(digits),
    label: label && decoded('model version label', label),
  }
}

const MAX_VERSION = 2n ** 63n - 1n

function versionOf(digits: string): string {
  const version = BigInt(digits.slice(0, 40))
  if (digits.length <= 40 && version <= MAX_VERSION) return `${version}`
  const reply = `Failed to convert version: ${digits} to numeric.`
  throw new AppError('BAD_REQUEST', {
    where: 'the version',
    expected: 'a number of 64 bits',
    got: 'a larger one',
    reply,
  })
}

function decoded(what: string, segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch (cause) {
    const reply = `Failed to decode ${what}:${segment}`
    throw new AppError('BAD_REQUEST', {
      where: 'the path',
      expected: 'percent-encoded UTF-8',
      got: 'other bytes',
      reply,
      cause,
    })
  }
}

export function malformed({ method, path }: HttpRequest): AppError {
  const reply = `Malformed request: ${method} ${path}`
  return new AppError('BAD_REQUEST', {
    where: 'the path',
    expected: 'POST /v1/models/{model}:predict, GET /v1/models/{model} or GET /v1/models/{model}/metadata',
    got: `${method.slice(0, 20)} of another`,
    reply,
  })
}

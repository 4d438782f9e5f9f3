import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError, isAppError } from '../../src/errors.ts'
import { EXACT, type Tolerance } from '../../src/golden/compare.ts'
import { type Finding, finding } from '../package/findings.ts'
import { encodeRequest, fileReader, type SavedRequest } from './request.ts'

/**
 * golden/<name>.json: a request, the answer it must have, and how close.
 *
 *     { "request":   { "multipart": { "images": { "file": "7.png" } } },     or { "json": … }, and a "path" other than /
 *       "expected":  { "status": 200, "body": { "predicted_label": "7" } },  without "body" only the status counts
 *       "tolerance": { "rtol": 1e-4, "atol": 1e-5, "numericStrings": false } }  default: exact
 */
export interface Golden {
  readonly name: string
  readonly request: SavedRequest
  readonly expected: { readonly status: number; readonly body?: unknown }
  readonly tolerance: Tolerance
}

/** Every golden request that cannot be read, or names a file that is not there. */
export function inspectGolden(dir: string): Finding[] {
  return jsonFiles(dir).flatMap((name) => {
    try {
      const golden = readGolden(join(dir, name))
      encodeRequest(golden.request, fileReader(dir, dirname(dir)))
      return []
    } catch (e) {
      if (!isAppError(e)) throw e
      const { where = '', expected, got, fix } = e.details
      const inside = where.startsWith(name)
      const pointer = inside ? where.slice(name.length) : '/request/multipart'
      const wanted = inside ? expected : `${expected} at '${where}'`
      return [finding('GOLDEN_INVALID', { file: `golden/${name}`, pointer, expected: wanted, got, fix })]
    }
  })
}

export function readGoldens(dir: string): Golden[] {
  return jsonFiles(dir).map((f) => readGolden(join(dir, f)))
}

const jsonFiles = (dir: string) =>
  readdirSync(dir)
    .filter((f) => f.endsWith('.json') && !f.startsWith('.'))
    .sort()

function readGolden(file: string): Golden {
  const name = basename(file, '.json')
  const bad = (where: string, expected: string) =>
    new AppError('BAD_GOLDEN', { where: `${name}.json${where}`, expected })
  const only = (v: unknown, where: string, keys: readonly string[]): Record<string, unknown> => {
    if (typeof v !== 'object' || v === null || Array.isArray(v)) throw bad(where, 'an object')
    const odd = Object.keys(v).find((k) => !keys.includes(k))
    if (odd !== undefined) throw bad(where, `only ${keys.join(', ')}, not '${odd}'`)
    return v as Record<string, unknown>
  }
  const whole = only(parse(file, name), '', ['request', 'expected', 'tolerance', 'comment'])
  const request = only(whole.request, '/request', ['path', 'multipart', 'json'])
  if ('multipart' in request === 'json' in request) throw bad('/request', "one of 'multipart' and 'json'")
  const { path = '/' } = request
  if (typeof path !== 'string' || !path.startsWith('/')) throw bad('/request/path', 'a path that starts with /')
  if ('multipart' in request) {
    for (const [field, parts] of Object.entries(
      only(request.multipart, '/request/multipart', keysOf(request.multipart)),
    )) {
      for (const part of [parts].flat()) {
        if (typeof part === 'string') continue
        const at = `/request/multipart/${field}`
        const { file, fileName = '', contentType = '' } = only(part, at, ['file', 'fileName', 'contentType'])
        if (typeof file !== 'string') throw bad(at, "text, or an object with 'file'")
        if (typeof fileName !== 'string' || typeof contentType !== 'string') throw bad(at, 'text in each member')
      }
    }
  }
  const expected = only(whole.expected, '/expected', ['status', 'body'])
  const { status = 200 } = expected
  if (!Number.isInteger(status)) throw bad('/expected/status', 'a whole number')
  const given = only(whole.tolerance ?? {}, '/tolerance', ['rtol', 'atol', 'numericStrings'])
  for (const key of ['rtol', 'atol']) {
    const v = given[key] ?? 0
    if (typeof v !== 'number' || v < 0) throw bad(`/tolerance/${key}`, 'a number, not negative')
  }
  if (typeof (given.numericStrings ?? false) !== 'boolean') throw bad('/tolerance/numericStrings', 'true or false')
  return { name, request, expected: { ...expected, status: status as number }, tolerance: { ...EXACT, ...given } }
}

const keysOf = (v: unknown) => (typeof v === 'object' && v !== null ? Object.keys(v) : [])

function parse(file: string, name: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8').replace(/^\ufeff/, ''))
  } catch (cause) {
    throw new AppError('BAD_GOLDEN', { where: `${name}.json`, expected: 'JSON', got: 'text that is none', cause })
  }
}

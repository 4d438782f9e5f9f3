import type { Expected } from './check.ts'
import type { Tolerance } from './compare.ts'

/** golden/MODEL/NAME.json in the zip of the function `golden`: a request as it travels, and its answer. */
export interface StoredGolden {
  readonly path: string
  readonly contentType: string
  /** base64 */
  readonly body: string
  readonly expected: Expected
  readonly tolerance: Tolerance
}

export const GOLDEN_DIR = 'golden'
const ID = 'golden-'

/** Gateways number requests themselves, so nobody's request from outside has such an id. */
export const isGolden = (requestId: string): boolean => requestId.startsWith(ID)

/** What an HTTP API sends for it (payload format 2.0); answers repeat the request's id, so it is the one of the recording. */
export function goldenEvent(golden: StoredGolden, name: string): object {
  const { path, contentType, body } = golden
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: '',
    headers: { 'content-type': contentType, 'content-length': String(Buffer.from(body, 'base64').length) },
    requestContext: { http: { method: 'POST', path }, requestId: `${ID}${name}`, stage: '$default' },
    body,
    isBase64Encoded: true,
  }
}

import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import { AppError, isAppError } from '../../../src/errors.ts'
import { memo } from '../../../src/memo.ts'
import { type Arrival, headerOf } from './arrival.ts'
import type { Gate, Verdict } from './gate.ts'

export interface JwtOptions {
  readonly issuer: string
  readonly audience: readonly string[]
  /** one of them is enough; none: not asked for */
  readonly scopes?: readonly string[]
}

/** API Gateway verifies RSA signatures and no others. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512']
/** As long as API Gateway keeps the keys of an issuer. */
const KEYS_MS = 2 * 3_600_000

/** A token is checked against the keys that its issuer publishes: OIDC discovery, then the key set. */
export function jwtGate({ issuer, audience, scopes }: JwtOptions): Gate {
  const keys = memo(() => keysOf(issuer))
  return async (a) => {
    const token = tokenOf(a)
    if (token === undefined) return { refused: 'noToken', headers: [['www-authenticate', 'Bearer']] }
    let claims: JWTPayload
    try {
      if (decodeProtectedHeader(token).kid === undefined) return invalid('the token has no key id')
      const verified = await jwtVerify(token, await keys(), { issuer, algorithms: ALGORITHMS, requiredClaims: ['exp'] })
      claims = verified.payload
    } catch (e) {
      if (isAppError(e)) throw e
      return invalid(reasonOf(e))
    }
    if (claims.iat !== undefined && claims.iat > Math.ceil(a.at / 1000)) return invalid('the token was issued later')
    // the client's id counts only where there is no audience
    const meant = claims.aud ?? claims.client_id
    if (![meant].flat().some((m) => audience.some((x) => x === m)))
      return invalid('the token does not have a valid audience')
    const owned = scopesOf(claims)
    if (scopes && !scopes.some((s) => owned.includes(s)))
      return {
        refused: 'forbidden',
        headers: [['www-authenticate', `Bearer scope="${scopes.join(' ')}" error="insufficient_scope"`]],
      }
    return { identity: { jwt: { claims: texts(claims), scopes: scopes ? owned : null } } }
  }
}

/** With or without `Bearer`. */
function tokenOf(a: Arrival): string | undefined {
  const token = headerOf(a, 'authorization')
    ?.replace(/^Bearer\s+/i, '')
    .trim()
  return token === '' ? undefined : token
}

async function keysOf(issuer: string): Promise<JWTVerifyGetKey> {
  const where = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const answer = await fetch(where).catch((cause: unknown) => {
    throw new AppError('FETCH_FAILED', { where, expected: 'the configuration of the issuer', got: 'no answer', cause })
  })
  const { jwks_uri: uri } = (answer.ok ? await answer.json() : {}) as { readonly jwks_uri?: string }
  if (uri === undefined) throw new AppError('FETCH_FAILED', { where, expected: 'jwks_uri', got: `${answer.status}` })
  return createRemoteJWKSet(new URL(uri), { cacheMaxAge: KEYS_MS, cooldownDuration: 1000 })
}

function invalid(reason: string): Verdict {
  const told = `Bearer scope="" error="invalid_token" error_description="${reason}"`
  return { refused: 'badToken', headers: [['www-authenticate', told]] }
}

/** Never the words of the token itself. */
function reasonOf(e: unknown): string {
  if (e instanceof errors.JWTExpired) return 'the token has expired'
  if (e instanceof errors.JWTClaimValidationFailed)
    return e.claim === 'iss' ? 'the token does not have a valid issuer' : `the claim ${e.claim} does not hold`
  if (e instanceof errors.JOSEAlgNotAllowed) return 'the algorithm of the token is not supported'
  if (e instanceof errors.JWKSNoMatchingKey) return 'the key of the token is not one of the issuer'
  if (e instanceof errors.JWSSignatureVerificationFailed) return 'the signature does not hold'
  return 'the token cannot be read'
}

function scopesOf({ scope, scp }: JWTPayload): string[] {
  const all = scope ?? scp
  return Array.isArray(all) ? all.map(String) : typeof all === 'string' ? all.split(' ') : []
}

/** Functions see each claim as text, and a list in brackets. */
function texts(claims: JWTPayload): Record<string, string> {
  const text = (v: unknown) =>
    Array.isArray(v) ? `[${v.join(' ')}]` : typeof v === 'object' ? JSON.stringify(v) : String(v)
  return Object.fromEntries(Object.entries(claims).map(([name, v]) => [name, text(v)]))
}

import type { Arrival, Pair } from './arrival.ts'
import { headerOf } from './arrival.ts'

/** What a front knows beside the request. */
export interface Context {
  readonly stage: string
  readonly region: string
  readonly accountId: string
  readonly identity: Identity
  /** REST APIs only: what is bytes to them */
  readonly binaryMediaTypes: readonly string[]
}

/** Whom the gate let in. */
export interface Identity {
  readonly iam?: { readonly accessKey: string; readonly userArn: string }
  readonly jwt?: { readonly claims: Readonly<Record<string, string>>; readonly scopes: readonly string[] | null }
  readonly apiKey?: { readonly id: string; readonly key: string }
}

export const API_ID = 'sandbox'

/** What AWS puts on every request, whatever the client sent under these names. */
export function forwarded(a: Arrival, domain: string): Pair[] {
  const own: Record<string, string> = {
    Host: domain,
    'X-Amzn-Trace-Id': `Root=1-${Math.floor(a.at / 1000).toString(16)}-${a.id.replaceAll('-', '').slice(0, 24)}`,
    'X-Forwarded-For': [headerOf(a, 'x-forwarded-for'), a.sourceIp].filter(Boolean).join(', '),
    'X-Forwarded-Port': '443',
    'X-Forwarded-Proto': 'https',
  }
  const names = new Set(Object.keys(own).map((n) => n.toLowerCase()))
  // of a connection, not of the request
  for (const hop of ['connection', 'transfer-encoding', 'keep-alive', 'upgrade', 'expect']) names.add(hop)
  return [...a.headers.filter(([n]) => !names.has(n.toLowerCase())), ...Object.entries(own)]
}

/** 20/Nov/2026:10:00:00 +0000 */
export function clfTime(ms: number): string {
  const [, day, month, year, time] = /^\w+, (\d+) (\w+) (\d+) ([\d:]+)/.exec(new Date(ms).toUTCString())!
  return `${day}/${month}/${year}:${time} +0000`
}

/** Percent signs undone; a name or value that cannot be is left as it is. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Parameters in order; a plus is a space, as in forms. */
export function queryPairs(query: string): Pair[] {
  return query
    .split('&')
    .filter((p) => p !== '')
    .map((p) => {
      const [name = '', value = ''] = p.replaceAll('+', '%20').split(/=(.*)/s, 2)
      return [decoded(name), decoded(value)]
    })
}

/** Values by name, in order. */
export function grouped(pairs: readonly Pair[]): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const [name, value] of pairs) found.set(name, [...(found.get(name) ?? []), value])
  return found
}

export const mediaType = (a: Arrival): string => (headerOf(a, 'content-type') ?? '').split(';')[0]!.trim().toLowerCase()

import { timingSafeEqual } from 'node:crypto'
import { headerOf } from './arrival.ts'
import type { Gate } from './gate.ts'

/** The key of a usage plan. */
export function apiKeyGate(apiKey: { readonly id: string; readonly key: string }): Gate {
  const wanted = Buffer.from(apiKey.key)
  return async (a) => {
    const given = Buffer.from(headerOf(a, 'x-api-key') ?? '')
    const same = given.length === wanted.length && timingSafeEqual(given, wanted)
    return same ? { identity: { apiKey } } : { refused: 'forbidden' }
  }
}

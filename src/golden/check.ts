import { type Difference, differences, parseBody, type Tolerance } from './compare.ts'

/** What a golden request must be answered with. */
export interface Expected {
  readonly status: number
  /** absent: only the status counts */
  readonly body?: unknown
}

export interface Answer {
  readonly status: number
  readonly body: string | Uint8Array
}

/** The one rule by which an answer counts as the recorded one: while packaging, at a new version in Lambda, and before going back to an old one. */
export function answerDifferences(expected: Expected, { status, body }: Answer, tolerance: Tolerance): Difference[] {
  const found: Difference[] = []
  if (status !== expected.status)
    found.push({ pointer: STATUS, expected: String(expected.status), actual: String(status) })
  if ('body' in expected) found.push(...differences(expected.body, parseBody(textOf(body)), tolerance))
  return found
}

export const STATUS = '(status)'

export const textOf = (body: string | Uint8Array): string =>
  typeof body === 'string' ? body : new TextDecoder().decode(body)

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { now } from '../clock.ts'
import { AppError } from '../errors.ts'
import { splitPrelude } from '../http/prelude.ts'
import type { Log } from '../log.ts'
import { answerDifferences, STATUS } from './check.ts'
import { GOLDEN_DIR, goldenEvent, type StoredGolden } from './stored.ts'

export interface Invoked {
  /** as Lambda hands it over: JSON, or a streamed answer */
  readonly payload: Uint8Array
  /** the type of what was thrown, where nothing was answered */
  readonly failed?: string
}

/** Sends an event to the version that is to be checked. */
export type Invoke = (event: object, signal: AbortSignal) => Promise<Invoked>

export interface Report {
  readonly sent: number
  /** `MODEL/NAME: what is wrong`: places and states, never what stands there */
  readonly failures: readonly string[]
}

export interface CheckOptions {
  /** milliseconds since the epoch */
  readonly deadline: number
  readonly log: Log
}

/** `MODEL/NAME`, and how to come by it: there may be more of them than memory for all. */
export type Goldens = ReadonlyMap<string, () => StoredGolden>

/** What lies in the zip of the function. */
export function storedBelow(root: string): Goldens {
  const dir = join(root, GOLDEN_DIR)
  const files = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.json'))
  return new Map(
    files.sort().map((f) => {
      const name = f.slice(0, -'.json'.length).replaceAll('\\', '/')
      return [name, () => JSON.parse(readFileSync(join(dir, f), 'utf8')) as StoredGolden]
    }),
  )
}

/** One after the other: the version is cold, and more at once would start it more than once. */
export async function checkVersion(goldens: Goldens, invoke: Invoke, { deadline, log }: CheckOptions): Promise<Report> {
  // a check of nothing would let everything pass
  if (goldens.size === 0)
    throw new AppError('BAD_GOLDEN', { where: GOLDEN_DIR, expected: 'golden requests', got: 'none' })
  const failures: string[] = []
  for (const [name, read] of goldens) {
    const start = now()
    const wrong = await send(read(), name, invoke, deadline)
    const total = Math.round(now() - start)
    if (wrong === undefined) log({ level: 'info', message: `golden ${name}: as recorded`, ms: { total } })
    else {
      log({ level: 'error', message: `golden ${name}: ${wrong}`, ms: { total } })
      failures.push(`${name}: ${wrong}`)
    }
  }
  return { sent: goldens.size, failures }
}

async function send(golden: StoredGolden, name: string, invoke: Invoke, deadline: number): Promise<string | undefined> {
  const left = deadline - Date.now()
  if (left <= 0) return 'not sent, there was no time left'
  const signal = AbortSignal.timeout(left)
  let invoked: Invoked
  try {
    invoked = await invoke(goldenEvent(golden, name.slice(name.lastIndexOf('/') + 1)), signal)
  } catch (e) {
    if (signal.aborted) return 'not answered in the time there was'
    const { name: type, message } = e as Error
    return `not sent: ${type}: ${message.slice(0, 200)}`
  }
  if (invoked.failed !== undefined) return `the function failed with ${invoked.failed}`
  const answer = httpAnswer(invoked.payload)
  if (!answer) return 'answered with something that is not HTTP'
  const found = answerDifferences(golden.expected, answer, golden.tolerance)
  if (found.length === 0) return undefined
  const status = found.find((d) => d.pointer === STATUS)
  // the body of another status says something else altogether
  if (status) return `status ${status.actual} instead of ${status.expected}`
  const places = found.map((d) => d.pointer || '/')
  return `differs at ${places.slice(0, PLACES).join(', ')}${places.length > PLACES ? ` and ${places.length - PLACES} more` : ''}`
}

const PLACES = 3

function httpAnswer(payload: Uint8Array): { status: number; body: string | Uint8Array } | undefined {
  const streamed = splitPrelude(payload)
  if (streamed) return { status: streamed.prelude.statusCode, body: streamed.body }
  let answer: { statusCode?: unknown; body?: unknown; isBase64Encoded?: unknown } | null
  try {
    answer = JSON.parse(Buffer.from(payload).toString())
  } catch {
    return undefined
  }
  if (typeof answer?.statusCode !== 'number' || typeof answer.body !== 'string') return undefined
  return {
    status: answer.statusCode,
    body: answer.isBase64Encoded === true ? Buffer.from(answer.body, 'base64') : answer.body,
  }
}

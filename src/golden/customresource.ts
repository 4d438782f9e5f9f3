import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../errors.ts'
import { type Log, toAppError } from '../log.ts'
import type { Report } from './run.ts'

/** What CloudFormation sends to a custom resource. */
interface CustomRequest {
  readonly RequestType: 'Create' | 'Update' | 'Delete'
  /** signed: whoever has it can answer, so it is never logged */
  readonly ResponseURL: string
  readonly StackId: string
  readonly RequestId: string
  readonly LogicalResourceId: string
  readonly PhysicalResourceId?: string
  readonly ResourceProperties: Properties
  readonly OldResourceProperties?: Properties
}
interface Properties {
  /** ARN of a published version */
  readonly Version?: string
}

export type Check = (version: string) => Promise<Report>

/**
 * The check as a step of the stack: CloudFormation waits for it before it moves the alias, and goes back when it fails. Always answers,
 * since a stack without an answer waits for its timeout.
 */
export async function answerCustomResource(event: unknown, check: Check, log: Log): Promise<void> {
  if (!isCustomRequest(event))
    throw new AppError('BAD_REQUEST', {
      where: 'the event',
      expected: 'a custom resource of CloudFormation',
      got: 'another',
    })
  const reason = await verdict(event, check)
  log({ level: reason ? 'error' : 'info', message: `${event.RequestType}: ${reason ?? 'fine'}` })
  const { StackId, RequestId, LogicalResourceId, PhysicalResourceId = LogicalResourceId } = event
  const outcome = reason === undefined ? { Status: 'SUCCESS' } : { Status: 'FAILED', Reason: reason }
  await put(event.ResponseURL, { ...outcome, StackId, RequestId, LogicalResourceId, PhysicalResourceId })
}

async function verdict(event: CustomRequest, check: Check): Promise<string | undefined> {
  const version = event.ResourceProperties.Version
  if (event.RequestType === 'Delete' || goesBack(event)) return undefined
  if (version === undefined) return 'The property Version is missing.'
  try {
    const { sent, failures } = await check(version)
    if (failures.length === 0) return undefined
    const list = failures.join('; ')
    const shown = list.length > MOST ? `${list.slice(0, MOST)}… (all in the log)` : list
    return `${failures.length} of ${sent} golden requests are not answered as recorded: ${shown}`
  } catch (e) {
    return toAppError(e).message
  }
}

/** CloudFormation refuses answers beyond 4 KB. */
const MOST = 1500

/** A stack that goes back asks again, with the version it had: it was live already, and a failure now would leave the stack between both. */
function goesBack({ RequestType, ResourceProperties, OldResourceProperties }: CustomRequest): boolean {
  if (RequestType !== 'Update') return false
  const [to, from] = [split(ResourceProperties.Version), split(OldResourceProperties?.Version)]
  return to.of === from.of && to.number < from.number
}

function split(arn = ''): { of: string; number: number } {
  const at = arn.lastIndexOf(':')
  return { of: arn.slice(0, at), number: Number(arn.slice(at + 1)) }
}

function isCustomRequest(e: unknown): e is CustomRequest {
  const { RequestType, ResponseURL, ResourceProperties } = (e ?? {}) as Partial<Record<keyof CustomRequest, unknown>>
  const known = RequestType === 'Create' || RequestType === 'Update' || RequestType === 'Delete'
  return (
    known && typeof ResponseURL === 'string' && typeof ResourceProperties === 'object' && ResourceProperties !== null
  )
}

const ATTEMPTS = 4

/** As bytes: for text, fetch would name a content type that the signature does not know. */
async function put(url: string, answer: object): Promise<void> {
  const body = Buffer.from(JSON.stringify(answer))
  for (let attempt = 1; ; attempt++) {
    const status = await fetch(url, { method: 'PUT', body }).then(
      (r) => r.status,
      () => 0,
    )
    if (status >= 200 && status < 300) return
    if (attempt === ATTEMPTS)
      throw new AppError('STORE_FAILED', {
        where: 'the answer to CloudFormation',
        got: status ? `status ${status}` : 'no connection',
      })
    await sleep(250 * 2 ** attempt)
  }
}

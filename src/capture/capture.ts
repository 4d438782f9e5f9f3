import { crc32c } from '../crc32c.ts'
import { within } from '../deadline.ts'
import { isGolden } from '../golden/stored.ts'
import { type Log, logged, toAppError } from '../log.ts'
import { memo } from '../memo.ts'
import type { HttpRequest, HttpResponse } from '../types.ts'

/** What a deployment says about capture; packager/deploy/capture.ts checks it. */
export interface CaptureOptions {
  /** where the records lie */
  readonly bucket: string
  /** '' or ending in a slash */
  readonly prefix: string
  /** of the requests */
  readonly percent: number
  /** JSONPaths of what is never written, in requests and answers; fields of a form are members */
  readonly redact: readonly string[]
  readonly bodies: 'none' | 'request' | 'both'
  /** what is written of a file, and of any body that is neither JSON nor a form (kept only where nothing is redacted) */
  readonly files: 'omit' | 'hash' | 'keep'
}

export interface Exchange {
  /** its content-encoding undone */
  readonly request: HttpRequest
  readonly response: HttpResponse
  readonly model: string
  readonly version: string
}

export interface Capture {
  wants(requestId: string): boolean
  /** Whether it was written. Never rejects: the answer matters more. */
  keep(exchange: Exchange, deadline: number | undefined): Promise<boolean>
}

export interface Place {
  readonly region?: string
  readonly endpoint?: string
}

/** The caller of a sampled request waits for S3, because Lambda freezes the process with the answer; so it does not wait long. */
const PATIENCE_MS = 1000

export function createCapture(options: CaptureOptions, place: Place, log: Log): Capture {
  // with the AWS SDK in it: only the first sampled request pays for that
  const writer = memo(async () => (await import('./writer.ts')).createWriter(options, place))
  return {
    // those of a release are nobody's, and lie in the package already
    wants: (requestId) => !isGolden(requestId) && sampled(requestId, options.percent),
    async keep(exchange, deadline = Number.POSITIVE_INFINITY) {
      const { requestId, functionRequestId } = exchange.request
      const gone = new AbortController()
      try {
        const write = await writer()
        const until = Math.min(deadline, Date.now() + PATIENCE_MS)
        await within(until, 'capture', () => write(exchange, gone.signal))
        return true
      } catch (e) {
        gone.abort()
        const error = logged(toAppError(e))
        log({ level: 'warn', message: 'The request was not captured', requestId, functionRequestId, error })
        return false
      }
    },
  }
}

/** By the id and nothing else, so that a request is in the sample or not, whoever asks. */
export function sampled(requestId: string, percent: number): boolean {
  return crc32c(Buffer.from(requestId)) < (percent / 100) * 2 ** 32
}

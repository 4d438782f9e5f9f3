import type { Context } from 'aws-lambda'
import { boot } from '../src/boot.ts'
import { answer } from '../src/http/lambda.ts'
import type { Prelude } from '../src/http/prelude.ts'
import { stream } from '../src/http/stream.ts'

/** Settles when the function is ready to answer: whoever can await it during Lambda's init phase should. */
export const ready = boot()

const invokeOf = (context: Context) => ({
  requestId: context.awsRequestId,
  deadline: Date.now() + context.getRemainingTimeInMillis(),
})

export async function handler(event: unknown, context: Context) {
  return answer(await ready, event, invokeOf(context))
}

/** For endpoints that stream; only Lambda's own runtime has what it takes. */
export const streamed =
  typeof awslambda === 'undefined'
    ? undefined
    : awslambda.streamifyResponse(async (event: unknown, out, context) => {
        const open = (prelude: Prelude) => awslambda.HttpResponseStream.from(out, { ...prelude })
        await stream(await ready, event, open, invokeOf(context))
      })

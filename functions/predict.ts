import type { Context } from 'aws-lambda'
import { boot } from '../src/boot.ts'
import { answer } from '../src/http/lambda.ts'

/** Settles when the function is ready to answer: whoever can await it during Lambda's init phase should. */
export const ready = boot()

export async function handler(event: unknown, context: Context) {
  const app = await ready
  return answer(app, event, {
    requestId: context.awsRequestId,
    deadline: Date.now() + context.getRemainingTimeInMillis(),
  })
}

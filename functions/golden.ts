import type { Context } from 'aws-lambda'
import { answerCustomResource } from '../src/golden/customresource.ts'
import { invokeVersion } from '../src/golden/invoke.ts'
import { checkVersion, storedBelow } from '../src/golden/run.ts'
import { writeLine } from '../src/log.ts'

/** What it takes to answer before Lambda ends the process. */
const MARGIN_MS = 10_000

/** Sends the golden requests to a new version before the alias moves to it; CloudFormation calls it as a custom resource. */
export async function handler(event: unknown, context: Context): Promise<void> {
  const deadline = Date.now() + context.getRemainingTimeInMillis() - MARGIN_MS
  // src/boot.ts would bring the runtime of the models along
  const root = process.env.LAMBDA_TASK_ROOT ?? '/var/task'
  const check = (version: string) =>
    checkVersion(storedBelow(root), invokeVersion(version), { deadline, log: writeLine })
  await answerCustomResource(event, check, writeLine)
}

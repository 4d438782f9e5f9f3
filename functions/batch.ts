import { join } from 'node:path'
import type { Context } from 'aws-lambda'
import { invokeAgain } from '../src/batch/again.ts'
import { publishMetrics } from '../src/batch/metrics.ts'
import { openQueues } from '../src/batch/queue.ts'
import { reliable } from '../src/batch/reliable.ts'
import { createS3Store } from '../src/batch/s3store.ts'
import { codeDigest, jobOf, placesOf, readOptions, threadsOf } from '../src/batch/setup.ts'
import { withWeb } from '../src/batch/withweb.ts'
import { createWorker } from '../src/batch/worker.ts'
import { bootStore, readBatchSettings, readObserveSettings, readSettings } from '../src/boot.ts'
import { memo } from '../src/memo.ts'
import { observedLog } from '../src/observe.ts'
import { threadsFor } from '../src/session.ts'

const settings = readBatchSettings()
const log = observedLog(readObserveSettings(), publishMetrics)
const models = bootStore(undefined, log)
let functionRequestId: string | undefined

/** A wrong setting fails each invocation with its reason, not the init phase without one. */
const worker = memo(async () => {
  const options = readOptions(settings.options)
  const store = reliable(withWeb(createS3Store(settings), options.webSources))
  const { opt, taskRoot, memoryMb } = readSettings()
  const places = { file: join(taskRoot, 'thread.js'), roots: [opt, taskRoot], cpus: threadsFor(memoryMb) }
  const given = jobOf(await models, store, options, codeDigest(settings))
  const job = { ...given, ...placesOf(settings), ...threadsOf(given.model, places) }
  const { functionName, region } = settings
  return createWorker(job, {
    log: (line) => log({ ...line, functionRequestId }),
    maxReceives: options.maxReceives,
    queue: openQueues(settings.queueEndpoint),
    ...(functionName !== undefined && { again: invokeAgain(functionName, region) }),
  })
})

export async function handler(event: unknown, context: Context) {
  functionRequestId = context.awsRequestId
  const work = await worker()
  return work(event, { deadline: Date.now() + context.getRemainingTimeInMillis() })
}

import { join } from 'node:path'
import type { Context } from 'aws-lambda'
import { invokeAgain } from '../src/batch/again.ts'
import { reliable } from '../src/batch/reliable.ts'
import { createS3Store } from '../src/batch/s3store.ts'
import { codeDigest, jobOf, placesOf, readOptions, threadsOf } from '../src/batch/setup.ts'
import { withWeb } from '../src/batch/withweb.ts'
import { createWorker } from '../src/batch/worker.ts'
import { bootStore, readBatchSettings, readSettings } from '../src/boot.ts'
import { writeLine } from '../src/log.ts'
import { memo } from '../src/memo.ts'
import { threadsFor } from '../src/session.ts'

const settings = readBatchSettings()
const models = bootStore()

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
    log: writeLine,
    maxReceives: options.maxReceives,
    ...(functionName !== undefined && { again: invokeAgain(functionName, region) }),
  })
})

export async function handler(event: unknown, context: Context) {
  const work = await worker()
  return work(event, { deadline: Date.now() + context.getRemainingTimeInMillis() })
}

import { keyBelow } from './names.ts'
import { currentOf, ownerOf } from './publish.ts'
import { readWhole } from './reliable.ts'
import type { Item, Job } from './run.ts'
import type { Done, ObjectRef } from './types.ts'

/** The runs of a job that are done, whatever their outcome; of those with one name for their result the one that it is of. */
export async function* donesOf({ store, input, output: { bucket, prefix } }: Job): AsyncGenerator<Done> {
  for await (const { key } of store.list(bucket, prefix)) {
    if (!key.endsWith('.done.json')) continue
    const done = JSON.parse((await readWhole(store, { bucket, key })).toString()) as Done
    const named = done.output.key.includes(done.run)
    if (named || (await ownerOf(store, currentOf(bucket, prefix, keyBelow(input, done.input)))) === done.run) yield done
  }
}

/**
 * What is left to answer of an object by the latest of its runs: undefined where nothing failed. A run that could not read its
 * object to the end is repeated as a whole, and so is one whose result has a name that the new result takes.
 */
export async function retryOf(job: Job, ref: ObjectRef): Promise<Item | undefined> {
  const { input, output, store } = job
  const key = keyBelow(input, ref)
  let latest: { done: Done; modified: number } | undefined
  for await (const info of store.list(output.bucket, `${output.prefix}${key}.`)) {
    if (!info.key.endsWith('.done.json') || info.modified < (latest?.modified ?? 0)) continue
    latest = { done: JSON.parse((await readWhole(store, info)).toString()) as Done, modified: info.modified }
  }
  if (!latest) return ref
  const { counts, output: made, status, run } = latest.done
  if (counts.failed === 0 || made.errors === undefined) return undefined
  const whole = status === 'FAILED' || !made.key.includes(run)
  return { ...ref, onlyErrors: made.errors, ...(whole && { whole }) }
}

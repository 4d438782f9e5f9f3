import { keyBelow } from './names.ts'
import { readWhole } from './reliable.ts'
import type { Item, Job } from './run.ts'
import type { Done, ObjectRef, ObjectStore } from './types.ts'

/** The runs below a prefix that are done, whatever their outcome. */
export async function* donesUnder(store: ObjectStore, bucket: string, prefix: string): AsyncGenerator<Done> {
  for await (const { key } of store.list(bucket, prefix))
    if (key.endsWith('.done.json')) yield JSON.parse((await readWhole(store, { bucket, key })).toString()) as Done
}

/**
 * What is left to answer of an object by the latest of its runs: undefined where nothing failed. A run that could not read its
 * object to the end is repeated as a whole.
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
  const { counts, output: made, status } = latest.done
  if (counts.failed === 0 || made.errors === undefined) return undefined
  return status === 'FAILED' ? { ...ref, onlyErrors: '' } : { ...ref, onlyErrors: made.errors }
}

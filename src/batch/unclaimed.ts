import { compute } from './compute.ts'
import { type Checkpoint, type Claim, fresh } from './ledger.ts'
import { publishAnswered } from './publish.ts'
import type { Control, Item, Outcome, Run } from './run.ts'
import { discard, isEmpty } from './sink.ts'
import type { ObjectInfo } from './types.ts'

/** What the event says of the object, where that is enough: whether it holds is found out by reading. */
export function toldBy({ bucket, key, versionId, size, etag }: Item): ObjectInfo | undefined {
  if (size === undefined || etag === undefined) return undefined
  // unclaimed results are not replaced, so nobody asks which is newer
  return { bucket, key, size, etag, modified: 0, ...(versionId !== undefined && { versionId }) }
}

/**
 * An object of one record that nobody has tried before is answered without a claim and without a checkpoint: two reads and two writes
 * instead of six and four, and of such objects there are millions. It is still answered or named once:
 *
 * - A result has a name of its own and appears whole, by a write that fails where there is one, of whichever process. It decides.
 * - Only what was answered is published like this. A record that fails, a result that is there already: all goes the way
 *   of a claim, from its beginning; where the time ended over it, at the next call.
 * - A result without a checkpoint that says `publish` is therefore one of this way, and whoever finds it takes it for the answer.
 *
 * A process that ends leaves nothing behind from which the next could learn, so whoever calls has to know that it is the first.
 * @returns undefined: it has to be claimed
 */
export async function answerUnclaimed(run: Run, control: Control): Promise<Outcome | undefined> {
  let state: Checkpoint = fresh(run.names.run)
  const held: Claim = {
    state,
    save: async () => undefined,
    hold: async () => undefined,
    leave: async () => undefined,
    close: async () => undefined,
  }
  const ended = await compute(run, held, control, (next) => {
    state = next
  })
  if (ended === 'paused') return { status: 'PAUSED', counts: state.counts, moved: false, tried: true }
  if (!state.error && isEmpty(state.errors) && state.result.parts.length === 0) {
    const done = await publishAnswered(run, state)
    return done && { status: 'DONE', done, fresh: true }
  }
  await discard(run.job.store, run.outputs.result, state.result)
  return undefined
}

import { createHash } from 'node:crypto'
import type { Place } from './names.ts'
import type { ObjectStore } from './types.ts'

/** Objects that a process takes up together, where nobody counts how often. */
export interface Lot {
  /** no process has ended over them */
  readonly first: boolean
  /**
   * Takes the sign away, so that the next is the first again; but not where claims were made and something is `left`, since that has
   * checkpoints. Not to be called where the time ended over an object that was `tried` without a claim.
   */
  end(left: boolean): Promise<void>
}

/**
 * A small object beside the output stands there for as long as a process works on the lot, so one that is found tells of a process
 * that ended: one write for all the objects, which may then do without claims (see unclaimed.ts). Two processes at the same lot are
 * no harm: the second works with claims.
 * @param what tells the lot from any other; JSON
 */
export async function takeLot(store: ObjectStore, output: Place, what: unknown): Promise<Lot> {
  const name = createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 12)
  const ref = { bucket: output.bucket, key: `${output.prefix}lot.${name}.hand.json` }
  const { written } = await store.put(ref, Buffer.from('{}'), { only: 'absent', contentType: 'application/json' })
  return {
    first: written,
    async end(left) {
      if (written || !left) await store.remove(ref)
    },
  }
}

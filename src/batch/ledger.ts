import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, isAppError } from '../errors.ts'
import { readWhole } from './reliable.ts'
import { EMPTY, type SinkState } from './sink.ts'
import type { Counts, ObjectRef, ObjectStore, Position } from './types.ts'

/**
 * What is known about a run that is not done: an object beside the output, replaced by compare-and-swap, so that it has one
 * writer. Whoever claims it after a crash reads from it what was done, and what the crashed process was about to do.
 */
export interface Checkpoint {
  readonly format: 1
  readonly run: string
  /** `publish`: all is written, and only has to become visible; from then on nothing is computed again */
  readonly phase: 'run' | 'publish'
  readonly at: Position
  readonly counts: Counts
  readonly ms: Readonly<Record<string, number>>
  readonly result: SinkState
  readonly errors: SinkState
  /** of the result writer */
  readonly writer: unknown
  /** why the object could not be read to its end */
  readonly error?: { readonly code: string; readonly reason: string }
  /** whoever works on it, and when it counts as dead unless it has written again */
  readonly lease?: { readonly owner: string; readonly until: number }
  /** attempts that ended without moving `at` */
  readonly tries: number
  /** records before this one are watched: what is in hand is written down before it is worked on */
  readonly watchUntil: number
  /** records before this one were in hand together when an attempt ended: they go one by one */
  readonly suspectUntil: number
  /** what is in hand, where it is watched; `alone`: how many attempts this one record has ended by itself */
  readonly hand?: { readonly from: number; readonly to: number; readonly alone: number }
}

/** A record is named CRASHED once it has ended this many attempts all by itself. */
export const ALONE = 2
/** renewed with each checkpoint, which is written four times as often */
export const LEASE_MS = 60_000

export interface Claim {
  readonly state: Checkpoint
  /** Writes the state and keeps the lease. @throws {AppError} LEASE_LOST where another process has taken over */
  save(state: Checkpoint): Promise<void>
  /** Writes the state for whoever comes next. */
  leave(state: Checkpoint): Promise<void>
  /** The run is done. */
  close(): Promise<void>
}

export interface ClaimOptions {
  /** whoever held it is known to be gone */
  readonly takeOver?: boolean
  readonly leaseMs?: number
}

/** undefined: another process works on it. */
export async function claim(
  store: ObjectStore,
  ref: ObjectRef,
  run: string,
  { takeOver = false, leaseMs = LEASE_MS }: ClaimOptions = {},
): Promise<Claim | undefined> {
  const owner = randomUUID()
  const lease = () => ({ owner, until: Date.now() + leaseMs })
  for (let attempt = 0; ; attempt++) {
    const found = await load(store, ref)
    const before = found?.state.run === run ? found.state : undefined
    if (before?.lease && before.lease.until > Date.now() && !takeOver) return undefined
    const state = { ...(before ? takenOver(before) : fresh(run)), lease: lease() }
    const etag = await write(store, ref, state, found?.etag)
    if (etag !== undefined) return held(store, ref, state, etag, lease)
    // somebody else was faster; look again who it is
    if (attempt > 3) return undefined
    await sleep(20 * (attempt + 1))
  }
}

function held(store: ObjectStore, ref: ObjectRef, state: Checkpoint, first: string, lease: () => Checkpoint['lease']) {
  let etag = first
  const swap = async (next: Checkpoint) => {
    const written = await write(store, ref, next, etag)
    if (written === undefined) throw lost(ref)
    etag = written
  }
  return {
    state,
    save: (next: Checkpoint) => swap({ ...next, lease: lease() }),
    leave: ({ lease: _, ...next }: Checkpoint) => swap(next),
    close: () => store.remove(ref),
  }
}

function lost(ref: ObjectRef): AppError {
  return new AppError('LEASE_LOST', { where: ref.key, expected: 'the checkpoint as we wrote it', got: 'another' })
}

/** Another process has taken the run over. */
export function isLost(e: unknown): boolean {
  return isAppError(e) && e.code === 'LEASE_LOST'
}

/** A write whose answer was lost and is repeated meets its own content: that is success, and the owner in it says so. */
async function write(store: ObjectStore, ref: ObjectRef, state: Checkpoint, etag: string | undefined) {
  const bytes = Buffer.from(JSON.stringify(state))
  const only = etag === undefined ? 'absent' : ({ etag } as const)
  const written = await store.put(ref, bytes, { only, contentType: 'application/json' })
  if (written.written) return written.etag
  const now = await store.stat(ref)
  if (now?.size !== bytes.length) return undefined
  return (await readWhole(store, ref)).equals(bytes) ? now.etag : undefined
}

async function load(store: ObjectStore, ref: ObjectRef): Promise<{ state: Checkpoint; etag: string } | undefined> {
  const info = await store.stat(ref)
  if (!info) return undefined
  try {
    return { state: JSON.parse((await readWhole(store, ref)).toString()) as Checkpoint, etag: info.etag }
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
    throw new AppError('BAD_INPUT', { where: ref.key, expected: 'a checkpoint', got: 'damaged JSON', cause })
  }
}

/** A run from its beginning. */
export function fresh(run: string): Checkpoint {
  return {
    format: 1,
    run,
    phase: 'run',
    at: { record: 0 },
    counts: { records: 0, answered: 0, failed: 0 },
    ms: {},
    result: EMPTY,
    errors: EMPTY,
    writer: null,
    tries: 0,
    watchUntil: 0,
    suspectUntil: 0,
  }
}

/** A lease that was left behind tells of a crash. */
function takenOver({ lease, ...state }: Checkpoint): Checkpoint {
  return lease && state.phase === 'run' ? afterTrouble(state) : state
}

/** How many records after the last checkpoint are watched at least: as many as a checkpoint interval may hold. */
const WATCHED = 100_000

/**
 * The state for the next attempt, after one that ended without saying so or without moving on. First all that may have been in
 * work is watched, then the records that were in hand together go one by one, then one is left.
 */
export function afterTrouble(state: Checkpoint): Checkpoint {
  const { hand, at } = state
  const next = { ...state, tries: state.tries + 1, watchUntil: Math.max(state.watchUntil, at.record + WATCHED) }
  if (!hand) return next
  if (hand.to - hand.from === 1) return { ...next, hand: { ...hand, alone: hand.alone + 1 } }
  return { ...next, hand: undefined, suspectUntil: hand.to }
}

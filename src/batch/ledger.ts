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
  /** what was in hand when the time ended, or the process */
  readonly hand?: Hand
  /** the one record that ended the last attempts by itself, or the place from which reading did, and how many */
  readonly ended?: Hand & { readonly times: number }
}

/** Consecutive records; none where what comes next is being read. */
export interface Hand {
  readonly from: number
  /** behind the last */
  readonly to: number
}

/** A record is named CRASHED, and reading is given up, once that has ended this many attempts all by itself. */
export const ALONE = 2
/** renewed with each checkpoint, which is written four times as often */
export const LEASE_MS = 60_000

export interface Claim {
  readonly state: Checkpoint
  /** Writes the state and keeps the lease. @throws {AppError} LEASE_LOST where another process has taken over */
  save(state: Checkpoint): Promise<void>
  /** Writes down what is in hand, beside the state, which may be large. It counts for as long as the lease is ours. */
  hold(hand: Hand): Promise<void>
  /** Writes the state for whoever comes next. */
  leave(state: Checkpoint): Promise<void>
  /** The run is done. */
  close(): Promise<void>
}

export interface ClaimOptions {
  /** whoever held it is known to be gone */
  readonly takeOver?: boolean
  readonly leaseMs?: number
  /** awaited before a run is taken up at which a process ended: others in work would be blamed with it; false: not now */
  alone?(): Promise<boolean>
}

/** undefined: another process works on it, or not now. */
export async function claim(
  store: ObjectStore,
  ref: ObjectRef,
  run: string,
  { takeOver = false, leaseMs = LEASE_MS, alone }: ClaimOptions = {},
): Promise<Claim | undefined> {
  let isAlone = alone === undefined
  const owner = randomUUID()
  const lease = () => ({ owner, until: Date.now() + leaseMs })
  for (let attempt = 0; ; attempt++) {
    const found = await load(store, ref)
    const before = found?.state.run === run ? found.state : undefined
    if (before?.lease && before.lease.until > Date.now() && !takeOver) return undefined
    if (before && !isAlone && (before.lease || before.tries > 0)) {
      if (!(await alone!())) return undefined
      isAlone = true
      // much may have happened since
      continue
    }
    const state = { ...(before ? await takenOver(store, ref, before) : fresh(run)), lease: lease() }
    const etag = await write(store, ref, state, found?.etag)
    if (etag !== undefined) return held(store, ref, state, etag, lease, owner)
    // somebody else was faster; look again who it is
    if (attempt > 3) return undefined
    await sleep(20 * (attempt + 1))
  }
}

function held(
  store: ObjectStore,
  ref: ObjectRef,
  state: Checkpoint,
  first: string,
  lease: () => Checkpoint['lease'],
  owner: string,
): Claim {
  let etag = first
  let watched = state.watchUntil > 0
  const swap = async (next: Checkpoint) => {
    const written = await write(store, ref, next, etag)
    if (written === undefined) throw lost(ref)
    etag = written
  }
  const drop = async () => {
    if (watched) await store.remove(handOf(ref))
    watched = false
  }
  return {
    state,
    async save(next) {
      // whoever finds a run done takes away its state and nothing else
      if (next.phase === 'publish') await drop()
      await swap({ ...next, lease: lease() })
    },
    async hold(hand) {
      watched = true
      await store.put(handOf(ref), Buffer.from(JSON.stringify({ ...hand, owner })), { contentType: 'application/json' })
    },
    async leave({ lease: _, ...next }) {
      await swap(next)
      await drop()
    },
    async close() {
      await drop()
      await store.remove(ref)
    },
  }
}

const handOf = (ref: ObjectRef): ObjectRef => ({ ...ref, key: ref.key.replace(/state\.json$/, 'hand.json') })

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

/** A lease that was left behind tells of a crash, and what its owner wrote down last what it was about. */
async function takenOver(store: ObjectStore, ref: ObjectRef, { lease, ...state }: Checkpoint): Promise<Checkpoint> {
  if (!lease || state.phase !== 'run') return state
  const found = state.watchUntil > 0 && (await store.stat(handOf(ref)))
  if (!found) return afterTrouble({ ...state, hand: undefined })
  const { owner, ...hand } = JSON.parse((await readWhole(store, found)).toString()) as Hand & { owner: string }
  return afterTrouble({ ...state, hand: owner === lease.owner ? hand : undefined })
}

/** How many records after the last checkpoint are watched at least: as many as a checkpoint interval may hold. */
const WATCHED = 100_000
/** How many records are read one by one where their reading may be what ends the process: as many as are read together. */
const READ = 256

/**
 * The state for the next attempt, after one that ended without saying so or without moving on. First all that may have been in
 * work is watched, then the records that were in hand together go one by one, then one is left, or the reading of what comes next.
 */
export function afterTrouble({ hand, ...state }: Checkpoint): Checkpoint {
  const { at, ended, watchUntil, suspectUntil, tries } = state
  const next = { ...state, tries: tries + 1, watchUntil: Math.max(watchUntil, at.record + WATCHED) }
  const oneByOne = (until: number) => ({ suspectUntil: Math.max(suspectUntil, until) })
  // it was watched, and nothing was in hand yet
  if (!hand) return watchUntil > at.record ? { ...next, ...oneByOne(at.record + READ) } : next
  const { from, to } = hand
  if (to - from > 1) return { ...next, ...oneByOne(to) }
  const times = ended?.from === from && ended.to === to ? ended.times + 1 : 1
  return { ...next, ended: { from, to, times }, ...(from === to && oneByOne(to + READ)) }
}

import type { Arrival, Pair } from './arrival.ts'
import type { Identity } from './context.ts'
import type { Refusal } from './kinds.ts'

/** Lets a request in, and says whose it is, or does not, and says why in the words of the front. */
export type Gate = (a: Arrival) => Promise<Verdict>

export type Verdict =
  | { readonly identity: Identity; readonly refused?: undefined }
  | { readonly refused: Refusal; readonly headers?: readonly Pair[] }

export const open: Gate = async () => ({ identity: {} })

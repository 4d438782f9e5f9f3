/** How many rows one run of the graph takes. */
export interface Tuner {
  readonly rows: number
  note(rows: number, ms: number): void
}

/** rounds in which a new size meets the one before */
const TRY = 5
/** rounds in which all meet that came close to the best */
const FINAL = 11
/** so many runs in a row that were smaller than wanted: chunks hold no more */
const SHORT = 8
/** of the rate of the size before: what is clearly worse is out, and nothing behind it is tried */
const CLOSE = 0.9
/** of the best rate: a smaller batch that may be as good as that is taken, for its memory and its shorter wait */
const GOOD = 0.98
/** shorter runs say more of the call than of the graph */
const CALL_MS = 1
/** no run of the graph should take much longer */
const LONG_MS = 500

/** Sizes that take turns, so that what slows the machine down for a while slows all of them. */
interface Contest {
  readonly rounds: number
  /** of each size, round by round */
  readonly rates: ReadonlyMap<number, number[]>
  then(compared: Compared): void
}

export interface TunerOptions {
  /** what an earlier one found; nothing is measured then */
  readonly known?: number
  /** Hears what is kept, unless chunks were too small to tell. */
  found?(rows: number): void
  readonly start?: number
}

/** The rate of a size in terms of another's, within the same rounds, and how far that may be off. */
type Compared = (rows: number, other: number) => { readonly ratio: number; readonly error: number }

/**
 * Small models gain a hundredfold from batches, large ones lose by them, since their activations leave the cache: so it is measured.
 * Sizes are doubled as long as that costs little, then those below the first are tried as well; the close ones meet once more, and one is kept.
 */
export function createTuner(max: number, { known, found, start = 8 }: TunerOptions = {}): Tuner {
  let first = Math.min(start, max)
  let rows = Math.min(known ?? first, max)
  /** those that may be the best */
  let sizes: number[] = []
  const shortest = new Map<number, number>()
  let contest: Contest | undefined
  let settled = max === 1 || known !== undefined
  let limited = false
  let turn = { runs: 0, rows: 0, ms: 0 }
  let short = { runs: 0, most: 0 }

  const isLong = (n: number) => shortest.get(n)! > LONG_MS

  function begin(): void {
    if (shortest.get(rows)! < CALL_MS && rows < max) {
      rows = Math.min(2 * rows, max)
      return
    }
    first = rows
    sizes = [first]
    rise(first)
  }
  function rise(from: number): void {
    const to = Math.min(2 * from, max)
    if (to > from && !isLong(from)) against(from, to, (onward) => (onward ? rise(to) : fall(first)))
    else fall(first)
  }
  function fall(from: number): void {
    const to = from >> 1
    // below what was passed over at the beginning there is nothing to find, nor below what is clearly worse
    if (to > 0 && from <= start && sizes.includes(from)) against(from, to, (onward) => (onward ? fall(to) : final()))
    else final()
  }
  function against(from: number, to: number, then: (onward: boolean) => void): void {
    meet([from, to], TRY, (compared) => {
      const { ratio, error } = compared(to, from)
      const better = isLong(from) || ratio - error > 1 / CLOSE
      const close = !isLong(to) && ratio + error >= CLOSE
      if (better) sizes = to > from ? [to] : [...sizes.filter((n) => n !== from), to]
      else if (close) sizes.push(to)
      then(better || close)
    })
  }
  function final(): void {
    if (sizes.length === 1) settle(sizes[0]!)
    else
      meet(sizes, FINAL, (compared) => {
        const best = sizes.reduce((a, b) => (compared(b, a).ratio > 1 ? b : a))
        const good = (n: number) => {
          const { ratio, error } = compared(n, best)
          return ratio + error >= GOOD
        }
        settle(Math.min(...sizes.filter(good)))
      })
  }
  function settle(n: number): void {
    rows = n
    settled = true
    if (!limited) found?.(n)
  }

  function meet(sizes: readonly number[], rounds: number, then: Contest['then']): void {
    contest = { rounds, rates: new Map(sizes.map((n) => [n, []])), then }
    next(contest)
  }
  function next({ rounds, rates, then }: Contest): void {
    const [[least, seen]] = [...rates].toSorted(([, a], [, b]) => a.length - b.length) as [[number, number[]]]
    rows = least
    if (seen.length < rounds) return
    then((n, other) => {
      const ratios = rates.get(n)!.map((r, i) => r / rates.get(other)![i]!)
      const ratio = median(ratios)
      // of a median, from that of the distances to it, as of a normal distribution
      const error = (1.86 * median(ratios.map((r) => Math.abs(r - ratio)))) / Math.sqrt(ratios.length)
      return { ratio, error }
    })
  }
  /** Chunks hold `most` rows at most. */
  function limit(most: number): void {
    max = most
    limited = true
    sizes = sizes.filter((n) => n <= max)
    if (sizes.length > 0) fall(Math.min(...sizes))
    else if (max === 1) settle(1)
    else {
      rows = Math.min(first, max)
      contest = undefined
    }
  }

  return {
    get rows() {
      return rows
    },
    note(n, ms) {
      if (settled || n > rows) return
      // what was left at the end of a chunk says nothing about full batches
      if (n < rows) {
        short = { runs: short.runs + 1, most: Math.max(short.most, n) }
        if (short.runs < SHORT) return
        limit(short.most)
      } else {
        shortest.set(n, Math.min(shortest.get(n) ?? ms, ms))
        turn.runs++
        // one of another size before leaves other memory in the CPU's caches
        if (turn.runs > 1) turn = { ...turn, rows: turn.rows + n, ms: turn.ms + ms }
        if (turn.rows < Math.min(first, start)) return
        if (!contest) begin()
        else {
          contest.rates.get(n)!.push(turn.rows / Math.max(turn.ms, 0.001))
          next(contest)
        }
      }
      turn = { runs: 0, rows: 0, ms: 0 }
      short = { runs: 0, most: 0 }
    },
  }
}

function median(rates: readonly number[]): number {
  return rates.toSorted((a, b) => a - b)[rates.length >> 1]!
}

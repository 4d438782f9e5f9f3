/** How many rows one run of the graph takes. */
export interface Tuner {
  readonly rows: number
  note(rows: number, ms: number): void
}

/** rounds in which a new size meets the one before */
const TRY = 3
/** rounds in which all meet that came close to the best */
const FINAL = 7
/** so many runs in a row that were smaller than wanted: chunks hold no more */
const SHORT = 8
/** of the best rate: what is worse is out, and nothing behind it is tried */
const CLOSE = 0.9
/** of the best rate: a smaller batch that is as good as that is taken, for its memory and its shorter wait */
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
  then(rateOf: (rows: number) => number): void
}

/**
 * Small models gain a hundredfold from batches, large ones lose by them, since their activations leave the cache: so it is measured.
 * Sizes are doubled as long as that costs little, then those below the first are tried as well; the close ones meet once more, and one is kept.
 */
export function createTuner(max: number, start = 8): Tuner {
  let first = Math.min(start, max)
  let rows = first
  /** rates in terms of the first size's, through those in between */
  let relative = new Map<number, number>()
  const shortest = new Map<number, number>()
  let contest: Contest | undefined
  let settled = max === 1
  let turn = { runs: 0, rows: 0, ms: 0 }
  let short = { runs: 0, most: 0 }

  const isLong = (n: number) => shortest.get(n)! > LONG_MS
  const isClose = (n: number) => relative.get(n)! >= CLOSE * Math.max(...relative.values())

  function begin(): void {
    if (shortest.get(rows)! < CALL_MS && rows < max) {
      rows = Math.min(2 * rows, max)
      return
    }
    first = rows
    relative = new Map([[first, 1]])
    rise(first)
  }
  function rise(from: number): void {
    const to = Math.min(2 * from, max)
    if (to > from && isClose(from) && !isLong(from)) against(from, to, () => rise(to))
    else fall(Math.min(...relative.keys()))
  }
  function fall(from: number): void {
    const to = from >> 1
    // below what was passed over at the beginning there is nothing to find
    const open = to > 0 && from <= start
    if (open && (isClose(from) || isLong(from))) against(from, to, () => fall(to))
    else final()
  }
  function against(from: number, to: number, then: () => void): void {
    meet([from, to], TRY, (rateOf) => {
      relative.set(to, (relative.get(from)! * rateOf(to)) / rateOf(from))
      then()
    })
  }
  function final(): void {
    const close = [...relative.keys()].filter(isClose)
    const brief = close.filter((n) => !isLong(n))
    const sizes = brief.length > 0 ? brief : [Math.min(...close)]
    if (sizes.length === 1) settle(sizes[0]!)
    else
      meet(sizes, FINAL, (rateOf) => {
        const best = Math.max(...sizes.map(rateOf))
        settle(Math.min(...sizes.filter((n) => rateOf(n) >= GOOD * best)))
      })
  }
  function settle(n: number): void {
    rows = n
    settled = true
  }

  function meet(sizes: readonly number[], rounds: number, then: Contest['then']): void {
    contest = { rounds, rates: new Map(sizes.map((n) => [n, []])), then }
    next(contest)
  }
  function next({ rounds, rates, then }: Contest): void {
    const [[least, seen]] = [...rates].toSorted(([, a], [, b]) => a.length - b.length) as [[number, number[]]]
    rows = least
    if (seen.length < rounds) return
    // within its round, since the next may be another time
    const sums = seen.map((_, i) => [...rates.values()].reduce((sum, r) => sum + r[i]!, 0))
    then((n) => median(rates.get(n)!.map((r, i) => r / sums[i]!)))
  }
  /** Chunks hold `most` rows at most. */
  function limit(most: number): void {
    max = most
    for (const n of relative.keys()) if (n > max) relative.delete(n)
    if (relative.size > 0) fall(Math.min(...relative.keys()))
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

/** How many rows one run of the graph takes. */
export interface Tuner {
  readonly rows: number
  note(rows: number, ms: number): void
}

const SAMPLES = 4
/** so many runs in a row that were smaller than wanted: chunks hold no more */
const SHORT = 8
/** of the best rate: a smaller batch that is as good as that is taken, for its memory and its shorter wait */
const GOOD = 0.97
/** of the best rate: larger ones are not tried after one that is as bad as that */
const BAD = 0.9
/** shorter runs say more of the call than of the graph, and of what else the machine does */
const CALL_MS = 1
/** no run of the graph should take much longer */
const LONG_MS = 500

/**
 * Small models gain a hundredfold from batches, large ones lose by them, since their activations leave the cache: so it is measured.
 * Sizes are doubled until that no longer pays; where the first was the best, they are halved as long as that costs nothing; then one is kept.
 * The best of a few samples counts, because other work disturbs single ones.
 */
export function createTuner(max: number, start = 8): Tuner {
  const rates = new Map<number, number>()
  let rows = Math.min(start, max)
  const first = rows
  let falling = false
  let settled = max === 1
  let rate = 0
  let samples = 0
  let shortest = Number.POSITIVE_INFINITY
  let short = 0

  const settle = () => {
    const best = Math.max(...rates.values())
    rows = Math.min(...[...rates].filter(([, r]) => r >= GOOD * best).map(([n]) => n))
    settled = true
  }
  const judge = () => {
    rates.set(rows, rate)
    const best = Math.max(...rates.values())
    const good = shortest < CALL_MS || (rate > BAD * best && shortest < LONG_MS)
    falling ||= !good && rates.get(first) === best
    if (falling && rows > 1 && (rows > first || rate >= GOOD * best)) rows = Math.max(1, Math.min(first, rows) >> 1)
    else if (!falling && good && rows < max) rows = Math.min(2 * rows, max)
    else settle()
    rate = 0
    samples = 0
    shortest = Number.POSITIVE_INFINITY
  }

  return {
    get rows() {
      return rows
    },
    note(n, ms) {
      // what was left at the end of a chunk says nothing about full batches
      if (settled) return
      if (n < rows) {
        if (++short >= SHORT && rates.size > 0) settle()
        return
      }
      short = 0
      rate = Math.max(rate, n / Math.max(ms, 0.001))
      shortest = Math.min(shortest, ms)
      if (++samples >= SAMPLES) judge()
    },
  }
}

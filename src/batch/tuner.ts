/** How many rows one run of the graph takes. */
export interface Tuner {
  readonly rows: number
  note(rows: number, ms: number): void
}

/** Below this gain a larger batch is only more memory and a longer wait. */
const GAIN = 1.08
const SAMPLES = 3

/**
 * Small models gain tenfold from batches, large ones lose by them, since their activations leave the cache: so it is measured.
 * Doubles while that pays, and settles. The best of a few samples counts, because other work disturbs single ones.
 */
export function createTuner(max: number, start = 8): Tuner {
  let rows = Math.min(start, max)
  let settled = max === 1
  let best = { rows, rate: 0 }
  let rate = 0
  let samples = 0
  const judge = () => {
    const better = rate > best.rate * GAIN
    if (better) best = { rows, rate }
    // the first size that pays no more ends the climb; had the start been too large already, 1 is tried last
    if (better && rows > 1 && rows < max) rows = Math.min(rows * 2, max)
    else if (!better && best.rows === start && rows > start) rows = 1
    else {
      rows = best.rows
      settled = true
    }
    rate = 0
    samples = 0
  }
  return {
    get rows() {
      return rows
    },
    note(n, ms) {
      // a rest at the end of a chunk says nothing about full batches
      if (settled || n < rows) return
      rate = Math.max(rate, n / Math.max(ms, 0.001))
      if (++samples >= SAMPLES) judge()
    },
  }
}

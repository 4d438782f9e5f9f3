/** Monotonic milliseconds. `performance.now()` says the same, but its first use loads a module for half a millisecond of a cold start. */
export function now(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

/** To microseconds: what a log keeps of it. */
export const rounded = (ms: number): number => Math.round(ms * 1000) / 1000

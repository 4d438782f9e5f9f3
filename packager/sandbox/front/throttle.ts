import type { Refusal } from './kinds.ts'

export interface Rate {
  /** requests a second */
  readonly rate: number
  /** requests at once, after a pause */
  readonly burst: number
}

export interface Quota {
  readonly limit: number
  readonly period: 'DAY' | 'WEEK' | 'MONTH'
}

const PERIOD_MS = { DAY: 86_400_000, WEEK: 7 * 86_400_000, MONTH: 30 * 86_400_000 } as const satisfies Record<
  Quota['period'],
  number
>

/** A token bucket, and a count per period. A request that was refused uses up neither. */
export function throttle({ rate, quota }: { readonly rate?: Rate; readonly quota?: Quota }, now = Date.now) {
  let tokens = rate?.burst ?? 0
  let filled = now()
  let begun = now()
  let used = 0
  return (): Refusal | undefined => {
    const t = now()
    if (quota) {
      if (t - begun >= PERIOD_MS[quota.period]) [begun, used] = [t, 0]
      if (used >= quota.limit) return 'quota'
    }
    if (rate) {
      tokens = Math.min(rate.burst, tokens + ((t - filled) / 1000) * rate.rate)
      filled = t
      if (tokens < 1) return 'throttled'
      tokens--
    }
    used++
    return undefined
  }
}

import type { MetricGroup } from './metrics.ts'

/**
 * CloudWatch's embedded metric format: a line of the log that CloudWatch counts. The same that Powertools' Metrics writes, which the batch
 * function uses; loading that costs more than a tenth of a cold start (ARCHITECTURE.md), so the predict function has this instead.
 */
export function emfLine(groups: readonly MetricGroup[], namespace: string, at = Date.now()): string {
  const members: Record<string, string | number> = {}
  const CloudWatchMetrics = groups.map(({ sets, values }) => {
    for (const set of sets) Object.assign(members, set)
    for (const { name, value } of values) members[name] = value
    return {
      Namespace: namespace,
      Dimensions: sets.map((set) => Object.keys(set)),
      Metrics: values.map(({ name, unit }) => ({ Name: name, Unit: unit })),
    }
  })
  return JSON.stringify({ _aws: { Timestamp: at, CloudWatchMetrics }, ...members })
}

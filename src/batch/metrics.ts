import { Metrics } from '@aws-lambda-powertools/metrics'
import type { Publish } from '../observe.ts'

/** By Powertools, because nobody waits for the first answer of a batch. A line of the log for each group. */
export const publishMetrics: Publish = (groups, namespace) => {
  for (const { sets, values } of groups) {
    const metrics = new Metrics({ namespace })
    // `service` stands in each set already
    metrics.clearDefaultDimensions()
    for (const set of sets) metrics.addDimensions(set)
    for (const { name, unit, value } of values) metrics.addMetric(name, unit, value)
    metrics.publishStoredMetrics()
  }
}

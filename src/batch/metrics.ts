import { Metrics } from '@aws-lambda-powertools/metrics'
import type { Publish } from '../observe.ts'

/** By Powertools, because nobody waits for the first answer of a batch. A line of the log for each set of dimensions. */
export const publishMetrics: Publish = (groups, namespace) => {
  for (const { sets, values } of groups)
    for (const set of sets) {
      const metrics = new Metrics({ namespace })
      // `service` stands in the set already
      metrics.clearDefaultDimensions()
      metrics.addDimensions(set)
      for (const { name, unit, value } of values) metrics.addMetric(name, unit, value)
      metrics.publishStoredMetrics()
    }
}

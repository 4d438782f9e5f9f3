import { createLog, type Log, type LogSettings } from './log.ts'
import { type MetricGroup, metricsOf } from './metrics.ts'

/** What the environment says about being watched. */
export interface ObserveSettings extends LogSettings {
  readonly service: string
  readonly functionName: string
  /** of the metrics; without one there are none */
  readonly namespace: string | undefined
  readonly tracing: boolean
  /** JSON of CaptureOptions */
  readonly capture: string | undefined
}

export type Publish = (groups: readonly MetricGroup[], namespace: string) => void

/** The metrics of a request, or of an object, are read off its line in the log, so the two cannot disagree. */
export function observedLog(settings: ObserveSettings, publish: Publish): Log {
  const { service, functionName, namespace } = settings
  const log = createLog(settings)
  if (namespace === undefined) return log
  return (line) => {
    log(line)
    const groups = metricsOf(line, { service, function: functionName })
    if (groups.length > 0) publish(groups, namespace)
  }
}

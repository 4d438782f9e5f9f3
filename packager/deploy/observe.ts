import { shown } from '../../src/shown.ts'
import { object, text, usage } from './checks.ts'
import type { DeployOptions } from './options.ts'

/** As the loggers of Powertools and Lambda name them, in lower case. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const

export interface AlarmOptions {
  /** whom alarms tell: the ARN of an SNS topic; alarms without one only show in the console */
  readonly topic?: string
  /** of the requests, which answers of 500 and more may be */
  readonly errorPercent: number
}

export function readMetrics(raw: unknown): DeployOptions['metrics'] {
  if (raw === false) return undefined
  const o = raw === true || raw === undefined ? {} : object(raw, 'metrics', ['namespace'])
  const form = 'letters, digits and . - _ / #, not beginning with AWS/'
  const namespace = text(o.namespace, 'metrics.namespace', /^(?!AWS\/)[\w.\-/#]{1,255}$/, form)
  return { namespace: namespace ?? 'modelayer' }
}

export function readAlarms(raw: unknown): AlarmOptions | undefined {
  if (raw === false) return undefined
  const o = raw === true || raw === undefined ? {} : object(raw, 'alarms', ['topic', 'errorPercent'])
  const topic = text(o.topic, 'alarms.topic', /^arn:[^:]+:sns:/, 'the ARN of an SNS topic')
  const { errorPercent = 5 } = o
  if (typeof errorPercent !== 'number' || !(errorPercent >= 0 && errorPercent < 100))
    throw usage('alarms.errorPercent', 'a number from 0, below 100', shown(errorPercent))
  return { errorPercent, ...(topic !== undefined && { topic }) }
}

/** What both functions are told about being watched; src/boot.ts reads it. */
export function observeEnvironment({ metrics, logLevel }: DeployOptions, service: string): Record<string, string> {
  return {
    POWERTOOLS_SERVICE_NAME: service,
    ...(metrics && { POWERTOOLS_METRICS_NAMESPACE: metrics.namespace }),
    ...(logLevel !== 'info' && { POWERTOOLS_LOG_LEVEL: logLevel.toUpperCase() }),
  }
}

export function predictEnvironment({ tracing, capture }: DeployOptions): Record<string, string> {
  const { onRemove: _, ...told } = capture ?? {}
  return {
    ...(tracing && { MODELAYER_TRACING: '1' }),
    ...(capture && { MODELAYER_CAPTURE: JSON.stringify(told) }),
  }
}

import type { DeployOptions } from './options.ts'
import type { Json, Resources } from './resources.ts'

interface Alarm {
  readonly id: string
  readonly text: string
  /** above it */
  readonly threshold: number
  readonly measure: { readonly [key: string]: Json }
}

const dimensions = (of: Readonly<Record<string, Json>>): Json =>
  Object.entries(of).map(([Name, Value]) => ({ Name, Value }))

const metric = (Namespace: string, MetricName: string, of: Readonly<Record<string, Json>>, Statistic: string) => ({
  Namespace,
  MetricName,
  Dimensions: dimensions(of),
  ...(Statistic.startsWith('p') ? { ExtendedStatistic: Statistic } : { Statistic }),
})

const title = (f: string) => `${f[0]!.toUpperCase()}${f.slice(1)}`

/** Of the timeout, which a slow request must not come near. */
const SLOW = 0.8
const PERIOD = 300

/** What somebody has to look at. Lambda's own metrics see a request fail only where the function ends without an answer. */
function alarmsOf(o: DeployOptions, errorPercent: number, service: string, nameOf: (f: string) => string): Alarm[] {
  const functions = ['predict', ...(o.batch ? ['batch'] : [])]
  const lambda: Alarm[] = functions.flatMap((f) =>
    ['Errors', 'Throttles'].map((name) => ({
      id: `${title(f)}${name}`,
      text: `${name} of ${nameOf(f)}`,
      threshold: 0,
      measure: { ...metric('AWS/Lambda', name, { FunctionName: nameOf(f) }, 'Sum'), Period: PERIOD },
    })),
  )
  const predict = { service, function: nameOf('predict') }
  const sum = (Id: string, name: string, namespace: string): Json => ({
    Id,
    ReturnData: false,
    MetricStat: {
      Metric: { Namespace: namespace, MetricName: name, Dimensions: dimensions(predict) },
      Period: PERIOD,
      Stat: 'Sum',
    },
  })
  const { metrics } = o
  return [
    ...lambda,
    {
      id: 'PredictSlow',
      text: `The slowest hundredth of ${nameOf('predict')} takes more than ${SLOW * 100} % of the timeout`,
      threshold: o.timeout * 1000 * SLOW,
      measure: { ...metric('AWS/Lambda', 'Duration', { FunctionName: nameOf('predict') }, 'p99'), Period: PERIOD },
    },
    ...(metrics
      ? [
          {
            id: 'PredictErrorRate',
            text: `More than ${errorPercent} % of the answers of ${nameOf('predict')} are 500 or above`,
            threshold: errorPercent,
            measure: {
              Metrics: [
                sum('requests', 'Requests', metrics.namespace),
                sum('failed', 'ServerErrors', metrics.namespace),
                { Id: 'rate', Expression: '100 * FILL(failed, 0) / requests', Label: 'percent', ReturnData: true },
              ],
            },
          },
        ]
      : []),
    ...(metrics && o.batch
      ? [
          {
            id: 'BatchObjectsFailed',
            text: 'Objects of the batch that are damaged, or an attempt that failed',
            threshold: 0,
            measure: {
              ...metric(metrics.namespace, 'ObjectsFailed', { service, function: nameOf('batch') }, 'Sum'),
              Period: PERIOD,
            },
          },
        ]
      : []),
    ...(o.batch
      ? [
          {
            id: 'BatchDeadLetters',
            text: 'Messages in the dead-letter queue',
            threshold: 0,
            measure: {
              ...metric('AWS/SQS', 'ApproximateNumberOfMessagesVisible', { QueueName: DEAD_LETTERS }, 'Maximum'),
              Period: PERIOD,
            },
          },
        ]
      : []),
  ]
}

const DEAD_LETTERS: Json = { 'Fn::GetAtt': ['BatchDeadLetters', 'QueueName'] }

export function alarmResources(o: DeployOptions, service: string, functionName: (name: string) => string): Resources {
  const { alarms } = o
  if (!alarms) return {}
  return Object.fromEntries(
    alarmsOf(o, alarms.errorPercent, service, functionName).map(({ id, text, threshold, measure }) => [
      `${id}Alarm`,
      {
        Type: 'AWS::CloudWatch::Alarm',
        Properties: {
          AlarmDescription: text,
          ...measure,
          EvaluationPeriods: 1,
          Threshold: threshold,
          ComparisonOperator: 'GreaterThanThreshold',
          // no request is no fault
          TreatMissingData: 'notBreaching',
          ...(alarms.topic !== undefined && { AlarmActions: [alarms.topic] }),
        },
      },
    ]),
  )
}

import type { MetricName } from '../../src/metrics.ts'
import type { DeployOptions } from './options.ts'
import type { Json, Resources } from './resources.ts'

interface Alarm {
  readonly id: string
  readonly wanted: boolean
  readonly text: string
  /** above it */
  readonly threshold: number
  readonly measure: { readonly [key: string]: Json }
}

const metric = (Namespace: string, MetricName: string, of: Readonly<Record<string, Json>>, Statistic: string) => ({
  Namespace,
  MetricName,
  Dimensions: Object.entries(of).map(([Name, Value]) => ({ Name, Value })),
  ...(Statistic.startsWith('p') ? { ExtendedStatistic: Statistic } : { Statistic }),
  Period: PERIOD,
})

/** Of the timeout, which a slow request must not come near. */
const SLOW = 0.8
const PERIOD = 300

/** What somebody has to look at. Lambda's own metrics see a request fail only where the function ends without an answer. */
function alarmsOf(o: DeployOptions, errorPercent: number, service: string, nameOf: (f: string) => string): Alarm[] {
  const [predict, batch] = [nameOf('predict'), nameOf('batch')]
  const hasBatch = o.batch !== undefined
  const own = (name: MetricName, f: string, stat: string) =>
    metric(o.metrics?.namespace ?? '', name, { service, function: f }, stat)
  const lambda = (name: string, f: string, wanted: boolean): Alarm => ({
    id: `${f === predict ? 'Predict' : 'Batch'}${name}`,
    wanted,
    text: `${name} of ${f}`,
    threshold: 0,
    measure: metric('AWS/Lambda', name, { FunctionName: f }, 'Sum'),
  })
  return [
    lambda('Errors', predict, true),
    lambda('Throttles', predict, true),
    lambda('Errors', batch, hasBatch),
    lambda('Throttles', batch, hasBatch),
    {
      id: 'PredictSlow',
      wanted: true,
      text: `The slowest hundredth of ${predict} takes more than ${SLOW * 100} % of the timeout`,
      threshold: o.timeout * 1000 * SLOW,
      measure: metric('AWS/Lambda', 'Duration', { FunctionName: predict }, 'p99'),
    },
    {
      id: 'PredictErrorRate',
      wanted: o.metrics !== undefined,
      text: `More than ${errorPercent} % of the answers of ${predict} are 500 or above`,
      // the metric is 1 for each of them and 0 for the others
      threshold: errorPercent / 100,
      measure: own('ServerErrors', predict, 'Average'),
    },
    {
      id: 'BatchObjectsFailed',
      wanted: hasBatch && o.metrics !== undefined,
      text: 'Objects of the batch that are damaged, or an attempt that failed',
      threshold: 0,
      measure: own('ObjectsFailed', batch, 'Sum'),
    },
    {
      id: 'BatchDeadLetters',
      wanted: hasBatch,
      text: 'Messages in the dead-letter queue',
      threshold: 0,
      measure: metric('AWS/SQS', 'ApproximateNumberOfMessagesVisible', { QueueName: DEAD_LETTERS }, 'Maximum'),
    },
    {
      id: 'BatchMapFailed',
      wanted: o.batch?.map !== undefined,
      text: 'A run of the map over a bucket failed: more objects than it tolerates, or it could not list them',
      threshold: 0,
      measure: metric('AWS/States', 'ExecutionsFailed', { StateMachineArn: { Ref: 'BatchMap' } }, 'Sum'),
    },
  ]
}

const DEAD_LETTERS: Json = { 'Fn::GetAtt': ['BatchDeadLetters', 'QueueName'] }

export function alarmResources(o: DeployOptions, service: string, functionName: (name: string) => string): Resources {
  const { alarms } = o
  if (!alarms) return {}
  const wanted = alarmsOf(o, alarms.errorPercent, service, functionName).filter((a) => a.wanted)
  return Object.fromEntries(
    wanted.map(({ id, text, threshold, measure }) => [
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

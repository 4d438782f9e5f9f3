import type { DeployOptions } from './options.ts'
import type { Json, Resources } from './resources.ts'

interface Watched {
  readonly id: string
  readonly text: string
  readonly namespace: string
  readonly metric: string
  readonly dimensions: Readonly<Record<string, Json>>
  readonly statistic: 'Sum' | 'Maximum'
}

/** What somebody has to look at: failed and refused invocations, and messages that no attempt could finish. */
function watchedOf(o: DeployOptions, functionName: (name: string) => string): Watched[] {
  const functions = ['predict', ...(o.batch ? ['batch'] : [])]
  const found: Watched[] = functions.flatMap((f) =>
    (['Errors', 'Throttles'] as const).map(
      (metric): Watched => ({
        id: `${f[0]!.toUpperCase()}${f.slice(1)}${metric}`,
        text: `${metric} of ${functionName(f)}`,
        namespace: 'AWS/Lambda',
        metric,
        dimensions: { FunctionName: functionName(f) },
        statistic: 'Sum',
      }),
    ),
  )
  if (!o.batch) return found
  const dead: Watched = {
    id: 'BatchDeadLetters',
    text: 'Messages in the dead-letter queue',
    namespace: 'AWS/SQS',
    metric: 'ApproximateNumberOfMessagesVisible',
    dimensions: { QueueName: { 'Fn::GetAtt': ['BatchDeadLetters', 'QueueName'] } },
    statistic: 'Maximum',
  }
  return [...found, dead]
}

export function alarmResources(o: DeployOptions, functionName: (name: string) => string): Resources {
  const { alarms } = o
  if (!alarms) return {}
  return Object.fromEntries(
    watchedOf(o, functionName).map(({ id, text, namespace, metric, dimensions, statistic }) => [
      `${id}Alarm`,
      {
        Type: 'AWS::CloudWatch::Alarm',
        Properties: {
          AlarmDescription: text,
          Namespace: namespace,
          MetricName: metric,
          Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
          Statistic: statistic,
          Period: 300,
          EvaluationPeriods: 1,
          Threshold: 0,
          ComparisonOperator: 'GreaterThanThreshold',
          // no request is no fault
          TreatMissingData: 'notBreaching',
          ...(alarms.topic !== undefined && { AlarmActions: [alarms.topic] }),
        },
      },
    ]),
  )
}

const QUANTILES = ['p50', 'p90', 'p99'] as const

/** One row of graphs per function: how many, how long, how often not. */
export function dashboardResource(o: DeployOptions, name: string, functionName: (name: string) => string): Resources {
  if (!o.dashboard) return {}
  const rows = ['predict', ...(o.batch ? ['batch'] : [])].map((f) => functionName(f))
  const widget = (title: string, x: number, y: number, metrics: Json) => ({
    type: 'metric',
    ...{ x, y, width: 8, height: 6 },
    properties: { title, region: `\${AWS::Region}`, metrics, period: 300, view: 'timeSeries' },
  })
  const widgets = rows.flatMap((fn, i) => {
    const metric = (m: string, stat: string) => ['AWS/Lambda', m, 'FunctionName', fn, { stat }]
    return [
      widget(`${fn}: requests`, 0, 6 * i, [metric('Invocations', 'Sum'), metric('ConcurrentExecutions', 'Maximum')]),
      widget(
        `${fn}: milliseconds`,
        8,
        6 * i,
        QUANTILES.map((q) => metric('Duration', q)),
      ),
      widget(`${fn}: failures`, 16, 6 * i, [metric('Errors', 'Sum'), metric('Throttles', 'Sum')]),
    ]
  })
  return {
    Dashboard: {
      Type: 'AWS::CloudWatch::Dashboard',
      Properties: { DashboardName: name, DashboardBody: { 'Fn::Sub': JSON.stringify({ widgets }) } },
    },
  }
}

import { DIMENSIONS, METRICS, type MetricName, type MetricRow } from '../../src/metrics.ts'
import type { DeployOptions } from './options.ts'
import type { Json, Resources } from './resources.ts'

interface Widget {
  readonly title: string
  readonly metrics: readonly Json[]
}

const QUANTILES = ['p50', 'p90', 'p99'] as const
const PERIOD = 300

/** The graphs of one function: three to a row. */
interface Drawn {
  readonly service: string
  readonly name: string
  readonly namespace: string | undefined
}

const lambda = ({ name }: Drawn, metric: string, stat: string): Json => [
  'AWS/Lambda',
  metric,
  'FunctionName',
  name,
  { stat },
]

/** A metric of the function as a whole. */
const whole = ({ service, name, namespace }: Drawn, metric: MetricName, stat = statOf(metric)): Json => [
  namespace ?? '',
  metric,
  'service',
  service,
  'function',
  name,
  { stat },
]

/** A line for each value of the other dimensions, also of those that come later: models, versions, codes. */
function each({ name, namespace }: Drawn, metric: MetricName, set: keyof typeof DIMENSIONS, stat = statOf(metric)) {
  const search = `{"${namespace}",${DIMENSIONS[set].join(',')}} MetricName="${metric}" function="${name}"`
  return [{ expression: `SEARCH('${search}', '${stat}', ${PERIOD})` }]
}

const statOf = (metric: MetricName): string => ((METRICS[metric] as MetricRow).unit === 'Count' ? 'Sum' : 'Average')

function common(f: Drawn): Widget[] {
  return [
    { title: 'requests', metrics: [lambda(f, 'Invocations', 'Sum'), lambda(f, 'ConcurrentExecutions', 'Maximum')] },
    { title: 'milliseconds', metrics: QUANTILES.map((q) => lambda(f, 'Duration', q)) },
    { title: 'failures', metrics: [lambda(f, 'Errors', 'Sum'), lambda(f, 'Throttles', 'Sum')] },
  ]
}

function predictWidgets(f: Drawn, capture: boolean): Widget[] {
  if (f.namespace === undefined) return common(f)
  return [
    ...common(f),
    { title: 'answers', metrics: [whole(f, 'Requests'), whole(f, 'ClientErrors'), whole(f, 'ServerErrors')] },
    { title: 'errors by code', metrics: [each(f, 'Errors', 'code')] },
    { title: 'cold starts', metrics: [whole(f, 'ColdStarts')] },
    {
      title: 'milliseconds of a cold start',
      metrics: (['ColdBoot', 'ColdRuntime', 'ColdSession', 'ColdFirst'] as const).map((m) => whole(f, m)),
    },
    {
      title: 'milliseconds of a step, by model',
      metrics: (['Pre', 'Infer', 'Post'] as const).map((m) => each(f, m, 'model')),
    },
    { title: 'milliseconds by model', metrics: ['p50', 'p99'].map((stat) => each(f, 'Duration', 'model', stat)) },
    { title: 'requests by model', metrics: [each(f, 'Requests', 'model')] },
    { title: 'bytes by model', metrics: [each(f, 'BytesIn', 'model'), each(f, 'BytesOut', 'model')] },
    ...(capture ? [{ title: 'captured', metrics: [whole(f, 'Captured'), whole(f, 'CaptureFailures')] }] : []),
  ]
}

function batchWidgets(f: Drawn): Widget[] {
  const queue = (title: string, metric: string, id: string): Widget => ({
    title,
    metrics: [['AWS/SQS', metric, 'QueueName', `\${${id}.QueueName}`, { stat: 'Maximum' }]],
  })
  const own: Widget[] =
    f.namespace === undefined
      ? []
      : [
          { title: 'objects', metrics: [whole(f, 'Objects'), whole(f, 'ObjectsFailed'), whole(f, 'Pauses')] },
          { title: 'records', metrics: [whole(f, 'RecordsAnswered'), whole(f, 'RecordsFailed')] },
          { title: 'errors by code', metrics: [each(f, 'Errors', 'code')] },
        ]
  return [
    ...common(f),
    ...own,
    queue('waiting', 'ApproximateNumberOfMessagesVisible', 'BatchQueue'),
    queue('seconds that the oldest message waits', 'ApproximateAgeOfOldestMessage', 'BatchQueue'),
    queue('dead letters', 'ApproximateNumberOfMessagesVisible', 'BatchDeadLetters'),
  ]
}

const COLUMNS = 3

export function dashboardResource(
  o: DeployOptions,
  service: string,
  functionName: (name: string) => string,
): Resources {
  if (!o.dashboard) return {}
  const drawn = (f: string): Drawn => ({ service, name: functionName(f), namespace: o.metrics?.namespace })
  const sections = [
    { f: 'predict', widgets: predictWidgets(drawn('predict'), o.capture !== undefined) },
    ...(o.batch ? [{ f: 'batch', widgets: batchWidgets(drawn('batch')) }] : []),
  ]
  let row = 0
  const widgets = sections.flatMap(({ f, widgets }) => {
    const top = row
    row += Math.ceil(widgets.length / COLUMNS)
    return widgets.map(({ title, metrics }, i) => ({
      type: 'metric',
      ...{ x: 8 * (i % COLUMNS), y: 6 * (top + Math.floor(i / COLUMNS)), width: 8, height: 6 },
      properties: {
        title: `${functionName(f)}: ${title}`,
        region: `\${AWS::Region}`,
        metrics,
        period: PERIOD,
        view: 'timeSeries',
      },
    }))
  })
  return {
    Dashboard: {
      Type: 'AWS::CloudWatch::Dashboard',
      Properties: { DashboardName: service, DashboardBody: { 'Fn::Sub': JSON.stringify({ widgets }) } },
    },
  }
}

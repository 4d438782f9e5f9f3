import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alarmResources } from '../../packager/deploy/alarms.ts'
import { dashboardResource } from '../../packager/deploy/dashboard.ts'
import { type DeployOptions, readOptions } from '../../packager/deploy/options.ts'
import { DIMENSIONS, METRICS, type MetricName, type MetricRow } from '../../src/metrics.ts'

const models = { mnist: './mnist' }
const batch = { input: 's3://digits-in/', output: 's3://digits-out/' }
const full = readOptions({ models, batch, capture: { output: 's3://digits-kept/' } })
const nameOf = (f: string) => `digits-dev-${f}`

interface Widget {
  readonly x: number
  readonly y: number
  readonly properties: { readonly title: string; readonly metrics: readonly (readonly unknown[])[] }
}

const widgetsOf = (o: DeployOptions): Widget[] => {
  // biome-ignore lint/suspicious/noExplicitAny: a template is read at many depths
  const { Dashboard } = dashboardResource(o, 'digits-dev', nameOf) as any
  return JSON.parse(Dashboard.Properties.DashboardBody['Fn::Sub']).widgets
}

/** `function metric set` of each of our metrics that is drawn. */
function drawn(widgets: readonly Widget[], namespace: string): string[] {
  const setOf = (names: readonly string[]) =>
    Object.entries(DIMENSIONS).find(([, set]) => set.join() === names.join())?.[0] ?? names.join()
  return widgets.flatMap(({ properties }) =>
    properties.metrics.flatMap((row) => {
      const [first, name, ...rest] = row
      if (first === namespace) {
        const pairs = rest.filter((v) => typeof v === 'string')
        const of = Object.fromEntries(pairs.flatMap((v, i) => (i % 2 === 0 ? [[v, pairs[i + 1]]] : [])))
        assert.equal(of.service, 'digits-dev')
        return [`${String(of.function).replace('digits-dev-', '')} ${name} ${setOf(Object.keys(of))}`]
      }
      const search = (first as { expression?: string } | undefined)?.expression
      if (search === undefined) return []
      const [, ns, set, metric, fn] =
        /^SEARCH\('\{"([^"]+)",([\w,]+)\} MetricName="(\w+)" function="digits-dev-(\w+)"', '\w+', 300\)$/.exec(
          search,
        ) ?? []
      assert.equal(ns, namespace, search)
      return [`${fn} ${metric} ${setOf(set!.split(','))}`]
    }),
  )
}

test('the dashboard shows all that the functions emit, and nothing else', () => {
  const emitted = Object.entries(METRICS as Record<MetricName, MetricRow>).flatMap(([name, { from, by }]) =>
    from.flatMap((f) => by.map((set) => `${f} ${name} ${set}`)),
  )
  assert.deepEqual([...new Set(drawn(widgetsOf(full), 'modelayer'))].sort(), emitted.sort())
  const other = readOptions({ models, metrics: { namespace: 'vision/digits' } })
  const predictOnly = emitted.filter((e) => e.startsWith('predict ') && !e.includes('Capture'))
  assert.deepEqual([...new Set(drawn(widgetsOf(other), 'vision/digits'))].sort(), predictOnly)
  const off = widgetsOf(readOptions({ models, batch, metrics: false }))
  assert.ok(off.length > 0)
  assert.doesNotMatch(JSON.stringify(off), /SEARCH|modelayer/)
})

test('no two graphs lie on one another', () => {
  const places = widgetsOf(full).map(({ x, y }) => `${x} ${y}`)
  assert.equal(new Set(places).size, places.length)
})

interface Alarm {
  readonly Threshold: number
  readonly MetricName?: string
  readonly Namespace?: string
  readonly Statistic?: string
}

const alarmsOf = (o: DeployOptions) =>
  Object.fromEntries(
    Object.entries(alarmResources(o, 'digits-dev', nameOf)).map(([id, r]) => [id, r.Properties as unknown as Alarm]),
  )

test('alarms: what Lambda sees, and what only the function knows', () => {
  const alarms = alarmsOf(full)
  assert.deepEqual(Object.keys(alarms), [
    'PredictErrorsAlarm',
    'PredictThrottlesAlarm',
    'BatchErrorsAlarm',
    'BatchThrottlesAlarm',
    'PredictSlowAlarm',
    'PredictErrorRateAlarm',
    'BatchObjectsFailedAlarm',
    'BatchDeadLettersAlarm',
  ])
  assert.equal(alarms.PredictSlowAlarm!.Threshold, 0.8 * 29_000)
  const { Threshold, Statistic } = alarms.PredictErrorRateAlarm!
  assert.deepEqual([Threshold, Statistic], [0.05, 'Average'])
  for (const { Namespace, MetricName } of Object.values(alarms))
    if (Namespace === 'modelayer') assert.ok(METRICS[MetricName as MetricName].by.includes('function' as never))
  const without = Object.keys(alarmsOf(readOptions({ models, batch, metrics: false })))
  const mapped = alarmsOf(readOptions({ models, batch: { ...batch, map: true } }))
  assert.equal(mapped.BatchMapFailedAlarm!.MetricName, 'ExecutionsFailed')
  assert.ok(!without.includes('PredictErrorRateAlarm') && !without.includes('BatchObjectsFailedAlarm'))
  assert.deepEqual(alarmsOf(readOptions({ models, alarms: false })), {})
})

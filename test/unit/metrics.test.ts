import assert from 'node:assert/strict'
import { test } from 'node:test'
import { publishMetrics } from '../../src/batch/metrics.ts'
import { readObserveSettings } from '../../src/boot.ts'
import { emfLine } from '../../src/emf.ts'
import { ERRORS } from '../../src/errors.ts'
import { createLog, type LogLine } from '../../src/log.ts'
import { DIMENSIONS, METRICS, type MetricGroup, type MetricName, metricsOf } from '../../src/metrics.ts'
import { observedLog } from '../../src/observe.ts'
import { printed } from '../fixtures/printed.ts'
import { fc } from '../random.ts'

interface Emf {
  readonly _aws: { readonly Timestamp: number; readonly CloudWatchMetrics: readonly Directive[] }
  readonly [member: string]: unknown
}
interface Directive {
  readonly Namespace: string
  readonly Dimensions: readonly (readonly string[])[]
  readonly Metrics: readonly { readonly Name: MetricName; readonly Unit: string }[]
}

const of = { service: 'digits-dev', function: 'digits-dev-predict' }
const answered: LogLine = {
  level: 'info',
  message: 'answered',
  requestId: 'gateway-1',
  functionRequestId: 'lambda-1',
  protocol: 'modelarts',
  route: 'POST /',
  model: 'mnist',
  version: '1',
  status: 200,
  cold: true,
  start: { boot: 48.2, runtime: 5.1, session: 12.3 },
  ms: { pre: 2, infer: 0.5, post: 0.25, total: 3 },
  bytesIn: 361,
  bytesOut: 104,
}
const failed: LogLine = {
  ...answered,
  level: 'error',
  status: 500,
  cold: false,
  error: { code: 'HOOK_FAILED', message: '' },
}
const LINES: Record<string, LogLine> = {
  answered,
  warm: { ...answered, cold: false },
  failed,
  refused: { ...failed, level: 'warn', status: 400, captured: false },
  'no model': { level: 'warn', message: '', status: 404, error: { code: 'NOT_FOUND', message: '' } },
  captured: { ...answered, captured: true },
  done: { level: 'info', message: '', batch: { object: 'a.csv', status: 'DONE', answered: 10, failed: 2 } },
  damaged: {
    level: 'warn',
    message: '',
    error: { code: 'BAD_INPUT', message: '' },
    batch: { object: 'a.csv', status: 'FAILED', answered: 1, failed: 1 },
  },
  attempt: { level: 'error', message: '', error: failed.error!, batch: { object: 'a.csv', status: 'ERROR' } },
  paused: { level: 'info', message: '', batch: { object: 'a.csv', status: 'PAUSED' } },
}

/** name → value, and the sets of dimensions it is counted by */
const counted = (groups: readonly MetricGroup[]) =>
  Object.fromEntries(groups.flatMap(({ values }) => values.map(({ name, value }) => [name, value])))

test('what a line of the log counts', () => {
  const counts = (name: string) => counted(metricsOf(LINES[name]!, of))
  assert.deepEqual(counts('answered'), {
    Requests: 1,
    Duration: 3,
    Pre: 2,
    Infer: 0.5,
    Post: 0.25,
    BytesIn: 361,
    BytesOut: 104,
    ServerErrors: 0,
    ColdStarts: 1,
    ColdBoot: 48.2,
    ColdRuntime: 5.1,
    ColdSession: 12.3,
    ColdFirst: 3,
  })
  const { Requests, ServerErrors, Errors, ColdStarts } = counts('failed')
  assert.deepEqual([Requests, ServerErrors, Errors, ColdStarts], [1, 1, 1, undefined])
  assert.deepEqual(counts('no model'), { Requests: 1, ClientErrors: 1, ServerErrors: 0, Errors: 1 })
  assert.equal(counts('captured').Captured, 1)
  assert.equal(counts('refused').CaptureFailures, 1)
  assert.deepEqual(counts('done'), { Objects: 1, RecordsAnswered: 10, RecordsFailed: 2 })
  assert.deepEqual(counts('damaged'), { Objects: 1, RecordsAnswered: 1, RecordsFailed: 1, ObjectsFailed: 1, Errors: 1 })
  assert.deepEqual(counts('attempt'), { ObjectsFailed: 1, Errors: 1 })
  assert.deepEqual(counts('paused'), { Pauses: 1 })
  assert.deepEqual(metricsOf({ level: 'error', message: 'The models cannot be read' }, of), [])
  // an answer that is too large has a second line: the request is not counted again
  const tooLarge = counted(metricsOf({ ...failed, error: { code: 'ANSWER_TOO_LARGE', message: '' } }, of))
  assert.deepEqual(tooLarge, { ServerErrors: 1, Errors: 1 })
})

test('every metric is counted by some line, by the dimensions of its row', () => {
  const seen = new Set<string>()
  for (const line of Object.values(LINES))
    for (const { sets, values } of metricsOf(line, of))
      for (const { name, unit } of values) {
        seen.add(name)
        assert.equal(unit, METRICS[name].unit)
        const rows: readonly (keyof typeof DIMENSIONS)[] = METRICS[name].by
        const allowed = rows.map((set) => DIMENSIONS[set].join())
        for (const set of sets) assert.ok(allowed.includes(Object.keys(set).join()), `${name} by ${Object.keys(set)}`)
      }
  assert.deepEqual(
    Object.keys(METRICS).filter((name) => !seen.has(name)),
    [],
  )
})

test('no dimension takes its value from a request: the table of codes bounds one, the deployment the others', () => {
  const text = fc.string({ minLength: 1 })
  const line = fc.record({
    requestId: text,
    functionRequestId: text,
    route: text,
    status: fc.integer({ min: 200, max: 599 }),
  })
  fc.assert(
    fc.property(line, fc.constantFrom(...Object.keys(ERRORS)), (l, code) => {
      const groups = metricsOf({ ...answered, ...l, error: { code, message: '' } }, of)
      const values = new Set(groups.flatMap(({ sets }) => sets.flatMap((s) => Object.values(s))))
      const bounded = [of.service, of.function, 'mnist', '1', code]
      assert.deepEqual(
        [...values].filter((v) => !bounded.includes(v)),
        [],
      )
    }),
  )
})

/** Two ways to write one thing may differ in lines, not in what CloudWatch reads: metric, value, unit and dimensions with their values. */
function read(lines: readonly string[]): string[] {
  return lines
    .flatMap((text) => {
      const doc = JSON.parse(text) as Emf
      return doc._aws.CloudWatchMetrics.flatMap(({ Namespace, Dimensions, Metrics }) =>
        Metrics.flatMap(({ Name, Unit }) =>
          Dimensions.map((set) => `${Namespace} ${Name}=${doc[Name]} ${Unit} ${set.map((d) => `${d}=${doc[d]}`)}`),
        ),
      )
    })
    .sort()
}

for (const [name, line] of Object.entries(LINES))
  test(`our line says what Powertools' lines say: ${name}`, () => {
    const groups = metricsOf(line, of)
    const ours = emfLine(groups, 'modelayer', 1_700_000_000_000)
    const theirs = printed(() => publishMetrics(groups, 'modelayer')).filter((l) => l.startsWith('{"_aws"'))
    assert.deepEqual(read([ours]), read(theirs))
    // for one set of dimensions even in the same words
    const single = groups.flatMap(({ sets, values }) => sets.map((set) => ({ sets: [set], values })))
    const own = single.map((group, i) => emfLine([group], 'modelayer', (JSON.parse(theirs[i]!) as Emf)._aws.Timestamp))
    assert.deepEqual(
      own.map((l) => JSON.parse(l)),
      theirs.map((l) => JSON.parse(l)),
    )
  })

test('lines bear the names of Powertools, and nothing is written below the level', () => {
  const settings = { service: 's', functionName: 'f', traceId: () => '1-2-3' }
  const [text] = printed(() => createLog(settings)(answered))
  const { timestamp, ...line } = JSON.parse(text!)
  assert.match(timestamp, /^\d{4}-\d\d-\d\dT.*Z$/)
  const { level, message, service, function_name, function_request_id, cold_start, xray_trace_id } = line
  assert.deepEqual(
    [level, message, service, function_name, function_request_id, cold_start, xray_trace_id],
    ['INFO', 'answered', 's', 'f', 'lambda-1', true, '1-2-3'],
  )
  assert.equal(line.requestId, 'gateway-1')
  assert.equal(printed(() => createLog({ ...settings, level: 'warn' })(answered)).length, 0)
  assert.equal(printed(() => createLog({ ...settings, level: 'warn' })(failed)).length, 1)
  assert.equal(printed(() => createLog({ ...settings, level: 'silent' })(failed)).length, 0)
})

test('a level hides lines and no metrics; without a namespace there are none', () => {
  const groups: (readonly MetricGroup[])[] = []
  const settings = { ...readObserveSettings({}), level: 'error', namespace: 'n' } as const
  const lines = printed(() => {
    observedLog(settings, (g) => groups.push(g))(answered)
    observedLog({ ...settings, namespace: undefined }, (g) => groups.push(g))(failed)
  })
  assert.deepEqual([lines.length, groups.length], [1, 1])
})

test('the environment: Powertools’ names, and the stricter level of two', () => {
  const level = (powertools?: string, lambda?: string) =>
    readObserveSettings({ POWERTOOLS_LOG_LEVEL: powertools, AWS_LAMBDA_LOG_LEVEL: lambda }).level
  assert.equal(level(), 'info')
  assert.equal(level('DEBUG'), 'debug')
  assert.equal(level('warn', 'INFO'), 'warn')
  assert.equal(level('DEBUG', 'ERROR'), 'error')
  assert.equal(level('CRITICAL'), 'error')
  assert.equal(level('TRACE', 'FATAL'), 'error')
  assert.equal(level('SILENT'), 'silent')
  assert.equal(level('nonsense'), 'info')
  const on = { POWERTOOLS_METRICS_NAMESPACE: 'n', AWS_LAMBDA_FUNCTION_NAME: 'f' }
  assert.deepEqual(
    [readObserveSettings(on).namespace, readObserveSettings(on).service, readObserveSettings({}).namespace],
    ['n', 'f', undefined],
  )
  assert.equal(readObserveSettings({ ...on, POWERTOOLS_METRICS_DISABLED: 'true' }).namespace, undefined)
})

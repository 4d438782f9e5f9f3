import type { LogLine } from './log.ts'

/** Whose metric it is. Each set that a metric is counted by is a metric of its own on the bill, and so is each value of a dimension. */
export const DIMENSIONS = {
  function: ['service', 'function'],
  model: ['service', 'function', 'model', 'version'],
  code: ['service', 'function', 'code'],
} as const satisfies Record<string, readonly Dimension[]>

export type Dimension = 'service' | 'function' | 'model' | 'version' | 'code'
export type Unit = 'Count' | 'Milliseconds' | 'Bytes'

export interface MetricRow {
  readonly from: readonly ('predict' | 'batch')[]
  readonly unit: Unit
  readonly by: readonly (keyof typeof DIMENSIONS)[]
  readonly text: string
}

const predict = ['predict'] as const
const batch = ['batch'] as const

/** All that the functions count. The dashboard, the alarms and docs/observability.md are read off it or tested against it. */
export const METRICS = {
  Requests: {
    from: predict,
    unit: 'Count',
    by: ['function', 'model'],
    text: 'requests answered, whatever their status',
  },
  ClientErrors: { from: predict, unit: 'Count', by: ['function'], text: 'answers with a status of 400 to 499' },
  ServerErrors: {
    from: predict,
    unit: 'Count',
    by: ['function'],
    text: 'answers with a status of 500 or more; 0 for any other, so the average is their share',
  },
  Errors: {
    from: ['predict', 'batch'],
    unit: 'Count',
    by: ['code'],
    text: 'answers, or objects of a batch, that failed, by the code of docs/errors.md',
  },
  Duration: {
    from: predict,
    unit: 'Milliseconds',
    by: ['model'],
    text: 'from the event to the answer; the init phase is not in it',
  },
  Pre: { from: predict, unit: 'Milliseconds', by: ['model'], text: '`_preprocess` and making tensors' },
  Infer: { from: predict, unit: 'Milliseconds', by: ['model'], text: '`_inference`, the run of the graph' },
  Post: { from: predict, unit: 'Milliseconds', by: ['model'], text: '`_postprocess`' },
  BytesIn: { from: predict, unit: 'Bytes', by: ['model'], text: 'body of the request' },
  BytesOut: { from: predict, unit: 'Bytes', by: ['model'], text: 'body of the answer, before base64' },
  ColdStarts: { from: predict, unit: 'Count', by: ['function'], text: 'first requests of an environment' },
  ColdBoot: {
    from: predict,
    unit: 'Milliseconds',
    by: ['function'],
    text: 'from the start of Node to ready: the init phase, with the next two in it',
  },
  ColdRuntime: { from: predict, unit: 'Milliseconds', by: ['function'], text: 'loading onnxruntime' },
  ColdSession: { from: predict, unit: 'Milliseconds', by: ['function'], text: 'loading the default graph' },
  ColdFirst: { from: predict, unit: 'Milliseconds', by: ['function'], text: 'the first request' },
  Captured: { from: predict, unit: 'Count', by: ['function'], text: 'requests written by `capture`' },
  CaptureFailures: { from: predict, unit: 'Count', by: ['function'], text: 'requests that `capture` could not write' },
  Objects: { from: batch, unit: 'Count', by: ['function'], text: 'objects brought to their end' },
  ObjectsFailed: {
    from: batch,
    unit: 'Count',
    by: ['function'],
    text: 'objects that are damaged, and attempts that failed',
  },
  Pauses: { from: batch, unit: 'Count', by: ['function'], text: 'objects that go on in a later invocation' },
  RecordsAnswered: { from: batch, unit: 'Count', by: ['function'], text: 'records with an answer' },
  RecordsFailed: { from: batch, unit: 'Count', by: ['function'], text: 'records named in `.err.jsonl`' },
} as const satisfies Record<string, MetricRow>

export type MetricName = keyof typeof METRICS

/** Metrics that have their dimensions in common: what Powertools and EMF call one directive. */
export interface MetricGroup {
  readonly sets: readonly Readonly<Record<string, string>>[]
  readonly values: readonly { readonly name: MetricName; readonly unit: Unit; readonly value: number }[]
}

/** What one line of the log counts. All dimensions come from names that the deployment chose or from tables, never from a request. */
export function metricsOf(line: LogLine, of: { readonly service: string; readonly function: string }): MetricGroup[] {
  const { model, version, error } = line
  const known: Readonly<Record<Dimension, string | undefined>> = { ...of, model, version, code: error?.code }
  const groups = new Map<string, MetricGroup & { values: MetricGroup['values'][number][] }>()
  for (const [name, value] of Object.entries(valuesOf(line)) as [MetricName, number | undefined][]) {
    if (value === undefined) continue
    const { unit, by }: MetricRow = METRICS[name]
    const sets = by.map((set) => DIMENSIONS[set]).filter((set) => set.every((d) => known[d] !== undefined))
    if (sets.length === 0) continue
    const key = sets.join(';')
    const group = groups.get(key) ?? {
      sets: sets.map((set) => Object.fromEntries(set.map((d) => [d, known[d]!]))),
      values: [],
    }
    group.values.push({ name, unit, value })
    groups.set(key, group)
  }
  return [...groups.values()]
}

type Values = { readonly [name in MetricName]?: number }

function valuesOf(line: LogLine): Values {
  if (line.status !== undefined) return ofRequest(line, line.status)
  return line.batch ? ofObject(line, line.batch) : {}
}

function ofRequest({ ms, cold, start, bytesIn, bytesOut, captured, error }: LogLine, status: number): Values {
  // the request has its line already: this one says that its answer could not be sent
  const again = error?.code === 'ANSWER_TOO_LARGE'
  return {
    ...(!again && {
      Requests: 1,
      Duration: ms?.total,
      Pre: ms?.pre,
      Infer: ms?.infer,
      Post: ms?.post,
      BytesIn: bytesIn,
      BytesOut: bytesOut,
    }),
    ServerErrors: status >= 500 ? 1 : 0,
    ...(status >= 400 && status < 500 && { ClientErrors: 1 }),
    ...(error && { Errors: 1 }),
    ...(cold && {
      ColdStarts: 1,
      ColdBoot: start?.boot,
      ColdRuntime: start?.runtime,
      ColdSession: start?.session,
      ColdFirst: ms?.total,
    }),
    ...(captured !== undefined && (captured ? { Captured: 1 } : { CaptureFailures: 1 })),
  }
}

function ofObject({ error }: LogLine, { status, answered, failed }: NonNullable<LogLine['batch']>): Values {
  const ended = status === 'DONE' || status === 'FAILED'
  return {
    ...(ended && { Objects: 1, RecordsAnswered: answered, RecordsFailed: failed }),
    ...((status === 'FAILED' || status === 'ERROR') && { ObjectsFailed: 1 }),
    ...(status === 'PAUSED' && { Pauses: 1 }),
    ...(error && { Errors: 1 }),
  }
}

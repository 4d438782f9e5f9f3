import { AppError } from '../errors.ts'
import { shown } from '../shown.ts'
import { type Place, parsePlace, parseRef } from './names.ts'
import type { Item } from './run.ts'

/** What starts a batch, and what it wants to hear. */
export type Source = 's3' | 'sqs' | 'eventbridge' | 'map' | 'manual'

/** What was delivered together, and is reported done or not done together. */
export interface Delivery {
  /** of the SQS message */
  readonly id?: string
  /** the message itself, for its queue */
  readonly message?: Message
  /** how often it has been delivered, this time included */
  readonly receives: number
  /** of a map: nobody tries again after this one */
  readonly last?: boolean
  /** of a map: percent of the objects that may fail */
  readonly tolerated?: number
  readonly work: readonly Work[]
  readonly skipped: readonly Skip[]
  /** what cannot be read at all */
  readonly error?: AppError
}

export interface Message {
  /** of the queue */
  readonly arn: string
  readonly receipt: string
  readonly body: string
}

export interface Work {
  readonly item: Item
  /** where a manual event or a map wants its results; otherwise the function's setting holds */
  readonly input?: Place
  readonly output?: Place
  /** answer what failed before */
  readonly only?: 'FAILED'
}

export interface Skip {
  readonly key: string
  readonly reason: string
}

export interface BatchEvent {
  readonly source: Source
  readonly deliveries: readonly Delivery[]
}

type Json = Readonly<Record<string, unknown>>

/** A row per source: does it look like one, and what it delivers. The order is that of asking. */
const SOURCES = {
  sqs: {
    match: (e) => recordsOf(e)?.[0]?.eventSource === 'aws:sqs',
    read: (e) => recordsOf(e)!.map(message),
  },
  s3: {
    match: (e) => recordsOf(e)?.[0]?.eventSource === 'aws:s3' || e.Event === 's3:TestEvent',
    read: (e) => [s3Records(e)],
  },
  eventbridge: {
    match: (e) => isJson(e.detail) && typeof e['detail-type'] === 'string',
    read: (e) => [bridged(e)],
  },
  map: {
    match: (e) => Array.isArray(e.Items) || typeof e.Key === 'string',
    read: (e) => [mapped(e)],
  },
  manual: {
    match: (e) => typeof e.input === 'string',
    read: (e) => [manual(e)],
  },
} as const satisfies Record<Source, { match(e: Json): boolean; read(e: Json): readonly Delivery[] }>

/** @throws {AppError} BAD_EVENT */
export function readEvent(event: unknown): BatchEvent {
  if (isJson(event))
    for (const [source, row] of Object.entries(SOURCES) as [Source, (typeof SOURCES)[Source]][])
      if (row.match(event)) return { source, deliveries: row.read(event) }
  throw new AppError('BAD_EVENT', {
    expected: 'an event of S3, SQS, EventBridge or a Distributed Map, or { input, output }',
    got: isJson(event) ? `an object with ${Object.keys(event).slice(0, 5).join(', ') || 'nothing'}` : typeof event,
  })
}

/** S3 writes keys as forms do: a space is a plus sign, the rest percent-encoded UTF-8. */
export function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '))
  } catch (cause) {
    throw new AppError('BAD_EVENT', { where: 'key', expected: 'percent-encoded UTF-8', got: 'another text', cause })
  }
}

function s3Records(event: Json): Delivery {
  if (event.Event === 's3:TestEvent') return nothing(text(event.Bucket) ?? '', 'a test event')
  const work: Work[] = []
  const skipped: Skip[] = []
  for (const r of recordsOf(event) ?? []) {
    const { bucket, object } = json(r.s3)
    const { key, size, eTag, versionId, sequencer } = json(object)
    const name = decodeKey(need(text(key), 's3.object.key'))
    const event = text(r.eventName) ?? ''
    if (!/^(s3:)?ObjectCreated:/.test(event)) {
      skipped.push({ key: name, reason: `an event ${event.slice(0, 40)}` })
      continue
    }
    work.push({
      item: {
        bucket: need(text(json(bucket).name), 's3.bucket.name'),
        key: name,
        ...compact({ size: number(size), etag: plainTag(text(eTag)), versionId: version(versionId) }),
        ...compact({ sequencer: text(sequencer) }),
      },
    })
  }
  return { receives: 1, work, skipped }
}

/** EventBridge says the same with other names, and does not encode keys. */
function bridged(event: Json): Delivery {
  const { bucket, object } = json(event.detail)
  const { key, size, etag, 'version-id': versionId, sequencer } = json(object)
  const name = need(text(key), 'detail.object.key')
  if (event['detail-type'] !== 'Object Created') return nothing(name, `an event ${shown(event['detail-type'])}`)
  const item: Item = {
    bucket: need(text(json(bucket).name), 'detail.bucket.name'),
    key: name,
    ...compact({ size: number(size), etag: plainTag(text(etag)), versionId: version(versionId) }),
    ...compact({ sequencer: text(sequencer) }),
  }
  return { receives: 1, work: [{ item }], skipped: [] }
}

/** A message carries any of the other events, or an SNS notification of one. What cannot be read goes back, and ends in the dead-letter queue. */
function message(record: Json): Delivery {
  const id = text(record.messageId) ?? ''
  const [arn, receipt, raw] = [text(record.eventSourceARN), text(record.receiptHandle), text(record.body)]
  const told = arn && receipt && raw ? { message: { arn, receipt, body: raw } } : {}
  const receives = Number(shown(json(record.attributes ?? {}).ApproximateReceiveCount)) || 1
  try {
    let body: unknown = JSON.parse(need(text(record.body), 'body'))
    if (isJson(body) && body.Type === 'Notification') body = JSON.parse(need(text(body.Message), 'Message'))
    const { source, deliveries } = readEvent(body)
    if (source === 'sqs') throw new AppError('BAD_EVENT', { where: 'the message', got: 'a message in a message' })
    return { ...deliveries[0]!, id, receives, ...told }
  } catch (e) {
    const error =
      e instanceof SyntaxError
        ? new AppError('BAD_EVENT', { where: 'body', expected: 'JSON', got: 'another text' })
        : (e as AppError)
    if (error.code === undefined) throw e
    return { id, receives, ...told, work: [], skipped: [], error }
  }
}

/**
 * Items of a Distributed Map over an S3 listing, alone or in batches; the bucket and the places may come with `BatchInput`.
 * `error` is what the map caught after its last attempt: see packager/deploy/map.ts.
 */
function mapped(event: Json): Delivery {
  const items = Array.isArray(event.Items) ? (event.Items as unknown[]) : [event]
  const common = json(event.BatchInput ?? event)
  const input = place(common.input)
  const output = place(common.output)
  const work = items.map((i): Work => {
    const { Bucket, Key, Size, Etag, ETag, VersionId } = json(i)
    const bucket = text(Bucket) ?? input?.bucket ?? text(common.Bucket)
    const item: Item = {
      bucket: need(bucket, 'Bucket or BatchInput.input'),
      key: need(text(Key), 'Key'),
      ...compact({ size: number(Size), etag: plainTag(text(ETag) ?? text(Etag)), versionId: version(VersionId) }),
    }
    return { item, ...compact({ input, output }) }
  })
  const { error } = event
  return {
    receives: 1,
    last: error !== undefined,
    ...compact({ tolerated: number(common.tolerated) }),
    work,
    skipped: [],
  }
}

/** `{ input: 's3://bucket/key', output: 's3://bucket/prefix/' }`, and `only: 'FAILED'`. */
function manual(event: Json): Delivery {
  const { input, output, only, versionId } = event
  if (only !== undefined && only !== 'FAILED')
    throw new AppError('BAD_EVENT', { where: 'only', expected: 'FAILED', got: 'another word' })
  const ref = parseRef(need(text(input), 'input'))
  const item: Item = { ...ref, ...compact({ versionId: version(versionId) }) }
  const work: Work = { item, ...compact({ output: place(output) }), ...(only === 'FAILED' && { only }) }
  return { receives: 1, work: [work], skipped: [] }
}

const nothing = (key: string, reason: string): Delivery => ({ receives: 1, work: [], skipped: [{ key, reason }] })

function recordsOf(e: Json): readonly Json[] | undefined {
  return Array.isArray(e.Records) ? (e.Records as unknown[]).map(json) : undefined
}

function isJson(v: unknown): v is Json {
  return typeof v === 'object' && v !== null && !Array.isArray(v)
}

function json(v: unknown): Json {
  if (isJson(v)) return v
  throw new AppError('BAD_EVENT', { where: 'a record', expected: 'an object', got: typeof v })
}

const text = (v: unknown) => (typeof v === 'string' ? v : undefined)
const number = (v: unknown) => (typeof v === 'number' ? v : undefined)
const place = (v: unknown) => (typeof v === 'string' ? parsePlace(v) : undefined)
/** buckets without versions say null */
const version = (v: unknown) => (typeof v === 'string' && v !== 'null' && v !== '' ? v : undefined)
const plainTag = (v: string | undefined) => v?.replaceAll('"', '')

function need(v: string | undefined, where: string): string {
  if (v !== undefined && v !== '') return v
  throw new AppError('BAD_EVENT', { where, expected: 'a text', got: 'none' })
}

function compact<T extends object>(o: T): { [K in keyof T]: T[K] } {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as T
}

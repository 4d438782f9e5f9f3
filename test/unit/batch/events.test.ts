import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3Event, sqsEvent } from '../../../packager/sandbox/queue.ts'
import { decodeKey, readEvent } from '../../../src/batch/events.ts'
import { refuseOverlap } from '../../../src/batch/names.ts'
import { compareSequencers } from '../../../src/batch/publish.ts'
import { isAppError } from '../../../src/errors.ts'
import { spoil } from '../../fuzz/mutate.ts'
import { fc } from '../../random.ts'

const KEY = 'in/a b+c/ü 100%.jsonl'
const work = (event: unknown) => readEvent(event).deliveries.flatMap((d) => d.work)
const skipped = (event: unknown) => readEvent(event).deliveries.flatMap((d) => d.skipped.map((s) => s.reason))

/** As S3's own documentation prints it: `+` for a space, the rest percent-encoded. */
const direct = s3Event('b', KEY, { size: 7, eTag: 'd41d8', sequencer: '00A1' })

const bridge = (type = 'Object Created') => ({
  version: '0',
  id: '17793124',
  'detail-type': type,
  source: 'aws.s3',
  account: '123456789012',
  time: '2026-11-01T00:00:00Z',
  region: 'us-east-1',
  resources: ['arn:aws:s3:::b'],
  detail: {
    version: '0',
    bucket: { name: 'b' },
    object: { key: KEY, size: 7, etag: 'd41d8', sequencer: '00A1', 'version-id': 'v1' },
    reason: 'PutObject',
  },
})

const message = (body: unknown, receives = 2) => ({
  id: 'm1',
  body: typeof body === 'string' ? body : JSON.stringify(body),
  receives: receives,
})

test('keys are decoded as each source encodes them', () => {
  const item = { bucket: 'b', key: KEY, size: 7, etag: 'd41d8', sequencer: '00A1' }
  assert.deepEqual(work(direct), [{ item }])
  assert.deepEqual(work(bridge()), [{ item: { ...item, versionId: 'v1' } }])
  assert.deepEqual(work(sqsEvent([message(direct)])), [{ item }])
  assert.deepEqual(work(sqsEvent([message(bridge())])), [{ item: { ...item, versionId: 'v1' } }])
  const sns = { Type: 'Notification', Message: JSON.stringify(direct) }
  assert.deepEqual(work(sqsEvent([message(sns)])), [{ item }])
  assert.equal(decodeKey('a%2Bb+c%C3%BC'), 'a+b cü')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (key) => {
      assert.equal(work(s3Event('b', key))[0]!.item.key, key)
    }),
  )
})

test('a Distributed Map: items alone or in batches, with places', () => {
  const places = { input: { bucket: 'b', prefix: 'in/' }, output: { bucket: 'o', prefix: 'out/' } }
  const common = { input: 's3://b/in/', output: 's3://o/out' }
  const item = { bucket: 'b', key: 'in/x.csv', size: 3, etag: 'e' }
  const listed = { Key: 'in/x.csv', Size: 3, Etag: '"e"', LastModified: 1, StorageClass: 'STANDARD' }
  assert.deepEqual(work({ Items: [listed, listed], BatchInput: common }), [
    { item, ...places },
    { item, ...places },
  ])
  assert.deepEqual(work({ ...listed, ...common }), [{ item, ...places }])
})

test('a manual event names its places', () => {
  assert.deepEqual(work({ input: 's3://b/k/x.jsonl', output: 's3://o', only: 'FAILED' }), [
    { item: { bucket: 'b', key: 'k/x.jsonl' }, output: { bucket: 'o', prefix: '' }, only: 'FAILED' },
  ])
})

test('what is no new object is skipped with a reason', () => {
  assert.deepEqual(skipped({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'b' }), ['a test event'])
  const removed = structuredClone(direct) as { Records: { eventName: string }[] }
  removed.Records[0]!.eventName = 'ObjectRemoved:Delete'
  assert.deepEqual(skipped(removed), ['an event ObjectRemoved:Delete'])
  assert.deepEqual(skipped(bridge('Object Deleted')), ['an event Object Deleted'])
})

test('a message that cannot be read spoils no other', () => {
  const { deliveries } = readEvent(sqsEvent([message('{'), message(direct), message({ foo: 1 })]))
  assert.deepEqual(
    deliveries.map((d) => d.error?.code),
    ['BAD_EVENT', undefined, 'BAD_EVENT'],
  )
  assert.equal(deliveries[1]!.receives, 2)
})

test('other events are refused by name; nothing but our errors comes out', () => {
  for (const e of [null, 1, 'x', [], {}, { Records: [] }, { input: 'no place' }, { input: 's3://b/k', only: 'ALL' }])
    assert.throws(() => readEvent(e), { code: 'BAD_EVENT' })
  const spoiling = fc.oneof(fc.jsonValue(), fc.constant({ toString: '' }))
  const shapes = [direct, bridge(), sqsEvent([message(direct)]), { Items: [{ Key: 'k' }], BatchInput: {} }]
  fc.assert(
    fc.property(fc.constantFrom(...shapes), fc.nat(), spoiling, (shape, at, value) => {
      const event = spoil(structuredClone(shape), at, value)
      try {
        readEvent(event)
      } catch (e) {
        assert.ok(isAppError(e), String(e))
      }
    }),
    { numRuns: 500 },
  )
})

test('sequencers are compared as if the shorter had zeros on its right', () => {
  assert.equal(compareSequencers('0055AED6DCD90281E5', '0055AED6DCD90281E6'), -1)
  assert.equal(compareSequencers('0055', '0055aed6'), -1)
  assert.equal(compareSequencers('00a1', '00A1000'), 0)
  assert.equal(compareSequencers('01', '00FF'), 1)
})

test('places overlap where one lies in the other', () => {
  const place = (bucket: string, prefix: string) => ({ bucket, prefix })
  for (const [a, b] of [
    ['', ''],
    ['', 'out/'],
    ['in/', ''],
    ['in/', 'in/out/'],
    ['a/b/', 'a/'],
  ] as const)
    assert.throws(() => refuseOverlap(place('x', a), place('x', b)), { code: 'BATCH_OVERLAP' })
  refuseOverlap(place('x', 'in/'), place('x', 'inside/'))
  refuseOverlap(place('x', ''), place('y', ''))
})

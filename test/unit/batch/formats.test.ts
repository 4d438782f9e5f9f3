import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { formatOf, RECORD_FORMATS } from '../../../src/batch/formats/index.ts'
import type { BatchRecord } from '../../../src/batch/types.ts'
import { writeNpy } from '../../../src/npy.ts'
import { tensor } from '../../../src/tensor.ts'
import { encodeExample } from '../../../src/tfexample/encode.ts'
import { PNG, TAR_END, tarEntry, tfRecord, zipOf } from '../../fixtures/batch/archives.ts'
import { type Reading, readAll, SIGNATURE } from '../../fixtures/batch/reading.ts'

const text = (s: string) => Buffer.from(s)
const values = (records: readonly BatchRecord[]) =>
  records.map(({ input: i }) =>
    i.kind === 'instance'
      ? i.value
      : i.kind === 'data'
        ? i.data
        : i.kind === 'bad'
          ? i.code
          : i.kind === 'object'
            ? `${i.ref.bucket}/${i.ref.key}`
            : i.kind === 'tensors'
              ? Object.fromEntries(Object.entries(i.tensors).map(([k, t]) => [k, Array.from(t.data as Float32Array)]))
              : i.kind === 'file'
                ? i.fileName
                : i.kind,
  )

/** The same with rows of numbers as lists, read straight into a tensor or not. */
const lists = (records: readonly BatchRecord[]) =>
  values(records).map((v) => (typeof v === 'object' && v !== null && 'x' in v ? v.x : v))

/** Wherever one goes on, the rest is what it was. */
async function checkPositions(format: string, bytes: Uint8Array, reading: Reading = {}): Promise<BatchRecord[]> {
  const all = await readAll(format, bytes, reading)
  assert.deepEqual(
    all.map((r) => r.record),
    all.map((_, i) => i),
  )
  for (const [i, r] of all.entries()) {
    const from = JSON.parse(JSON.stringify(r.next)) as BatchRecord['next']
    assert.equal(from.record, i + 1)
    assert.deepEqual(await readAll(format, bytes, reading, from), all.slice(i + 1))
  }
  assert.deepEqual(await readAll(format, bytes, { ...reading, chunk: 7 }), all)
  return all
}

test('the longest suffix decides, in any case of letters', () => {
  assert.equal(formatOf('a/B.CSV.GZ')?.name, 'csv.gz')
  assert.equal(formatOf('a.tgz')?.name, 'tar.gz')
  assert.equal(formatOf('x/manifest.json')?.name, 'manifest')
  assert.equal(formatOf('x/a.json')?.name, 'json')
  assert.equal(formatOf('a.JPEG')?.name, 'image')
  assert.equal(formatOf('a.docx'), undefined)
  const suffixes = RECORD_FORMATS.flatMap((f) => f.suffixes)
  assert.equal(new Set(suffixes).size, suffixes.length)
})

test('CSV with a header: columns by name, others left out', async () => {
  const rows = 'id,x,label\na,"[1,2,3,4]",cat\nb,"[5,6,7,8]","d""og, or\r\nnot"\n\nc,1\n'
  const all = await checkPositions('csv', text(rows), { options: { idField: 'id' }, source: true })
  assert.deepEqual(values(all), [{ x: [1, 2, 3, 4] }, { x: [5, 6, 7, 8] }, 'BAD_INPUT'])
  assert.deepEqual(
    all.map((r) => r.id),
    ['a', 'b', undefined],
  )
  assert.match(all[1]!.source!, /^b,"\[5,6,7,8\]","d""og, or\nnot"$/)
})

test('CSV without a header: the cells are the input', async () => {
  const all = await checkPositions('csv', text('\ufeff1,2.5,-3e2,nan\r\n1,2,3,4\r\n1,2,3\r\n5,6,7,"8"'))
  assert.deepEqual(lists(all), [[1, 2.5, -300, Number.NaN], [1, 2, 3, 4], 'BAD_INPUT', [5, 6, 7, 8]])
  const named = await readAll('csv', text('a,b,c,d\n1,2,3,4\n'))
  assert.deepEqual(lists(named), [[1, 2, 3, 4]])
  const told = await readAll('csv', text('1,2,3,4\n5,6,7,8\n'), { options: { header: true } })
  assert.deepEqual(lists(told), [[5, 6, 7, 8]])
})

test('CSV for a _preprocess goes by name; large integers stay exact; filters choose', async () => {
  const all = await readAll('csv', text('n,s\n9007199254740993,a\n'), { preprocess: true })
  assert.deepEqual({ ...(values(all)[0] as object) }, { n: 9007199254740993n, s: 'a' })
  const filtered = await readAll('csv', text('7,1,2,3,4\n'), { options: { inputFilter: '$[1:]' } })
  assert.deepEqual(values(filtered), [[1, 2, 3, 4]])
  await assert.rejects(readAll('csv', text('1\n'), { options: { inputFilter: '$[' } }), { code: 'USAGE' })
})

test('rows that are no UTF-8, too long or never closed are named', async () => {
  const bytes = Buffer.concat([text('1,2\n'), Buffer.from([0xff, 0x2c, 0x31, 10]), text('3,4\n1,"5\n6,7\n')])
  const all = await checkPositions('csv', bytes)
  assert.deepEqual(lists(all), [[1, 2], 'BAD_INPUT', [3, 4], 'BAD_REQUEST'])
  const long = await checkPositions('csv', text(`1,2\n${'1'.repeat(100)}\n3,4\n`), { options: { maxRecordBytes: 50 } })
  assert.deepEqual(lists(long), [[1, 2], 'BODY_TOO_LARGE', [3, 4]])
})

const leaf = (type: string, index: number) => ({ type, index })
const RULE = {
  type: 'object',
  properties: {
    data: {
      type: 'object',
      properties: {
        req_data: {
          type: 'array',
          items: [
            {
              type: 'object',
              properties: {
                input_1: leaf('number', 0),
                input_2: leaf('integer', 1),
                name: leaf('string', 2),
                on: leaf('boolean', 3),
                skipped: leaf('number', -1),
                beyond: leaf('number', 9),
              },
            },
          ],
        },
      },
    },
  },
}

test('a mapping rule makes a request of a row', async () => {
  const all = await checkPositions('csv', text('5.1,3,007,true\n5,x,b,1\n'), { options: { mappingRule: RULE } })
  assert.deepEqual(values(all), [
    { data: { req_data: [{ input_1: 5.1, input_2: 3, name: '007', on: true }] } },
    'BAD_INPUT',
  ])
  await assert.rejects(readAll('csv', text('1\n'), { options: { mappingRule: { type: 'date' } } }), { code: 'USAGE' })
})

test('a JSON array is a list of records, any other value is one', async () => {
  const bytes = text('\ufeff [ [1,2], {"x":"]},\\"["} ,\n{"x":oops}, 3 ] \n')
  const all = await checkPositions('json', bytes)
  assert.deepEqual(values(all), [{ x: [1, 2] }, { x: ']},"[' }, 'BAD_JSON', 3])
  assert.deepEqual(values(await readAll('json', text(' {"x":[1]} '))), [{ x: [1] }])
  assert.deepEqual(values(await readAll('json', text('[]'))), [])
  const long = await checkPositions('json', text(`[1,"${'a'.repeat(99)}",2]`), { options: { maxRecordBytes: 50 } })
  assert.deepEqual(values(long), [1, 'BODY_TOO_LARGE', 2])
  for (const cut of ['[1,2', '[1,]', '[1}', '[1] 2', '', '["a'])
    await assert.rejects(readAll('json', text(cut)), { code: 'BAD_INPUT' }, cut)
})

test('TFRecord: a damaged record is named, a damaged length ends the file', async () => {
  const example = (n: number) => encodeExample([['x', { kind: 'float', values: [n, 1, 2, 3] }]])
  const file = [tfRecord(example(0)), tfRecord(example(1)), tfRecord(example(2))]
  file[1]![20]! ^= 1
  const all = await checkPositions('tfrecord', Buffer.concat(file))
  assert.deepEqual(values(all), ['example', 'BAD_RECORD', 'example'])
  file[2]![0]! ^= 1
  await assert.rejects(readAll('tfrecord', Buffer.concat(file)), { code: 'BAD_RECORD', message: /record 2/ })
})

test('.npy: rows in the dtype and shape of the input', async () => {
  const data = Float64Array.from({ length: 12 }, (_, i) => i)
  const rows = [0, 4, 8].map((n) => ({ x: [n, n + 1, n + 2, n + 3] }))
  assert.deepEqual(values(await checkPositions('npy', writeNpy(tensor('float64', [3, 4], data)))), rows)
  assert.deepEqual(values(await readAll('npy', writeNpy(tensor('float64', [3, 2, 2], data)))), rows)
  const cut = writeNpy(tensor('float64', [3, 4], data)).subarray(0, -1)
  await assert.rejects(readAll('npy', cut), { code: 'BAD_INPUT', message: /row 2/ })
  for (const other of [tensor('float64', [4, 3], data), tensor('float64', [], data.slice(0, 1))])
    await assert.rejects(readAll('npy', writeNpy(other)), { code: 'BAD_INPUT' })
  const int = { ...SIGNATURE, inputs: { x: { name: 'x', dtype: 'uint8', shape: [null, 4] } } } as const
  const wide = writeNpy(tensor('int64', [2, 4], BigInt64Array.from([1n, 2n, 3n, 4n, 1n, 2n, 3n, 300n])))
  assert.deepEqual(values(await readAll('npy', wide, { signature: int })), [{ x: [1, 2, 3, 4] }, 'BAD_INPUT'])
})

test('.npz: an array for each input', async () => {
  const signature = {
    ...SIGNATURE,
    inputs: { ...SIGNATURE.inputs, z: { name: 'z', dtype: 'float32', shape: [null] } },
  } as const
  const x = writeNpy(tensor('float32', [2, 4], Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8])))
  const z = writeNpy(tensor('float32', [2, 1], Float32Array.from([9, 10])))
  const file = zipOf([
    { name: 'x.npy', data: x },
    { name: 'z.npy', data: z, stored: true },
    { name: 'more.npy', data: z },
  ])
  assert.deepEqual(values(await checkPositions('npz', file, { signature })), [
    { x: [1, 2, 3, 4], z: [9] },
    { x: [5, 6, 7, 8], z: [10] },
  ])
  assert.equal((await readAll('npz', zipOf([{ name: 'arr_0.npy', data: x }]))).length, 2)
  const uneven = zipOf([
    { name: 'x.npy', data: x },
    { name: 'z.npy', data: z.subarray(0, -4) },
  ])
  await assert.rejects(readAll('npz', uneven, { signature }), { code: 'BAD_INPUT' })
  await assert.rejects(readAll('npz', zipOf([{ name: 'x.npy', data: x }]), { signature }), { message: /arrays x, z/ })
})

test('Parquet: rows by name over row groups', async () => {
  const n = 25
  const bytes = new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'id', data: Array.from({ length: n }, (_, i) => `r${i}`), type: 'STRING' },
        { name: 'x', data: Array.from({ length: n }, (_, i) => ({ v: [i, 1] })), type: 'JSON' },
      ],
      rowGroupSize: 10,
    }),
  )
  const all = await checkPositions('parquet', bytes, { options: { idField: 'id' } })
  assert.equal(all.length, n)
  assert.equal(all[24]!.id, 'r24')
  assert.deepEqual(values(all)[24], { x: { v: [24, 1] } })
  await assert.rejects(readAll('parquet', bytes.subarray(0, -9)), { code: 'BAD_INPUT' })
})

test('archives: files by name, leftovers passed over, what is no image named', async () => {
  const names = ['d/1.png', '../../etc/passwd', 'no.png', '__MACOSX/._1.png', 'd/', 'a.wav', 'C:\\x\\__proto__']
  const data = (name: string) => (name === 'd/1.png' ? PNG : name === 'd/' ? Buffer.alloc(0) : text('hello'))
  const expected = ['1.png', 'passwd', 'BAD_INPUT', 'a.wav', 'file']
  const ids = ['d/1.png', '../../etc/passwd', 'no.png', 'a.wav', 'C:\\x\\__proto__']
  const zip = zipOf(names.map((name, i) => ({ name, data: data(name), stored: i % 2 === 0 })))
  const long = `${'deep/'.repeat(40)}1.png`
  const pax = `${long.length + 10} path=${long}\n`
  const tar = Buffer.concat([
    ...names.map((name) => tarEntry(name, data(name), name === 'd/' ? { type: '5' } : {})),
    tarEntry('l', Buffer.alloc(0), { type: '2' }),
    tarEntry('@', text(`${long}\0`), { type: 'L' }),
    tarEntry('cut', PNG),
    tarEntry('pax', text(pax), { type: 'x' }),
    tarEntry('cut', PNG),
    TAR_END,
  ])
  const zipped = await checkPositions('zip', zip)
  assert.deepEqual(values(zipped), expected)
  assert.deepEqual(
    zipped.map((r) => r.id),
    ids,
  )
  const inTar = await checkPositions('tar', tar)
  assert.deepEqual(values(inTar), [...expected, '1.png', '1.png'])
  assert.deepEqual(
    inTar.map((r) => r.id),
    [...ids, long, long],
  )
  assert.equal((await checkPositions('tar.gz', gzipSync(tar))).length, 7)
})

test('zip: bombs, lies and passwords are bad records; a file without its directory is none', async () => {
  const zeros = Buffer.alloc(2 ** 20)
  const zip = zipOf([
    { name: 'bomb.bin', data: zeros, claim: { size: 100 } },
    { name: 'big.bin', data: zeros },
    { name: 'crc.bin', data: text('a'), claim: { crc: 1 } },
    { name: 'aes.bin', data: text('a'), claim: { flags: 1 } },
    { name: 'lzma.bin', data: text('a'), claim: { method: 14 } },
    { name: 'good.bin', data: text('a') },
  ])
  const all = await checkPositions('zip', zip, { options: { maxRecordBytes: 2 ** 18 } })
  assert.deepEqual(values(all), ['BAD_INPUT', 'BODY_TOO_LARGE', 'BAD_INPUT', 'BAD_INPUT', 'BAD_INPUT', 'good.bin'])
  await assert.rejects(readAll('zip', zip.subarray(0, -30)), { code: 'BAD_INPUT', message: /directory/ })
})

test('compressed text is unpacked as it streams; damage tells where', async () => {
  const lines = Array.from({ length: 50 }, (_, i) => `[${i},0,0,0]\n`).join('')
  const two = Buffer.concat([gzipSync(lines.slice(0, 100)), gzipSync(lines.slice(100))])
  assert.equal((await checkPositions('jsonl.gz', two)).length, 50)
  await assert.rejects(readAll('jsonl.gz', two.subarray(0, -20)), { code: 'BAD_INPUT', message: /unpacked bytes/ })
  await assert.rejects(readAll('tfrecord.gz', two), { code: 'BAD_INPUT', message: /type tfrecord/ })
  const zst = readFileSync(new URL('../../fixtures/batch/lines.jsonl.zst', import.meta.url))
  const all = await checkPositions('jsonl.zst', zst)
  assert.deepEqual(
    values(all),
    Array.from({ length: 300 }, (_, i) => ({ x: [i, i * i, 0, 1] })),
  )
  await assert.rejects(readAll('jsonl.zst', zst.subarray(0, -9)), { code: 'BAD_INPUT', message: /whole zstd/ })
})

test('manifests name objects', async () => {
  const ours =
    '{"source":"obs://k/a b.png"}\n{"source":"https://k/a.png?X-Sig=1"}\n{"source":"https://u:p@k/a"}\n{"x":1}\n\n{"source":"sub/b.png"}\n{'
  assert.deepEqual(values(await checkPositions('manifest', text(ours))), [
    'k/a b.png',
    'https://k/a.png',
    'BAD_INPUT',
    'BAD_INPUT',
    'b/in/sub/b.png',
    'BAD_JSON',
  ])
  const theirs = ' [{"prefix": "s3://k/p/"},\n "a.csv", 7, "d/b.csv"]'
  assert.deepEqual(values(await checkPositions('manifest', text(theirs))), ['k/p/a.csv', 'BAD_INPUT', 'k/p/d/b.csv'])
  await assert.rejects(readAll('manifest', text('["a.csv"]')), { code: 'BAD_INPUT', message: /prefix/ })
})

test('an inventory lists what is there: no folders, empty objects, deleted or older versions', async () => {
  const schema = 'Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size'
  const index = {
    sourceBucket: 'k',
    destinationBucket: 'arn:aws:s3:::inv',
    fileFormat: 'CSV',
    fileSchema: schema,
    files: [{ key: 'data/1.csv.gz' }, { key: 'data/2.csv.gz' }],
  }
  const row = (key: string, latest = true, deleted = false, size = 5) =>
    `"k","${key}","v","${latest}","${deleted}","${size}"\n`
  const first = row('a+b%2Bc.png') + row('old.png', false) + row('gone.png', true, true) + row('d/') + row('bad%zz')
  const others = {
    'inv/data/1.csv.gz': gzipSync(first),
    'inv/data/2.csv.gz': gzipSync(row('z.png') + row('e', true, false, 0)),
  }
  const bytes = text(JSON.stringify(index, null, 2))
  assert.deepEqual(values(await checkPositions('manifest', bytes, { others })), ['k/a b+c.png', 'BAD_INPUT', 'k/z.png'])
  await assert.rejects(readAll('manifest', bytes), { code: 'BAD_INPUT', message: /1\.csv\.gz/ })
})

test('an inventory in Parquet says the same, and its keys are as they are; one in ORC is refused by name', async () => {
  const n = 30
  const at = <T>(other: T, special: Readonly<Record<number, T>>) =>
    Array.from({ length: n }, (_, i) => (i in special ? special[i]! : other))
  const keys = at('plain.png', {
    0: 'a+b%2Bc.png',
    1: 'old.png',
    2: 'gone.png',
    3: 'd/',
    4: 'e',
    5: '',
    29: 'ü z.png',
  })
  const file = (columns: Parameters<typeof parquetWriteBuffer>[0]['columnData']) =>
    new Uint8Array(parquetWriteBuffer({ columnData: columns, rowGroupSize: 13 }))
  const bucket = { name: 'bucket', data: at('k', {}), type: 'STRING' } as const
  const all = file([
    bucket,
    { name: 'key', data: keys, type: 'STRING' },
    { name: 'version_id', data: at('v', {}), type: 'STRING' },
    { name: 'is_latest', data: at(true, { 1: false }), type: 'BOOLEAN' },
    { name: 'is_delete_marker', data: at(false, { 2: true }), type: 'BOOLEAN' },
    { name: 'size', data: at(5n, { 3: 0n, 4: 0n }), type: 'INT64' },
  ])
  const index = (fileFormat: string) =>
    text(
      JSON.stringify({
        destinationBucket: 'arn:aws:s3:::inv',
        fileFormat,
        fileSchema: 'message s3.inventory { required binary bucket (STRING); required binary key (STRING); }',
        files: [{ key: 'data/1.parquet' }, { key: 'data/2.parquet' }],
      }),
    )
  const least = file([bucket, { name: 'key', data: at('k.png', {}), type: 'STRING' }])
  const others = { 'inv/data/1.parquet': all, 'inv/data/2.parquet': least }
  const found = values(await checkPositions('manifest', index('Parquet'), { others }))
  assert.equal(found.length, 26 + 30)
  assert.deepEqual(found.slice(0, 3), ['k/a+b%2Bc.png', 'BAD_INPUT', 'k/plain.png'])
  assert.deepEqual(found.slice(25, 27), ['k/ü z.png', 'k/k.png'])
  const broken = (bytes: Uint8Array) =>
    readAll('manifest', index('Parquet'), { others: { 'inv/data/1.parquet': bytes } })
  await assert.rejects(broken(file([bucket])), { code: 'BAD_INPUT', message: /columns bucket and key/ })
  await assert.rejects(broken(all.subarray(0, -3)), { code: 'BAD_INPUT', message: /footer/ })
  await assert.rejects(readAll('manifest', index('ORC')), {
    code: 'BAD_INPUT',
    message: /CSV or Parquet .*received ORC\. Choose CSV or Parquet in the configuration of the inventory/,
  })
})

test('an image is one record; what is none says what it is', async () => {
  assert.deepEqual(values(await readAll('image', PNG)), ['a.png'])
  await assert.rejects(readAll('image', text('%PDF-1.4')), { code: 'BAD_INPUT', message: /PDF/ })
  await assert.rejects(readAll('image', PNG, { options: { maxRecordBytes: 10 } }), { code: 'BODY_TOO_LARGE' })
})

test('every row refuses what it is not by its first bytes', () => {
  const heads = { tar: tarEntry('a', PNG), npz: zipOf([]), png: PNG, gz: gzipSync('a'), npy: text('\x93NUMPY') }
  for (const f of RECORD_FORMATS) {
    const taken = Object.values(heads).filter((h) => f.match(h)).length
    assert.ok(taken <= 1, `${f.name} takes ${taken}`)
  }
})

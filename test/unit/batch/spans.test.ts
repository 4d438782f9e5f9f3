import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs, { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { decoded } from '../../../src/batch/decoded.ts'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { npy } from '../../../src/batch/formats/npy.ts'
import { etagOf, openLocalFile } from '../../../src/batch/localfile.ts'
import { reliable } from '../../../src/batch/reliable.ts'
import { runObject } from '../../../src/batch/run.ts'
import { createSpanReader } from '../../../src/batch/spans.ts'
import type { BatchRecord, ObjectStore } from '../../../src/batch/types.ts'
import { npyHeader, parseNpyHeader, writeNpy } from '../../../src/npy.ts'
import { jobAt, stage } from '../../fixtures/batch/job.ts'
import { SIGNATURE } from '../../fixtures/batch/reading.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-spans-'))
after(() => rmSync(work, { recursive: true, force: true }))
stage(join(work, 'model'))
const folder = createFolderStore()

function fileOf(name: string, bytes: Uint8Array) {
  const path = join(work, name)
  writeFileSync(path, bytes)
  return { path, etag: etagOf(statSync(path, { bigint: true })) }
}

test('spans of a file, in memory that is used again', async () => {
  const file = await openLocalFile(fileOf('a', Buffer.from('0123456789')))
  const [a, b] = [await file.read(2, 3), await file.read(7, 3)]
  assert.deepEqual([Buffer.from(a).toString(), Buffer.from(b).toString()], ['234', '789'])
  file.give(a)
  const c = await file.read(0, 1)
  assert.equal(c.buffer, a.buffer)
  assert.deepEqual([Buffer.from(b).toString(), Buffer.from(c).toString()], ['789', '0'])
  await file.close()
})

test('a file that is another by now, or ends before, is told', async () => {
  const before = fileOf('b', Buffer.from('0123456789'))
  const opened = await openLocalFile(before)
  rmSync(before.path)
  assert.equal(Buffer.from(await opened.read(0, 2)).toString(), '01', 'what is open stays')
  await assert.rejects(opened.read(8, 3), { code: 'INPUT_CHANGED' })
  await opened.close()
  await assert.rejects(openLocalFile(before), { code: 'INPUT_CHANGED' })
  const after = fileOf('b', Buffer.from('01234567890'))
  await assert.rejects(openLocalFile(before), { code: 'INPUT_CHANGED' })
  await (await openLocalFile(after)).close()
  await assert.rejects(openLocalFile({ path: join(work, 'model'), etag: '' }), { code: 'INPUT_CHANGED' })
})

test('what fails in passing is tried again, to open and to read; what stays is told', async (t) => {
  const file = fileOf('p', Buffer.from('0123456789'))
  const { open } = fs.promises
  const failure = (code: string) => Object.assign(new Error(code), { code })
  const left = { open: 2, read: 2 }
  let code = 'EMFILE'
  t.mock.method(fs.promises, 'open', async (path: string) => {
    if (left.open-- > 0) throw failure(code)
    const handle = await open(path)
    const read = handle.read.bind(handle) as (...args: unknown[]) => unknown
    return Object.assign(handle, {
      read: async (...args: unknown[]) => {
        if (left.read-- > 0) throw failure('EIO')
        return read(...args)
      },
    })
  })
  syncBuiltinESMExports()
  try {
    const opened = await openLocalFile(file)
    assert.equal(Buffer.from(await opened.read(3, 4)).toString(), '3456')
    await opened.close()
    left.open = Number.POSITIVE_INFINITY
    await assert.rejects(openLocalFile(file), { code: 'STORE_FAILED' })
    code = 'EACCES'
    await assert.rejects(openLocalFile(file), { code: 'STORE_REFUSED' })
  } finally {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  }
})

test('records are loaded where they are spans, and their memory is used again', async () => {
  const spans = createSpanReader(fileOf('c', Buffer.from('0123456789')))
  const record = (start: number): BatchRecord => {
    const input = { kind: 'span', start, size: 2, about: start } as const
    return { record: start, input, bytes: 2, next: { record: start + 1 } }
  }
  const other: BatchRecord = { record: 9, input: { kind: 'data', data: {} }, bytes: 0, next: { record: 10 } }
  const all = [record(0), other, record(4)]
  const [a, b, c] = await spans.load(all)
  assert.equal(b, other)
  assert.ok(a?.input.kind === 'raw' && c?.input.kind === 'raw')
  assert.deepEqual([Buffer.from(a.input.bytes).toString(), Buffer.from(c.input.bytes).toString()], ['01', '45'])
  assert.deepEqual([a.input.about, c.input.about], [0, 4])
  spans.release([a, other])
  const [d] = await spans.load([record(8)])
  assert.ok(d?.input.kind === 'raw' && d.input.bytes.buffer === a.input.bytes.buffer)
  await spans.close()
  await createSpanReader(undefined).close()
  const gone = createSpanReader({ path: join(work, 'gone'), etag: '' })
  await assert.rejects(gone.load([record(0)]), { code: 'INPUT_CHANGED' })
  await gone.close()
})

test('of rows that are read together only the bad ones are bad', async () => {
  const inputs = { x: { name: 'x', dtype: 'int32', shape: [null, 2] } } as const
  const decode = await npy.decode({ signature: { ...SIGNATURE, inputs }, preprocess: false, options: {} })
  const bytes = Buffer.from(BigInt64Array.from([1n, 2n, 3n, 2n ** 40n, 5n, 6n]).buffer)
  const header = parseNpyHeader(npyHeader('<i8', [3, 2]), 'a')
  const input = { kind: 'raw', bytes, about: { header, where: 'a.npy' } } as const
  const all = decoded({ record: 7, count: 3, input, bytes: 48, next: { record: 10 } }, decode)
  assert.ok(Array.isArray(all))
  assert.deepEqual(
    all.map((r) => [r.record, r.count, r.input.kind]),
    [
      [7, undefined, 'tensors'],
      [8, undefined, 'bad'],
      [9, undefined, 'tensors'],
    ],
  )
})

/** The run of an array over a folder, read as a stream and as spans. */
async function both(name: string, bytes: Uint8Array) {
  const input = join(work, 'in')
  mkdirSync(input, { recursive: true })
  writeFileSync(join(input, name), bytes)
  const { file: _, ...streaming } = folder
  const [streamed, spanned] = await Promise.all(
    Object.entries({ streaming, folder }).map(async ([way, store]) => {
      const output = join(work, `${name}-${way}`)
      mkdirSync(output)
      const o = await runObject(jobAt(join(work, 'model'), reliable(store), input, output), {
        bucket: input,
        key: name,
      })
      assert.ok(o.status === 'DONE' || o.status === 'FAILED', o.status)
      const { counts, error, output: made } = o.done
      const result = createHash('sha256')
        .update(readFileSync(join(output, made.key)))
        .digest('hex')
      return { counts, error, result }
    }),
  )
  assert.deepEqual(spanned, streamed)
  return spanned!
}

const ROWS = 70_000
const data = Float32Array.from({ length: 4 * ROWS }, (_, i) => (i % 17) / 4)

test('an array is answered the same from spans as from a stream', async () => {
  const whole = writeNpy({ dtype: 'float32', shape: [ROWS, 4], data })
  assert.equal((await both('whole.npy', whole)).counts.answered, ROWS)
  const swapped = Buffer.from(whole.slice())
  swapped.subarray(-16 * ROWS).swap32()
  swapped.write('>', swapped.indexOf('<f4'), 'latin1')
  assert.equal((await both('big-endian.npy', swapped)).counts.answered, ROWS)
  const cut = await both('cut.npy', whole.subarray(0, -40))
  assert.equal(cut.counts.answered, ROWS - 3)
  assert.match(cut.error!.reason, new RegExp(`row ${ROWS - 3}.*8, and the end of the file`, 's'))
})

test('an array that is replaced while it is answered is left to the event of the new one', async () => {
  const [input, output] = [join(work, 'replaced'), join(work, 'replaced-out')]
  for (const dir of [input, output]) mkdirSync(dir)
  const bytes = writeNpy({ dtype: 'float32', shape: [ROWS, 4], data })
  writeFileSync(join(input, 'a.npy'), bytes)
  const store: ObjectStore = {
    ...folder,
    file(info) {
      const file = folder.file!(info)
      writeFileSync(join(input, 'a.npy'), bytes.subarray(0, -16))
      return file
    },
  }
  const o = await runObject(jobAt(join(work, 'model'), reliable(store), input, output), { bucket: input, key: 'a.npy' })
  assert.equal(o.status, 'SKIPPED')
  assert.match(o.status === 'SKIPPED' ? o.reason : '', /changed/)
  assert.deepEqual(readdirSync(output), [])
})

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createFolderStore } from '../../../src/batch/foldstore.ts'
import { jsonl } from '../../../src/batch/formats/jsonl.ts'
import { fresh } from '../../../src/batch/ledger.ts'
import { outputsOf } from '../../../src/batch/names.ts'
import { publishRun } from '../../../src/batch/publish.ts'
import { jsonlResult } from '../../../src/batch/results/jsonl.ts'
import type { Run } from '../../../src/batch/run.ts'
import { openSink } from '../../../src/batch/sink.ts'
import type { ObjectStore, ResultFormat } from '../../../src/batch/types.ts'
import { jobAt, stage } from '../../fixtures/batch/job.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-publish-'))
after(() => rmSync(work, { recursive: true, force: true }))

/** A name that some other tool prescribes: the same for each version of the input. */
const prescribed: ResultFormat = { ...jsonlResult, key: ({ prefix, key }) => `${prefix}${key}.out` }
const PART = 5 * 2 ** 20

let places = 0
function setup() {
  const dir = join(work, String(places++))
  const [input, output, model] = [join(dir, 'in'), join(dir, 'out'), join(dir, 'model')]
  for (const d of [input, output]) mkdirSync(d, { recursive: true })
  stage(model)
  writeFileSync(join(input, 'a.jsonl'), '{}')
  const store = createFolderStore()
  const job = jobAt(model, store, input, output)
  const runOf = (version: string, sequencer: string | undefined, modified: number, over: ObjectStore = store): Run => {
    const names = { prefix: '', key: 'a.jsonl', run: version.padStart(12, '0') }
    return {
      job: { ...job, store: over },
      item: { bucket: input, key: 'a.jsonl', sequencer },
      info: { bucket: input, key: 'a.jsonl', size: 2, etag: version, modified },
      format: jsonl,
      resultFormat: prescribed,
      names,
      outputs: outputsOf(output, names, prescribed),
      named: false,
      unclaimed: false,
      modelDigest: 'm',
    }
  }
  const written = async (run: Run, text: string) => {
    const sink = openSink(store, run.outputs.result)
    await sink.write(text)
    return { ...fresh(run.names.run), phase: 'publish' as const, result: await sink.save() }
  }
  const now = () => readFileSync(join(output, 'a.jsonl.out'), 'utf8')
  return { store, runOf, written, now }
}

test('a prescribed name holds the newest version, in whatever order they come', async () => {
  for (const order of [
    [1, 2, 3],
    [3, 2, 1],
    [2, 3, 1, 3, 1],
  ]) {
    const { runOf, written, now } = setup()
    for (const n of order) {
      const run = runOf(String(n), `0055AED6DCD90281E${n}`, 10 - n)
      await publishRun(run, await written(run, `version ${n}`))
    }
    assert.equal(now(), 'version 3', String(order))
  }
})

test('without sequencers the time of the object decides', async () => {
  const { runOf, written, now } = setup()
  for (const n of [2, 1]) {
    const run = runOf(String(n), undefined, n)
    await publishRun(run, await written(run, `version ${n}`))
  }
  assert.equal(now(), 'version 2')
})

test('two versions at once: the older one never stays', async () => {
  for (let round = 0; round < 20; round++) {
    const { runOf, written, now } = setup()
    const runs = [1, 2, 3].map((n) => runOf(String(n), `0${n}`, n))
    const states = await Promise.all(runs.map((r, i) => written(r, `version ${i + 1}`)))
    await Promise.all(runs.map((r, i) => publishRun(r, states[i]!)))
    assert.equal(now(), 'version 3')
  }
})

test('publishing that broke off anywhere is done again without harm', async () => {
  for (const size of [10, PART + 10])
    for (let breakAt = 0; breakAt < 8; breakAt++) {
      const { store, runOf, written, now } = setup()
      let calls = 0
      const breaking: ObjectStore = {
        ...store,
        async put(ref, bytes, o) {
          const done = await store.put(ref, bytes, o)
          if (calls++ === breakAt) throw new Error('broken off')
          return done
        },
        upload(ref, o) {
          const upload = store.upload(ref, o)
          return {
            ...upload,
            async complete(parts, options) {
              const done = await upload.complete(parts, options)
              if (calls++ === breakAt) throw new Error('broken off')
              return done
            },
          }
        },
      }
      const text = 'x'.repeat(size)
      const state = await written(runOf('1', '01', 1), text)
      await publishRun(runOf('1', '01', 1, breaking), state).catch((e: Error) => assert.equal(e.message, 'broken off'))
      const done = await publishRun(runOf('1', '01', 1), state)
      assert.equal(done?.status, 'DONE')
      assert.equal(now(), text)
    }
})

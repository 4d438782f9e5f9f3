import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { importSource } from '../../packager/import.ts'
import { writeModel } from '../../packager/onnx/write.ts'
import { compareAll, type JsonTensor, jsonExpected, jsonTensor } from '../../scripts/cases.ts'
import { isAppError } from '../../src/errors.ts'
import { createSession } from '../../src/session.ts'
import type { Tensors } from '../../src/types.ts'

// One file a family: tiny frozen GraphDefs with feeds, and what TensorFlow answered or that it refused.
const folder = join(import.meta.dirname, '../fixtures/ops')
const scratch = mkdtempSync(join(tmpdir(), 'vectors-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

interface Vector {
  name: string
  pb: string
  inputs: Record<string, JsonTensor>
  outputs?: Record<string, JsonTensor>
  error?: string
  rtol: number
  atol: number
}

async function run(v: Vector): Promise<Tensors> {
  const dir = mkdtempSync(join(scratch, 'v'))
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'frozen.pb'), Buffer.from(v.pb, 'base64'))
  const source = await importSource(join(dir, 'frozen.pb'), v.outputs && { outputs: Object.keys(v.outputs) })
  const imported = source.import('serving_default')
  assert.equal(imported.kind, 'graph')
  if (imported.kind !== 'graph') return {}
  writeModel(join(dir, 'model.onnx'), imported.graph, '0')
  const session = await createSession(dir, { graph: 'model.onnx', ...imported.signature }, { level: 'extended' })
  try {
    // an input that the graph does not need is no input of it
    const feeds = Object.entries(v.inputs).filter(([name]) => Object.hasOwn(imported.signature.inputs, name))
    return await session.run(Object.fromEntries(feeds.map(([name, t]) => [name, jsonTensor(t)])))
  } finally {
    await session.close()
  }
}

for (const file of readdirSync(folder).filter((f) => f.endsWith('.json')))
  describe(`vectors of ${file}`, { concurrency: 4 }, () => {
    const { cases }: { cases: Vector[] } = JSON.parse(readFileSync(join(folder, file), 'utf8'))
    for (const v of cases)
      test(v.name, async () => {
        if (v.error !== undefined) {
          await assert.rejects(run(v), isAppError)
          return
        }
        const got = await run(v)
        const expected = Object.fromEntries(Object.entries(v.outputs!).map(([k, t]) => [k, jsonExpected(t)]))
        const check = { value: true, shape: true, dtype: true }
        assert.equal(compareAll(expected, got, { rtol: v.rtol, atol: v.atol, check }), undefined)
      })
  })

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { silent } from '../../packager/cli/reporter.ts'
import { importSource } from '../../packager/import.ts'
import { importToFile } from '../../packager/importfile.ts'
import { openAny } from '../../packager/package/open.ts'
import { stagePackage } from '../../packager/stage.ts'
import { type JsonTensor, jsonTensor } from '../../scripts/cases.ts'
import { createPool, openCuts } from '../../src/cuts.ts'
import type { Signature } from '../../src/manifest.ts'
import { openModel } from '../../src/models.ts'
import { createSession } from '../../src/session.ts'
import { refused } from '../refused.ts'

const scratch = mkdtempSync(join(tmpdir(), 'cuts-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

interface Vector {
  name: string
  pb: string
  inputs: Record<string, JsonTensor>
  outputs: Record<string, JsonTensor>
}
const file = join(import.meta.dirname, '../fixtures/ops/parse.json')
const vectors: Vector[] = JSON.parse(readFileSync(file, 'utf8')).cases
const vector = vectors.find((v) => v.name === 'ParseExample_dense_only')!
const [input, output] = [Object.keys(vector.inputs)[0]!, Object.keys(vector.outputs)[0]!]
const serialized = jsonTensor(vector.inputs[input]!)
const expected = jsonTensor(vector.outputs[output]!).data

function frozen(): string {
  const dir = mkdtempSync(join(scratch, 'parse'))
  mkdirSync(join(dir, 'flowers'))
  const path = join(dir, 'flowers/frozen.pb')
  writeFileSync(path, Buffer.from(vector.pb, 'base64'))
  return path
}

describe('a graph that is cut where the runtime computes', () => {
  test('clients send serialized examples, which are bytes; the graph takes what is parsed', async () => {
    const imported = await (await importSource(frozen())).import('serving_default')
    assert.ok(imported.kind === 'graph')
    const { signature, graph } = imported
    assert.deepEqual(signature.inputs, {
      [input]: { name: input, source: input, dtype: 'string', shape: [null], bytes: true },
    })
    assert.equal(signature.cuts?.length, 1)
    assert.deepEqual(
      graph.inputs.map((i) => i.name),
      signature.cuts![0]!.outputs.map((o) => o.name),
    )
    // goes through the manifest
    assert.deepEqual(JSON.parse(JSON.stringify(signature.cuts)), signature.cuts)
  })

  test('staged as a package it answers, and refuses what TensorFlow refuses', async () => {
    const { dir } = await stagePackage(await openAny(frozen()), mkdtempSync(join(scratch, 'staged')), silent)
    const session = await openModel(dir).session()
    const answer = await session.run({ [input]: serialized })
    assert.deepEqual(answer[output]!.data, expected)
    const bad = { dtype: 'string', shape: [1], data: ['not a tf.Example'] } as const
    await assert.rejects(
      session.run({ [input]: { ...bad, data: [...bad.data] } }),
      refused('BAD_EXAMPLE', 'tf.Example 0'),
    )
    const flat = { dtype: 'string', shape: [1, 1], data: [''] } as const
    await assert.rejects(session.run({ [input]: { ...flat, data: [...flat.data] } }), refused('WRONG_SHAPE', input))
    await session.close()
  })

  test('an ONNX file keeps it in its metadata', async () => {
    const target = join(mkdtempSync(join(scratch, 'file')), 'model.onnx')
    await importToFile(frozen(), target, { tags: [], outputs: [] }, silent)
    const imported = await (await importSource(target)).import('serving_default')
    const session = await createSession(join(target, '..'), { graph: 'model.onnx', ...imported.signature })
    assert.deepEqual((await session.run({ [input]: serialized }))[output]!.data, expected)
    await session.close()
  })

  test('a kind that this runtime does not know', async () => {
    const cut = { kind: 'fold', inputs: [], outputs: [], spec: {} }
    const signature: Signature = { graph: '', method: '', inputs: {}, outputs: {}, cuts: [cut] }
    await assert.rejects(openCuts(signature), refused('LOAD_FAILED', 'fold', 'parseExample'))
  })
})

describe('the pool between cuts', () => {
  const tensor = (text: string) => ({ dtype: 'string', shape: [1], data: [text] }) as const
  const strings = (pool: ReturnType<typeof createPool>, bytes: boolean) => pool.get('s', bytes).data
  test('bytes are given as text where text is wanted, and the reverse', () => {
    const pool = createPool()
    pool.set('s', { ...tensor('\xc3\xa9'), data: ['\xc3\xa9'] }, true)
    assert.deepEqual(strings(pool, false), ['é'])
    assert.deepEqual(strings(pool, true), ['\xc3\xa9'])
    pool.set('s', { ...tensor('é'), data: ['é'] })
    assert.deepEqual(strings(pool, true), ['\xc3\xa9'])
  })
  test('bytes that are no text stay one character a byte', () => {
    const pool = createPool()
    pool.set('s', { ...tensor('\xff\x00'), data: ['\xff\x00'] }, true)
    assert.deepEqual(strings(pool, false), ['\xff\x00'])
  })
})

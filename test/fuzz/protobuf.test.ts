import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { encode } from '../../packager/formats/protobuf.ts'
import { importSource } from '../../packager/import.ts'
import { isAppError } from '../../src/errors.ts'
import { fuzzModels } from './models.ts'

describe('damaged protocol buffers', () =>
  fuzzModels([
    { model: 'tf1_builder', file: 'saved_model.pb', runs: 80 },
    { model: 'tf2_module', file: 'saved_model.pb', runs: 80 },
    { model: 'tf2_no_signature', file: 'saved_model.pb', runs: 80 },
    { model: 'tf2_tables', file: 'saved_model.pb', runs: 50 },
    { model: 'tf1_partitioned', file: 'saved_model.pb', runs: 50 },
    { model: 'frozen', file: 'frozen.pb', open: 'frozen.pb', runs: 150 },
    { model: 'tf1_checkpoint', file: 'model.ckpt.meta', runs: 30 },
    { model: 'onnx_opset9', file: 'model.onnx', open: 'model.onnx', runs: 200 },
    { model: 'onnx_external', file: 'model.onnx', open: 'model.onnx', runs: 150 },
    { model: 'tfjs_tables', file: 'model.json', runs: 80 },
    { model: 'tfjs_graph', file: 'group1-shard1of2.bin', runs: 30 },
  ]))

describe('protocol buffers that claim too much', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'claims-'))
  after(() => rmSync(scratch, { recursive: true, force: true }))
  const refuses = async (bytes: Uint8Array): Promise<void> => {
    const file = join(scratch, 'graph.pb')
    writeFileSync(file, bytes)
    const attempt = async () => (await importSource(file, { outputs: ['c:0'] })).import('serving_default')
    const before = process.memoryUsage.rss()
    await assert.rejects(attempt, (e) => isAppError(e) && e.code !== 'INTERNAL')
    assert.ok(process.memoryUsage.rss() - before < 2 ** 28)
  }
  const constant = (tensor: object) =>
    encode('tensorflow.GraphDef', {
      node: [{ name: 'c', op: 'Const', attr: { dtype: { type: 1 }, value: { tensor } } }],
    })
  const huge = { dim: [{ size: 2 ** 20 }, { size: 2 ** 20 }] }
  test('2^40 elements without a value', () => refuses(constant({ dtype: 1, tensor_shape: huge })))
  test('2^40 elements of one value', () => refuses(constant({ dtype: 1, tensor_shape: huge, float_val: [1] })))
  test('2^30 elements of one value', () =>
    refuses(constant({ dtype: 1, tensor_shape: { dim: [{ size: 2 ** 30 }] }, float_val: [1] })))
  test('2^40 strings', () => refuses(constant({ dtype: 7, tensor_shape: huge, string_val: [Buffer.from('x')] })))
  test('messages inside messages', () => {
    // attr.value.list.func.attr.value… : each layer is the body of the one around it
    const wrap = (tag: number, body: Uint8Array) => {
      const size: number[] = []
      for (let n = body.length; ; n >>>= 7) {
        size.push(n < 128 ? n : (n & 127) | 128)
        if (n < 128) break
      }
      return Buffer.concat([Buffer.from([tag, ...size]), body])
    }
    let value: Uint8Array = new Uint8Array()
    for (let depth = 0; depth < 4000; depth++) value = wrap(82, wrap(18, wrap(18, value)))
    const node = Buffer.concat([
      wrap(10, Buffer.from('c')),
      wrap(18, Buffer.from('Const')),
      wrap(42, Buffer.concat([wrap(10, Buffer.from('value')), wrap(18, value)])),
    ])
    return refuses(wrap(10, node))
  })
})

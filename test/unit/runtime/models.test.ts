import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readSettings } from '../../../src/boot.ts'
import { isAppError } from '../../../src/errors.ts'
import { createApp } from '../../../src/http/app.ts'
import type { LogLine } from '../../../src/log.ts'
import { openStore } from '../../../src/models.ts'
import { tensor } from '../../../src/tensor.ts'
import { GRAPHS, root } from './support.ts'

const code =
  (code: string, text = '') =>
  (e: unknown) =>
    isAppError(e) && e.code === code && e.message.includes(text)
const row = tensor('float32', [1, 4], new Float32Array(4))

test('one session per signature, made on first use and shared', async () => {
  const model = openStore({ roots: [root({})] }).get()
  assert.equal(await model.session(), await model.session('serving_default'))
  const [a, b] = await Promise.all([model.session('logits'), model.session('logits')])
  assert.equal(a, b)
  assert.deepEqual(Object.keys(await a.run({ images: row })), ['logits'])
  for (const name of ['nope', '__proto__', 'toString'])
    assert.throws(() => model.session(name), code('UNKNOWN_SIGNATURE', 'serving_default, logits'))
})

test('a graph that cannot be loaded fails its requests, and works once it can', async () => {
  const dir = root({})
  const graph = join(dir, 'models', 'digits', '1', 'softmax.onnx')
  writeFileSync(graph, 'damaged')
  const lines: LogLine[] = []
  const app = createApp(openStore({ roots: [dir] }), { log: (line) => lines.push(line) })
  const body = Buffer.from('{"images":[[1,2,3,4]]}')
  const send = () => app.handle({ method: 'POST', path: '/', query: '', headers: {}, body, requestId: 'r' })
  assert.equal((await send()).status, 500)
  assert.equal(lines[0]!.error!.code, 'LOAD_FAILED')
  assert.ok(lines[0]!.error!.cause!.message.length > 0)
  copyFileSync(join(GRAPHS, 'softmax.onnx'), graph)
  assert.equal((await send()).status, 200)
})

test('models come from every root; names and versions are the manifests’', () => {
  const roots = [root({ model: 'a' }), root({ model: 'b', version: '2' }, { model: 'b', version: '11' }), '/nowhere']
  const store = openStore({ roots, defaultModel: 'b' })
  assert.deepEqual(
    store.models.map((m) => `${m.manifest.model}/${m.manifest.version}`),
    ['b/11', 'b/2', 'a/1'],
  )
  assert.equal(store.get().manifest.version, '11')
  assert.equal(store.get('b', '2').manifest.version, '2')
  assert.throws(() => store.get('b', '3'), code('UNKNOWN_VERSION', '11, 2'))
  assert.throws(() => store.get('c'), code('UNKNOWN_MODEL', 'b, a'))
  assert.throws(() => openStore({ roots: [] }).get(), code('UNKNOWN_MODEL', 'a model layer'))
  assert.throws(() => openStore({ roots, defaultModel: 'z' }).get(), code('UNKNOWN_MODEL'))
})

test('the environment, read in one place', () => {
  assert.deepEqual(readSettings({}), {
    opt: '/opt',
    taskRoot: '/var/task',
    memoryMb: undefined,
    defaultModel: undefined,
    labels: '',
    cors: false,
  })
  const env = {
    MODELAYER_OPT: '/o',
    LAMBDA_TASK_ROOT: '/t',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '1769',
    MODELAYER_DEFAULT_MODEL: 'm',
    MODELAYER_LABELS: 'm/stable=1',
    MODELAYER_CORS: 'true',
  }
  assert.deepEqual(readSettings(env), {
    opt: '/o',
    taskRoot: '/t',
    memoryMb: 1769,
    defaultModel: 'm',
    labels: 'm/stable=1',
    cors: true,
  })
  assert.equal(readSettings({ AWS_LAMBDA_FUNCTION_MEMORY_SIZE: 'much' }).memoryMb, undefined)
})

function booted(dir: string): { status: number; natives: string[]; lines: LogLine[] } {
  const out = execFileSync(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'booted.ts'), dir])
  const lines = String(out).trim().split('\n')
  return { lines: lines.map((line) => JSON.parse(line)), ...JSON.parse(lines.at(-1)!) }
}

test('boot loads onnxruntime and no image library', () => {
  const { status, natives } = booted(root({}))
  assert.equal(status, 200)
  assert.ok(natives.some((file) => file.includes('onnxruntime')))
  assert.deepEqual(
    natives.filter((file) => /sharp|vips/.test(file)),
    [],
  )
})

test('a default model that fails at boot is said in the log, and does not end the process', () => {
  const dir = root({})
  writeFileSync(join(dir, 'models', 'digits', '1', 'softmax.onnx'), 'damaged')
  const { status, lines } = booted(dir)
  assert.equal(status, 500)
  assert.deepEqual(
    lines.slice(0, 2).map((line) => line.error!.code),
    ['LOAD_FAILED', 'LOAD_FAILED'],
  )
})

test('a manifest that cannot be read is said in the log and in every answer', () => {
  const dir = root({})
  writeFileSync(join(dir, 'models', 'digits', '1', 'manifest.json'), '{')
  const { status, lines } = booted(dir)
  assert.equal(status, 500)
  assert.deepEqual(
    lines.slice(0, 2).map((line) => [line.message, line.error!.code]),
    [
      ['The models cannot be read', 'LOAD_FAILED'],
      ['The model cannot be loaded', 'LOAD_FAILED'],
    ],
  )
})

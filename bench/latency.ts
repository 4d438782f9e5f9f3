/**
 * `npm run bench:latency -- DIR`: session.run on our file and on tf2onnx's, in turns, in one process. DIR is what
 * `python bench/latency/make.py DIR` wrote (a venv with tensorflow and tf2onnx).
 */
import { existsSync, mkdtempSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type * as Ort from 'onnxruntime-node'
import { table } from '../packager/cli/table.ts'
import { importSource } from '../packager/import.ts'
import { writeModel } from '../packager/onnx/write.ts'
import { silenceTelemetry } from '../src/boot.ts'

silenceTelemetry()
const ort = createRequire(import.meta.url)('onnxruntime-node') as typeof Ort
const dir = process.argv[2]
if (!dir) {
  console.error('usage: npm run bench:latency -- DIR (made by python bench/latency/make.py DIR)')
  process.exit(2)
}

const ROUNDS = 60
const rows: (string | number)[][] = []
for (const name of readdirSync(dir).filter((n) => existsSync(join(dir, n, 'tf2onnx.onnx')))) {
  const ours = join(mkdtempSync(join(tmpdir(), 'latency-')), 'ours.onnx')
  const imported = (await importSource(join(dir, name, 'saved_model'))).import('serving_default')
  if (imported.kind !== 'graph') throw new Error(`${name} is not a graph`)
  writeModel(ours, imported.graph, '0')
  const sessions = [await open(ours), await open(join(dir, name, 'tf2onnx.onnx'))]
  const feeds = sessions.map((s) => feedsOf(s))
  const times: number[][] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    for (const i of round % 2 ? [1, 0] : [0, 1]) {
      const start = performance.now()
      for (let k = 0; k < 5; k++) await sessions[i]!.run(feeds[i]!)
      if (round >= 5) times[i]!.push((performance.now() - start) / 5)
    }
  }
  const [a, b] = times.map(median) as [number, number]
  rows.push([name, `${(a * 1000).toFixed(0)} µs`, `${(b * 1000).toFixed(0)} µs`, (a / b).toFixed(2)])
}
console.log(table(['model', 'ours', 'tf2onnx', 'ours / tf2onnx'], rows))

function open(file: string): Promise<Ort.InferenceSession> {
  return ort.InferenceSession.create(file, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  })
}

/** Ones at batch 1: speed does not depend on the values. */
function feedsOf(session: Ort.InferenceSession): Record<string, Ort.Tensor> {
  const feeds: Record<string, Ort.Tensor> = {}
  for (const input of session.inputMetadata) {
    if (!input.isTensor) continue
    const shape = input.shape.map((d) => (typeof d === 'number' ? d : 1))
    const size = shape.reduce((n, d) => n * d, 1)
    feeds[input.name] = new ort.Tensor('float32', new Float32Array(size).fill(1), shape)
  }
  return feeds
}

function median(values: number[]): number {
  return [...values].sort((x, y) => x - y)[values.length >> 1]!
}

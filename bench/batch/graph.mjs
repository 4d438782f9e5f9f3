// A graph in a thread of its own, fed from memory: see ideal.ts.
import { parentPort, workerData } from 'node:worker_threads'
import { InferenceSession, Tensor } from 'onnxruntime-node'

const { file, inputs } = workerData
const options = { graphOptimizationLevel: 'extended', intraOpNumThreads: 1, interOpNumThreads: 1 }
const session = await InferenceSession.create(file, options)

/** `n` rows from one on. */
const feed = ({ values, row }, from, n) => {
  const width = row.reduce((a, b) => a * b, 1)
  return new Tensor('float32', values.subarray(from * width, (from + n) * width), [n, ...row])
}

parentPort.on('message', async ({ rows, ms }) => {
  const start = performance.now()
  let [done, from] = [0, 0]
  for (; performance.now() - start < ms; done += rows) {
    await session.run(Object.fromEntries(inputs.map((i) => [i.name, feed(i, from, rows)])))
    from = from + 2 * rows <= inputs[0].count ? from + rows : 0
  }
  parentPort.postMessage((1000 * done) / (performance.now() - start))
})

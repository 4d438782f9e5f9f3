// A graph in a thread of its own, fed from memory: see ideal.ts.
import { parentPort, workerData } from 'node:worker_threads'
import { InferenceSession, Tensor } from 'onnxruntime-node'

const { file, inputs } = workerData
const options = { graphOptimizationLevel: 'extended', intraOpNumThreads: 1, interOpNumThreads: 1 }
const session = await InferenceSession.create(file, options)

/** The first `n` rows of what was given. */
const feed = ({ values, row }, n) =>
  new Tensor('float32', values.slice(0, n * row.reduce((a, b) => a * b, 1)), [n, ...row])

parentPort.on('message', async ({ rows, ms }) => {
  const feeds = Object.fromEntries(inputs.map((i) => [i.name, feed(i, rows)]))
  const start = performance.now()
  let done = 0
  for (; performance.now() - start < ms; done += rows) await session.run(feeds)
  parentPort.postMessage((1000 * done) / (performance.now() - start))
})

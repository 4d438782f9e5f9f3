// The limit: as many graphs as CPUs, each in a thread of its own, fed from memory with the batch size that suits the model best.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { pattern, sizeOf } from './cases.ts'

export interface GraphFile {
  readonly file: string
  /** name in the graph, and the shape of a row */
  readonly inputs: readonly { readonly name: string; readonly row: readonly number[] }[]
}

export interface Ideal {
  /** rows per second, over all threads */
  rate(ms: number): Promise<number>
  close(): Promise<unknown>
}

const TRIES = { rounds: 3, ms: 200 }
/** of inputs, in one run */
const BYTES = 2 ** 23
/** of inputs that take turns: more than the caches hold, as records are new each time */
const ALL_BYTES = 2 ** 26

/** The size is chosen once: the best of many short measurements would be that of a lucky moment. */
export async function createIdeal({ file, inputs }: GraphFile, threads: number): Promise<Ideal> {
  const width = inputs.reduce((n, { row }) => n + sizeOf(row), 0)
  const sizes = [1, 2, 4, 8, 32, 256, 2048].filter((rows) => 4 * rows * width <= BYTES)
  const count = Math.max(...sizes, Math.floor(ALL_BYTES / 4 / width))
  const given = inputs.map((i) => ({ ...i, count, values: rowsOf(count, sizeOf(i.row)) }))
  const workers = Array.from({ length: threads }, () => {
    return new Worker(new URL('./graph.mjs', import.meta.url), { workerData: { file, inputs: given } })
  })
  const ask = async (rows: number, ms: number) => {
    const rates = workers.map(async (w): Promise<number> => {
      w.postMessage({ rows, ms })
      const [rate] = await once(w, 'message')
      return rate
    })
    return (await Promise.all(rates)).reduce((a, b) => a + b)
  }
  const tried = new Map<number, number>()
  for (let round = 0; round < TRIES.rounds; round++)
    for (const rows of sizes) tried.set(rows, Math.max(tried.get(rows) ?? 0, await ask(rows, TRIES.ms)))
  const [[best]] = [...tried].toSorted(([, a], [, b]) => b - a) as [[number, number]]
  return {
    rate: (ms) => ask(best, ms),
    close: () => Promise.all(workers.map((w) => w.terminate())),
  }
}

function rowsOf(n: number, width: number): Float32Array {
  const values = new Float32Array(n * width)
  const patterns = Array.from({ length: 64 }, (_, k) => pattern(k, width))
  for (let k = 0; k < n; k++) values.set(patterns[k % patterns.length]!, k * width)
  return values
}

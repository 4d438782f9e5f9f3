/**
 * Records per second of batch; of a plain loop with the same libraries; and of onnxruntime alone, fed from memory in a
 * thread for each CPU with the batches that suit the model best, which is the limit. The three take turns, the limit before and behind the
 * batch; ratios are medians over the rounds.
 *
 *   npm run bench:batch -- [rounds] [part of a case's name]
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { table } from '../packager/cli/table.ts'
import { openAny } from '../packager/package/open.ts'
import { projectRoot } from '../packager/root.ts'
import { stagePackage } from '../packager/stage.ts'
import { createFolderStore } from '../src/batch/foldstore.ts'
import { reliable } from '../src/batch/reliable.ts'
import { runObject } from '../src/batch/run.ts'
import { jobOf } from '../src/batch/setup.ts'
import { createThreads, type Threads } from '../src/batch/threads.ts'
import { type Model, openStore } from '../src/models.ts'
import { type Case, casesIn, type Graph, ROWS } from './batch/cases.ts'
import { createIdeal } from './batch/ideal.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const ort = await import('onnxruntime-node')
const [rounds = 5, only = ''] = [Number(process.argv[2] ?? 5), process.argv[3]]
const cpus = availableParallelism()
const work = mkdtempSync(join(tmpdir(), 'modelayer-bench-'))

interface Contestants {
  readonly plain: () => Promise<void>
  readonly ours: () => Promise<void>
  readonly limit: () => Promise<number>
}

try {
  const input = join(work, 'in')
  mkdirSync(input)
  for (const name of Object.keys(ROWS)) await stage(name)
  const rows: string[][] = []
  for (const made of casesIn(input)) {
    const c = await made
    if (!c.name.includes(only)) continue
    const { plain, ours, limit, close } = await contestants(c, input)
    const found: { plain: number; ours: number; limit: number; busy: number }[] = []
    for (let round = 0; round <= rounds; round++) {
      const a = await rate(c.records, plain)
      const before = await limit()
      const cpu = process.cpuUsage()
      const b = await rate(c.records, ours)
      const { user, system } = process.cpuUsage(cpu)
      const busy = (((user + system) / 1e6) * b) / c.records
      const mean = (before + (await limit())) / 2
      // the first round is for the compiler
      if (round > 0) found.push({ plain: a, ours: b, limit: mean, busy })
    }
    await close()
    const of = (f: (r: (typeof found)[number]) => number) => median(found.map(f))
    rows.push([
      c.name,
      count(of((r) => r.plain)),
      count(of((r) => r.ours)),
      `${of((r) => r.ours / r.plain).toFixed(1)}×`,
      count(of((r) => r.limit)),
      `${(100 * of((r) => r.ours / r.limit)).toFixed(0)} %`,
      of((r) => r.busy).toFixed(1),
    ])
  }
  console.log(table(['input', 'plain loop/s', 'batch/s', 'gain', 'graph alone/s', 'of that', `of ${cpus} CPUs`], rows))
} finally {
  rmSync(work, { recursive: true, force: true })
}

async function stage(name: string): Promise<void> {
  const { dir, manifest } = await stagePackage(await openAny(join(projectRoot(), 'examples', name)), join(work, name))
  const { hooks: _, fields: __, ...bare } = manifest
  const own = join(work, `${name}-bare`, 'models', name, '1')
  mkdirSync(own, { recursive: true })
  cpSync(dir, own, { recursive: true })
  writeFileSync(join(own, 'manifest.json'), JSON.stringify(bare))
}

async function contestants(c: Case, input: string): Promise<Contestants & { close(): Promise<void> }> {
  const root = join(work, c.hooks ? c.model : `${c.model}-bare`)
  const model = openStore({ roots: [root] }).get()
  await Promise.all([model.session(), model.service()])
  const { manifest } = model
  const thread = join(projectRoot(), 'build', 'thread.mjs')
  const threads = createThreads(thread, cpus, { roots: [root], model: manifest.model, version: manifest.version })
  const graph = await graphOf(model)
  const { dir, signature } = model
  const inputs = Object.entries(graph.names).map(([alias, name]) => ({ name, row: ROWS[c.model][alias]! }))
  const ideal = await createIdeal({ file: join(dir, signature.graph), inputs }, cpus)
  let run = 0
  return {
    plain: () => c.plain(graph, join(work, 'plain.jsonl')),
    ours: () => batch(model, threads, input, c.file, join(work, `out-${c.file}-${run++}`)),
    limit: () => ideal.rate(1500),
    close: async () => {
      await ideal.close()
      await threads.close()
    },
  }
}

async function batch(model: Model, threads: Threads, input: string, file: string, output: string): Promise<void> {
  mkdirSync(output, { recursive: true })
  const models = { models: [model], labels: {}, get: () => model }
  const job = {
    ...jobOf(models, reliable(createFolderStore()), {}, 'bench'),
    ...(cpus > 1 && { threads }),
    input: { bucket: input, prefix: '' },
    output: { bucket: output, prefix: '' },
  }
  const o = await runObject(job, { bucket: input, key: file })
  if (o.status !== 'DONE' || o.done.counts.failed > 0) throw new Error(JSON.stringify(o))
  rmSync(output, { recursive: true })
}

async function graphOf({ dir, signature }: Model): Promise<Graph> {
  const options = { graphOptimizationLevel: 'extended', intraOpNumThreads: 1, interOpNumThreads: 1 } as const
  const session = await ort.InferenceSession.create(join(dir, signature.graph), options)
  const names = Object.fromEntries(Object.entries(signature.inputs).map(([alias, { name }]) => [alias, name]))
  return { session, names }
}

async function rate(records: number, work: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return (records / (performance.now() - start)) * 1000
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

function count(n: number): string {
  return Math.round(n).toLocaleString('en-US')
}

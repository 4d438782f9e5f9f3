// Records per second of batch, of a plain loop, and of the graph alone with ideal batches: node --import tsx bench/batch.ts
import { cpSync, createReadStream, createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { zipSync } from 'fflate'
import { table } from '../packager/cli/table.ts'
import { openAny } from '../packager/package/open.ts'
import { projectRoot } from '../packager/root.ts'
import { stagePackage } from '../packager/stage.ts'
import { createFolderStore } from '../src/batch/foldstore.ts'
import { reliable } from '../src/batch/reliable.ts'
import { runObject } from '../src/batch/run.ts'
import { jobOf } from '../src/batch/setup.ts'
import { type Model, openStore } from '../src/models.ts'
import { finish, infer, prepare } from '../src/predict.ts'
import type { RequestData } from '../src/types.ts'
import { upload } from '../src/upload.ts'
import { encodePng } from '../test/fixtures/batch/png.ts'

process.env.ORT_DISABLE_TELEMETRY = '1'
const work = mkdtempSync(join(tmpdir(), 'modelayer-bench-'))
const ROUNDS = 3
const N = 20_000

interface Case {
  readonly name: string
  readonly file: string
  readonly records: number
  readonly model: keyof typeof MODELS
  /** without hooks the tensors themselves are the records */
  readonly hooks: boolean
  /** what a first script would do: one record after the other */
  plain(model: Model): Promise<void>
}

const MODELS = { mnist: { alias: 'images', row: [784] }, planet: { alias: 'input_image', row: [128, 128, 3] } } as const

const pattern = (k: number, n: number) =>
  Float32Array.from({ length: n }, (_, i) => ((i * 7 + k * 13) % 10 < 8 ? 0 : ((i * 31 + k) % 1000) / 1000))
const digit = (k: number) => pattern(k, 784)

try {
  const input = join(work, 'in')
  mkdirSync(input)
  for (const name of Object.keys(MODELS)) {
    const { dir, manifest } = await stagePackage(await openAny(join(projectRoot(), 'examples', name)), join(work, name))
    const { hooks: _, fields: __, ...bare } = manifest
    const own = join(work, `${name}-bare`, 'models', name, '1')
    mkdirSync(own, { recursive: true })
    cpSync(dir, own, { recursive: true })
    writeFileSync(join(own, 'manifest.json'), JSON.stringify(bare))
  }
  const cases = [jsonl(input), npy(input, 'mnist', 200_000), npy(input, 'planet', 3072), pngs(input)]
  const rows: (string | number)[][] = []
  for (const c of cases) {
    const model = openStore({ roots: [join(work, c.hooks ? c.model : `${c.model}-bare`)] }).get()
    await Promise.all([model.session(), model.service()])
    const limit = await ideal(model, c.model)
    const ours = await best(c.records, (round) => batch(model, input, c.file, join(work, `out-${c.file}-${round}`)))
    const plain = await best(c.records, () => c.plain(model))
    rows.push([c.name, plain, ours, `${(ours / plain).toFixed(1)}×`, limit, `${((100 * ours) / limit).toFixed(0)} %`])
  }
  console.log(table(['input', 'plain loop/s', 'batch/s', 'gain', 'graph alone/s', 'of that'], rows))
} finally {
  rmSync(work, { recursive: true, force: true })
}

/** The best of a few rounds: other work on the machine only ever slows one down. */
async function best(records: number, work: (round: number) => Promise<void>): Promise<number> {
  let rate = 0
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now()
    await work(round)
    rate = Math.max(rate, (records / (performance.now() - start)) * 1000)
  }
  return Math.round(rate)
}

async function batch(model: Model, input: string, file: string, output: string): Promise<void> {
  mkdirSync(output, { recursive: true })
  const models = { models: [model], labels: {}, get: () => model }
  const job = {
    ...jobOf(models, reliable(createFolderStore()), {}, 'bench'),
    input: { bucket: input, prefix: '' },
    output: { bucket: output, prefix: '' },
  }
  const o = await runObject(job, { bucket: input, key: file })
  if (o.status !== 'DONE' || o.done.counts.failed > 0) throw new Error(JSON.stringify(o))
}

/** Batches that lie ready in memory, of the size that suits the model best. */
async function ideal(model: Model, name: keyof typeof MODELS): Promise<number> {
  const session = await model.session()
  const { alias, row } = MODELS[name]
  const width = row.reduce((a, b) => a * b, 1)
  const total = width > 10_000 ? 256 : 50_000
  const rates: number[] = []
  for (const n of [1, 8, 32, 256]) {
    const data = new Float32Array(n * width)
    for (let k = 0; k < n; k++) data.set(pattern(k, width), k * width)
    const feeds = { [alias]: { dtype: 'float32' as const, shape: [n, ...row], data } }
    const runs = Math.ceil(total / n)
    rates.push(
      await best(runs * n, async () => {
        for (let i = 0; i < runs; i++) await session.run(feeds)
      }),
    )
  }
  return Math.max(...rates)
}

function jsonl(input: string): Case {
  const file = join(input, 'digits.jsonl')
  writeFileSync(
    file,
    Array.from({ length: N }, (_, k) => `${JSON.stringify({ images: [...digit(k % 64)] })}\n`).join(''),
  )
  return {
    name: 'JSON Lines, 784 numbers',
    model: 'mnist',
    file: 'digits.jsonl',
    records: N,
    hooks: false,
    async plain(model) {
      const session = await model.session()
      const out = createWriteStream(join(work, 'plain.jsonl'))
      for await (const line of createInterface({ input: createReadStream(file) })) {
        const { images } = JSON.parse(line) as { images: number[] }
        const { scores } = await session.run({
          images: { dtype: 'float32', shape: [1, 784], data: Float32Array.from(images) },
        })
        out.write(`${JSON.stringify([...(scores!.data as Float32Array)])}\n`)
      }
      out.end()
    },
  }
}

function npy(input: string, name: keyof typeof MODELS, n: number): Case {
  const { alias, row } = MODELS[name]
  const width = row.reduce((a, b) => a * b, 1)
  const head = Buffer.alloc(128, ' ')
  head.write('\x93NUMPY\x01\x00', 0, 'latin1')
  head.writeUInt16LE(118, 8)
  head.write(`{'descr': '<f4', 'fortran_order': False, 'shape': (${[n, ...row].join(', ')}), }`, 10)
  head.write('\n', 127)
  const block = Buffer.concat(Array.from({ length: 64 }, (_, k) => Buffer.from(pattern(k, width).buffer)))
  const file = join(input, `${name}.npy`)
  writeFileSync(file, Buffer.concat([head, ...Array.from({ length: n / 64 }, () => block)]))
  return {
    name: `npy of ${name}, float32 [n,${row}]`,
    file: `${name}.npy`,
    records: n,
    model: name,
    hooks: false,
    async plain(model) {
      const session = await model.session()
      const out = createWriteStream(join(work, 'plain.jsonl'))
      const bytes = 4 * width
      let rest = Buffer.alloc(0)
      for await (const chunk of createReadStream(file, { start: 128, highWaterMark: 2 ** 18 })) {
        rest = Buffer.concat([rest, chunk as Buffer])
        let at = 0
        for (; at + bytes <= rest.length; at += bytes) {
          const data = new Float32Array(new Uint8Array(rest.subarray(at, at + bytes)).buffer)
          const answer = await session.run({ [alias]: { dtype: 'float32', shape: [1, ...row], data } })
          const lists = Object.entries(answer).map(([k, t]) => [k, [...(t.data as Float32Array)]])
          out.write(`${JSON.stringify(Object.fromEntries(lists))}\n`)
        }
        rest = rest.subarray(at)
      }
      out.end()
    },
  }
}

function pngs(input: string): Case {
  const n = 5_000
  const files: Record<string, Uint8Array> = {}
  for (let k = 0; k < n; k++)
    files[`${k}.png`] = encodePng(
      28,
      28,
      Uint8Array.from(digit(k % 64), (v) => v * 255),
    )
  writeFileSync(join(input, 'digits.zip'), zipSync(files, { level: 0 }))
  return {
    name: 'zip of PNG, 28×28',
    model: 'mnist',
    file: 'digits.zip',
    records: n,
    hooks: true,
    async plain(model) {
      const out = createWriteStream(join(work, 'plain.jsonl'))
      for (const [name, bytes] of Object.entries(files)) {
        const data: RequestData = { images: { [name]: upload('images', name, 'image/png', bytes) } }
        const body = await finish(model, await infer(model, await prepare(model, data)))
        out.write(`${JSON.stringify(body)}\n`)
      }
      out.end()
    },
  }
}

// Records per second of batch, of a plain loop, and of the graph alone with ideal batches: node --import tsx bench/batch.ts
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { zipSync } from 'fflate'
import { table } from '../packager/cli/table.ts'
import { openAny } from '../packager/package/open.ts'
import { projectRoot } from '../packager/root.ts'
import { stagePackage } from '../packager/stage.ts'
import { createFolderStore } from '../src/batch/foldstore.ts'
import { RECORD_FORMATS } from '../src/batch/formats/index.ts'
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
  readonly hooks: boolean
  /** what a first script would do: one record after the other */
  plain(model: Model): Promise<void>
}

const digit = (k: number) =>
  Float32Array.from({ length: 784 }, (_, i) => ((i * 7 + k * 13) % 10 < 8 ? 0 : ((i * 31 + k) % 1000) / 1000))

try {
  const input = join(work, 'in')
  mkdirSync(input)
  const staged = await stagePackage(await openAny(join(projectRoot(), 'examples/mnist')), join(work, 'hooks'))
  const { hooks: _, fields: __, ...bare } = staged.manifest
  const dir = join(work, 'bare', 'models', 'mnist', '1')
  mkdirSync(dir, { recursive: true })
  const { cpSync } = await import('node:fs')
  cpSync(staged.dir, dir, { recursive: true })
  writeFileSync(join(dir, 'manifest.json'), JSON.stringify(bare))

  const known = new Set(RECORD_FORMATS.map((f) => f.name))
  const cases = [jsonl(input), npy(input), pngs(input)].filter((c) => known.has(c.format))
  const rows: (string | number)[][] = []
  const limit = await ideal(openStore({ roots: [join(work, 'bare')] }).get())
  for (const c of cases) {
    const model = openStore({ roots: [join(work, c.hooks ? 'hooks' : 'bare')] }).get()
    await Promise.all([model.session(), model.service()])
    const ours = await best(c.records, (round) => batch(model, input, c.file, join(work, `out-${c.name}-${round}`)))
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

/** Batches of 256 that lie ready in memory. */
async function ideal(model: Model): Promise<number> {
  const session = await model.session()
  const data = new Float32Array(256 * 784)
  for (let k = 0; k < 256; k++) data.set(digit(k), k * 784)
  const images = { dtype: 'float32', shape: [256, 784], data } as const
  return best(N, async () => {
    for (let i = 0; i < N; i += 256) await session.run({ images })
  })
}

function jsonl(input: string): Case & { format: string } {
  const file = join(input, 'digits.jsonl')
  writeFileSync(
    file,
    Array.from({ length: N }, (_, k) => `${JSON.stringify({ images: [...digit(k % 64)] })}\n`).join(''),
  )
  return {
    name: 'JSON Lines, 784 numbers',
    format: 'jsonl',
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

function npy(input: string): Case & { format: string } {
  const n = 10 * N
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${n}, 784), }`
  const head = Buffer.alloc(128, ' ')
  head.write('\x93NUMPY\x01\x00', 0, 'latin1')
  head.writeUInt16LE(118, 8)
  head.write(header, 10)
  head.write('\n', 127)
  const block = Buffer.concat(Array.from({ length: 64 }, (_, k) => Buffer.from(digit(k).buffer)))
  const file = join(input, 'digits.npy')
  writeFileSync(file, Buffer.concat([head, ...Array.from({ length: n / 64 }, () => block)]))
  return {
    name: 'npy, float32 [n,784]',
    format: 'npy',
    file: 'digits.npy',
    records: n,
    hooks: false,
    async plain(model) {
      const session = await model.session()
      const out = createWriteStream(join(work, 'plain.jsonl'))
      let rest = Buffer.alloc(0)
      for await (const chunk of createReadStream(file, { start: 128, end: statSync(file).size - 1 })) {
        rest = Buffer.concat([rest, chunk as Buffer])
        let at = 0
        for (; at + 3136 <= rest.length; at += 3136) {
          const data = new Float32Array(new Uint8Array(rest.subarray(at, at + 3136)).buffer)
          const { scores } = await session.run({ images: { dtype: 'float32', shape: [1, 784], data } })
          out.write(`${JSON.stringify([...(scores!.data as Float32Array)])}\n`)
        }
        rest = rest.subarray(at)
      }
      out.end()
    },
  }
}

function pngs(input: string): Case & { format: string } {
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
    format: 'zip',
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

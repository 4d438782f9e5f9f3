// What is measured: an input, how a first script would answer it, and what its model is fed with.
import { createReadStream, createWriteStream, type WriteStream, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { unzipSync, zipSync } from 'fflate'
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import * as ort from 'onnxruntime-node'
import sharp from 'sharp'
import { encodePng } from '../../test/fixtures/batch/png.ts'

/** A model's graph, as it is called without us. */
export interface Graph {
  readonly session: InferenceSession
  /** aliases of inputs and outputs to the names of the graph */
  readonly names: Readonly<Record<string, string>>
}

export interface Case {
  readonly name: string
  readonly file: string
  readonly records: number
  readonly model: 'mnist' | 'iris' | 'planet'
  /** without hooks the tensors themselves are the records */
  readonly hooks: boolean
  /** one record after the other, with the same libraries: onnxruntime-node, sharp, fflate, Node */
  plain(graph: Graph, out: string): Promise<void>
}

/** Inputs of the models, by alias: shapes of a row. */
export const ROWS: Readonly<Record<Case['model'], Readonly<Record<string, readonly number[]>>>> = {
  mnist: { images: [784] },
  iris: { SepalLength: [], SepalWidth: [], PetalLength: [], PetalWidth: [] },
  planet: { input_image: [128, 128, 3] },
}
const IRIS = Object.keys(ROWS.iris)

export const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
export const pattern = (k: number, n: number) =>
  Float32Array.from({ length: n }, (_, i) => ((i * 7 + k * 13) % 10 < 8 ? 0 : ((i * 31 + k) % 1000) / 1000))

export function casesIn(dir: string): Promise<Case>[] {
  return [
    csv(dir),
    jsonl(dir, 'iris'),
    jsonl(dir, 'mnist'),
    npy(dir, 'mnist', 200_000),
    npy(dir, 'planet', 8192),
    digits(dir),
    photos(dir),
  ]
}

const flower = (k: number) => [5 + (k % 20) / 10, 3 + (k % 9) / 10, 1 + (k % 50) / 10, (k % 25) / 10]

async function csv(dir: string): Promise<Case> {
  const records = 400_000
  const lines = Array.from({ length: records }, (_, k) => flower(k).join(','))
  writeFileSync(join(dir, 'flowers.csv'), `${IRIS.join(',')}\n${lines.join('\n')}\n`)
  return {
    name: 'CSV, 4 columns',
    file: 'flowers.csv',
    records,
    model: 'iris',
    hooks: false,
    async plain(graph, to) {
      const out = createWriteStream(to)
      let columns: string[] | undefined
      for await (const line of createInterface({ input: createReadStream(join(dir, 'flowers.csv')) })) {
        const cells = line.split(',')
        if (!columns) columns = cells
        else await one(graph, Object.fromEntries(columns.map((c, i) => [c, float([1], [Number(cells[i])])])), out)
      }
      await ended(out)
    },
  }
}

async function jsonl(dir: string, model: 'iris' | 'mnist'): Promise<Case> {
  const file = join(dir, `${model}.jsonl`)
  const records = model === 'iris' ? 300_000 : 40_000
  const row = (k: number) =>
    model === 'iris'
      ? Object.fromEntries(flower(k).map((v, i) => [IRIS[i]!, v]))
      : { images: Array.from(pattern(k % 64, 784), (v) => v) }
  const texts = Array.from({ length: 6400 }, (_, k) => `${JSON.stringify(row(k))}\n`)
  const out = createWriteStream(file)
  for (let k = 0; k < records; k += texts.length) out.write(texts.slice(0, records - k).join(''))
  await ended(out)
  return {
    name: model === 'iris' ? 'JSON Lines, 4 numbers' : 'JSON Lines, 784 numbers',
    file: `${model}.jsonl`,
    records,
    model,
    hooks: false,
    async plain(graph, to) {
      const out = createWriteStream(to)
      for await (const line of createInterface({ input: createReadStream(file) })) {
        const values = JSON.parse(line) as Record<string, number | number[]>
        const feeds = Object.entries(values).map(([alias, v]) => {
          const list = typeof v === 'number' ? [v] : v
          return [alias, float(typeof v === 'number' ? [1] : [1, list.length], list)]
        })
        await one(graph, Object.fromEntries(feeds), out)
      }
      await ended(out)
    },
  }
}

async function npy(dir: string, model: 'mnist' | 'planet', records: number): Promise<Case> {
  const [alias, row] = Object.entries(ROWS[model])[0]!
  const width = sizeOf(row)
  const head = Buffer.alloc(128, ' ')
  head.write('\x93NUMPY\x01\x00', 0, 'latin1')
  head.writeUInt16LE(118, 8)
  head.write(`{'descr': '<f4', 'fortran_order': False, 'shape': (${[records, ...row].join(', ')}), }`, 10)
  head.write('\n', 127)
  const block = Buffer.concat(Array.from({ length: 64 }, (_, k) => Buffer.from(pattern(k, width).buffer)))
  const file = join(dir, `${model}.npy`)
  const made = createWriteStream(file)
  made.write(head)
  for (let k = 0; k < records; k += 64)
    if (!made.write(block)) await new Promise<void>((done) => made.once('drain', () => done()))
  await ended(made)
  return {
    name: `npy, float32 [n,${row}]`,
    file: `${model}.npy`,
    records,
    model,
    hooks: false,
    async plain(graph, to) {
      const out = createWriteStream(to)
      let rest = Buffer.alloc(0)
      for await (const chunk of createReadStream(file, { start: 128, highWaterMark: 2 ** 18 })) {
        rest = Buffer.concat([rest, chunk as Buffer])
        let at = 0
        for (; at + 4 * width <= rest.length; at += 4 * width) {
          const data = new Float32Array(new Uint8Array(rest.subarray(at, at + 4 * width)).buffer)
          await one(graph, { [alias]: new ort.Tensor('float32', data, [1, ...row]) }, out)
        }
        rest = rest.subarray(at)
      }
      await ended(out)
    },
  }
}

async function digits(dir: string): Promise<Case> {
  const records = 20_000
  const pixels = (k: number) => Uint8Array.from(pattern(k, 784), (v) => v * 255)
  const images = Array.from({ length: 64 }, (_, k) => encodePng(28, 28, pixels(k)))
  return zipped(dir, 'digits', 'zip of PNG, 28×28', 'mnist', records, images, async (graph, bytes, out) => {
    const grey = await sharp(bytes).greyscale().raw().toBuffer()
    await one(
      graph,
      {
        images: float(
          [1, 784],
          Array.from(grey, (v) => v / 255),
        ),
      },
      out,
    )
  })
}

async function photos(dir: string): Promise<Case> {
  const raw = (k: number) => Buffer.from(pattern(k, 640 * 480 * 3).map((v) => v * 255))
  const photo = (k: number) =>
    sharp(raw(k), { raw: { width: 640, height: 480, channels: 3 } })
      .blur(3)
      .jpeg()
      .toBuffer()
  const images = await Promise.all([0, 1, 2, 3].map(photo))
  return zipped(dir, 'photos', 'zip of JPEG, 640×480', 'planet', 400, images, async (graph, bytes, out) => {
    const pixels = await sharp(bytes).resize(128, 128, { fit: 'fill' }).removeAlpha().raw().toBuffer()
    await one(
      graph,
      {
        input_image: float(
          [1, 128, 128, 3],
          Array.from(pixels, (v) => v / 255),
        ),
      },
      out,
    )
  })
}

function zipped(
  dir: string,
  name: string,
  title: string,
  model: Case['model'],
  records: number,
  images: readonly Uint8Array[],
  answer: (graph: Graph, bytes: Uint8Array, out: WriteStream) => Promise<void>,
): Case {
  const suffix = title.includes('JPEG') ? 'jpg' : 'png'
  const files = Object.fromEntries(
    Array.from({ length: records }, (_, k) => [`${k}.${suffix}`, images[k % images.length]!]),
  )
  const zip = zipSync(files, { level: 0, comment: '' })
  writeFileSync(join(dir, `${name}.zip`), zip)
  return {
    name: title,
    file: `${name}.zip`,
    records,
    model,
    hooks: true,
    async plain(graph, to) {
      const out = createWriteStream(to)
      for (const bytes of Object.values(unzipSync(zip))) await answer(graph, bytes, out)
      await ended(out)
    },
  }
}

const float = (shape: readonly number[], values: readonly number[]) =>
  new ort.Tensor('float32', Float32Array.from(values), shape)

async function one({ session, names }: Graph, feeds: Record<string, Tensor>, out: WriteStream): Promise<void> {
  const given = Object.fromEntries(Object.entries(feeds).map(([alias, t]) => [names[alias]!, t]))
  const answers = await session.run(given)
  const lists = Object.entries(answers).map(([name, t]) => [name, Array.from(t.data as Float32Array, Number)])
  out.write(`${JSON.stringify(Object.fromEntries(lists))}\n`)
}

function ended(out: WriteStream): Promise<void> {
  return new Promise((done, fail) => out.on('error', fail).end(done))
}

import { toTensor } from '../src/tensorjson/convert.ts'
import { isList, isObject, member, parseValue } from '../src/tensorjson/value.ts'

/**
 * One image of 128×128×3 as TensorFlow Serving's clients send it, read into a float32 tensor: by our reader, and by JSON.parse and a copy
 * that knows the shape. Interleaved, medians; the results are compared bit by bit first.
 */
const [HEIGHT, WIDTH, CHANNELS] = [128, 128, 3]
const ROUNDS = 41

/** How clients come by their numbers. */
const SOURCES: Readonly<Record<string, () => number>> = {
  'np.random.rand': Math.random,
  'pixels / 255': () => Math.floor(Math.random() * 256) / 255,
  'float32 as double': () => Math.fround(Math.random()),
  'float32, shortest': () => Number(Math.fround(Math.random()).toPrecision(9)),
  'six decimals': () => Number(Math.random().toFixed(6)),
  'small, with exponent': () => Math.random() * 1e-6,
  integers: () => Math.floor(Math.random() * 256),
}

type Image = number[][][]

function baseline(body: Buffer): Float32Array {
  const { instances } = JSON.parse(body.toString('utf8')) as { instances: { input_image: Image }[] }
  const out = new Float32Array(HEIGHT * WIDTH * CHANNELS)
  let at = 0
  for (const row of instances[0]!.input_image) for (const pixel of row) for (const x of pixel) out[at++] = x
  return out
}

function ours(body: Buffer): Float32Array {
  const root = parseValue(body, { narrow: true })
  const instances = isObject(root) ? member(root, 'instances') : undefined
  const [row] = instances !== undefined && isList(instances) ? instances : []
  const image = row !== undefined && isObject(row) ? member(row, 'input_image') : undefined
  return toTensor(image ?? null, { dtype: 'float32' }).data as Float32Array
}

function bodyOf(next: () => number, separator: string): Buffer {
  const list = (n: number, item: () => string) => `[${Array.from({ length: n }, item).join(separator)}]`
  const image = list(HEIGHT, () => list(WIDTH, () => list(CHANNELS, () => `${next()}`)))
  return Buffer.from(`{"instances": [{"input_image": ${image}}]}`)
}

function time(work: () => void): number {
  const start = process.hrtime.bigint()
  work()
  return Number(process.hrtime.bigint() - start) / 1e6
}

const median = (times: number[]) => times.sort((a, b) => a - b)[times.length >> 1]!

const rows = []
for (const [name, next] of Object.entries(SOURCES)) {
  // Python's json puts a space behind commas, JavaScript's does not
  for (const [writer, separator] of Object.entries({ Python: ', ', JavaScript: ',' })) {
    const body = bodyOf(next, separator)
    if (Buffer.compare(Buffer.from(baseline(body).buffer), Buffer.from(ours(body).slice().buffer)) !== 0)
      throw new Error(`${name}: not the same bits`)
    const [theirs, own]: [number[], number[]] = [[], []]
    for (let i = 0; i < ROUNDS; i++) {
      theirs.push(time(() => baseline(body)))
      own.push(time(() => ours(body)))
    }
    const [a, b] = [median(theirs), median(own)]
    rows.push({
      numbers: name,
      'written by': writer,
      MB: (body.length / 1e6).toFixed(2),
      'JSON.parse + copy, ms': a.toFixed(2),
      'ours, ms': b.toFixed(2),
      ratio: (a / b).toFixed(2),
    })
  }
}
console.table(rows)

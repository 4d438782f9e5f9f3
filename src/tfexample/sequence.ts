import { AppError } from '../errors.ts'
import { DTYPES, sizeOf, type Tensor } from '../tensor.ts'
import { eachFeature } from './example.ts'
import { kindOf, SINKS, type Sink } from './feature.ts'
import { MAX_PADDED, parseExamples, SPELLED } from './parse.ts'
import { type ListSpec, type SequenceSpec, strideOf } from './spec.ts'
import { Wire } from './wire.ts'

const FEATURE_LISTS = 18
const FEATURE = 10

interface ListColumn {
  readonly spec: ListSpec
  readonly sink: Sink
  /** values so far at the end of each step */
  readonly values: number[]
  /** steps so far at the end of each example */
  readonly steps: number[]
}

/**
 * Parses serialized tf.train.SequenceExamples as ParseSequenceExample does. First come the results of the context, which is read as an
 * Example is; then indices, values and shapes of sparse lists, values and lengths of dense ones, values, outer and inner splits of ragged ones.
 * @throws {AppError} BAD_EXAMPLE
 */
export function parseSequences(spec: SequenceSpec, examples: readonly Uint8Array[]): Tensor[] {
  const context = parseExamples({ single: spec.single, features: spec.context }, examples)
  const columns = spec.lists.map((l): ListColumn => ({ spec: l, sink: SINKS[l.dtype](), values: [], steps: [] }))
  const byName = new Map(columns.map((c) => [c.spec.name, c]))
  for (const [i, bytes] of examples.entries()) {
    // of two lists with one name the later wins
    const found = new Map<ListColumn, { start: number; end: number }>()
    const keep = (name: string, start: number, end: number): void => {
      const column = byName.get(name)
      if (column) found.set(column, { start, end })
    }
    if (!eachFeature(bytes, keep, FEATURE_LISTS))
      throw bad(i, undefined, 'a serialized tf.SequenceExample', `${bytes.length} bytes that are none`)
    for (const column of columns) {
      const place = found.get(column)
      if (place) steps(column, i, bytes, place)
      else if (column.spec.kind === 'dense' && !column.spec.mayMiss)
        throw bad(i, column.spec, `the required list (${SPELLED[column.spec.dtype]})`, 'none')
      column.steps.push(column.values.length)
    }
  }
  return [...context, ...results(spec, columns, examples.length)]
}

/** The features of one list, each a step. */
function steps(c: ListColumn, i: number, bytes: Uint8Array, place: { start: number; end: number }): void {
  const { spec, sink, values } = c
  const w = new Wire(bytes)
  w.at = place.start
  w.end = place.end
  while (w.at < place.end) {
    const size = w.varint32() === FEATURE ? w.length() : -1
    if (size < 0) throw bad(i, spec, 'a list of features', 'bytes that are none')
    const [start, before] = [w.at, sink.size]
    w.at += size
    const kind = kindOf(bytes, start, w.at)
    if (kind !== 'none') {
      if (kind !== spec.dtype) throw bad(i, spec, SPELLED[spec.dtype], kind ? SPELLED[kind] : 'another kind')
      if (!sink.read(bytes, start, w.at)) throw bad(i, spec, `a list of ${SPELLED[spec.dtype]}`, 'bytes that are none')
    }
    const n = sink.size - before
    if (spec.kind === 'dense' && n !== strideOf(spec.shape))
      throw bad(i, spec, `${strideOf(spec.shape)} values for shape [${spec.shape}] in each step`, `${n}`)
    values.push(sink.size)
  }
}

function results(spec: SequenceSpec, columns: readonly ListColumn[], batch: number): Tensor[] {
  const of = (kind: ListSpec['kind']) => columns.filter((c) => c.spec.kind === kind)
  const [sparse, dense, ragged] = [of('sparse'), of('dense'), of('ragged')]
  const outer = spec.single ? [] : [batch]
  return [
    ...sparse.map((c) => indices(c, spec.single)),
    ...sparse.map(flat),
    ...sparse.map((c) => int64s([...outer, longest(c.steps), longest(c.values)])),
    ...dense.map((c) => padded(c, outer)),
    ...dense.map((c): Tensor => {
      const lengths = int64s(lengthsOf(c.steps))
      return spec.single ? { ...lengths, shape: [] } : lengths
    }),
    ...ragged.map(flat),
    ...ragged.map((c) => splits(c, c.steps)),
    ...ragged.map((c) => splits(c, c.values)),
  ]
}

const lengthsOf = (ends: readonly number[]): number[] => ends.map((end, i) => end - (ends[i - 1] ?? 0))
const longest = (ends: readonly number[]): number => lengthsOf(ends).reduce((a, b) => Math.max(a, b), 0)
const flat = (c: ListColumn): Tensor => ({ dtype: c.spec.dtype, shape: [c.sink.size], data: c.sink.data() })

function int64s(values: readonly number[]): Tensor {
  return { dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) }
}

function splits(c: ListColumn, ends: readonly number[]): Tensor {
  const all = [0, ...ends]
  if (c.spec.kind === 'ragged' && c.spec.splits === 'int32')
    return { dtype: 'int32', shape: [all.length], data: Int32Array.from(all) }
  return int64s(all)
}

function indices(c: ListColumn, single: boolean): Tensor {
  const width = single ? 2 : 3
  const data = new BigInt64Array(width * c.sink.size)
  let at = 0
  let step = 0
  for (const [i, last] of c.steps.entries()) {
    const first = step
    for (; step < last; step++)
      for (let k = c.values[step - 1] ?? 0; k < c.values[step]!; k++) {
        if (!single) data[at++] = BigInt(i)
        data[at++] = BigInt(step - first)
        data[at++] = BigInt(k - (c.values[step - 1] ?? 0))
      }
  }
  return { dtype: 'int64', shape: [c.sink.size, width], data }
}

/** Shorter lists are filled up with zeros or empty strings. */
function padded(c: ListColumn, outer: readonly number[]): Tensor {
  const { spec } = c
  if (spec.kind !== 'dense') return flat(c)
  const most = longest(c.steps)
  const shape = [...outer, most, ...spec.shape]
  const size = sizeOf(shape)
  if (size > MAX_PADDED) throw bad(0, spec, `a padded batch of at most ${MAX_PADDED} values`, `${size}`)
  const row = most * strideOf(spec.shape)
  const all = c.sink.data()
  const data = spec.dtype === 'string' ? new Array<string>(size).fill('') : new DTYPES[spec.dtype].array(size)
  const out = data as { [i: number]: string | number | bigint }
  let start = 0
  for (const [i, last] of c.steps.entries()) {
    const end = c.values[last - 1] ?? 0
    for (let k = start; k < end; k++) out[i * row + k - start] = all[k]!
    start = Math.max(start, end)
  }
  return { dtype: spec.dtype, shape, data }
}

function bad(i: number, spec: ListSpec | undefined, expected: string, got: string): AppError {
  const name = spec && Buffer.from(spec.name, 'latin1').toString('utf8')
  const where = name === undefined ? `tf.SequenceExample ${i}` : `feature list ${name} of tf.SequenceExample ${i}`
  return new AppError('BAD_EXAMPLE', { where, expected, got })
}

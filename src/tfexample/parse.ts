import { AppError } from '../errors.ts'
import { sizeOf, type Tensor } from '../tensor.ts'
import { eachFeature } from './example.ts'
import { type FeatureKind, kindOf, SINKS, type Sink } from './feature.ts'
import { type DenseSpec, type ExampleSpec, type FeatureSpec, isOpen, stride } from './spec.ts'

/** A padded batch of ragged rows is the one thing that grows faster than the request: this many elements at most. */
export const MAX_PADDED = 2 ** 28

/** TensorFlow's names of the kinds, the ones that authors wrote into their feature specs. */
export const SPELLED = { string: 'string', float32: 'float', int64: 'int64' } as const satisfies Record<
  FeatureKind,
  string
>

interface Column {
  readonly spec: FeatureSpec
  readonly sink: Sink
  /** values so far at the end of each example */
  readonly ends: number[]
  /** the last example that had this feature */
  seen: number
}

/**
 * Parses serialized tf.train.Examples as TensorFlow's ParseExample, ParseExampleV2 and ParseSingleExample do. One bad example fails all.
 * The result is in the order of those operators: indices, values and shapes of sparse features, dense values, values and splits of ragged ones.
 * @throws {AppError} BAD_EXAMPLE naming the example and the feature, never a value
 */
export function parseExamples(spec: ExampleSpec, examples: readonly Uint8Array[]): Tensor[] {
  const columns = spec.features.map((f): Column => ({ spec: f, sink: SINKS[f.dtype](), ends: [], seen: -1 }))
  const byName = new Map(columns.map((c) => [c.spec.name, c]))
  const found: { column: Column; start: number; end: number }[] = []
  for (const [i, bytes] of examples.entries()) {
    found.length = 0
    const whole = eachFeature(bytes, (name, start, end) => {
      const column = byName.get(name)
      if (column) found.push({ column, start, end })
    })
    if (!whole) throw bad(i, undefined, 'a serialized tf.Example', `${bytes.length} bytes that are none`)
    // of two entries with one name the later wins, so they are read from the end
    for (let k = found.length - 1; k >= 0; k--) {
      const { column, start, end } = found[k]!
      if (column.seen !== i) take(column, i, bytes, start, end)
    }
    for (const column of columns) close(column, i)
  }
  return results(spec, columns, examples.length)
}

function take(c: Column, i: number, bytes: Uint8Array, start: number, end: number): void {
  const kind = kindOf(bytes, start, end)
  if (kind === 'none') return
  c.seen = i
  const { spec, sink } = c
  if (kind === undefined) throw bad(i, spec, 'a list of bytes, floats or int64', 'another kind')
  if (kind !== spec.dtype) throw bad(i, spec, SPELLED[spec.dtype], SPELLED[kind])
  const before = sink.size
  if (!sink.read(bytes, start, end)) throw bad(i, spec, `a list of ${SPELLED[spec.dtype]}`, 'bytes that are none')
  if (spec.kind !== 'dense') return
  const got = sink.size - before
  const n = stride(spec)
  const fits = isOpen(spec) ? (n === 0 ? got === 0 : got % n === 0) : got === n
  if (fits) return
  const wanted = isOpen(spec) ? `a multiple of ${n} values` : `${n} values`
  throw bad(i, spec, `${wanted} for shape [${spec.shape.map((d) => d ?? '?')}]`, `${got}`)
}

/** What an example leaves out: nothing for sparse and ragged features, the default for dense ones. */
function close(c: Column, i: number): void {
  const { spec, sink } = c
  if (c.seen !== i && spec.kind === 'dense' && !isOpen(spec)) {
    if (!spec.default) throw bad(i, spec, `the required feature (${SPELLED[spec.dtype]})`, 'none')
    sink.push(spec.default)
  }
  c.ends.push(sink.size)
}

function results(spec: ExampleSpec, columns: readonly Column[], batch: number): Tensor[] {
  const of = (kind: FeatureSpec['kind']) => columns.filter((c) => c.spec.kind === kind)
  const [sparse, ragged] = [of('sparse'), of('ragged')]
  return [
    ...sparse.map((c) => indices(c, spec.single)),
    ...sparse.map(flat),
    ...sparse.map((c) => {
      const longest = BigInt(longestOf(c))
      return int64s(spec.single ? [longest] : [BigInt(batch), longest])
    }),
    ...of('dense').map((c) => dense(c, c.spec as DenseSpec, spec.single ? [] : [batch])),
    ...ragged.map(flat),
    ...ragged.map((c): Tensor => {
      const splits = spec.single ? [] : [0, ...c.ends]
      if (c.spec.kind === 'ragged' && c.spec.splits === 'int32')
        return { dtype: 'int32', shape: [splits.length], data: Int32Array.from(splits) }
      return int64s(splits.map(BigInt))
    }),
  ]
}

function flat(c: Column): Tensor {
  return { dtype: c.spec.dtype, shape: [c.sink.size], data: c.sink.data() }
}

function indices(c: Column, single: boolean): Tensor {
  const width = single ? 1 : 2
  const data = new BigInt64Array(width * c.sink.size)
  let at = 0
  let start = 0
  for (const [i, end] of c.ends.entries()) {
    for (let k = start; k < end; k++) {
      if (!single) data[at++] = BigInt(i)
      data[at++] = BigInt(k - start)
    }
    start = end
  }
  return { dtype: 'int64', shape: [c.sink.size, width], data }
}

function longestOf(c: Column): number {
  let longest = 0
  let start = 0
  for (const end of c.ends) {
    longest = Math.max(longest, end - start)
    start = end
  }
  return longest
}

function dense(c: Column, f: DenseSpec, batch: readonly number[]): Tensor {
  if (!isOpen(f)) return { dtype: f.dtype, shape: [...batch, ...(f.shape as number[])], data: c.sink.data() }
  const n = stride(f)
  const longest = longestOf(c)
  const steps = n === 0 ? 0 : longest / n
  const shape = [...batch, steps, ...(f.shape.slice(1) as number[])]
  if (batch.length === 0 || c.ends.every((end, i) => end === (i + 1) * longest))
    return { dtype: f.dtype, shape, data: c.sink.data() }
  if (sizeOf(shape) > MAX_PADDED) throw bad(0, f, `a padded batch of at most ${MAX_PADDED} values`, `${sizeOf(shape)}`)
  const all = c.sink.data()
  const padded = SINKS[f.dtype]()
  const fill = f.default?.[0] ?? (f.dtype === 'string' ? '' : 0)
  padded.pad(sizeOf(shape), fill)
  const data = padded.data() as { [i: number]: number | bigint | string } & typeof all
  let start = 0
  for (const [i, end] of c.ends.entries()) {
    for (let k = start; k < end; k++) data[i * longest + k - start] = all[k]!
    start = end
  }
  return { dtype: f.dtype, shape, data }
}

function int64s(values: readonly bigint[]): Tensor {
  return { dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values) }
}

function bad(i: number, f: { readonly name: string } | undefined, expected: string, got: string): AppError {
  const where = f ? `feature ${Buffer.from(f.name, 'latin1').toString('utf8')} of tf.Example ${i}` : `tf.Example ${i}`
  return new AppError('BAD_EXAMPLE', { where, expected, got })
}

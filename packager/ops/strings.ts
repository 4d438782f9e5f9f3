import type { DType } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumbers, constStrings, type Value } from '../onnx/value.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'
import { remember, stringStep } from './program.ts'
import { fromRe2 } from './re2.ts'

const NOTE = 'on constants or on inputs of the signature; the runtime computes it before the graph runs'
const like = (v: Value, dtype: DType = 'string') => [{ name: 'output', dtype, shape: v.shape }]
const onlyUtf8 = (n: AnyNode, encoding: string): void => {
  if (encoding.toUpperCase() !== 'UTF-8') throw unsupported(n, 'UTF-8', encoding)
}

const one =
  (step: string, dtype: DType = 'string') =>
  (n: AnyNode, x: Value, attrs: Record<string, unknown>, b: Builder): Value =>
    stringStep(n, { op: step, inputs: [x], attrs, outputs: like(x, dtype) }, b)[0]!
const [lower, upper, strip] = ['lower', 'upper', 'strip'].map((s) => one(s)) as [
  ReturnType<typeof one>,
  ReturnType<typeof one>,
  ReturnType<typeof one>,
]
const length = one('length', 'int32')

const cased = (f: ReturnType<typeof one>): OpRow =>
  op({
    in: ['input'],
    attrs: { encoding: ['', 'utf-8'] },
    note: NOTE,
    emit: (n, b) => f(n, n.in.input, { utf8: n.attrs.encoding === 'utf-8' }, b),
  })

function replace(n: AnyNode, input: Value, pattern: string, rewrite: string, all: boolean, b: Builder): Value {
  const js = fromRe2(pattern)
  if (typeof js === 'string') throw unsupported(n, 'a pattern that JavaScript can match the same way', js)
  if (/\\[^\d\\]/.test(rewrite)) throw unsupported(n, 'a rewrite with \\0 to \\9', 'another escape')
  return one('regexReplace')(n, input, { pattern: js.pattern, flags: js.flags, rewrite, all }, b)
}

const text = (n: AnyNode, v: Value, what: string): string => {
  const s = constStrings(v)
  if (s?.length !== 1) throw unsupported(n, `a constant ${what}`, 'a computed one')
  return s[0]!
}

/** onnxruntime matches with RE2, too. */
const fullMatch = (input: Value, pattern: string, b: Builder): Value =>
  b.op('RegexFullMatch', [input], { pattern }, { dtype: 'bool', shape: input.shape })

const bucket = (step: string): OpRow =>
  op({
    in: ['input'],
    attrs: { num_buckets: 'int' },
    note: NOTE,
    emit: (n, b) => one(step, 'int64')(n, n.in.input, { buckets: String(n.attrs.num_buckets) }, b),
  })

/** Joined elementwise; scalars repeat. */
function joined(inputs: readonly Value[], separator: string, b: Builder): Value {
  const sep = b.const({ dtype: 'string', shape: [], data: [separator] })
  return inputs.reduce((a, v) => {
    const left = separator === '' ? a : b.op('StringConcat', [a, sep])
    return b.op('StringConcat', [left, v])
  })
}

/** All strings of the last dimension as one; the number of them may be unknown. */
function joinLast(x: Value, separator: string, b: Builder): Value {
  const count = x.shape!.at(-1)!
  const shape = x.shape!.slice(0, -1)
  if (typeof count === 'number' && count > 0 && count <= 64)
    return joined(
      Array.from({ length: count }, (_, i) => b.squeeze(b.slice(x, [i], [i + 1], [-1]), [-1])),
      separator,
      b,
    )
  const none = b.const({ dtype: 'string', shape: [], data: [''] })
  const start = b.op('Expand', [none, b.slice(b.shapeOf(x), [0], [-1], [0])])
  const body = b.subgraph('join', (g) => {
    const i = g.bodyInput('i', 'int64', [])
    const go = g.bodyInput('go', 'bool', [])
    const sum = g.bodyInput('sum', 'string', shape)
    const next = g.gather(x, i, -1)
    const first = g.op('Equal', [i, g.int(0)])
    return [g.op('Identity', [go]), g.op('Where', [first, next, joined([sum, next], separator, g)])]
  })
  const trips = b.reshape(b.dim(x, -1), [])
  return b.ops('Loop', [trips, b.scalar('bool', 1), start], { body }, 1, [{ dtype: 'string', shape }])[0]!
}

/** Strings of every window over each row of a ragged tensor, in TensorFlow's order: rows, widths, starts. */
function ngrams(data: Value, splits: Value, widths: readonly number[], separator: string, b: Builder): [Value, Value] {
  const ends = b.slice(splits, [1], [2 ** 31 - 1], [0])
  const size = b.shapeOf(data)
  const at = b.op('Range', [b.int(0), b.reshape(size, []), b.int(1)])
  const row = b.op('ReduceSum', [b.cast(b.op('LessOrEqual', [b.unsqueeze(ends, [1]), at]), 'int64'), b.ints([0])], {
    keepdims: 0,
  })
  const end = b.gather(ends, row)
  const parts = widths.map((width, k) => {
    const fits = b.op('LessOrEqual', [b.op('Add', [at, b.ints([width])]), end])
    const starts = b.squeeze(b.op('NonZero', [fits]), [0])
    const words = Array.from({ length: width }, (_, i) => b.gather(data, b.op('Add', [starts, b.ints([i])])))
    // where it goes: behind all of the rows before it and the narrower windows of its own row
    const rank = b.op('Add', [b.op('Mul', [b.gather(row, starts), b.ints([widths.length])]), b.ints([k])])
    const lengths = b.op('Sub', [ends, b.slice(splits, [0], [-1], [0])])
    const counts = b.op('Max', [b.op('Sub', [lengths, b.ints([width - 1])]), b.ints([0])])
    const key = b.op('Add', [b.op('Mul', [rank, b.op('Add', [size, b.ints([1])])]), starts])
    return { text: joined(words, separator, b), key, counts }
  })
  const values = b.concat(
    parts.map((p) => p.text),
    0,
  )
  const keys = b.concat(
    parts.map((p) => p.key),
    0,
  )
  const [, order] = b.ops('TopK', [keys, b.shapeOf(keys)], { axis: 0, largest: 0, sorted: 1 }, 2) as [Value, Value]
  const total = parts.map((p) => p.counts).reduce((a, c) => b.op('Add', [a, c]))
  const sums = b.op('CumSum', [total, b.int(0)])
  return [b.gather(values, order), b.concat([b.ints([0]), sums], 0)]
}

export const STRINGS = {
  StringLower: cased(lower),
  StringUpper: cased(upper),
  StringStrip: op({ in: ['input'], note: NOTE, emit: (n, b) => strip(n, n.in.input, {}, b) }),
  StringLength: op({
    in: ['input'],
    attrs: { unit: ['BYTE', 'UTF8_CHAR'] },
    note: NOTE,
    emit: (n, b) => length(n, n.in.input, { unit: n.attrs.unit }, b),
  }),
  Substr: op({
    in: ['input', 'pos', 'len'],
    attrs: { unit: ['BYTE', 'UTF8_CHAR'] },
    note: NOTE,
    emit: (n, b) => {
      const { input, pos, len } = n.in
      return stringStep(
        n,
        { op: 'substr', inputs: [input, pos, len], attrs: { unit: n.attrs.unit }, outputs: like(input) },
        b,
      )
    },
  }),
  StaticRegexReplace: op({
    in: ['input'],
    attrs: { pattern: 'string', rewrite: 'string', replace_global: true },
    note: NOTE,
    emit: (n, b) => replace(n, n.in.input, n.attrs.pattern, n.attrs.rewrite, n.attrs.replace_global, b),
  }),
  RegexReplace: op({
    in: ['input', 'pattern', 'rewrite'],
    attrs: { replace_global: true },
    note: NOTE,
    emit: (n, b) => {
      const [pattern, rewrite] = [text(n, n.in.pattern, 'pattern'), text(n, n.in.rewrite, 'rewrite')]
      return replace(n, n.in.input, pattern, rewrite, n.attrs.replace_global, b)
    },
  }),
  StaticRegexFullMatch: op({
    in: ['input'],
    attrs: { pattern: 'string' },
    emit: (n, b) => fullMatch(n.in.input, n.attrs.pattern, b),
  }),
  RegexFullMatch: op({
    in: ['input', 'pattern'],
    emit: (n, b) => fullMatch(n.in.input, text(n, n.in.pattern, 'pattern'), b),
  }),
  StringJoin: op({
    in: ['inputs*'],
    attrs: { separator: '' as never },
    emit: (n, b) => {
      const separator = String(n.attrs.separator)
      return remember(n, 'join', n.in.inputs, joined(n.in.inputs, separator, b), { separator })
    },
  }),
  ReduceJoin: op({
    in: ['inputs', 'reduction_indices'],
    attrs: { keep_dims: false, separator: '' as never },
    emit: (n, b) => {
      const x = n.in.inputs
      const rank = b.rank(x)
      const given = constNumbers(n.in.reduction_indices)
      if (!given) throw unsupported(n, 'constant axes', 'computed ones')
      if (given.length === 0) return x
      // the first axis varies fastest
      const axes = given.map((a) => (a < 0 ? a + rank : a)).reverse()
      const kept = x.shape!.map((_, i) => i).filter((i) => !axes.includes(i))
      const sizes = axes.map((a) => x.shape![a]!)
      const turned = b.transpose(x, [...kept, ...axes])
      const total = sizes.every((s) => typeof s === 'number')
        ? sizes.reduce<number>((p, s) => p * Number(s), 1)
        : undefined
      const outer = b.slice(b.shapeOf(turned), [0], [kept.length], [0])
      const one = b.op('Reshape', [turned, b.concat([outer, b.ints([total ?? -1])], 0)], { allowzero: 1 })
      const flat = b.as(one, { shape: [...kept.map((i) => x.shape![i]!), total ?? b.fresh()] })
      const y = joinLast(flat, String(n.attrs.separator), b)
      return n.attrs.keep_dims ? b.unsqueeze(y, axes) : y
    },
  }),
  StringSplitV2: op({
    in: ['input', 'sep'],
    out: ['indices', 'values', 'shape'],
    attrs: { maxsplit: -1 },
    note: NOTE,
    emit: (n, b) => {
      const attrs = { sep: text(n, n.in.sep, 'separator'), max: n.attrs.maxsplit }
      return stringStep(n, { op: 'split', inputs: [n.in.input], attrs, outputs: triple(b) }, b)
    },
  }),
  StringSplit: op({
    in: ['input', 'delimiter'],
    out: ['indices', 'values', 'shape'],
    attrs: { skip_empty: true },
    note: NOTE,
    emit: (n, b) => {
      const attrs = { delimiters: text(n, n.in.delimiter, 'delimiter'), skipEmpty: n.attrs.skip_empty }
      return stringStep(n, { op: 'splitChars', inputs: [n.in.input], attrs, outputs: triple(b) }, b)
    },
  }),
  StringNGrams: op({
    in: ['data', 'data_splits'],
    out: ['ngrams', 'ngrams_splits'],
    attrs: {
      separator: 'string',
      ngram_widths: 'ints',
      left_pad: 'string',
      right_pad: 'string',
      pad_width: 'int',
      preserve_short_sequences: 'bool',
    },
    note: 'without padding and without keeping short sequences',
    emit: (n, b) => {
      const { pad_width, preserve_short_sequences, ngram_widths, separator } = n.attrs
      if (pad_width !== 0) throw unsupported(n, 'pad_width 0', String(pad_width))
      if (preserve_short_sequences) throw unsupported(n, 'short sequences dropped', 'preserve_short_sequences')
      const splits = b.cast(n.in.data_splits, 'int64')
      const [values, sums] = ngrams(n.in.data, splits, ngram_widths, separator, b)
      return [values, b.cast(sums, n.in.data_splits.dtype as DType)]
    },
  }),
  StringToNumber: op({
    in: ['string_tensor'],
    attrs: { out_type: null },
    emit: (n, b) => b.cast(n.in.string_tensor, n.attrs.out_type === undefined ? 'float32' : n.dtype('out_type')),
  }),
  AsString: op({
    in: ['input'],
    attrs: { precision: -1, scientific: false, shortest: false, width: -1, fill: '' as never },
    note: `integers and booleans anywhere; floats and widths ${NOTE}`,
    emit: (n, b) => {
      const { precision, scientific, shortest, width } = n.attrs
      const x = n.in.input
      if (x.dtype === 'string') return x
      const float = x.dtype.startsWith('float') || x.dtype.startsWith('bfloat')
      const type = !float ? 'd' : scientific ? 'e' : shortest ? 'g' : 'f'
      const attrs = { format: { type, precision, width, fill: String(n.attrs.fill) } }
      const step = { op: 'format', inputs: [x], attrs, outputs: like(x) }
      if (float || (width > 0 && x.dtype !== 'bool')) return stringStep(n, step, b)
      const word = (s: string) => b.const({ dtype: 'string', shape: [], data: [s] })
      const out =
        x.dtype === 'bool' ? b.op('Where', [x, word('true'), word('false')]) : b.cast(b.cast(x, 'int64'), 'string')
      return remember(n, 'format', [x], out, attrs)
    },
  }),
  DecodeBase64: op({
    in: ['input'],
    note: NOTE,
    emit: (n, b) => remember(n, 'decodeBase64', [n.in.input], one('decodeBase64')(n, n.in.input, {}, b)),
  }),
  EncodeBase64: op({
    in: ['input'],
    attrs: { pad: false },
    note: NOTE,
    emit: (n, b) => one('encodeBase64')(n, n.in.input, { pad: n.attrs.pad }, b),
  }),
  StringToHashBucketFast: bucket('hashFast'),
  StringToHashBucket: op({
    in: ['string_tensor'],
    attrs: { num_buckets: 'int' },
    note: NOTE,
    emit: (n, b) => one('hashOld', 'int64')(n, n.in.string_tensor, { buckets: String(n.attrs.num_buckets) }, b),
  }),
  StringToHashBucketStrong: op({
    in: ['input'],
    attrs: { num_buckets: 'int', key: 'ints' },
    note: NOTE,
    emit: (n, b) => {
      const key = ((n.node.attrs.key ?? n.attrs.key) as readonly (number | bigint)[]).map(String)
      return one('hashStrong', 'int64')(n, n.in.input, { buckets: String(n.attrs.num_buckets), key }, b)
    },
  }),
  UnicodeDecode: op({
    in: ['input'],
    out: ['row_splits', 'char_values'],
    attrs: { input_encoding: 'string', replace_control_characters: false, Tsplits: null },
    note: `UTF-8; ${NOTE}`,
    emit: (n, b) => decoded(n, n.in.input, n.attrs, b).slice(0, 2),
  }),
  UnicodeDecodeWithOffsets: op({
    in: ['input'],
    out: ['row_splits', 'char_values', 'char_to_byte_starts'],
    attrs: { input_encoding: 'string', replace_control_characters: false, Tsplits: null },
    note: `UTF-8; ${NOTE}`,
    emit: (n, b) => decoded(n, n.in.input, n.attrs, b),
  }),
  UnicodeEncode: op({
    in: ['input_values', 'input_splits'],
    attrs: { output_encoding: 'string' },
    note: `UTF-8; ${NOTE}`,
    emit: (n, b) => {
      onlyUtf8(n, n.attrs.output_encoding)
      const rows = n.in.input_splits.shape?.[0]
      const shape = [typeof rows === 'number' ? rows - 1 : b.fresh()]
      const outputs = [{ name: 'output', dtype: 'string' as const, shape }]
      return stringStep(n, { op: 'unicodeEncode', inputs: [n.in.input_values, n.in.input_splits], outputs }, b)
    },
  }),
  SparseCross: op({
    in: ['inputs*'],
    out: ['output_indices', 'output_values', 'output_shape'],
    attrs: {
      N: 'int',
      hashed_output: 'bool',
      num_buckets: 'int',
      hash_key: 'int',
      sparse_types: [],
      dense_types: [],
      out_type: null,
      internal_type: null,
    },
    note: `of dense columns with hashed output; ${NOTE}`,
    emit: (n, b) => {
      if (n.attrs.N !== 0 || !n.attrs.hashed_output)
        throw unsupported(n, 'dense columns, hashed', 'sparse or plain ones')
      const key = String(BigInt.asUintN(64, BigInt((n.node.attrs.hash_key ?? n.attrs.hash_key) as number | bigint)))
      const attrs = { buckets: String(n.attrs.num_buckets), key }
      const rows = b.fresh()
      const outputs = [
        { name: 'indices', dtype: 'int64' as const, shape: [rows, 2] },
        { name: 'values', dtype: 'int64' as const, shape: [rows] },
        { name: 'shape', dtype: 'int64' as const, shape: [2] },
      ]
      return stringStep(n, { op: 'cross', inputs: n.in.inputs, attrs, outputs }, b)
    },
  }),
} satisfies OpTable

function triple(b: Builder) {
  const count = b.fresh()
  return [
    { name: 'indices', dtype: 'int64' as const, shape: [count, 2] },
    { name: 'values', dtype: 'string' as const, shape: [count] },
    { name: 'shape', dtype: 'int64' as const, shape: [2] },
  ]
}

function decoded(
  n: AnyNode,
  x: Value,
  a: { readonly input_encoding: string; readonly replace_control_characters: boolean; readonly Tsplits: unknown },
  b: Builder,
): readonly Value[] {
  onlyUtf8(n, a.input_encoding)
  if (a.replace_control_characters) throw unsupported(n, 'control characters kept', 'replace_control_characters')
  const [count, size] = [b.fresh(), x.shape?.[0]]
  const outputs = [
    { name: 'splits', dtype: 'int64' as const, shape: [typeof size === 'number' ? size + 1 : b.fresh()] },
    { name: 'points', dtype: 'int32' as const, shape: [count] },
    { name: 'starts', dtype: 'int64' as const, shape: [count] },
  ]
  const [splits, ...rest] = stringStep(n, { op: 'unicodeDecode', inputs: [x], outputs }, b)
  return [a.Tsplits === 'int32' ? b.cast(splits!, 'int32') : splits!, ...rest]
}

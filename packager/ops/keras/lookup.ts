import type { Json, JsonObject } from '../../formats/jsonvalue.ts'
import type { Builder } from '../../onnx/builder.ts'
import type { Value } from '../../onnx/value.ts'
import type { Config } from './config.ts'
import { encoded, modeOf } from './encode.ts'
import { type Call, type LayerRow, type LayerTable, only, unsupported } from './layer.ts'
import { tfOp } from './tf.ts'

const ADVICE = 'Save the model in the .keras format after adapt(), or pass vocabulary= to the layer.'

interface Vocabulary {
  readonly tokens: readonly Json[]
  /** index of the first token */
  readonly start: number
  /** index of the first token for what is not known */
  readonly unknown: number
  readonly unknowns: number
  readonly mask: Json | undefined
  readonly depth: number
}

/** The tokens without the special ones, wherever they come from: the config, or a file beside it. */
function vocabularyOf(n: Call, own: Json | undefined): Vocabulary {
  const given = n.config.get('vocabulary')
  const lines = n.asset(n.layer, 'vocabulary.txt')
  const listed: readonly Json[] | undefined = Array.isArray(given)
    ? given
    : lines === undefined
      ? undefined
      : linesOf(lines, own)
  if (!listed) throw unsupported(n, 'a vocabulary in the file', 'none', ADVICE)
  const mask = n.config.get('mask_token')
  const unknowns = n.config.int('num_oov_indices', 1)
  const unknown = mask !== undefined && modeOf(n) === 'int' ? 1 : 0
  const start = unknown + unknowns
  const special = [
    ...Array<Json | undefined>(unknown).fill(mask),
    ...Array<Json | undefined>(unknowns).fill(n.config.get('oov_token')),
  ]
  const found = special.length > 0 && special.every((s, i) => s === listed[i])
  const tokens = found ? listed.slice(start) : listed
  const padded = n.config.bool('pad_to_max_tokens') && n.config.get('max_tokens') !== undefined
  return { tokens, start, unknown, unknowns, mask, depth: padded ? n.config.int('max_tokens') : tokens.length + start }
}

function linesOf(text: string, own: Json | undefined): Json[] {
  const lines = text.split('\n')
  return typeof own === 'number' ? lines.map(Number) : lines
}

const KINDS = { string: 'strings', int64: 'int64s' } as const

function encoder(x: Value, keys: readonly Json[], values: readonly Json[], fallback: Json, b: Builder): Value {
  const kind = (v: Json | undefined): 'string' | 'int64' => (typeof v === 'string' ? 'string' : 'int64')
  const [from, to] = [x.dtype === 'string' ? 'string' : 'int64', kind(fallback)] as const
  const attrs = {
    [`keys_${KINDS[from]}`]: keys as readonly string[],
    [`values_${KINDS[to]}`]: values as readonly string[],
    [`default_${to}`]: fallback as string,
  }
  const [found] = b.ops('LabelEncoder', [x], attrs, 1, [{ dtype: to, shape: x.shape }], 'ai.onnx.ml')
  return found!
}

/** Indices of tokens; what is masked is 0 where indices are wanted, and nothing at all where counts are. */
function indices(n: Call, x: Value, v: Vocabulary, b: Builder): Value {
  const masked = v.mask !== undefined
  const keys = [...v.tokens, ...(masked ? [v.mask!] : [])]
  const values = [...v.tokens.map((_, i) => i + v.start), ...(masked ? [modeOf(n) === 'int' ? 0 : -2] : [])]
  if (v.unknowns === 1) return encoder(x, keys, values, v.unknown, b)
  if (v.unknowns === 0) {
    // TensorFlow refuses a token that is not known; so does a Gather past the end
    const found = encoder(x, keys, values, -1, b)
    const size = v.tokens.length + v.start
    const checked = b.op('Where', [b.op('Equal', [found, b.int(-1)]), b.int(size), found])
    const low = b.op('Max', [checked, b.int(0)])
    const table = b.ints(Array.from({ length: size }, (_, i) => i))
    return b.op('Where', [b.op('Less', [checked, b.int(0)]), checked, b.gather(table, low)])
  }
  const found = encoder(x, keys, values, -1, b)
  const hashes = x.dtype === 'string' || n.config.str('oov_method', 'floormod') === 'farmhash'
  const bucket = hashes ? hashed(n, x, v.unknowns, b) : b.op('Mod', [x, b.int(v.unknowns)])
  const shifted = b.op('Add', [bucket, b.int(v.unknown)])
  return b.op('Where', [b.op('Equal', [found, b.int(-1)]), shifted, found])
}

/** The bucket of each value by TensorFlow's hash of its text; a salt asks for the strong one. */
function hashed(n: Call, x: Value, buckets: number, b: Builder): Value {
  const text = x.dtype === 'string' ? x : tfOp(n, 'AsString', [x], {}, b)
  const salt = n.config.get('salt') === undefined ? undefined : n.config.list('salt')
  if (!salt) return tfOp(n, 'StringToHashBucketFast', [text], { num_buckets: buckets }, b)
  const key = salt.length === 1 ? [salt[0]!, salt[0]!] : salt
  return tfOp(n, 'StringToHashBucketStrong', [text], { num_buckets: buckets, key }, b)
}

/** Weights by token; given ones cover the tokens alone, the special ones get their mean. */
function idfWeights(n: Call, v: Vocabulary, b: Builder): Value {
  const given = n.config.array('idf_weights')
  if (!given) return b.cast(n.w('idf_weights'), 'float32')
  const { values } = given
  const front = values.length === v.tokens.length ? v.start : 0
  const mean = values.reduce((p, q) => p + q, 0) / values.length
  const all = [...Array<number>(front).fill(mean), ...values]
  return b.filled('float32', [v.depth], [...all, ...Array<number>(Math.max(0, v.depth - all.length)).fill(0)])
}

function lookup(n: Call, x: Value, key: 'string' | 'int64', b: Builder): Value {
  const v = vocabularyOf(n, key === 'int64' ? 0 : '')
  const mode = modeOf(n)
  if (n.config.bool('invert')) {
    const unknown = n.config.get('oov_token') ?? (key === 'string' ? '[UNK]' : -1)
    const masked = v.mask === undefined ? [] : [v.mask]
    const at = [...v.tokens.map((_, i) => i + v.start), ...masked.map(() => 0)]
    return encoder(b.cast(x, 'int64'), at, [...v.tokens, ...masked], unknown, b)
  }
  const index = indices(n, key === 'int64' ? b.cast(x, 'int64') : x, v, b)
  const counts = encoded(n, index, { mode, depth: v.depth, dtype: 'int64' }, b)
  return mode === 'tf_idf' ? b.op('Mul', [b.cast(counts, 'float32'), idfWeights(n, v, b)]) : counts
}

const table = (key: 'string' | 'int64'): LayerRow => ({
  autocast: false,
  vars: (c) =>
    /^tf.idf$/.test(c.str('output_mode', 'int')) && c.get('idf_weights') === undefined ? ['@idf_weights'] : [],
  emit: (n, b) => {
    if (key === 'string' && n.x.dtype !== 'string' && !n.config.bool('invert'))
      throw unsupported(n, 'strings', n.x.dtype)
    return lookup(n, n.x, key, b)
  },
})

// ---- text ---------------------------------------------------------------------------------------------------------------------

const PUNCTUATION = '[!"#$%&()\\*\\+,-\\./:;<=>?@\\[\\\\\\]^_`{|}~\\\']'

function standardized(n: Call, x: Value, b: Builder): Value {
  const how = n.config.get('standardize')
  if (how === undefined) return x
  if (how !== 'lower' && how !== 'strip_punctuation' && how !== 'lower_and_strip_punctuation')
    throw unsupported(n, 'standardize lower, strip_punctuation or both', 'a function of the author')
  const lower = how === 'strip_punctuation' ? x : tfOp(n, 'StringLower', [x], {}, b)
  if (how === 'lower') return lower
  return tfOp(n, 'StaticRegexReplace', [lower], { pattern: PUNCTUATION, rewrite: '', replace_global: true }, b)
}

/** Words of each text in a row, filled up with the empty string, which every vocabulary here masks. */
function words(n: Call, x: Value, b: Builder): Value {
  const how = n.config.get('split')
  if (n.config.get('ngrams') !== undefined) throw unsupported(n, 'single words', 'ngrams')
  if (how === undefined) return x
  if (how !== 'whitespace')
    throw unsupported(
      n,
      "split 'whitespace' or None",
      typeof how === 'string' ? `'${how}'` : 'a function of the author',
    )
  const rank = b.rank(x)
  if (rank > 1 && x.shape!.at(-1) !== 1) throw unsupported(n, 'one text for each row', 'several')
  const flat = rank > 1 ? b.squeeze(x, [-1]) : x
  const shape = [...(flat.shape ?? []), b.fresh()]
  const outs = [
    { dtype: 'string', shape },
    { dtype: 'int64', shape: flat.shape },
  ] as const
  return b.ops('StringSplit', [flat], {}, 2, outs)[0]!
}

function lengthened(n: Call, y: Value, b: Builder): Value {
  if (n.config.get('output_sequence_length') === undefined) return y
  const length = n.config.int('output_sequence_length')
  const rank = b.rank(y)
  const none = Array<number>(rank).fill(0)
  const wide = b.op('Pad', [y, b.ints([...none, ...none.slice(1), length]), b.scalar(y.dtype, 0)])
  const cut = b.slice(wide, [0], [length], [rank - 1])
  return b.as(cut, { shape: [...y.shape!.slice(0, -1), length] })
}

const textVectorization: LayerRow = {
  autocast: false,
  note: 'of what clients send; split by whitespace or not at all, without ngrams',
  children: (c: Config, make) => {
    const own = { mask_token: '', oov_token: '[UNK]', num_oov_indices: 1 }
    const names = ['max_tokens', 'vocabulary', 'idf_weights', 'pad_to_max_tokens', 'output_mode', 'vocabulary_size']
    const given = Object.fromEntries(names.map((k) => [k, c.json[k]]))
    const json: JsonObject = { class_name: 'StringLookup', config: { ...own, ...given, name: 'lookup' } }
    make('_lookup_layer', json)
  },
  emit: (n, b) => {
    if (n.config.bool('ragged')) throw unsupported(n, 'dense output', 'ragged=True')
    const child = n.child('_lookup_layer')
    const index = only(n.run(child, [{ value: words(n, standardized(n, n.x, b), b) }]))
    return modeOf(n) === 'int' ? lengthened(n, index, b) : index
  },
}

/** One bucket is kept for the value that is masked. */
const hashing: LayerRow = {
  autocast: false,
  note: 'of what clients send; strings that the graph computes have no hash',
  emit: (n, b) => {
    const bins = n.config.int('num_bins')
    const masked = n.config.get('mask_value')
    const keep = masked !== undefined && bins > 1
    const x = n.x.dtype.startsWith('float') ? b.cast(n.x, 'int64') : n.x
    let index = hashed(n, x, keep ? bins - 1 : bins, b)
    if (keep) {
      const value =
        typeof masked === 'string'
          ? b.const({ dtype: 'string', shape: [], data: [masked] })
          : b.scalar(x.dtype, Number(masked))
      const next = b.op('Add', [index, b.int(1)])
      index = b.op('Where', [b.op('Equal', [x, value]), b.int(0), next])
    }
    const mode = modeOf(n)
    const dtype = mode === 'int' && n.layer.dtype === 'float32' ? 'int64' : n.layer.dtype
    return encoded(n, index, { mode, depth: bins, dtype }, b)
  },
}

const crossing: LayerRow = {
  autocast: false,
  emit: (n) => {
    throw unsupported(
      n,
      'features that are not crossed',
      'a hash of several',
      'Use StringLookup or Hashing on the joined text.',
    )
  },
}

export const LOOKUP_LAYERS: LayerTable = {
  StringLookup: table('string'),
  IntegerLookup: table('int64'),
  TextVectorization: textVectorization,
  Hashing: hashing,
  HashedCrossing: crossing,
}

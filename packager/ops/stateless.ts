import { type DType, tensor } from '../../src/tensor.ts'
import type { Builder } from '../onnx/builder.ts'
import { constNumber, type Value } from '../onnx/value.ts'
import { int64 } from './cast.ts'
import { type AnyNode, type OpRow, type OpTable, op, unsupported } from './op.ts'

/**
 * Random numbers that are a function of their seed: Philox 4x32-10 (J. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011)
 * and TensorFlow's distributions over it (tensorflow/core/lib/random/random_distributions.h), in ONNX. 32-bit words live in uint64,
 * which holds their products.
 */
type Words = readonly [Value, Value, Value, Value]
type Key = readonly [Value, Value]

/** Arithmetic on uint64. */
const word = (v: bigint, b: Builder): Value => b.const(tensor('uint64', [], BigUint64Array.of(v)))
const low = (v: Value, b: Builder): Value => b.op('BitwiseAnd', [v, word(0xffffffffn, b)])
const high = (v: Value, b: Builder): Value => b.op('BitShift', [v, word(32n, b)], { direction: 'RIGHT' })
const joined = (lo: Value, hi: Value, b: Builder): Value =>
  b.op('BitwiseOr', [lo, b.op('BitShift', [hi, word(32n, b)], { direction: 'LEFT' })])
const xor = (x: Value, y: Value, b: Builder): Value => b.op('BitwiseXor', [x, y])

function philox([c0, c1, c2, c3]: Words, [k0, k1]: Key, b: Builder, round = 0): Words {
  if (round === 10) return [c0, c1, c2, c3]
  const [p, q] = [b.op('Mul', [word(0xd2511f53n, b), c0]), b.op('Mul', [word(0xcd9e8d57n, b), c2])]
  const next: Words = [xor(xor(high(q, b), c1, b), k0, b), low(q, b), xor(xor(high(p, b), c3, b), k1, b), low(p, b)]
  const bumped = (k: Value, by: bigint) => low(b.op('Add', [k, word(by, b)]), b)
  return philox(next, [bumped(k0, 0x9e3779b9n), bumped(k1, 0xbb67ae85n)], b, round + 1)
}

interface Generator {
  readonly key: Key
  /** the 128-bit counter as two uint64 */
  readonly counter: readonly [Value, Value]
}

/** tensorflow/core/kernels/stateless_random_ops.cc, GenerateKey: the seeds are scrambled, so that any two make different streams. */
function seeded(seed: Value, b: Builder): Generator {
  const wide = b.cast(int64(seed, b), 'uint64')
  const [s0, s1] = [b.gather(wide, b.int(0)), b.gather(wide, b.int(1))]
  const counter: Words = [low(s0, b), high(s0, b), low(s1, b), high(s1, b)]
  const mix = philox(counter, [word(0x3ec8f720n, b), word(0x02461e29n, b)], b)
  return { key: [mix[0], mix[1]], counter: [word(0n, b), joined(mix[2], mix[3], b)] }
}

function given(n: AnyNode, key: Value, counter: Value, alg: Value, b: Builder): Generator {
  if (constNumber(alg) === 2) throw unsupported(n, 'the Philox algorithm', 'ThreeFry')
  const k = b.gather(key, b.int(0))
  return { key: [low(k, b), high(k, b)], counter: [b.gather(counter, b.int(0)), b.gather(counter, b.int(1))] }
}

/** Four words for each of the numbers by which the counter is advanced. */
function blocks({ key, counter: [lo, hi] }: Generator, skips: Value, b: Builder): Words {
  const first = b.op('Add', [lo, skips])
  const carry = b.cast(b.op('Less', [first, lo]), 'uint64')
  const second = b.op('Add', [hi, carry])
  return philox([low(first, b), high(first, b), low(second, b), high(second, b)], key, b)
}

const sizeOf = (shape: Value, b: Builder): Value => b.op('ReduceProd', [int64(shape, b)], { keepdims: 0 })

/** As many groups of `each` results as the shape needs, laid out one after the other. */
function laidOut(shape: Value, each: number, results: (groups: Value) => readonly Value[], b: Builder): Value {
  const size = sizeOf(shape, b)
  const groups = b.op('Div', [b.op('Add', [size, b.int(each - 1)]), b.int(each)])
  const columns = results(b.cast(b.op('Range', [b.int(0), groups, b.int(1)]), 'uint64'))
  const flat = b.reshape(
    b.concat(
      columns.map((v) => b.unsqueeze(v, [-1])),
      -1,
    ),
    [-1],
  )
  return b.op('Reshape', [b.op('Slice', [flat, b.ints([0]), b.reshape(size, [1]), b.ints([0])]), int64(shape, b)], {
    allowzero: 1,
  })
}

/** The mantissa's bits as a number in [0, 1). */
function fraction(bits: Value, width: number, dtype: DType, b: Builder): Value {
  const mantissa = b.op('BitwiseAnd', [bits, word(2n ** BigInt(width) - 1n, b)])
  return b.op('Mul', [b.cast(mantissa, dtype), b.scalar(dtype, 2 ** -width)])
}

/** 52 bits of two words, as TensorFlow pairs them. */
const doubled = (x0: Value, x1: Value, b: Builder): Value =>
  fraction(joined(x1, b.op('BitwiseAnd', [x0, word(0xfffffn, b)]), b), 52, 'float64', b)

const MANTISSA: Readonly<Record<string, number>> = { float32: 23, float16: 10, bfloat16: 7 }

function uniform(g: Generator, shape: Value, dtype: DType, b: Builder): Value {
  if (dtype === 'float64')
    return laidOut(
      shape,
      2,
      (groups) => {
        const [x0, x1, x2, x3] = blocks(g, groups, b)
        return [doubled(x0, x1, b), doubled(x2, x3, b)]
      },
      b,
    )
  const width = MANTISSA[dtype]!
  const all = laidOut(shape, 4, (groups) => blocks(g, groups, b).map((x) => fraction(x, width, 'float32', b)), b)
  return b.cast(all, dtype)
}

/** Two normal numbers from two uniform ones. */
function boxMuller(u: Value, v: Value, b: Builder): [Value, Value] {
  const radius = b.op('Sqrt', [
    b.op('Mul', [b.scalar(u.dtype, -2), b.op('Log', [b.op('Max', [u, b.scalar(u.dtype, 1e-7)])])]),
  ])
  const angle = b.op('Mul', [v, b.scalar(u.dtype, 2 * Math.PI)])
  return [b.op('Mul', [b.op('Sin', [angle]), radius]), b.op('Mul', [b.op('Cos', [angle]), radius])]
}

/** The normal numbers of one block: two of double precision, otherwise four. */
function normals([x0, x1, x2, x3]: Words, dtype: DType, b: Builder): Value[] {
  if (dtype === 'float64') return boxMuller(doubled(x0, x1, b), doubled(x2, x3, b), b)
  const [p, q, r, s] = [x0, x1, x2, x3].map((x) => fraction(x, 23, 'float32', b)) as [Value, Value, Value, Value]
  return [...boxMuller(p, q, b), ...boxMuller(r, s, b)]
}

const perBlock = (dtype: DType): number => (dtype === 'float64' ? 2 : 4)

function normal(g: Generator, shape: Value, dtype: DType, b: Builder): Value {
  return b.cast(
    laidOut(shape, perBlock(dtype), (groups) => normals(blocks(g, groups, b), dtype, b), b),
    dtype,
  )
}

/** Every group has blocks of its own to draw from until enough are within two deviations; four miss it once in 10^14 groups. */
const RESERVED = 256
const DRAWN = 4

function truncated(g: Generator, shape: Value, dtype: DType, b: Builder): Value {
  const each = perBlock(dtype)
  const skip = BigInt((each * RESERVED) / 4)
  const results = (groups: Value): Value[] => {
    const start = b.op('Mul', [groups, word(skip, b)])
    const drawn = Array.from({ length: DRAWN }, (_, i) =>
      normals(blocks(g, b.op('Add', [start, word(BigInt(i), b)]), b), dtype, b),
    ).flat()
    const table = b.concat(
      drawn.map((v) => b.unsqueeze(v, [-1])),
      -1,
    )
    const count = drawn.length
    // the first ones that are within come first; ties go by place
    const inside = b.cast(b.op('Less', [b.op('Abs', [table]), b.scalar(table.dtype, 2)]), 'int32')
    const [, places] = b.ops('TopK', [inside, b.ints([each])], { axis: -1 }, 2)
    const kept = b.op('GatherElements', [table, places!], { axis: -1 })
    return Array.from({ length: Math.min(each, count) }, (_, i) => b.gather(kept, b.int(i), -1))
  }
  return b.cast(laidOut(shape, each, results, b), dtype)
}

/** All bits of a word, or of two for 64-bit integers. */
function bits(g: Generator, shape: Value, dtype: DType, b: Builder): Value {
  const wide = dtype === 'int64' || dtype === 'uint64'
  const results = (groups: Value): readonly Value[] => {
    const [x0, x1, x2, x3] = blocks(g, groups, b)
    return wide ? [joined(x0, x1, b), joined(x2, x3, b)] : [x0, x1, x2, x3]
  }
  return laidOut(shape, wide ? 2 : 4, results, b)
}

function integers(g: Generator, shape: Value, from: Value, to: Value, b: Builder): Value {
  const dtype = from.dtype as DType
  const span = b.cast(
    b.cast(b.op('Sub', [to, from]), dtype === 'int64' || dtype === 'uint64' ? 'uint64' : 'uint32'),
    'uint64',
  )
  const offset = b.op('Mod', [bits(g, shape, dtype, b), span])
  return b.op('Add', [from, b.cast(offset, dtype)])
}

type Draw = (g: Generator, shape: Value, dtype: DType, b: Builder) => Value

/** The first versions take a seed, the second ones the key and counter that come of one. */
const real = (draw: Draw): OpRow =>
  op({
    in: ['shape', 'seed'],
    attrs: { dtype: null },
    emit: (n, b) =>
      draw(seeded(n.in.seed, b), n.in.shape, n.attrs.dtype === undefined ? 'float32' : n.dtype('dtype'), b),
  })
const realV2 = (draw: Draw): OpRow =>
  op({
    in: ['shape', 'key', 'counter', 'alg'],
    attrs: { dtype: null },
    emit: (n, b) => {
      const g = given(n, n.in.key, n.in.counter, n.in.alg, b)
      return draw(g, n.in.shape, n.attrs.dtype === undefined ? 'float32' : n.dtype('dtype'), b)
    },
  })
const whole: Draw = (g, shape, dtype, b) => b.cast(bits(g, shape, dtype, b), dtype)

const keyCounter = (seed: Value, b: Builder): [Value, Value] => {
  const { key, counter } = seeded(seed, b)
  return [
    b.reshape(joined(key[0], key[1], b), [1]),
    b.concat(
      counter.map((c) => b.reshape(c, [1])),
      0,
    ),
  ]
}

export const STATELESS = {
  StatelessRandomUniform: real(uniform),
  StatelessRandomNormal: real(normal),
  StatelessTruncatedNormal: real(truncated),
  StatelessRandomUniformFullInt: real(whole),
  StatelessRandomUniformInt: op({
    in: ['shape', 'seed', 'minval', 'maxval'],
    emit: (n, b) => integers(seeded(n.in.seed, b), n.in.shape, n.in.minval, n.in.maxval, b),
  }),
  StatelessRandomUniformV2: realV2(uniform),
  StatelessRandomNormalV2: realV2(normal),
  StatelessTruncatedNormalV2: realV2(truncated),
  StatelessRandomUniformFullIntV2: realV2(whole),
  StatelessRandomUniformIntV2: op({
    in: ['shape', 'key', 'counter', 'alg', 'minval', 'maxval'],
    emit: (n, b) => integers(given(n, n.in.key, n.in.counter, n.in.alg, b), n.in.shape, n.in.minval, n.in.maxval, b),
  }),
  StatelessRandomGetKeyCounter: op({
    in: ['seed'],
    out: ['key', 'counter'],
    emit: (n, b) => keyCounter(n.in.seed, b),
  }),
  StatelessRandomGetAlg: op({ in: [], emit: (_n, b) => b.scalar('int32', 1) }),
  StatelessRandomGetKeyCounterAlg: op({
    in: ['seed'],
    out: ['key', 'counter', 'alg'],
    emit: (n, b) => [...keyCounter(n.in.seed, b), b.scalar('int32', 1)],
  }),
} satisfies OpTable

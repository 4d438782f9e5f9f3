import { sizeOf } from '../../src/tensor.ts'
import { dtypeArg, fn, integer, numbers, shapeArg } from './args.ts'
import { broadcast, filled, inRange, isInteger, type NdArray, reader, store } from './ndarray.ts'
import { ValueProblem } from './problem.ts'
import { type Args, array, type Budget, type Value } from './value.ts'

const uniform = (): number => Math.random()

/** Box and Muller's way from two uniform numbers to a normal one. */
const normal = (): number => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())

const float = (name: string, params: string, shape: string, draw: () => number): Value =>
  fn(`np.random.${name}`, params, (a, b) => drawn(sizeArg(a[shape]), b, draw))

/** `np.random`, unseeded: the shapes and ranges are numpy's, the numbers are nobody's. */
export const RANDOM: Readonly<Record<string, Value>> = Object.freeze({
  rand: float('rand', 'dims*', 'dims', uniform),
  randn: float('randn', 'dims*', 'dims', normal),
  random: float('random', 'size?', 'size', uniform),
  random_sample: float('random_sample', 'size?', 'size', uniform),
  standard_normal: float('standard_normal', 'size?', 'size', normal),
  uniform: fn('np.random.uniform', 'low? high? size?', (a, b) =>
    between(a.low, a.high, a, b, (p, q) => p + (q - p) * uniform()),
  ),
  normal: fn('np.random.normal', 'loc? scale? size?', (a, b) =>
    between(a.loc, a.scale, a, b, (p, q) => p + q * normal()),
  ),
  randint: fn('np.random.randint', 'low high? size? dtype?', randint),
})

function sizeArg(v: Value | undefined): number[] {
  return v === undefined || v.kind === 'none' ? [] : shapeArg(v, 'size')
}

/** Without dimensions numpy gives a float of Python. */
function drawn(shape: readonly number[], budget: Budget, draw: () => number): Value {
  if (shape.length === 0) return { kind: 'float', value: draw() }
  budget.spend(sizeOf(shape))
  return array(filled('float64', shape, draw))
}

/** Two parameters, 0 and 1 by default, that may be arrays. */
function between(
  p: Value | undefined,
  q: Value | undefined,
  a: Args,
  budget: Budget,
  draw: (p: number, q: number) => number,
): Value {
  const [x, y] = [numbers(p ?? { kind: 'int', value: 0n }, budget), numbers(q ?? { kind: 'int', value: 1n }, budget)]
  const natural = broadcast(x.shape, y.shape)
  const shape = a.size && a.size.kind !== 'none' ? sizeArg(a.size) : natural
  const whole = natural && shape && broadcast(natural, shape)
  if (!shape || String(whole) !== String(shape))
    throw new ValueProblem('a size that the parameters broadcast to', `[${shape}]`)
  const [left, right] = [reader(x.shape, shape), reader(y.shape, shape)]
  let at = 0
  return drawn(shape, budget, () => {
    const i = at++
    return draw(Number(x.data[left(i)]), Number(y.data[right(i)]))
  })
}

function randint(a: Args, budget: Budget): Value {
  const given = integer(a.low, 'low')
  const [low, high] = a.high && a.high.kind !== 'none' ? [given, integer(a.high, 'high')] : [0, given]
  if (low >= high) throw new ValueProblem('low below high', `${low} and ${high}`)
  const dtype = dtypeArg(a.dtype) ?? 'int64'
  if (!isInteger(dtype) && dtype !== 'bool') throw new ValueProblem('an integer dtype', dtype)
  if (!inRange(dtype, BigInt(low)) || !inRange(dtype, BigInt(high) - 1n))
    throw new ValueProblem(`bounds that fit ${dtype}`, `${low} and ${high}`)
  const draw = () => store(dtype, Math.min(low + Math.floor(uniform() * (high - low)), high - 1))
  const shape = sizeArg(a.size)
  if (shape.length === 0 && !a.dtype) return { kind: 'int', value: BigInt(draw()) }
  budget.spend(sizeOf(shape))
  const made: NdArray = filled(dtype, shape, draw)
  return array(made)
}

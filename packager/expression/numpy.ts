import { sizeOf } from '../../src/tensor.ts'
import { dtypeArg, fn, integer, integers, numbers, real, rowMajor, shapeArg } from './args.ts'
import {
  DTYPE_NAMES,
  type Dt,
  filled,
  isFloat,
  isInteger,
  isText,
  type NdArray,
  promote,
  rounded,
  store,
} from './ndarray.ts'
import { ValueProblem } from './problem.ts'
import { RANDOM } from './random.ts'
import { astype, concatenate, expandDims, repeat, reshape, squeeze, stack, tile, transpose } from './shapes.ts'
import { type Args, array, type Budget, describeValue, toArray, type Value } from './value.ts'

/** `np`: what saved_model_cli's users write, not all of numpy. Every row is a name, its parameters and what it makes. */
const FUNCTIONS = {
  ones: ['shape dtype? order?', (a, b) => constant(shapeArg(a.shape), dtypeArg(a.dtype) ?? 'float64', 1, b)],
  zeros: ['shape dtype? order?', (a, b) => constant(shapeArg(a.shape), dtypeArg(a.dtype) ?? 'float64', 0, b)],
  empty: ['shape dtype? order?', (a, b) => constant(shapeArg(a.shape), dtypeArg(a.dtype) ?? 'float64', 0, b)],
  full: ['shape fill_value dtype? order?', (a, b) => full(shapeArg(a.shape), a.fill_value!, dtypeArg(a.dtype), b)],
  ones_like: ['a dtype?', (a, b) => like(a, 1, b)],
  zeros_like: ['a dtype?', (a, b) => like(a, 0, b)],
  empty_like: ['prototype dtype?', (a, b) => like({ a: a.prototype, dtype: a.dtype }, 0, b)],
  full_like: [
    'a fill_value dtype?',
    (a, b) => {
      const { shape, dtype } = toArray(a.a!, b)
      return full(shape, a.fill_value!, dtypeArg(a.dtype) ?? dtype, b)
    },
  ],
  array: ['object dtype? copy? order? ndmin?', (a, b) => made(a.object!, a, b)],
  asarray: ['a dtype? order?', (a, b) => made(a.a!, a, b)],
  arange: ['start stop? step? dtype?', arange],
  linspace: ['start stop num? endpoint? retstep? dtype?', linspace],
  eye: [
    'N M? k? dtype?',
    (a, b) => diagonal(integer(a.N, 'N'), integer(a.M, 'M', integer(a.N, 'N')), integer(a.k, 'k', 0), a, b),
  ],
  identity: ['n dtype?', (a, b) => diagonal(integer(a.n, 'n'), integer(a.n, 'n'), 0, a, b)],
  reshape: ['a shape order?', (a, b) => inOrder(a, b, integers(a.shape, 'shape'))],
  ravel: ['a order?', (a, b) => inOrder(a, b, [-1])],
  transpose: ['a axes?', (a, b) => transpose(toArray(a.a!, b), a.axes && integers(a.axes, 'axes'))],
  expand_dims: ['a axis', (a, b) => expandDims(toArray(a.a!, b), a.axis)],
  squeeze: ['a axis?', (a, b) => squeeze(toArray(a.a!, b), a.axis)],
  concatenate: ['arrays axis?', (a, b) => concatenate(a.arrays, a.axis, b)],
  stack: ['arrays axis?', (a, b) => stack(a.arrays, a.axis, b)],
  tile: ['A reps', (a, b) => tile(toArray(a.A!, b), integers(a.reps, 'reps'), b)],
  repeat: ['a repeats axis?', (a, b) => repeat(toArray(a.a!, b), a, b)],
  clip: ['a a_min a_max', (a, b) => clip(numbers(a.a, b), a, b)],
  ...elementwise({ sqrt: Math.sqrt, exp: Math.exp, log: Math.log, sin: Math.sin, cos: Math.cos, tanh: Math.tanh }),
} as const satisfies Readonly<Record<string, readonly [string, (a: Args, b: Budget) => NdArray]>>

export const NUMPY: Value = {
  kind: 'module',
  name: 'np',
  members: Object.freeze({
    ...Object.fromEntries(Object.entries(FUNCTIONS).map(([name, [params, make]]) => [name, entry(name, params, make)])),
    ...Object.fromEntries(
      Object.entries(DTYPE_NAMES).flatMap(([name, d]) =>
        ['int', 'float', 'object', 'str', 'bytes'].includes(name) ? [] : [[name, { kind: 'dtype', value: d } as const]],
      ),
    ),
    random: { kind: 'module', name: 'np.random', members: RANDOM } as const,
    pi: { kind: 'float', value: Math.PI } as const,
    e: { kind: 'float', value: Math.E } as const,
    inf: { kind: 'float', value: Number.POSITIVE_INFINITY } as const,
    nan: { kind: 'float', value: Number.NaN } as const,
    newaxis: { kind: 'none' } as const,
  }),
}

function entry(name: string, params: string, make: (a: Args, b: Budget) => NdArray): Value {
  return fn(`np.${name}`, params, (a, b) => array(make(a, b)))
}

function constant(shape: readonly number[], dtype: Dt, value: number, budget: Budget): NdArray {
  budget.spend(sizeOf(shape))
  return filled(dtype, shape, () => (isText(dtype) ? (value ? '1' : '') : store(dtype, value)))
}

function inOrder(a: Args, budget: Budget, shape: readonly number[]): NdArray {
  rowMajor(a.order)
  return reshape(toArray(a.a!, budget), shape)
}

function full(shape: readonly number[], value: Value, dtype: Dt | undefined, budget: Budget): NdArray {
  const one = toArray(value, budget)
  if (one.data.length !== 1) throw new ValueProblem('one value to fill with', describeValue(value))
  const typed = dtype ? astype(one, dtype, budget) : one
  budget.spend(sizeOf(shape))
  return filled(typed.dtype, shape, () => typed.data[0]!)
}

function like(a: Args, value: number, budget: Budget): NdArray {
  const { shape, dtype } = toArray(a.a!, budget)
  return constant(shape, dtypeArg(a.dtype) ?? dtype, value, budget)
}

function made(v: Value, a: Args, budget: Budget): NdArray {
  const dtype = dtypeArg(a.dtype)
  const plain = toArray(v, budget)
  const ndmin = Math.min(integer(a.ndmin, 'ndmin', 0), 32)
  const shape = [...Array<number>(Math.max(0, ndmin - plain.shape.length)).fill(1), ...plain.shape]
  return { ...(dtype ? astype(plain, dtype, budget) : plain), shape }
}

function arange(a: Args, budget: Budget): NdArray {
  const [start, stop] = a.stop ? [a.start!, a.stop] : [undefined, a.start!]
  const given = [start, stop, a.step].filter((v) => v !== undefined)
  const dtype = dtypeArg(a.dtype)
  let natural: Dt | undefined = 'int64'
  for (const v of given)
    natural = natural && promote(natural, v.kind === 'float' ? 'float64' : toArray(v, budget).dtype)
  const [from, to, step] = [real(start, 'start', 0), real(stop, 'stop'), real(a.step, 'step', 1)]
  if (step === 0) throw new ValueProblem('a step other than zero', 'zero')
  const n = Math.max(0, Math.ceil((to - from) / step))
  budget.spend(Number.isFinite(n) ? n : Number.POSITIVE_INFINITY)
  const type = dtype ?? natural ?? 'float64'
  // numpy makes the first two and goes on by their difference
  const delta = isInteger(type) ? step : from + step - from
  return filled(type, [n], (i) => store(type, from + i * delta))
}

function linspace(a: Args, budget: Budget): NdArray {
  const [start, stop, num] = [real(a.start, 'start'), real(a.stop, 'stop'), integer(a.num, 'num', 50)]
  if (num < 0) throw new ValueProblem('a number of samples that is not negative', `${num}`)
  const endpoint = truth(a.endpoint, true)
  if (truth(a.retstep, false)) throw new ValueProblem('retstep=False', 'retstep=True')
  budget.spend(num)
  const parts = endpoint ? num - 1 : num
  const step = (stop - start) / parts
  const dtype = dtypeArg(a.dtype) ?? 'float64'
  return filled(dtype, [num], (i) => {
    const exact = endpoint && i === num - 1 && num > 1 ? stop : parts > 0 ? i * step + start : start
    // numpy rounds down before it makes integers
    return store(dtype, isFloat(dtype) ? exact : Math.floor(exact))
  })
}

function truth(v: Value | undefined, fallback: boolean): boolean {
  if (v === undefined) return fallback
  if (v.kind === 'bool') return v.value
  throw new ValueProblem('True or False', describeValue(v))
}

function diagonal(rows: number, columns: number, k: number, a: Args, budget: Budget): NdArray {
  if (rows < 0 || columns < 0) throw new ValueProblem('dimensions that are not negative', `[${rows},${columns}]`)
  budget.spend(rows * columns)
  const dtype = dtypeArg(a.dtype) ?? 'float64'
  return filled(dtype, [rows, columns], (i) => store(dtype, (i % columns) - Math.floor(i / columns) === k ? 1 : 0))
}

function clip(x: NdArray, a: Args, budget: Budget): NdArray {
  budget.spend(x.data.length)
  const bound = (v: Value | undefined, none: number) => (v?.kind === 'none' ? none : real(v, 'the bound'))
  const [low, high] = [bound(a.a_min, Number.NEGATIVE_INFINITY), bound(a.a_max, Number.POSITIVE_INFINITY)]
  return filled(x.dtype, x.shape, (i) => {
    const v = x.data[i] as number | bigint
    return v < low ? store(x.dtype, low) : v > high ? store(x.dtype, high) : v
  })
}

/** Functions of one number; integers become float64. */
function elementwise<K extends string>(
  table: Record<K, (x: number) => number>,
): Record<K, readonly [string, (a: Args, b: Budget) => NdArray]> {
  const row = (f: (x: number) => number) =>
    [
      'x',
      (a: Args, b: Budget) => {
        const x = numbers(a.x, b)
        b.spend(x.data.length)
        const dtype = isFloat(x.dtype) ? x.dtype : 'float64'
        return filled(dtype, x.shape, (i) => rounded(dtype, f(Number(x.data[i]))))
      },
    ] as const
  const rows = Object.entries<(x: number) => number>(table).map(([name, f]) => [name, row(f)] as const)
  return Object.fromEntries(rows) as Record<K, ReturnType<typeof row>>
}

import { AppError } from '../../src/errors.ts'
import { toBfloat, toHalf } from '../../src/half.ts'
import { DTYPES, type DType, sizeOf, type Tensor, tensor } from '../../src/tensor.ts'
import { storageShape } from './shapes.ts'
import type { Dim, OnnxNode, Shape, Value, ValueDType, ValueInfo } from './value.ts'

/** Names and constants shared by a graph and its subgraphs: ONNX lets inner graphs see outer values, so all names are unique. */
class Shared {
  readonly initializers = new Map<string, Tensor>()
  readonly constants = new Map<Tensor, Value>()
  readonly small = new Map<string, Value>()
  readonly used = new Set<string>()
  symbols = 0
}

/** The values of a graph that is being built: its inputs and constants, their names, and what is known of each. */
export class Values {
  readonly nodes: OnnxNode[] = []
  readonly inputs: ValueInfo[] = []
  readonly info = new Map<string, ValueInfo>()
  /** what nodes have made, with all that is known of it */
  private readonly made = new Map<string, Value>()
  /** name of the TensorFlow node being emitted; new names start with it */
  at = ''
  protected readonly shared: Shared
  protected readonly parent: Values | undefined

  constructor(parent?: Values) {
    this.parent = parent
    this.shared = parent ? parent.shared : new Shared()
    this.at = parent?.at ?? ''
  }

  /** Keeps names for clients (aliases of inputs and outputs), so that no inner value takes them. False where one is taken already. */
  reserve(name: string): boolean {
    if (this.shared.used.has(name)) return false
    this.shared.used.add(name)
    return true
  }

  /**
   * A graph input under a reserved name. A default is the manifest's and the runtime feeds it: onnxruntime-node silently
   * ignores feeds for an input that is also an initializer.
   */
  input(name: string, dtype: DType, shape: Shape | undefined): Value {
    this.inputs.push({ name, dtype, shape })
    this.info.set(name, { name, dtype, shape })
    return { kind: 'tensor', name, dtype, shape }
  }

  /** An input of a subgraph: an iteration counter, a loop-carried or scanned value. */
  bodyInput(name: string, dtype: ValueDType, shape: Shape | undefined): Value {
    const stored = this.input(this.name(name), storageDType(dtype), storageShape(dtype, shape))
    return { ...stored, dtype, shape }
  }

  /** A sequence as input of a subgraph (loop-carried). */
  sequenceInput(name: string, dtype: DType, shape: Shape | undefined): Value {
    const unique = this.name(name)
    this.inputs.push({ name: unique, dtype, shape, sequence: true })
    this.info.set(unique, { name: unique, dtype, shape, sequence: true })
    return { kind: 'tensor', name: unique, dtype, shape, sequence: true }
  }

  /** A constant. It becomes an initializer only when a node uses it. */
  const(t: Tensor): Value {
    const known = this.shared.constants.get(t)
    if (known) return known
    const key =
      t.data.length <= 16
        ? `${t.dtype}|${t.shape}|${Array.from(t.data as ArrayLike<unknown>, (x) => (Object.is(x, -0) ? '-0' : String(x))).join('\0')}`
        : undefined
    const same = key === undefined ? undefined : this.shared.small.get(key)
    if (same) return same
    const integral = (t.dtype === 'int64' || t.dtype === 'int32') && t.shape.length <= 1 && t.data.length <= 64
    const value: Value = {
      kind: 'tensor',
      name: this.name('const'),
      dtype: t.dtype,
      shape: t.shape,
      data: t,
      ...(integral && { part: Array.from(t.data as ArrayLike<number | bigint>, Number) }),
    }
    this.shared.constants.set(t, value)
    if (key !== undefined) this.shared.small.set(key, value)
    return value
  }

  /** int64 vector, what axes, shapes and pads are made of. */
  ints(values: readonly number[]): Value {
    return this.const(tensor('int64', [values.length], BigInt64Array.from(values, BigInt)))
  }

  int(value: number): Value {
    return this.const(tensor('int64', [], BigInt64Array.of(BigInt(value))))
  }

  /** A scalar of a dtype, e.g. the 1 in `1 - x`. */
  scalar(dtype: ValueDType, value: number): Value {
    return this.filled(dtype, [], [value])
  }

  /** A small constant of a dtype from plain numbers. float16 and bfloat16 are converted to their bits. */
  filled(dtype: ValueDType, shape: readonly number[], values: readonly number[]): Value {
    if (dtype === 'complex64' || dtype === 'complex128' || dtype === 'string')
      throw new AppError('INTERNAL', { where: this.at, expected: 'a real dtype', got: dtype })
    return this.const(tensorFrom(dtype, shape, values))
  }

  /** A dimension that nothing is known of. */
  fresh(): string {
    return `d${this.shared.symbols++}`
  }

  freshShape(rank: number): string[] {
    return Array.from({ length: rank }, () => this.fresh())
  }

  /** The same value with better knowledge of its shape or dtype view; no node. */
  as(v: Value, known: Partial<Pick<Value, 'shape' | 'dtype' | 'part'>>): Value {
    const out = { ...v, ...known }
    if (!v.data && v.dtype !== 'complex64' && v.dtype !== 'complex128') this.learn(out)
    return out
  }

  /** The name of a value as a node input; a constant becomes an initializer here. */
  use(v: Value): string {
    if (v.data && !this.shared.initializers.has(v.name)) {
      this.shared.initializers.set(v.name, v.data)
      this.info.set(v.name, { name: v.name, dtype: v.data.dtype, shape: v.data.shape })
    }
    return v.name
  }

  /** The node that makes a value, in this graph or one around it. */
  producer(v: Value): OnnxNode | undefined {
    return this.nodes.findLast((n) => n.outputs.includes(v.name)) ?? this.parent?.producer(v)
  }

  /** The constant behind the name of a node's input. */
  constantNamed(name: string): Tensor | undefined {
    return this.shared.initializers.get(name)
  }

  /** A value by name, of this graph or one around it. */
  valueNamed(name: string): Value | undefined {
    const known = this.made.get(name) ?? this.info.get(name)
    return known ? { kind: 'tensor', ...known } : this.parent?.valueNamed(name)
  }

  /** Is a dimension a number, or one that a value at hand has? */
  sees(d: Dim): boolean {
    return typeof d === 'number' || this.holder(d) !== undefined
  }

  protected holder(d: Dim): ValueInfo | undefined {
    for (const v of this.info.values()) if (!v.sequence && v.shape?.includes(d)) return v
    return this.parent?.holder(d)
  }

  protected learn(v: Value): void {
    this.made.set(v.name, v)
    this.info.set(v.name, {
      name: v.name,
      dtype: storageDType(v.dtype),
      shape: storageShape(v.dtype, v.shape),
      ...(v.sequence && { sequence: true }),
    })
  }

  /** A name of its own for what is no node, e.g. an input that the runtime computes. */
  unique(wanted: string): string {
    return this.name(wanted)
  }

  protected name(wanted: string): string {
    let name = wanted
    for (let i = 1; this.shared.used.has(name); i++) name = `${wanted}_${i}`
    this.shared.used.add(name)
    return name
  }
}

export function storageDType(d: ValueDType): DType {
  return d === 'complex64' ? 'float32' : d === 'complex128' ? 'float64' : d
}

/** A tensor of any real dtype from plain numbers, rounded as the dtype rounds. */
export function tensorFrom(
  dtype: Exclude<DType, 'string'>,
  shape: readonly number[],
  values: readonly number[],
): Tensor {
  const n = sizeOf(shape)
  const array = new DTYPES[dtype].array(n) as { [i: number]: number | bigint; length: number } & Tensor['data']
  for (let i = 0; i < n; i++) {
    const v = values[values.length === 1 ? 0 : i]!
    array[i] =
      dtype === 'int64' || dtype === 'uint64'
        ? BigInt(Math.trunc(v))
        : dtype === 'float16'
          ? toHalf(v)
          : dtype === 'bfloat16'
            ? toBfloat(v)
            : v
  }
  return tensor(dtype, shape, array)
}
